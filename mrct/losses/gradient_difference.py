"""Gradient difference loss (Nie 2017; Kaiser 2019, eqs. 3 and 4): edges of the synthetic image match the real ones."""

import torch
from torch import Tensor
from torch.nn import functional

from mrct.losses.precision import at_least_float32


def gradient_difference_loss(synthetic: Tensor, real: Tensor) -> Tensor:
    """Average (∇ŷ - ∇y)² over (B, C, ...) and its spatial axes; scalar, >= 0, in the images' unit squared.

    ∇ is the forward difference to the next pixel of an axis, zero at the last one. The paper does not say whether
    the axes are summed; here they are averaged.
    """
    # ∇ is linear: one gradient suffices, that of the difference
    difference = at_least_float32(synthetic) - real
    squares = [_forward(difference, axis).square().mean() for axis in range(2, difference.ndim)]
    return torch.stack(squares).mean()


def _forward(image: Tensor, axis: int) -> Tensor:
    """Compute the difference to the next pixel along the axis, same shape; zero at the last."""
    padding = [0] * (2 * (image.ndim - axis) - 1) + [1]
    return functional.pad(image.diff(dim=axis), padding)
