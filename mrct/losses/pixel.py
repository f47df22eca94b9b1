"""Pixel translation loss of scCycleGAN (Jeong 2024): L1 weighted per pixel by the output of the discriminator."""

import torch
from torch import Tensor
from torch.nn import functional

from mrct.core.errors import DataError
from mrct.losses.precision import at_least_float32

#: The lowest weight: the sum of the weights stays positive when the discriminator rejects every patch.
WEIGHT_FLOOR = 0.05


def pixel_weights(synthetic_logits: Tensor, size: tuple[int, int], weighting: str) -> Tensor:
    """(B, 1, h, w) patch logits of the synthetic image -> (B, 1, H, W) weights in [0.05, 1], no gradient.

    A region that the discriminator takes for synthetic has less weight. `weighting` is `clip` (logits are limited to
    [0, 1], the targets of least squares), `minmax` (the lowest and the highest patch of each image become 0 and 1;
    equal patches all 1) or `none` (plain L1). A NaN among the logits stays NaN, so that the loop stops at it. The
    paper does not give the normalization, nor whether a gradient passes; with one, the generator would lower the loss
    by looking synthetic.
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
    """Σ P |y - G(x)| / Σ P per image, mean over the batch; scalar, in the images' unit.

    Departure: the division by Σ P makes it a weighted mean, so that P does not change the size of the loss.
    """
    weighted = (weights * (real - at_least_float32(synthetic)).abs()).sum((1, 2, 3))
    return (weighted / weights.sum((1, 2, 3))).mean()
