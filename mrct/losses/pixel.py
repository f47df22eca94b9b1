"""Pixel translation loss of scCycleGAN (Jeong 2024): L1 weighted per pixel by the output of the discriminator."""

import torch
from torch import Tensor
from torch.nn import functional

from mrct.core.errors import DataError
from mrct.losses.precision import at_least_float32

#: The lowest weight: the sum of the weights stays positive when the discriminator rejects every patch.
WEIGHT_FLOOR = 0.05


def pixel_weights(synthetic_logits: Tensor, size: tuple[int, int], weighting: str) -> Tensor:
    """Compute the weights (B, 1, H, W) in [0.05, 1] from patch logits (B, 1, h, w) of the synthetic image.

    A region that looks synthetic to the discriminator has less weight. The weights pass no gradient: otherwise the
    generator could lower the loss by looking synthetic. The paper gives neither the normalization nor whether a
    gradient passes. A NaN among the logits stays NaN, so that the training loop stops at it.

    Args:
        synthetic_logits: (B, 1, h, w) logits of the synthetic images.
        size: H and W of the images.
        weighting: `clip` (logits are limited to [0, 1], the targets of least squares), `minmax` (the lowest and the
            highest patch of each image become 0 and 1; equal patches are all 1) or `none` (plain L1).

    Raises:
        DataError: The weighting is unknown.
    """
    logits = at_least_float32(synthetic_logits.detach())
    if weighting == "none":
        return logits.new_ones(len(logits), 1, *size)
    if weighting == "minmax":  # before the interpolation, whose rounding it would enlarge on equal patches
        low, high = logits.amin((1, 2, 3), keepdim=True), logits.amax((1, 2, 3), keepdim=True)
        logits = torch.where(high == low, 1.0, (logits - low) / (high - low))
    elif weighting != "clip":
        raise DataError(f"pixel_weighting: got {weighting!r}, expected clip, minmax or none")
    weights = functional.interpolate(logits, size, mode="bilinear", align_corners=False)
    return weights.clamp(WEIGHT_FLOOR, 1.0)


def pixel_translation_loss(synthetic: Tensor, real: Tensor, weights: Tensor) -> Tensor:
    """Compute Σ P |y - G(x)| / Σ P per image and average over the batch; scalar, in the images' unit.

    Departure: the division by Σ P makes it a weighted mean, so that P does not change the size of the loss.
    """
    weighted = (weights * (real - at_least_float32(synthetic)).abs()).sum((1, 2, 3))
    return (weighted / weights.sum((1, 2, 3))).mean()
