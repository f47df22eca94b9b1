"""What makes one usable series better than another: named criteria, applied in the order of `select.prefer`.

A criterion measures a series as a number, less is better, and says in words what set two series apart.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from mrct.dicom.series import Series
from mrct.dicom.stack import Stack
from mrct.dicom.weighting import kernel_class

_KERNEL_RANK = {"soft": 0, "unknown": 1, "sharp": 2}
# from the skull base to the vertex; what a series covers beyond it is neck
_WHOLE_HEAD_MM = 150.0
# differences below it are how the slices happened to be placed
_COVERAGE_STEP_MM = 10.0


class Candidate(NamedTuple):
    """A usable series with its stack, and the days between it and the other modality's choice, if known."""

    series: Series
    stack: Stack
    days: int | None

    @property
    def n_slices(self) -> int:
        return self.stack.n_slices

    @property
    def coverage_mm(self) -> float:
        """Height that the slices span, one slice spacing for each."""
        return self.n_slices * self.stack.slice_spacing_mm

    @property
    def pixel_mm(self) -> float:
        return max(self.stack.instances[0].pixel_spacing_mm or (np.inf,))

    @property
    def kernel(self) -> str:
        return kernel_class(self.series.first) if self.series.modality == "CT" else "unknown"


class Criterion(NamedTuple):
    """`cost` of a candidate, and `why` (loser, winner) a candidate of higher cost lost."""

    cost: Callable[[Candidate], float]
    why: Callable[[Candidate, Candidate], str]


CRITERIA: dict[str, Criterion] = {
    "soft_kernel": Criterion(
        lambda one: _KERNEL_RANK[one.kernel],
        lambda loser, winner: f"a {winner.kernel} kernel is preferred to a {loser.kernel} one",
    ),
    "nearest_date": Criterion(
        lambda one: np.inf if one.days is None else one.days,
        lambda loser, winner: f"{_days(loser)} from the chosen MR, the chosen one {_days(winner)}",
    ),
    "more_coverage": Criterion(
        lambda one: -round(min(one.coverage_mm, _WHOLE_HEAD_MM) / _COVERAGE_STEP_MM),
        lambda loser, winner: (
            f"covers {loser.coverage_mm:.0f} mm, the chosen one {winner.coverage_mm:.0f} mm"
        ),
    ),
    "more_slices": Criterion(
        lambda one: -one.n_slices,
        lambda loser, winner: f"{loser.n_slices} usable slices, the chosen one has {winner.n_slices}",
    ),
    "finer_pixels": Criterion(
        lambda one: round(one.pixel_mm, 3),
        lambda loser, winner: (
            f"pixels of {loser.pixel_mm:.3g} mm, the chosen one has {winner.pixel_mm:.3g} mm"
        ),
    ),
    "first": Criterion(
        lambda one: one.series.first.series_number,
        lambda loser, winner: "as good as the chosen one, which comes first",
    ),
    "last": Criterion(
        lambda one: -one.series.first.series_number,
        lambda loser, winner: "as good as the chosen one, which comes last",
    ),
}


def best(candidates: Sequence[Candidate], prefer: Sequence[str]) -> Candidate | None:
    """The one that the criteria put first; the series' name settles what they leave open."""
    ordered = sorted(
        candidates, key=lambda one: (*(CRITERIA[name].cost(one) for name in prefer), one.series.name)
    )
    return ordered[0] if ordered else None


def why_not(loser: Candidate, winner: Candidate, prefer: Sequence[str]) -> str:
    """The criterion that decided, and its numbers."""
    for name in prefer:
        if CRITERIA[name].cost(loser) != CRITERIA[name].cost(winner):
            return f"by {name}: {CRITERIA[name].why(loser, winner)}"
    return "as good as the chosen one by all of select.prefer; the name decided"


def _days(one: Candidate) -> str:
    return "an unknown time" if one.days is None else f"{one.days} days"
