"""Images for the losses: a head with one structure and several contrasts."""

import numpy as np
import pytest
import torch
from torch import Tensor


@pytest.fixture(scope="package")
def head() -> Tensor:
    """(1, 1, 96, 96) in [-0.9, 0.8]: skull, brain with a slow shading, ventricles and a lesion; no noise."""
    y, x = np.mgrid[-1:1:96j, -1:1:96j]
    image = np.full((96, 96), -0.9)
    for center_y, center_x, radius_y, radius_x, value in (
        (0.0, 0.0, 0.85, 0.7, 0.8),
        (0.0, 0.0, 0.75, 0.6, 0.0),
        (-0.1, -0.18, 0.35, 0.1, -0.5),
        (-0.1, 0.18, 0.35, 0.1, -0.5),
        (0.4, 0.2, 0.12, 0.15, 0.4),
    ):
        inside = ((y - center_y) / radius_y) ** 2 + ((x - center_x) / radius_x) ** 2 < 1
        image[inside] = value + 0.1 * np.sin(3 * x + 5 * y)[inside] * (value < 0.8)
    return torch.from_numpy(image.astype(np.float32))[None, None]
