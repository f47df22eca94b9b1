"""What makes one usable series better than another: named criteria, applied in the order of `select.prefer`.

A criterion measures a series as a number, less is better. It decides only by a difference that means something:
who is within its tolerance of the best goes on to the next criterion.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from mrct.dicom.series import Series
from mrct.dicom.stack import Stack
from mrct.selection.weighting import kernel_class

_KERNEL_RANK = {"soft": 0, "unknown": 1, "sharp": 2}
# from the skull base to the vertex; what a series covers beyond it is neck
_WHOLE_HEAD_MM = 150.0
# two slices at the ends are how the technician happened to place the block
_COVERAGE_TOLERANCE_MM = 10.0
# pixels and slices finer by less are another rounding of the same prescription
_TENTH = float(np.log(1.1))


class Candidate(NamedTuple):
    """A usable series with its stack, and the days to the nearest (or the chosen) one of the other modality."""

    series: Series
    stack: Stack
    days: int | None

    @property
    def n_slices(self) -> int:
        return self.stack.n_slices

    @property
    def coverage_mm(self) -> float:
        return self.stack.n_slices * self.stack.slice_spacing_mm

    @property
    def pixel_mm(self) -> float:
        return max(self.stack.instances[0].pixel_spacing_mm or (np.inf,))

    @property
    def kernel(self) -> str:
        return kernel_class(self.series.first) if self.series.modality == "CT" else "unknown"


class Criterion(NamedTuple):
    """`cost` of a candidate, the `tolerance` of the cost, and `why` (loser, better) a candidate lost."""

    cost: Callable[[Candidate], float]
    tolerance: float
    why: Callable[[Candidate, Candidate], str]


CRITERIA: dict[str, Criterion] = {
    "soft_kernel": Criterion(
        lambda one: _KERNEL_RANK[one.kernel],
        0,
        lambda loser, better: f"has a {loser.kernel} kernel, a better one a {better.kernel} one",
    ),
    "nearest_date": Criterion(
        lambda one: np.inf if one.days is None else one.days,
        0,
        lambda loser, better: f"is {_days(loser)} from the {_other(loser)}, a better one {_days(better)}",
    ),
    "more_coverage": Criterion(
        lambda one: -min(one.coverage_mm, _WHOLE_HEAD_MM),
        _COVERAGE_TOLERANCE_MM,
        lambda loser, better: f"covers {loser.coverage_mm:.0f} mm, a better one {better.coverage_mm:.0f} mm",
    ),
    "finer_pixels": Criterion(
        lambda one: np.log(one.pixel_mm),
        _TENTH,
        lambda loser, better: (
            f"has pixels of {loser.pixel_mm:.3g} mm, a better one of {better.pixel_mm:.3g} mm"
        ),
    ),
    "more_slices": Criterion(
        lambda one: -np.log(one.n_slices),
        _TENTH,
        lambda loser, better: f"has {loser.n_slices} usable slices, a better one {better.n_slices}",
    ),
    "first": Criterion(
        lambda one: one.series.first.series_number,
        0,
        lambda loser, better: "is as good, the chosen one comes first",
    ),
    "last": Criterion(
        lambda one: -one.series.first.series_number,
        0,
        lambda loser, better: "is as good, the chosen one comes last",
    ),
}


def best(candidates: Sequence[Candidate], prefer: Sequence[str]) -> tuple[Candidate, dict[str, str]]:
    """Of one or more, the one that is left when each criterion has dropped those who fall behind; {loser's name: why}.

    The series' name settles what the criteria leave open.
    """
    left = sorted(candidates, key=lambda one: one.series.name)
    why: dict[str, str] = {}
    for name in prefer:
        cost, tolerance, words = CRITERIA[name]
        lead = min(left, key=cost)
        dropped = {one.series.name: one for one in left if cost(one) > cost(lead) + tolerance}
        why |= {loser: f"{words(one, lead)} (by {name})" for loser, one in dropped.items()}
        left = [one for one in left if one.series.name not in dropped]
    why |= {one.series.name: "is as good by all of select.prefer; the name decided" for one in left[1:]}
    return left[0], why


def _other(one: Candidate) -> str:
    return "CT" if one.series.modality == "MR" else "MR"


def _days(one: Candidate) -> str:
    return "an unknown time" if one.days is None else f"{one.days} days"
