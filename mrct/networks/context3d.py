"""Networks of the context-aware 3D GAN (Kaiser 2019, Tables 4 and 5, after Nie 2017) and their auto-context chain.

Patches are (B, C, D, H, W). Inside the networks images lie in [0, 1], as in the paper. Air then equals the zeros of
the padding, and without biases air is mapped to air. Departures and what the paper leaves open
(docs/decisions/methods.md):

- The generator has leaky ReLU where the paper has ReLU, and a linear last layer; volumes are clipped.
- The first dense layer of the discriminator is an unpadded 3x3x3 convolution, which turns its 10 voxels per side into
  the 8 of the table. The other dense layers are 1x1x1 convolutions.
- The last layer of the discriminator is linear, for least squares.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from mrct.networks.sliding_window import Window
from mrct.networks.unet import SLOPE, initialize_he, initialize_xavier
from mrct.networks.whole_volume import VolumeNetwork, translate_patches

#: Sides of the patches in voxels: MR in, CT out.
SEEN, MADE = 32, 16
#: Kernel side and channels, in units of `filters`, of the generator's hidden layers (Table 4).
GENERATOR = ((9, 1), (3, 1), (3, 1), (3, 1), (9, 2), (3, 2), (3, 1), (7, 1), (3, 1))
#: Channels of the discriminator's convolutions and dense layers, in units of `filters` (Table 5).
CONVOLUTIONS, DENSE = (1, 2, 4), (16, 4)


class ContextGenerator(nn.Module):
    """Generator of the CT in the middle of a patch: (B, C, 32, 32, 32) in [-1, 1] -> (B, 1, 16, 16, 16), about [-1, 1].

    It has ten convolutions with leaky ReLU and no skip connections (Table 4 for `filters` 32). The two of 9 voxels
    are unpadded. C is 1, or 2 with the CT that the previous iteration predicted. Initialization is He's; the paper
    names none here.
    """

    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for kernel, units in GENERATOR:
            padding = 0 if kernel == 9 else kernel // 2
            layers += [nn.Conv3d(channels, units * filters, kernel, padding=padding), nn.LeakyReLU(SLOPE)]
            channels = units * filters
        layers += [nn.Conv3d(channels, 1, 3, padding=1)]
        self.layers = nn.Sequential(*layers)
        initialize_he(self, SLOPE)
        # faster on the CPU (docs/decisions/methods.md)
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # torch's stubs omit it

    def forward(self, x: Tensor) -> Tensor:
        """Predict the CT of the middle, float32."""
        return self.layers((x + 1) / 2).float() * 2 - 1


def with_blind_channel(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add an input channel for the context to a generator's weights; at first the generator ignores it."""
    first = weights["layers.0.weight"]
    seen = torch.cat([first, torch.zeros_like(first[:, :1])], 1)[:, :2]
    return {**weights, "layers.0.weight": seen}


class ContextDiscriminator(nn.Module):
    """Discriminator of CT patches: (B, 1, 16, 16, 16) in [-1, 1] -> (B, 1, 8, 8, 8) scores in float32.

    Table 5 for `filters` 32: three times a 5x5x5 convolution, ReLU and 3x3x3 max pooling of stride 1; then the dense
    layers.
    """

    def __init__(self, filters: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for units in CONVOLUTIONS:
            layers += [
                nn.Conv3d(channels, units * filters, 5, padding=2),
                nn.ReLU(),
                nn.MaxPool3d(3, stride=1),
            ]
            channels = units * filters
        for units, kernel in zip(DENSE, (3, 1), strict=True):
            layers += [nn.Conv3d(channels, units * filters, kernel), nn.ReLU()]
            channels = units * filters
        self.layers = nn.Sequential(*layers, nn.Conv3d(channels, 1, 1))
        initialize_xavier(self)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the scores; the targets of least squares are 1 for real and 0 for synthetic."""
        return self.layers((x + 1) / 2).float()


class ContextChain(VolumeNetwork):
    """Auto-context (Tu 2010): a chain of generators; each sees the MR and the CT that the previous one predicted.

    A generator sees 32 voxels per side and predicts 16. The input of the next generator is a patch of the predicted
    volume, which is assembled from overlapping patches. `forward` is that of the last generator.
    """

    def __init__(self, iterations: int, filters: int, overlap: float, resample_slices_mm: float) -> None:
        super().__init__()
        self.generators = nn.ModuleList(
            [ContextGenerator(1 if first == 0 else 2, filters) for first in range(iterations)]
        )
        self.window = Window(SEEN, MADE, overlap)
        self.resample_slices_mm = resample_slices_mm

    def forward(self, x: Tensor) -> Tensor:
        """Apply the last generator: (B, C, 32, 32, 32) -> (B, 1, 16, 16, 16)."""
        return self.generators[-1](x)

    def translate_volume(
        self,
        volume: np.ndarray,
        slice_spacing_mm: float,
        device: torch.device,
        others: Mapping[str, np.ndarray],
    ) -> np.ndarray:
        """Translate an MR (D, H, W) to CT, both in [-1, 1]; with `context` in `others` only the last generator runs."""
        context = others.get("context")
        todo = self.generators if context is None else self.generators[-1:]
        for generator in todo:
            images = [volume] if context is None else [volume, context]
            made = translate_patches(
                generator, images, slice_spacing_mm, self.resample_slices_mm, self.window, device
            )
            context = made.clip(-1, 1)
        assert context is not None  # there is a generator
        return context
