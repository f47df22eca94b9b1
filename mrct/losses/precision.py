"""Precision of the losses, independent of the precision of the networks."""

import torch
from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """Convert half precision to float32 and keep float32 and float64; differentiable."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
