"""Augmentation of a training pair: the same small motion of all images, and another contrast of the MR.

Motion is shared, because it must not undo the pairing. Contrast changes only the MR: its unit is arbitrary and differs
between scanners and coils, whereas a changed CT would have wrong HU. `ct_to_mr` then learns the mean of the contrasts
that are drawn; therefore contrast is off by default.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from mrct.training.method import Batch
from mrct.training.settings import Augmentation

#: What lies outside both images: air in CT, no signal in MR.
BACKGROUND = -1.0
#: Control points of the bias field per side; like the sensitivity of a coil, it is coarser than anatomy.
_BIAS_POINTS = 4
#: Random numbers per image: angle, scale, two shifts, flip, gamma and the bias field's points.
_DRAWS = 6 + _BIAS_POINTS**2


def draw(count: int, rng: torch.Generator) -> Tensor:
    """Draw (count, 22) uniform numbers in [-1, 1), as many for each image whatever is switched on."""
    return torch.rand(count, _DRAWS, generator=rng) * 2 - 1


def augment(batch: Batch, draws: Tensor, settings: Augmentation, spacing_mm: float) -> Batch:
    """Change images (B, 1, H, W) in [-1, 1] by their draws (B, 22); shapes and range stay."""
    mr, ct, other = batch
    draws = draws.to(mr.device)
    if settings.mr_gamma or settings.mr_bias:
        points = draws[:, 6:].reshape(-1, 1, _BIAS_POINTS, _BIAS_POINTS)
        mr = other_contrast(mr, draws[:, 5], points, settings)
    if not settings.moves:
        return Batch(mr, ct, other)
    matrix = _matrix(draws, settings, spacing_mm * mr.shape[-1])
    grid = functional.affine_grid(matrix, list(mr.shape), align_corners=False)

    # what moves in from outside is background
    def warp(image: Tensor) -> Tensor:
        return functional.grid_sample(image - BACKGROUND, grid, align_corners=False) + BACKGROUND

    return Batch(warp(mr), warp(ct), {name: warp(image) for name, image in other.items()})


def _matrix(draws: Tensor, settings: Augmentation, side_mm: float) -> Tensor:
    """Return the matrices (B, 2, 3) for affine_grid, whose unit is half the image's side."""
    angle = torch.deg2rad(draws[:, 0] * settings.rotation_deg)
    scale = 1 + draws[:, 1] * settings.scale
    shift = draws[:, 2:4] * settings.shift_mm * 2 / side_mm
    mirror = torch.where(draws[:, 4] < 0, -1.0, 1.0) if settings.flip else torch.ones_like(scale)
    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = [cosine * mirror, -sine, shift[:, 0], sine * mirror, cosine, shift[:, 1]]
    return torch.stack(rows, 1).view(-1, 2, 3)


def other_contrast(mr: Tensor, gamma: Tensor, points: Tensor, settings: Augmentation) -> Tensor:
    """Change the signal s in [0, 1] to s^γ · exp(b·field): γ within a factor 1 + mr_gamma, |b·field| up to ~ mr_bias.

    Images are (B, 1, [D,] H, W). The draws lie in [-1, 1]: `gamma` (B,), and the control points `points`
    (B, 1, [p,] p, p) of the smooth field.
    """
    powers = torch.exp(gamma * math.log1p(settings.mr_gamma)).view(-1, *[1] * (mr.dim() - 1))
    mode = "bicubic" if mr.dim() == 4 else "trilinear"
    field = functional.interpolate(points, list(mr.shape[2:]), mode=mode, align_corners=True)
    signal = ((mr + 1) / 2).clamp(0, 1) ** powers * torch.exp(settings.mr_bias * field)
    return signal.clamp(0, 1) * 2 - 1
