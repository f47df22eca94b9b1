"""Fixed random convolutions: features for the structure loss, without a pretrained network."""

import torch
from torch import Tensor, nn


class RandomConvFeatures(nn.Module):
    """Random features with the strides of VGG16's relu3_1 and relu4_1.

    (B, 1, H, W) -> [(B, 64, H/4, W/4), (B, 128, H/8, W/8)]. The convolutions are He-initialized from `seed` and never
    trained. Random filters distinguish local structures (Saxe 2011), are the same on every machine and need no
    download.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.to_quarter = nn.Sequential(
            nn.Conv2d(1, 32, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        self.to_eighth = nn.Sequential(nn.Conv2d(64, 128, 3, stride=2, padding=1), nn.ReLU())
        generator = torch.Generator().manual_seed(seed)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, generator=generator)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Compute the features of both depths; differentiable in x."""
        quarter = self.to_quarter(x)
        return [quarter, self.to_eighth(quarter)]
