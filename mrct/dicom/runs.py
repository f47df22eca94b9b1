"""Slices along one normal: runs of even spacing, and one even volume of a CT of two slice thicknesses.

A head CT is often scanned thin through the skull base and thick above it, as one series. The thick slices stay
as they are; the thin ones are averaged over slabs of the thick slices' height that continue their lattice.
A thick slice is the mean attenuation over its height, so the average is what the scanner would have measured;
the other way, thin slices out of thick ones, would be invention.
"""

from collections.abc import Iterator, Sequence
from itertools import count
from typing import NamedTuple

import numpy as np

MIN_RUN = 3
# positions are often rounded to 0.01 mm; a change of 1 % of the spacing is a change
_SPACING_TOLERANCE = 0.01
_SPACING_TOLERANCE_MM = 0.01
# a distance that lacks at least one slice
_GAP_SPACINGS = 1.5
# slices that are averaged must fill their slab; the rest is rounding of positions
_FILLED = 0.99
# the slices that stay untouched are at least this share of the height, else coarsening the others costs more
_UNTOUCHED_SHARE = 1 / 2


class Run(NamedTuple):
    """Slices `first` to `last` (indices), evenly spaced and of one thickness."""

    first: int
    last: int
    spacing_mm: float

    @property
    def n_slices(self) -> int:
        return self.last - self.first + 1

    @property
    def height_mm(self) -> float:
        """From the lower face of the first slice to the upper one of the last."""
        return self.n_slices * self.spacing_mm


class Even(NamedTuple):
    """Even slices out of images `first` to `last`: spacing, level of the first slice, and notes.

    `weights` (D, last - first + 1) make D slices of the images, each row sums to 1; None: an image is a slice.
    """

    first: int
    last: int
    spacing_mm: float
    first_level_mm: float
    weights: np.ndarray | None
    notes: tuple[str, ...]


class _Averaged(NamedTuple):
    """The run that stays as it is, the level of the first slice, and weights (D, n) of all n images."""

    base: Run
    first_level_mm: float
    weights: np.ndarray

    @property
    def height_mm(self) -> float:
        return len(self.weights) * self.base.spacing_mm


def even_slices(levels: np.ndarray, thicknesses: Sequence[float | None], *, may_average: bool) -> Even | None:
    """The even slices that cover most of sorted levels (mm), by averaging where allowed; None if there are none."""
    runs = even_runs(levels, thicknesses)
    usable = [run for run in runs if run.n_slices >= min(MIN_RUN, len(levels))]
    if not usable:
        return None
    longest = max(usable, key=lambda run: (levels[run.last] - levels[run.first], run.n_slices))
    averaged = _average_finer(levels, runs) if may_average else None
    if averaged is not None and averaged.height_mm > longest.height_mm:
        return _even_by_averaging(averaged, (*_uneven(usable), *_missing(levels, usable)))
    notes: tuple[str, ...] = ()
    if longest.n_slices < len(levels):
        kept = f"kept {longest.n_slices} of {len(levels)} slices, the longest even run"
        notes = (*_uneven(usable), kept, *_missing(levels, usable))
    first, last, spacing_mm = longest
    return Even(first, last, spacing_mm, float(levels[first]), None, notes)


def _even_by_averaging(made: _Averaged, notes: tuple[str, ...]) -> Even:
    used = np.flatnonzero(made.weights.any(axis=0))
    base, first, last = made.base, int(used[0]), int(used[-1])
    count_averaged, count_made = len(used) - base.n_slices, len(made.weights) - base.n_slices
    text = (
        f"{base.n_slices} slices kept as they are, {count_averaged} thinner or closer ones averaged to "
        f"{count_made} of {base.spacing_mm:.3g} mm, {made.weights.shape[1] - len(used)} left out"
    )
    weights = made.weights[:, first : last + 1]
    return Even(first, last, base.spacing_mm, made.first_level_mm, weights, (*notes[:1], text, *notes[1:]))


def _uneven(runs: Sequence[Run]) -> tuple[str, ...]:
    spacings = sorted({round(run.spacing_mm, 1) for run in runs})
    return (f"uneven: runs of {', '.join(f'{spacing:g}' for spacing in spacings)} mm spacing",)


def _missing(levels: np.ndarray, runs: Sequence[Run]) -> tuple[str, ...]:
    gaps = np.diff(levels)
    wide = gaps[gaps > _GAP_SPACINGS * max(run.spacing_mm for run in runs)]
    if not len(wide):
        return ()
    return (
        f"slices are missing: {len(wide)} gap{'s' if len(wide) > 1 else ''} of up to {wide.max():.1f} mm",
    )


def even_runs(levels: np.ndarray, thicknesses: Sequence[float | None]) -> list[Run]:
    """Each maximal run of equal gaps between slices of equal thickness; neighbors may share a slice."""
    gaps = np.diff(levels)
    runs, start = [], 0
    for n in range(1, len(levels)):
        even = abs(gaps[n - 1] - gaps[start]) <= _SPACING_TOLERANCE * gaps[start] + _SPACING_TOLERANCE_MM
        if thicknesses[n] == thicknesses[start] and even:
            continue
        runs.append((start, n - 1))
        # a gap that breaks the run may begin the next one, if both its ends are of one thickness
        start = n - 1 if thicknesses[n] == thicknesses[n - 1] and n - 1 > start else n
    runs.append((start, len(levels) - 1))
    return [Run(a, b, float(levels[b] - levels[a]) / (b - a)) for a, b in runs if b > a]


def _average_finer(levels: np.ndarray, runs: Sequence[Run]) -> _Averaged | None:
    """The run that reaches farthest when finer slices beside it are averaged onto its lattice, if one does."""
    found = [_extend(levels, runs, base) for base in runs if base.n_slices >= MIN_RUN]
    worth = [
        made
        for made in found
        if made.base.n_slices < len(made.weights) <= made.base.n_slices / _UNTOUCHED_SHARE
    ]
    return max(worth, key=lambda made: made.height_mm, default=None)


def _extend(levels: np.ndarray, runs: Sequence[Run], base: Run) -> _Averaged:
    untouched = list(np.eye(len(levels))[base.first : base.last + 1])
    below = list(_slabs(levels, runs, base, -1))[::-1]
    above = list(_slabs(levels, runs, base, 1))
    first_level_mm = float(levels[base.first]) - len(below) * base.spacing_mm
    return _Averaged(base, first_level_mm, np.stack([*below, *untouched, *above]))


def _slabs(levels: np.ndarray, runs: Sequence[Run], base: Run, way: int) -> Iterator[np.ndarray]:
    """Weights of slab after slab beyond the base's end, while finer slices fill it."""
    lower, upper = _cells(levels, runs, base, way)
    end = levels[base.last if way > 0 else base.first]
    for step in count(1):
        center, half = end + way * step * base.spacing_mm, base.spacing_mm / 2
        overlap = np.clip(np.minimum(upper, center + half) - np.maximum(lower, center - half), 0, None)
        if overlap.sum() < _FILLED * base.spacing_mm:
            return
        yield overlap / overlap.sum()


def _cells(levels: np.ndarray, runs: Sequence[Run], base: Run, way: int) -> tuple[np.ndarray, np.ndarray]:
    """(lower, upper) face of each finer slice on that side of the base; other slices have no height."""
    half = np.zeros(len(levels))
    beyond = runs[runs.index(base) + 1 :] if way > 0 else runs[: runs.index(base)][::-1]
    for run in beyond:
        if run.spacing_mm >= base.spacing_mm:
            break
        half[run.first : run.last + 1] = run.spacing_mm / 2
    half[base.first : base.last + 1] = 0.0
    return levels - half, levels + half
