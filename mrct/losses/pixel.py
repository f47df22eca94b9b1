"""Pixel translation loss of scCycleGAN (Jeong 2024): L1 weighted by what the discriminator believes."""

import torch
from torch import Tensor
from torch.nn import functional

#: Keeps the sum of weights from vanishing when the discriminator rejects every patch.
WEIGHT_FLOOR = 0.05


def pixel_weights(synthetic_logits: Tensor, size: tuple[int, int], weighting: str) -> Tensor:
    """(B, 1, h, w) patch logits of the synthetic image -> (B, 1, H, W) weights in [0.05, 1], no gradient.

    Regions judged synthetic weigh less. `clip`: logits limited to [0, 1], the least-squares targets;
    `minmax`: each image's own lowest and highest patch become 0 and 1; `none`: ones, plain L1.
    The paper is silent on normalization and gradient; without the stop-gradient the generator would lower
    the loss by looking synthetic.
    """
    if weighting == "none":
        return synthetic_logits.new_ones(len(synthetic_logits), 1, *size)
    weights = functional.interpolate(synthetic_logits.detach(), size, mode="bilinear", align_corners=False)
    if weighting == "minmax":
        low, high = weights.amin((1, 2, 3), keepdim=True), weights.amax((1, 2, 3), keepdim=True)
        weights = torch.where(high > low, (weights - low) / (high - low).clamp_min(1e-12), 1.0)
    elif weighting != "clip":
        raise ValueError(f"pixel_weighting: got {weighting!r}, expected clip, minmax or none")
    return weights.clamp(WEIGHT_FLOOR, 1.0)


def pixel_translation_loss(synthetic: Tensor, real: Tensor, weights: Tensor) -> Tensor:
    """Σ P |y - G(x)| / Σ P per image, mean over the batch; scalar, in the images' unit.

    Departure: the division by Σ P makes it a weighted mean, so that P moves attention and not the loss.
    """
    weighted = (weights * (real - synthetic).abs()).sum((1, 2, 3))
    return (weighted / weights.sum((1, 2, 3))).mean()
