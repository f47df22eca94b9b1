"""Reference method `intensity_map`: the median target intensity per source intensity, in both directions.

No other map from single intensities has a smaller mean absolute error, because the median minimizes it. The map is
fitted to whole slices, so that air around the head stays air.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mrct.core.contracts import Direction
from mrct.core.errors import DataError
from mrct.core.params import Section
from mrct.training.method import Fitted, FittedMethod


class IntensityMapParams(Section):
    """Parameter: the number of equal intensity bins over [-1, 1]."""

    bins: int


class IntensityMapNetwork(nn.Module):
    """Lookup table: (B, 1, H, W) in [-1, 1] -> (B, 1, H, W); each pixel becomes the value of its intensity bin."""

    table: Tensor

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.register_buffer("table", torch.full((bins,), -1.0))

    def forward(self, x: Tensor) -> Tensor:
        """Look up the median of each pixel's bin."""
        return self.table[bin_index(x, len(self.table))]


class IntensityMap(FittedMethod[IntensityMapParams]):
    """One lookup table per direction."""

    Params = IntensityMapParams

    @classmethod
    def build_network(cls, config: dict[str, Any]) -> nn.Module:
        """Build an empty table of the stored size."""
        return IntensityMapNetwork(config["bins"])

    @classmethod
    def fit(
        cls, slices: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]], params: IntensityMapParams
    ) -> dict[Direction, Fitted]:
        """Compute the median of each bin."""
        pixels = [(mr.ravel(), ct.ravel()) for mr, ct, _ in slices]
        if not pixels:
            raise DataError("intensity_map: no training slice; run the stage pair again")
        mr, ct = (torch.from_numpy(np.concatenate(values)) for values in zip(*pixels, strict=True))
        config = {"bins": params.bins}
        return {
            Direction.MR_TO_CT: Fitted(_fit_table(mr, ct, params.bins), config),
            Direction.CT_TO_MR: Fitted(_fit_table(ct, mr, params.bins), config),
        }


def bin_index(x: Tensor, bins: int) -> Tensor:
    """Return the bins (0 to bins - 1) of values in [-1, 1]; values outside go to the first or last bin."""
    return ((x + 1) / 2 * bins).long().clamp(0, bins - 1)


def _fit_table(source: Tensor, target: Tensor, bins: int) -> IntensityMapNetwork:
    """Compute the median of each bin; an empty bin is interpolated between its filled neighbors."""
    index = bin_index(source, bins).numpy()
    order = np.argsort(index, kind="stable")
    starts = np.searchsorted(index[order], np.arange(bins + 1))
    values = target.numpy()[order]
    filled = [b for b in range(bins) if starts[b] < starts[b + 1]]
    medians = [float(np.median(values[starts[b] : starts[b + 1]])) for b in filled]
    network = IntensityMapNetwork(bins)
    network.table.copy_(torch.from_numpy(np.interp(np.arange(bins), filled, medians).astype(np.float32)))
    return network
