"""The precision in which losses are taken, whatever the networks work in."""

import torch
from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """Half precision becomes float32, float32 and float64 stay as they are; differentiable."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
