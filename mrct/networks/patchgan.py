"""PatchGAN discriminator (Isola 2017) as scCycleGAN draws it (Jeong 2024, Fig. 5)."""

from collections.abc import Callable

from torch import Tensor, nn

from mrct.networks.resnet import InstanceNorm, initialize

NORMS: dict[str, Callable[[int], nn.Module]] = {"batch": nn.BatchNorm2d, "instance": InstanceNorm}


class PatchDiscriminator(nn.Module):
    """PatchGAN discriminator: (B, 1, H, W) in [-1, 1] -> (B, 1, H/8 - 2, W/8 - 2) logits, one per patch of 70x70.

    4x4 convolutions: filters s2, 2 filters s2, 4 filters s2, 8 filters s1, 1 s1; LeakyReLU 0.2; `norm`
    (batch as the paper, or instance) on the three in the middle.
    """

    def __init__(self, filters: int, norm: str) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(1, filters, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        for level, stride in ((1, 2), (2, 2), (3, 1)):
            layers += [
                nn.Conv2d(filters * 2 ** (level - 1), filters * 2**level, 4, stride, padding=1, bias=False),
                NORMS[norm](filters * 2**level),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        layers.append(nn.Conv2d(filters * 8, 1, 4, stride=1, padding=1))
        self.layers = nn.Sequential(*layers)
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        """Compute patch logits in float32; the targets of least squares are 1 for real and 0 for synthetic."""
        return self.layers(x).float()
