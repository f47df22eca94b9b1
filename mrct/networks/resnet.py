"""Residual generator of CycleGAN (Zhu 2017, appendix 7.2) and scCycleGAN (Jeong 2024, Fig. 4)."""

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from mrct.core.errors import DataError


class InstanceNorm(nn.GroupNorm):
    """Instance norm without weights: each channel of each image (B, C, H, W) gets mean 0 and variance 1 (ε 1e-5).

    It is a group norm with one channel per group: torch 2.13's InstanceNorm2d gives wrong gradients on the CPU for one
    image and a channels-last gradient, and is slower.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize in the precision of x; autocast would write float32, which the next convolution rounds again."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x)


class ResidualBlock(nn.Module):
    """Residual block (B, C, H, W) -> (B, C, H, W): two 3x3 convolutions with instance norm around a skip."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect", bias=False),
            InstanceNorm(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect", bias=False),
            InstanceNorm(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Add the residual to the input."""
        return x + self.body(x)


def _transposed(wide: int, narrow: int) -> list[nn.Module]:
    return [nn.ConvTranspose2d(wide, narrow, 3, stride=2, padding=1, output_padding=1, bias=False)]


def _resized(wide: int, narrow: int) -> list[nn.Module]:
    return [nn.Upsample(scale_factor=2), nn.Conv2d(wide, narrow, 3, padding=1, bias=False)]


UPSAMPLINGS: dict[str, Callable[[int, int], list[nn.Module]]] = {
    "transposed": _transposed,
    "resize": _resized,
}


class ResnetGenerator(nn.Module):
    """Residual generator: (B, 1, H, W) in [-1, 1] -> (B, 1, H, W) in [-1, 1].

    7x7 convolution with `filters` channels, `downsamplings` stride-2 convolutions that double them, `blocks`
    residual blocks, as many upsamplings, 7x7 convolution, tanh. H and W must be divisible by 2**downsamplings.
    Departure from the paper: its Fig. 4 draws no down- and upsampling; 2 is CycleGAN's value, 0 takes the drawing
    literally. `upsampling` is `transposed` (CycleGAN's 3x3 transposed convolution of stride 2, which leaves a
    checkerboard in short trainings) or `resize` (pixels are repeated and convolved; Odena 2016, "Deconvolution and
    checkerboard artifacts").
    """

    def __init__(self, filters: int, blocks: int, downsamplings: int, upsampling: str = "transposed") -> None:
        super().__init__()
        widths = [filters * 2**level for level in range(downsamplings + 1)]
        encoder: list[nn.Module] = [*_convolution(1, filters, 7, stride=1)]
        for narrow, wide in pairwise(widths):
            encoder += _convolution(narrow, wide, 3, stride=2)
        self.encoder = nn.Sequential(*encoder)
        self.blocks = nn.Sequential(*[ResidualBlock(widths[-1]) for _ in range(blocks)])
        decoder: list[nn.Module] = []
        for wide, narrow in pairwise(reversed(widths)):
            decoder += [
                *UPSAMPLINGS[upsampling](wide, narrow),
                InstanceNorm(narrow),
                nn.ReLU(inplace=True),
            ]
        self.decoder = nn.Sequential(*decoder)
        self.head = nn.Conv2d(filters, 1, 7, padding=3, padding_mode="reflect")
        self.divisor = 2**downsamplings
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        """Translate a batch of slices; DataError where a side is not divisible."""
        if x.shape[-1] % self.divisor or x.shape[-2] % self.divisor:
            raise DataError(
                f"generator: image of {tuple(x.shape[-2:])} pixels, expected sides divisible by {self.divisor}; "
                "change image_size or generator.downsamplings"
            )
        features = self.decoder(self.blocks(self.encoder(x)))
        # bfloat16 steps by 8 HU at soft tissue; the last layer therefore stays in float32
        with torch.autocast(x.device.type, enabled=False):
            return torch.tanh(self.head(features.float()))


def initialize(network: nn.Module) -> None:
    """Initialize as CycleGAN: convolution weights N(0, 0.02²), biases zero, norm gains N(1, 0.02²)."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)


def _convolution(channels_in: int, channels_out: int, kernel: int, stride: int) -> list[nn.Module]:
    # CycleGAN pads by reflection at full resolution only
    mode: Literal["reflect", "zeros"] = "reflect" if stride == 1 else "zeros"
    return [
        nn.Conv2d(
            channels_in, channels_out, kernel, stride, padding=kernel // 2, padding_mode=mode, bias=False
        ),
        InstanceNorm(channels_out),
        nn.ReLU(inplace=True),
    ]
