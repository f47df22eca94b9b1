"""The geometry of a series from its headers alone: which slices form one evenly spaced stack, and where they lie.

Spacing is computed from the positions, never read from SliceThickness or SpacingBetweenSlices: ImagePositionPatient
alone defines where a slice lies (PS3.3 C.7.6.2.1.1).

A head CT is often scanned thin through the skull base and thick above it, as one series. The thick slices are kept as
they are. The thin ones are averaged over slabs of the thick slices' height and spacing. A thick slice is the mean
attenuation over its height, so the average is what the scanner would have measured. The opposite, interpolating thin
slices from thick ones, would invent data. MR slices are never averaged, because their signal depends on the slice
thickness.

Convention: unit vectors `row` (the column index increases along it), `column` and `normal` = row x column in LPS. The
level of a slice is its ImagePositionPatient projected on `normal`, in mm.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import NamedTuple

import numpy as np

from mrct.dicom.errors import GeometryError
from mrct.dicom.series import SCAN_SHARE, Instance, Series

#: Share of the slices of a series that must have one orientation and size; the others are strays.
MAIN_SHARE = 0.8
#: Slices closer than this (mm) lie at one level.
SAME_LEVEL_MM = 0.01
# direction cosines are written with as few as three decimals
_SAME_ORIENTATION = 0.01
_SAME_PIXEL_MM = 1e-3
# largest in-plane drift over the whole stack of a rectilinear grid
_DRIFT_TOLERANCE_MM = 0.02
_MIN_RUN = 3
# positions are often rounded to 0.01 mm; a change of the spacing by more than 1 % is real
_SPACING_TOLERANCE = 0.01
_SPACING_TOLERANCE_MM = 0.01
# a distance in which at least one slice is missing
_GAP_SPACINGS = 1.5
# averaged slices must fill their slab; the rest to 1 allows for rounded positions
_FILLED = 0.99
# the unchanged slices must cover at least this share of the height; otherwise averaging the others loses more
_UNTOUCHED_SHARE = 1 / 2


@dataclass(frozen=True)
class Stack:
    """Images of one size and orientation, sorted along the normal, that form one volume of evenly spaced slices.

    Attributes:
        instances: The images that are used, n of them.
        row: Unit vector of a row, LPS.
        column: Unit vector of a column, LPS.
        normal: row x column.
        slice_spacing_mm: Distance between the slices of the volume.
        drift_mm: (n, 2), how far each image lies off the line through image 0 along the normal, as (along row, along
            column). It is zero for a rectilinear stack and grows linearly under gantry tilt.
        notes: What was left out or corrected.
        weights: (D, n), the D slices of the volume as means of n uneven images; None if each image is a slice.
        first_mm: Level of the first slice of the volume above image 0.
    """

    instances: tuple[Instance, ...]
    row: np.ndarray
    column: np.ndarray
    normal: np.ndarray
    slice_spacing_mm: float
    drift_mm: np.ndarray
    notes: tuple[str, ...]
    weights: np.ndarray | None = None
    first_mm: float = 0.0

    @property
    def n_slices(self) -> int:
        """Number of slices of the volume, D."""
        return len(self.instances) if self.weights is None else len(self.weights)

    @property
    def origin(self) -> np.ndarray:
        """Center of the first voxel of the first slice, LPS mm."""
        return np.asarray(self.instances[0].position, float) + self.first_mm * self.normal

    @property
    def is_sheared(self) -> bool:
        """Whether the slices drift off the normal, as they do under gantry tilt."""
        return bool(np.abs(self.drift_mm).max() > _DRIFT_TOLERANCE_MM)


def stack(series: Series) -> Stack:
    """Find the evenly spaced slices that cover most of the series.

    Unevenly spaced slices of a CT are averaged where that covers more. Of an MR the longest even run is taken.

    Raises:
        GeometryError: The slices do not form a volume; the text states why.
    """
    members, notes = _main_group(series)
    row, column, normal = axes(members[0].orientation or ())
    if min(members[0].pixel_spacing_mm or (0.0,)) <= 0:
        raise GeometryError("the pixel spacing is not positive")
    members, duplicates = _unique_levels(members, normal)
    levels = _levels(members, normal)
    thicknesses = [instance.thickness_mm for instance in members]
    even = even_slices(levels, thicknesses, may_average=series.modality == "CT")
    if even is None:
        raise GeometryError(f"no {_MIN_RUN} of {len(members)} slices are evenly spaced")
    members = members[even.first : even.last + 1]
    offsets = np.array([instance.position for instance in members]) - np.array(members[0].position)
    drift = np.stack([offsets @ row, offsets @ column], axis=1)
    first_mm = even.first_level_mm - float(levels[even.first])
    notes += [*duplicates, *even.notes]
    result = Stack(members, row, column, normal, even.spacing_mm, drift, tuple(notes), even.weights, first_mm)
    return replace(result, notes=(*notes, _shear_note(result))) if result.is_sheared else result


def plane(series: Series) -> tuple[str, float | None]:
    """Return (axial | coronal | sagittal | unknown, degrees between the slices and the axial plane)."""
    groups = orientations(series)
    if not groups:
        return "unknown", None
    try:
        normal = np.abs(axes(groups[0][0].orientation or ())[2])
    except GeometryError:
        return "unknown", None
    name = ("sagittal", "coronal", "axial")[int(normal.argmax())]
    return name, round(float(np.degrees(np.arccos(min(1.0, normal[2])))), 2)


def orientations(series: Series) -> list[tuple[Instance, ...]]:
    """Group the images by orientation, matrix and frame of reference, largest group first.

    Positions in two frames of reference cannot be compared (PS3.3 C.7.4.1). Images without geometry are in no group.
    """
    groups: list[list[Instance]] = []
    for instance in series.instances:
        if instance.orientation is None or instance.position is None or instance.pixel_spacing_mm is None:
            continue
        home = next((group for group in groups if _same_plane(group[0], instance)), None)
        if home is None:
            groups.append([instance])
        else:
            home.append(instance)
    return [tuple(group) for group in sorted(groups, key=len, reverse=True)]


def axes(orientation: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the unit vectors (row, column, normal) of an ImageOrientationPatient.

    Raises:
        GeometryError: The vectors are not perpendicular, or not of unit length.
    """
    row, column = np.asarray(orientation[:3], float), np.asarray(orientation[3:], float)
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if min(lengths) < 0.9 or max(lengths) > 1.1 or abs(row @ column) > 0.02:
        raise GeometryError("the image orientation is no pair of perpendicular unit vectors")
    row = row / lengths[0]
    column = column - (column @ row) * row
    column = column / np.linalg.norm(column)
    return row, column, np.cross(row, column)


def _shear_note(item: Stack) -> str:
    across = np.linalg.norm(item.drift_mm[-1])
    along = np.ptp(_levels(item.instances, item.normal))
    tilt_deg = float(np.degrees(np.arctan2(across, along)))
    if tilt_deg < 0.1:
        return f"slices up to {np.abs(item.drift_mm).max():.2f} mm off their axis shifted back"
    return f"gantry tilt of {tilt_deg:.1f}° (from positions) sheared back"


def _same_plane(one: Instance, other: Instance) -> bool:
    return (
        (one.rows, one.columns, one.frame_of_reference)
        == (other.rows, other.columns, other.frame_of_reference)
        and _apart(one.orientation or (), other.orientation or ()) < _SAME_ORIENTATION
        and _apart(one.pixel_spacing_mm or (), other.pixel_spacing_mm or ()) < _SAME_PIXEL_MM
    )


def _apart(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Return the largest difference; plain Python is faster here, and every pair of slices needs it."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def _main_group(series: Series) -> tuple[tuple[Instance, ...], list[str]]:
    groups = orientations(series)
    total = len(series.instances)
    if not groups:
        raise GeometryError("no slice has a position, an orientation and a pixel spacing")
    if len(groups[0]) < MAIN_SHARE * total:
        raise GeometryError(
            f"only {len(groups[0])} of {total} slices share one orientation, size and frame of reference"
        )
    strays = total - len(groups[0])
    note = f"{strays} of {total} slices of another orientation, size or frame of reference left out"
    return groups[0], [*series.notes, note] if strays else [*series.notes]


def _levels(members: tuple[Instance, ...], normal: np.ndarray) -> np.ndarray:
    return np.array([instance.position for instance in members], float) @ normal


def _unique_levels(
    members: tuple[Instance, ...], normal: np.ndarray
) -> tuple[tuple[Instance, ...], list[str]]:
    """Sort by level; at each level keep the first slice by acquisition and instance number."""
    levels = _levels(members, normal)
    order = sorted(
        range(len(members)),
        key=lambda n: (levels[n], members[n].acquisition_number, members[n].instance_number),
    )
    kept = [order[0]]
    for n in order[1:]:
        if levels[n] - levels[kept[-1]] > SAME_LEVEL_MM:
            kept.append(n)
    repeated = len(members) - len(kept)
    if len(kept) < 2:
        raise GeometryError("all slices lie at one position: the distance between slices is unknown")
    if repeated > SCAN_SHARE * len(members):
        raise GeometryError(
            f"{repeated} of {len(members)} slices repeat a position: several scans in one series, "
            "which no header value tells apart"
        )
    plural = "s" if repeated > 1 else ""
    notes = [f"{repeated} slice{plural} at a repeated position left out"] if repeated else []
    return tuple(members[n] for n in kept), notes


class Run(NamedTuple):
    """Slices `first` to `last` (indices), evenly spaced and of one thickness."""

    first: int
    last: int
    spacing_mm: float

    @property
    def n_slices(self) -> int:
        return self.last - self.first + 1


class EvenSlices(NamedTuple):
    """Evenly spaced slices made of images `first` to `last` (indices).

    `weights` (D, last - first + 1) combine the images into D slices, and each row sums to 1; None if each image is a
    slice.
    """

    first: int
    last: int
    spacing_mm: float
    first_level_mm: float
    weights: np.ndarray | None
    notes: tuple[str, ...]


class _Averaged(NamedTuple):
    """The run that is kept unchanged, the level of the first slice, and weights (D, n) of all n images."""

    base: Run
    first_level_mm: float
    weights: np.ndarray

    @property
    def height_mm(self) -> float:
        return len(self.weights) * self.base.spacing_mm


def even_slices(
    levels: np.ndarray, thicknesses: Sequence[float | None], *, may_average: bool
) -> EvenSlices | None:
    """Find the evenly spaced slices that cover most of the levels.

    Args:
        levels: Sorted levels of the images, mm.
        thicknesses: Slice thicknesses of the images, mm.
        may_average: Whether to allow averaging of thinner slices to the spacing of thicker ones.

    Returns:
        The slices, or None if no run of at least three images is evenly spaced.
    """
    runs = _even_runs(levels, thicknesses)
    usable = [run for run in runs if run.n_slices >= min(_MIN_RUN, len(levels))]
    if not usable:
        return None
    longest = max(usable, key=lambda run: (levels[run.last] - levels[run.first], run.n_slices))
    averaged = _average_finer(levels, runs) if may_average else None
    if averaged is not None and averaged.height_mm > longest.n_slices * longest.spacing_mm:
        return _even_by_averaging(averaged, (*_uneven(usable), *_missing(levels, usable)))
    notes: tuple[str, ...] = ()
    if longest.n_slices < len(levels):
        kept = f"kept {longest.n_slices} of {len(levels)} slices, the longest even run"
        notes = (*_uneven(usable), kept, *_missing(levels, usable))
    first, last, spacing_mm = longest
    return EvenSlices(first, last, spacing_mm, float(levels[first]), None, notes)


def _even_by_averaging(made: _Averaged, notes: tuple[str, ...]) -> EvenSlices:
    used = np.flatnonzero(made.weights.any(axis=0))
    base, first, last = made.base, int(used[0]), int(used[-1])
    count_averaged, count_made = len(used) - base.n_slices, len(made.weights) - base.n_slices
    text = (
        f"{base.n_slices} slices kept as they are, {count_averaged} thinner or closer ones averaged to "
        f"{count_made} of {base.spacing_mm:.3g} mm, {made.weights.shape[1] - len(used)} left out"
    )
    weights = made.weights[:, first : last + 1]
    return EvenSlices(
        first, last, base.spacing_mm, made.first_level_mm, weights, (*notes[:1], text, *notes[1:])
    )


def _uneven(runs: Sequence[Run]) -> tuple[str, ...]:
    spacings = sorted({round(run.spacing_mm, 1) for run in runs})
    return (f"uneven: runs of {', '.join(f'{spacing:g}' for spacing in spacings)} mm spacing",)


def _missing(levels: np.ndarray, runs: Sequence[Run]) -> tuple[str, ...]:
    gaps = np.diff(levels)
    wide = gaps[gaps > _GAP_SPACINGS * max(run.spacing_mm for run in runs)]
    if not len(wide):
        return ()
    plural = "s" if len(wide) > 1 else ""
    return (f"slices are missing: {len(wide)} gap{plural} of up to {wide.max():.1f} mm",)


def _even_runs(levels: np.ndarray, thicknesses: Sequence[float | None]) -> list[Run]:
    """Return each maximal run of equal gaps between slices of equal thickness; adjacent runs may share a slice."""
    gaps = np.diff(levels)
    runs, start = [], 0
    for n in range(1, len(levels)):
        even = abs(gaps[n - 1] - gaps[start]) <= _SPACING_TOLERANCE * gaps[start] + _SPACING_TOLERANCE_MM
        if thicknesses[n] == thicknesses[start] and even:
            continue
        runs.append((start, n - 1))
        # a gap that ends the run may begin the next one if both of its slices have the same thickness
        start = n - 1 if thicknesses[n] == thicknesses[n - 1] and n - 1 > start else n
    runs.append((start, len(levels) - 1))
    return [Run(a, b, float(levels[b] - levels[a]) / (b - a)) for a, b in runs if b > a]


def _average_finer(levels: np.ndarray, runs: Sequence[Run]) -> _Averaged | None:
    """Find the run that covers most when finer slices next to it are averaged to its spacing; None if there is none."""
    found = [_extend(levels, runs, base) for base in runs if base.n_slices >= _MIN_RUN]
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
    """Yield the weights of one slab after another beyond the end of the base, while finer slices fill it."""
    lower, upper = _faces(levels, runs, base, way)
    end = levels[base.last if way > 0 else base.first]
    for step in count(1):
        center, half = end + way * step * base.spacing_mm, base.spacing_mm / 2
        overlap = np.clip(np.minimum(upper, center + half) - np.maximum(lower, center - half), 0, None)
        if overlap.sum() < _FILLED * base.spacing_mm:
            return
        yield overlap / overlap.sum()


def _faces(levels: np.ndarray, runs: Sequence[Run], base: Run, way: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the (lower, upper) face of each finer slice on that side of the base; other slices have no height."""
    half = np.zeros(len(levels))
    beyond = runs[runs.index(base) + 1 :] if way > 0 else runs[: runs.index(base)][::-1]
    for run in beyond:
        if run.spacing_mm >= base.spacing_mm:
            break
        half[run.first : run.last + 1] = run.spacing_mm / 2
    half[base.first : base.last + 1] = 0.0
    return levels - half, levels + half
