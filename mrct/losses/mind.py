"""Structure consistency by the modality-independent neighborhood descriptor (Yang 2018, after Heinrich 2012).

The descriptor of a pixel says how much its patch resembles the patches around it, relative to the patches next to it.
Gray values themselves do not enter, so that MR and CT can be compared.
"""

import torch
from torch import Tensor
from torch.nn import functional

from mrct.losses.precision import at_least_float32

#: Reach of the offsets α in pixels: the 9x9 places around a pixel without itself, in row-major order.
REACH = 4
OFFSETS = [
    (row, column)
    for row in range(-REACH, REACH + 1)
    for column in range(-REACH, REACH + 1)
    if (row, column) != (0, 0)
]
NEXT_NEIGHBORS = [OFFSETS.index(step) for step in ((-1, 0), (0, -1), (0, 1), (1, 0))]
SIGMA = 2.0
PATCH_RADIUS = 3
#: Added to the local variance V, for images in [-1, 1]; keeps flat regions finite (Yang 2018).
VARIANCE_FLOOR = 1e-5


def mind(images: Tensor) -> Tensor:
    """Compute the descriptors of images: (B, 1, H, W) in [-1, 1] -> (B, 80, H, W) in [0, 1], 1 at most per pixel.

    F(α) = exp(-D(α) / V) / max over α; D(α): mean of (I(x) - I(x + α))² over a 7x7 patch weighted by a Gaussian
    of σ 2; V: mean of D over the four next neighbors, + 1e-5. The image continues beyond its border by its
    border values (the paper is silent). The gradient needs about 7 x 80 floats per pixel: 4.8 GB for eight images
    of 512².
    """
    with torch.autocast(images.device.type, enabled=False):  # bfloat16 has no digits for small differences
        distances = _patch_distances(at_least_float32(images))
        variance = distances[:, NEXT_NEIGHBORS].mean(1, keepdim=True) + VARIANCE_FLOOR
        # exp of the difference is the division by the maximum without underflow
        return torch.exp((distances.amin(1, keepdim=True) - distances) / variance)


def mind_loss(source_descriptor: Tensor, output_descriptor: Tensor) -> Tensor:
    """Compute the mean absolute difference of two descriptors: a scalar in [0, 1], 0 for equal structure.

    It does not change when contrast is inverted, and changes with gain only where V is near its floor, as in noise.
    """
    return (source_descriptor - output_descriptor).abs().mean()


def _patch_distances(images: Tensor) -> Tensor:
    """Compute D of each offset, (B, 1, H, W) -> (B, 80, H, W), for all offsets at once with a separable Gaussian."""
    height, width = images.shape[-2] + 2 * PATCH_RADIUS, images.shape[-1] + 2 * PATCH_RADIUS
    padded = functional.pad(images, [REACH + PATCH_RADIUS] * 4, mode="replicate")

    def shifted(row: int, column: int) -> Tensor:
        return padded[:, :, REACH + row :, REACH + column :][:, :, :height, :width]

    squares = (torch.cat([shifted(*offset) for offset in OFFSETS], 1) - shifted(0, 0)).square()
    places = torch.arange(-PATCH_RADIUS, PATCH_RADIUS + 1, dtype=images.dtype, device=images.device)
    weights = torch.softmax(-places.square() / (2 * SIGMA**2), 0).expand(len(OFFSETS), 1, -1)
    columns = functional.conv2d(squares, weights[..., None], groups=len(OFFSETS))
    return functional.conv2d(columns, weights[..., None, :], groups=len(OFFSETS))
