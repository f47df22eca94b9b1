"""Reference method `mean_ct`: every slice becomes the mean training CT.  What a model must beat to know anything."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mrct.core.errors import DataError
from mrct.core.params import Section


class Params(Section):
    """It has no knob."""


class MeanCt(nn.Module):
    """(B, 1, H, W) in [-1, 1] -> (B, 1, H, W): the same mean CT, whatever the input."""

    mean: Tensor

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((height, width), -1.0))

    def forward(self, x: Tensor) -> Tensor:
        """Repeat the mean; ValueError for another image size."""
        if x.shape[-2:] != self.mean.shape:
            raise DataError(
                f"mean_ct: image {tuple(x.shape[-2:])}, fitted on {tuple(self.mean.shape)}; rerun baseline"
            )
        return self.mean.expand_as(x)


def build_network(config: dict[str, Any]) -> nn.Module:
    """An empty network of the stored configuration, ready for its weights."""
    return MeanCt(config["height"], config["width"])


def fit(
    slices: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]], params: Params
) -> dict[str, tuple[nn.Module, dict[str, Any]]]:
    """(mr, ct, mask) training slices (H, W) -> network and configuration of each direction."""
    total, count = None, 0
    for _, ct, _ in slices:
        total = ct.astype(np.float64) if total is None else total + ct
        count += 1
    if total is None:
        raise DataError("mean_ct: no training slice; rerun pair")
    config = {"height": total.shape[0], "width": total.shape[1]}
    network = MeanCt(*total.shape)
    network.mean.copy_(torch.from_numpy((total / count).astype(np.float32)))
    return {"mr_to_ct": (network, config)}
