"""Reference method `intensity_map`: the median target value of each source intensity, both directions.

The best that one can do pixel by pixel without looking at neighbors (the median minimizes the mean absolute
error). Fitted on whole slices, so that air around the head stays air; fitted inside the head alone, where the
error is measured, it gained 0.6 of 156 HU on 18 validation patients and put tissue outside the head.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mrct.core.errors import DataError
from mrct.core.params import Section


class Params(Section):
    """Number of equal intensity bins over [-1, 1]."""

    bins: int


class IntensityMap(nn.Module):
    """(B, 1, H, W) in [-1, 1] -> (B, 1, H, W): a table looked up by intensity bin."""

    table: Tensor

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.register_buffer("table", torch.full((bins,), -1.0))

    def forward(self, x: Tensor) -> Tensor:
        """Median of each pixel's bin."""
        return self.table[bin_index(x, len(self.table))]


def bin_index(x: Tensor, bins: int) -> Tensor:
    """[-1, 1] -> 0 .. bins - 1; values outside go to the first or last bin."""
    return ((x + 1) / 2 * bins).long().clamp(0, bins - 1)


def build_network(config: dict[str, Any]) -> nn.Module:
    """An empty network of the stored configuration, ready for its weights."""
    return IntensityMap(config["bins"])


def fit(
    slices: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]], params: Params
) -> dict[str, tuple[nn.Module, dict[str, Any]]]:
    """(mr, ct, mask) training slices (H, W) -> network and configuration of each direction."""
    pixels = [(mr.ravel(), ct.ravel()) for mr, ct, _ in slices]
    if not pixels:
        raise DataError("intensity_map: no training slice; rerun pair")
    mr, ct = (torch.from_numpy(np.concatenate(values)) for values in zip(*pixels, strict=True))
    return {
        "mr_to_ct": (_fit_table(mr, ct, params.bins), {"bins": params.bins}),
        "ct_to_mr": (_fit_table(ct, mr, params.bins), {"bins": params.bins}),
    }


def _fit_table(source: Tensor, target: Tensor, bins: int) -> IntensityMap:
    """Median of each bin; an empty bin takes the value between its filled neighbors."""
    index = bin_index(source, bins).numpy()
    order = np.argsort(index, kind="stable")
    starts = np.searchsorted(index[order], np.arange(bins + 1))
    values = target.numpy()[order]
    filled = [b for b in range(bins) if starts[b] < starts[b + 1]]
    medians = [float(np.median(values[starts[b] : starts[b + 1]])) for b in filled]
    network = IntensityMap(bins)
    network.table.copy_(torch.from_numpy(np.interp(np.arange(bins), filled, medians).astype(np.float32)))
    return network
