"""Pixel translation loss of scCycleGAN (Jeong 2024): L1 weighted by what the discriminator believes."""

import torch
from torch import Tensor
from torch.nn import functional

from mrct.core.errors import DataError
from mrct.losses.precision import at_least_float32

#: Keeps the sum of weights from vanishing when the discriminator rejects every patch.
WEIGHT_FLOOR = 0.05


def pixel_weights(synthetic_logits: Tensor, size: tuple[int, int], weighting: str) -> Tensor:
    """(B, 1, h, w) patch logits of the synthetic image -> (B, 1, H, W) weights in [0.05, 1], no gradient.

    Regions judged synthetic weigh less. `clip`: logits limited to [0, 1], the least-squares targets;
    `minmax`: each image's own lowest and highest patch become 0 and 1, equal patches all 1;
    `none`: ones, plain L1. A NaN among the logits stays one, for the loop to stop at.
    The paper is silent on normalization and gradient; without the stop-gradient the generator would lower
    the loss by looking synthetic.
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

    Departure: the division by Σ P makes it a weighted mean, so that P moves attention and not the loss.
    """
    weighted = (weights * (real - at_least_float32(synthetic)).abs()).sum((1, 2, 3))
    return (weighted / weights.sum((1, 2, 3))).mean()
