"""PatchGAN (Isola 2017) for pairs of volumes."""

from itertools import pairwise

from torch import Tensor, nn

from mrct.networks.resnet import InstanceNorm

SLOPE = 0.2


class PairDiscriminator3d(nn.Module):
    """PatchGAN for pairs: images (B, 2, p, p, p) in [-1, 1] -> scores (B, 1, p/8 - 2, ...) in float32; p >= 24.

    A real pair has the score 1. 4x4x4 convolutions: filters s2, 2 filters s2, 4 filters s2, 8 filters s1, 1 s1;
    LeakyReLU 0.2; instance norm on the three in the middle, so that a score does not depend on the batch (Isola: batch
    norm). Initialization as Isola: N(0, 0.02²).
    """

    def __init__(self, filters: int) -> None:
        super().__init__()
        widths = [filters, 2 * filters, 4 * filters, 8 * filters]
        layers: list[nn.Module] = [nn.Conv3d(2, filters, 4, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
        for (narrow, wide), stride in zip(pairwise(widths), (2, 2, 1), strict=True):
            layers += [
                nn.Conv3d(narrow, wide, 4, stride, padding=1, bias=False),
                InstanceNorm(wide),
                nn.LeakyReLU(SLOPE),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv3d(widths[-1], 1, 4, padding=1))
        for weight in self.parameters():
            nn.init.normal_(weight, 0.0, 0.02) if weight.dim() > 1 else nn.init.zeros_(weight)

    def forward(self, pair: Tensor) -> Tensor:
        """Compute the scores; the targets of least squares are 1 for real and 0 for synthetic."""
        return self.layers(pair).float()
