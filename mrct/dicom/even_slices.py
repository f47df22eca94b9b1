"""Evenly spaced slices from images at any levels: which images belong to them, and which slices have no image.

An even stack with lost images keeps all others. Its missing slices are interpolated between their neighbors, so that
the volume has no jump, and they are named in `filled`, so that nobody takes them for data.

Positions are often rounded: with one decimal, slices 0.625 mm apart have distances of 0.6 and 0.7 mm. An image
belongs to a slice if its level agrees within this rounding.

A head CT is often scanned thin through the skull base and thick above it, as one series. The thick images are kept as
they are. The thin ones are averaged over slabs of the thick slices' height and spacing. A thick slice is the mean
attenuation over its height, so the average is what the scanner would have measured. The opposite, interpolating thin
slices from thick ones, would invent data. MR slices are never averaged, because their signal depends on the slice
thickness.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

#: Share of the images of a series that must form one stack; the others are strays.
MAIN_SHARE = 0.8
#: Two positions written with one decimal (mm) are each off by up to half of this along every axis.
ROUNDING_MM = 0.1
# an image may not fit two slices
_LARGEST_TOLERANCE = 1 / 4
# in floating-point numbers a difference of 0.1 mm may be a little larger
_EPSILON_MM = 1e-6
_MIN_RUN = 3
# a distance in which at least one image is missing
_GAP_SPACINGS = 1.5
# a thinner slice is thinner by more than the rounding of its spacing
_FINER = 0.99
# averaged images must fill their slab; the rest to 1 allows for rounded positions
_FILLED = 0.99
# the unchanged slices must be at least this share of the slices; otherwise averaging the others loses more
_UNTOUCHED_SHARE = 1 / 2
# slices without an image may be at most this share of the slices
_MISSING_SHARE = 1 / 2


@dataclass(frozen=True)
class EvenSlices:
    """Evenly spaced slices made of some of the images.

    Attributes:
        members: Indices of the n images that are used, in order.
        spacing_mm: Distance between neighboring slices.
        first_level_mm: Level of the first slice.
        weights: (D, n), the D slices as means of the images; each row sums to 1. None if each image is a slice.
        filled: Indices of the slices that no image shows. They are interpolated between their neighbors.
        notes: What was averaged, left out or is missing.
    """

    members: tuple[int, ...]
    spacing_mm: float
    first_level_mm: float
    weights: np.ndarray | None
    filled: tuple[int, ...]
    notes: tuple[str, ...]


def even_slices(
    levels: np.ndarray,
    thicknesses: Sequence[float | None],
    *,
    may_average: bool,
    tolerance_mm: float = ROUNDING_MM,
) -> EvenSlices | None:
    """Find the evenly spaced slices that use most of the images.

    Args:
        levels: Sorted levels of the images, mm.
        thicknesses: Slice thicknesses of the images, mm; images of two known thicknesses never share a stack unless
            the thinner ones are averaged.
        may_average: Whether to allow averaging of thinner slices to the spacing of thicker ones.
        tolerance_mm: Largest distance between an image and its slice; the first and the last image define the line.

    Returns:
        The slices, or None if no three images are evenly spaced.
    """
    runs = _even_runs(levels, thicknesses, tolerance_mm)
    grids = _grids(levels, thicknesses, runs, tolerance_mm)
    made = [_with_averages(grid, levels, grids if may_average else ()) for grid in grids]
    if not made:
        return None
    wanted = MAIN_SHARE * len(levels)
    best = max(made, key=lambda one: (len(one.used) >= wanted, one.height_mm, len(one.used)))
    return best.slices(_notes(best, levels, runs))


class _Run(NamedTuple):
    """Images `first` to `last` (indices) with equal distances and of one thickness."""

    first: int
    last: int
    spacing_mm: float

    @property
    def n_images(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True)
class _Grid:
    """Levels `start_mm + step * spacing_mm`, and the images (`members`, indices) that lie at some of the steps."""

    members: np.ndarray
    steps: np.ndarray
    start_mm: float
    spacing_mm: float

    def holds(self, run: _Run) -> bool:
        """Return whether the images of the run are neighbors on the grid."""
        place = np.searchsorted(self.members, run.first)
        inside = slice(place, place + run.n_images)
        wanted = np.arange(run.first, run.last + 1)
        same = np.array_equal(self.members[inside], wanted)
        return same and bool((np.diff(self.steps[inside]) == 1).all())


@dataclass(frozen=True)
class _Made:
    """Slices of a grid: the steps that have data, and the weights (steps, n) of all n images."""

    grid: _Grid
    steps: np.ndarray
    weights: np.ndarray

    @property
    def used(self) -> np.ndarray:
        """Indices of the images that are used."""
        return np.flatnonzero(self.weights.any(axis=0))

    @property
    def height_mm(self) -> float:
        """Height of the slices that have data."""
        return len(self.steps) * self.grid.spacing_mm

    @property
    def n_untouched(self) -> int:
        """Number of slices that are an image as it is."""
        return int(np.isin(self.steps, self.grid.steps).sum())

    @property
    def n_filled(self) -> int:
        return int(self.steps[-1] - self.steps[0]) + 1 - len(self.steps)

    def slices(self, notes: tuple[str, ...]) -> EvenSlices:
        used, first = self.used, int(self.steps[0])
        all_steps = np.arange(first, int(self.steps[-1]) + 1)
        weights = None
        if self.n_untouched < len(all_steps):
            columns = [np.interp(all_steps, self.steps, column) for column in self.weights[:, used].T]
            weights = np.stack(columns, axis=1)
        return EvenSlices(
            members=tuple(used.tolist()),
            spacing_mm=self.grid.spacing_mm,
            first_level_mm=self.grid.start_mm + first * self.grid.spacing_mm,
            weights=weights,
            filled=tuple(np.flatnonzero(~np.isin(all_steps, self.steps)).tolist()),
            notes=notes,
        )


class _Cone:
    """The spacings for which images at whole steps from an anchor image lie within the tolerance of their slices.

    Each image narrows the range of spacings (the swing filter of Elmeleegy et al., VLDB 2009).
    """

    def __init__(self, anchor_mm: float, spacing_mm: float, tolerance_mm: float) -> None:
        self.anchor_mm = anchor_mm
        self.slack_mm = min(tolerance_mm, spacing_mm * _LARGEST_TOLERANCE) + _EPSILON_MM
        self.low_mm, self.high_mm = 0.0, np.inf

    @property
    def spacing_mm(self) -> float:
        return (self.low_mm + self.high_mm) / 2

    def admits(self, level_mm: float, step: int) -> bool:
        """Return whether an image at `step` (not 0) fits the images so far; if so, it narrows the range."""
        distance_mm, steps = abs(level_mm - self.anchor_mm), abs(step)
        low_mm = max(self.low_mm, (distance_mm - self.slack_mm) / steps)
        high_mm = min(self.high_mm, (distance_mm + self.slack_mm) / steps)
        if low_mm > high_mm:
            return False
        self.low_mm, self.high_mm = low_mm, high_mm
        return True


def _alike(one: float | None, other: float | None) -> bool:
    return one is None or other is None or one == other


def _even_runs(levels: np.ndarray, thicknesses: Sequence[float | None], tolerance_mm: float) -> list[_Run]:
    """Return each maximal run of equal distances between images of equal thickness; runs may share an image."""
    runs, start = [], 0
    while start < len(levels) - 1:
        cone, end = _Cone(levels[start], levels[start + 1] - levels[start], tolerance_mm), start
        while (
            end + 1 < len(levels)
            and _alike(thicknesses[end + 1], thicknesses[start])
            and cone.admits(levels[end + 1], end + 1 - start)
        ):
            end += 1
        if end > start:
            runs.append(_Run(start, end, float(levels[end] - levels[start]) / (end - start)))
        start = max(end, start + 1)
    return runs


def _grids(
    levels: np.ndarray, thicknesses: Sequence[float | None], runs: Sequence[_Run], tolerance_mm: float
) -> list[_Grid]:
    """Extend each run to a grid by the images beyond gaps; runs of two images are tried if there are no longer ones."""
    enough = min(_MIN_RUN, len(levels))
    seeds = [run for run in runs if run.n_images >= enough] or list(runs)
    grids: list[_Grid] = []
    for run in sorted(seeds, key=lambda one: -one.n_images):
        if not any(grid.holds(run) for grid in grids):
            grids.append(_grown(levels, thicknesses, run, tolerance_mm))
    return [grid for grid in grids if len(grid.members) >= enough]


def _grown(levels: np.ndarray, thicknesses: Sequence[float | None], run: _Run, tolerance_mm: float) -> _Grid:
    """Add to a run every image of its thickness that lies a whole number of spacings away, and drop strays."""
    cone = _Cone(levels[run.first], run.spacing_mm, tolerance_mm)
    steps = {n: n - run.first for n in range(run.first, run.last + 1)}
    for n in range(run.first + 1, run.last + 1):
        cone.admits(levels[n], steps[n])
    above, below = range(run.last + 1, len(levels)), range(run.first - 1, -1, -1)
    for end, beyond in ((run.last, above), (run.first, below)):
        for n in beyond:
            step = steps[end] + round((levels[n] - levels[end]) / cone.spacing_mm)
            known = _alike(thicknesses[n], thicknesses[run.first])
            if known and step != steps[end] and cone.admits(levels[n], step):
                steps[n], end = step, n
    members = np.array(sorted(steps))
    at = np.array([steps[n] for n in members])
    kept = np.isin(at, _without_strays(at))
    return _lined_up(levels, members[kept], at[kept], cone.slack_mm)


def _lined_up(levels: np.ndarray, members: np.ndarray, steps: np.ndarray, slack_mm: float) -> _Grid:
    """Put the line through the first and the last image, and keep those within the tolerance of it."""
    steps = steps - steps[0]
    start_mm = float(levels[members[0]])
    spacing_mm = float(levels[members[-1]] - levels[members[0]]) / max(int(steps[-1]), 1)
    near = np.abs(levels[members] - start_mm - spacing_mm * steps) <= slack_mm
    return _Grid(members[near], steps[near], start_mm, spacing_mm)


def _without_strays(steps: np.ndarray) -> np.ndarray:
    """Drop what a gap parts from most of the slices.

    A few slices at an end are strays if the gap before them is longer than they are. No more slices may be missing
    than there are.
    """
    parts = np.split(steps, np.flatnonzero(np.diff(steps) > 1) + 1)
    while (cut := _cut(parts)) is not None:
        low, high = parts[: cut + 1], parts[cut + 1 :]
        parts = low if sum(map(len, low)) >= sum(map(len, high)) else high
    return np.concatenate(parts)


def _cut(parts: Sequence[np.ndarray]) -> int | None:
    """Return the gap (0: after the first part) at which to drop the smaller side, or None."""
    gaps = [int(after[0] - before[-1]) - 1 for before, after in pairwise(parts)]
    if not gaps:
        return None
    for part, place in ((parts[0], 0), (parts[-1], len(gaps) - 1)):
        if len(part) < min(_MIN_RUN, gaps[place]):
            return place
    n_slices = int(parts[-1][-1] - parts[0][0]) + 1
    return int(np.argmax(gaps)) if sum(gaps) > _MISSING_SHARE * n_slices else None


def _with_averages(grid: _Grid, levels: np.ndarray, others: Sequence[_Grid]) -> _Made:
    """Make the slices of a grid; where finer images fill a slice that has no image, their average."""
    slices = {int(step): _one_hot(n, len(levels)) for step, n in zip(grid.steps, grid.members, strict=True)}
    averaged = _averages(grid, levels, others)
    if len(averaged) <= (1 / _UNTOUCHED_SHARE - 1) * len(slices):
        slices = averaged | slices
    steps = _without_strays(np.array(sorted(slices)))
    return _Made(grid, steps, np.stack([slices[step] for step in steps.tolist()]))


def _one_hot(n: int, length: int) -> np.ndarray:
    weights = np.zeros(length)
    weights[n] = 1.0
    return weights


def _averages(grid: _Grid, levels: np.ndarray, others: Sequence[_Grid]) -> dict[int, np.ndarray]:
    """Return the weights of the images for each step of the grid whose whole height finer images show."""
    heights = np.full(len(levels), np.inf)
    for other in others:
        if other.spacing_mm < _FINER * grid.spacing_mm:
            heights[other.members] = np.minimum(heights[other.members], other.spacing_mm)
    heights[grid.members] = np.inf
    half = np.where(np.isfinite(heights), heights, 0.0) / 2
    lower, upper = levels - half, levels + half
    near = np.rint((levels[half > 0] - grid.start_mm) / grid.spacing_mm).astype(int)
    found = {}
    for step in sorted(set(near.tolist()) - set(grid.steps.tolist())):
        center_mm, reach_mm = grid.start_mm + step * grid.spacing_mm, grid.spacing_mm / 2
        overlap = np.minimum(upper, center_mm + reach_mm) - np.maximum(lower, center_mm - reach_mm)
        overlap = np.where(half > 0, np.clip(overlap, 0.0, None), 0.0)
        if overlap.sum() >= _FILLED * grid.spacing_mm:
            found[step] = overlap / overlap.sum()
    return found


def _notes(made: _Made, levels: np.ndarray, runs: Sequence[_Run]) -> tuple[str, ...]:
    n_averaged = len(made.steps) - made.n_untouched
    left_out = len(levels) - len(made.used)
    usable = [run for run in runs if run.n_images >= min(_MIN_RUN, len(levels))] or list(runs)
    notes = []
    if n_averaged or left_out:
        spacings = sorted({round(run.spacing_mm, 1) for run in usable})
        notes.append(f"uneven: runs of {', '.join(f'{spacing:g}' for spacing in spacings)} mm spacing")
    if n_averaged:
        notes.append(
            f"{made.n_untouched} slices kept as they are, {len(made.used) - made.n_untouched} thinner or closer ones "
            f"averaged to {n_averaged} of {made.grid.spacing_mm:.3g} mm, {left_out} left out"
        )
    elif left_out:
        notes.append(f"kept {len(made.used)} of {len(levels)} slices, the largest even stack")
    gaps = np.diff(levels)
    wide = gaps[gaps > _GAP_SPACINGS * max(run.spacing_mm for run in usable)]
    if len(wide):
        notes.append(f"slices are missing: {_count(len(wide), 'gap')} of up to {wide.max():.1f} mm")
    if made.n_filled:
        notes.append(f"{_count(made.n_filled, 'missing slice')} interpolated, never used as a pair")
    return tuple(notes)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number > 1 else ''}"
