"""U-Net of Kaiser 2019 (sec. 3.3.1, Table 2), which follows pix2pix (Isola 2017)."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from mrct.core.errors import DataError

#: Slope of the leaky ReLU in the encoder, as in pix2pix; the paper gives none.
SLOPE = 0.2
#: Share of its excess, and of its gradient, that a value outside [-1, 1] keeps.
LEAK = 0.1


class UNet(nn.Module):
    """U-Net: (B, 1, H, W) in [-1, 1] -> (B, 1, H, W), about [-1, 1]; H and W are divisible by 32.

    Encoder: 4x4 convolutions of stride 2 to f, 2f, 4f, 8f, 8f channels, leaky ReLU. Decoder: transposed 4x4
    convolutions of stride 2 to 8f, 8f, 4f, 2f, f, ReLU, dropout after the first two; each except the first also gets
    the encoder's features of its size. Batch norm precedes every activation except the first. The last layer is a 3x3
    convolution to one channel. The paper's f is 64. Its data lie in [0, 1], here in [-1, 1]. It names no last
    activation: here a value outside [-1, 1] keeps a tenth of its excess, and `translate` clips whole volumes
    (docs/decisions/methods.md).
    """

    def __init__(self, filters: int, dropout: float) -> None:
        super().__init__()
        down = [1, filters, 2 * filters, 4 * filters, 8 * filters, 8 * filters]
        up = [8 * filters, 8 * filters, 4 * filters, 2 * filters, filters]
        seen = [down[-1], *(made + skip for made, skip in zip(up, down[-2:0:-1], strict=False))]
        self.encoder = nn.ModuleList(
            _down(wide_in, wide_out, norm=level > 0)
            for level, (wide_in, wide_out) in enumerate(pairwise(down))
        )
        self.decoder = nn.ModuleList(
            _up(wide_in, wide_out, dropout if level < 2 else 0.0)
            for level, (wide_in, wide_out) in enumerate(zip(seen, up, strict=True))
        )
        self.head = nn.Conv2d(filters, 1, 3, padding=1)
        self.divisor = 2 ** len(self.encoder)
        initialize_xavier(self)

    def forward(self, x: Tensor) -> Tensor:
        """Translate a batch of slices, in float32; DataError where a side is not divisible."""
        if x.shape[-1] % self.divisor or x.shape[-2] % self.divisor:
            raise DataError(
                f"U-Net: image of {tuple(x.shape[-2:])} pixels, expected sides divisible by {self.divisor}; "
                "change image_size"
            )
        skips = []
        for block in self.encoder:
            x = block(x)
            skips.append(x)
        skips.pop()
        for level, block in enumerate(self.decoder):
            x = block(x if level == 0 else torch.cat([x, skips.pop()], 1))
        # bfloat16 steps by 8 HU at soft tissue; the last layer therefore stays in float32
        with torch.autocast(x.device.type, enabled=False):
            made: Tensor = self.head(x.float())
        return made.clip(-1, 1).lerp(made, LEAK)


def initialize_xavier(network: nn.Module) -> None:
    """Initialize all convolutions by Xavier's uniform rule (Glorot 2010), biases zero."""
    _initialize(network, nn.init.xavier_uniform_)


def initialize_he(network: nn.Module, slope: float) -> None:
    """Initialize all convolutions by He's normal rule (2015) for a leaky ReLU of this slope, biases zero."""
    _initialize(network, lambda weight: nn.init.kaiming_normal_(weight, slope))


def _initialize(network: nn.Module, start: Callable[[Tensor], Tensor]) -> None:
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)):
            start(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _down(channels_in: int, channels_out: int, norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(channels_in, channels_out, 4, stride=2, padding=1, bias=not norm)]
    layers += [nn.BatchNorm2d(channels_out)] if norm else []
    return nn.Sequential(*layers, nn.LeakyReLU(SLOPE))


def _up(channels_in: int, channels_out: int, dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.ConvTranspose2d(channels_in, channels_out, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    ]
    return nn.Sequential(*layers, *([nn.Dropout(dropout)] if dropout else []))
