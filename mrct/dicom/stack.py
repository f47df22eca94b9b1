"""The geometry of a series from its headers alone: which slices form one uniform stack, and where they lie.

Convention: unit vectors `row` (columns count up along it), `column` and `normal` = row x column in LPS; a
slice's level is its ImagePositionPatient projected on `normal`. Spacing comes from the levels only, never
from SliceThickness or SpacingBetweenSlices (PS3.3 C.7.6.2.1.1 makes the position the only authority).
"""

from dataclasses import dataclass, replace

import numpy as np

from mrct.core.errors import DataError
from mrct.dicom.runs import MIN_RUN, even_slices
from mrct.dicom.scans import SCAN_SHARE
from mrct.dicom.series import Instance, Series

# direction cosines are written with as few as three decimals
SAME_ORIENTATION = 0.01
SAME_PIXEL_MM = 1e-3
# of a series' slices, this share must have one orientation and size to be called a stack with a few strays
MAIN_SHARE = 0.8
SAME_LEVEL_MM = 0.01
# in-plane drift over the whole stack that is still a rectilinear grid
DRIFT_TOLERANCE_MM = 0.02


class GeometryError(DataError):
    """A series whose slices form no volume; the text holds no header value but numbers."""


@dataclass(frozen=True)
class Stack:
    """Images of one size and orientation, sorted along the normal, that make one volume of even slices.

    `drift_mm[n]` is how far image n lies off the line through image 0 along the normal, as (along row, along
    column); it is zero everywhere for a rectilinear stack and grows evenly under gantry tilt.
    `weights` (D, n) make the volume's D slices out of n uneven images; None where each image is a slice.
    `first_mm` is the level of the volume's first slice above image 0.
    `notes` tell what was left out or corrected.
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
        """Slices of the volume, D."""
        return len(self.instances) if self.weights is None else len(self.weights)

    @property
    def origin(self) -> np.ndarray:
        """Center of the first voxel of the first slice, LPS mm."""
        return np.asarray(self.instances[0].position, float) + self.first_mm * self.normal

    @property
    def is_sheared(self) -> bool:
        """True if the slices drift off the normal, as they do under gantry tilt."""
        return bool(np.abs(self.drift_mm).max() > DRIFT_TOLERANCE_MM)


def orientations(series: Series) -> list[tuple[Instance, ...]]:
    """The instances by orientation, matrix and frame of reference (positions of two are not comparable; PS3.3
    C.7.4.1), largest group first; those without geometry are in none.
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
    """Unit (row, column, normal) of an ImageOrientationPatient; GeometryError if not perpendicular."""
    row, column = np.asarray(orientation[:3], float), np.asarray(orientation[3:], float)
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if min(lengths) < 0.9 or max(lengths) > 1.1 or abs(row @ column) > 0.02:
        raise GeometryError("the image orientation is no pair of perpendicular unit vectors")
    row = row / lengths[0]
    column = column - (column @ row) * row
    column = column / np.linalg.norm(column)
    return row, column, np.cross(row, column)


def stack(series: Series) -> Stack:
    """The volume of even slices that covers most of the series; GeometryError says why there is none.

    Uneven slices of a CT are averaged where that reaches farther (mrct/dicom/runs); of an MR, whose signal
    depends on the slice thickness, the longest even run is taken.
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
        raise GeometryError(f"no {MIN_RUN} of {len(members)} slices are evenly spaced")
    members = members[even.first : even.last + 1]
    offsets = np.array([instance.position for instance in members]) - np.array(members[0].position)
    drift = np.stack([offsets @ row, offsets @ column], axis=1)
    first_mm = even.first_level_mm - float(levels[even.first])
    notes += [*duplicates, *even.notes]
    result = Stack(members, row, column, normal, even.spacing_mm, drift, tuple(notes), even.weights, first_mm)
    return replace(result, notes=(*notes, _shear_note(result))) if result.is_sheared else result


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
        and _apart(one.orientation or (), other.orientation or ()) < SAME_ORIENTATION
        and _apart(one.pixel_spacing_mm or (), other.pixel_spacing_mm or ()) < SAME_PIXEL_MM
    )


def _apart(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Largest difference; plain Python, because it is asked for every pair of slices."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def _main_group(series: Series) -> tuple[tuple[Instance, ...], list[str]]:
    groups = orientations(series)
    count = len(series.instances)
    if not groups:
        raise GeometryError("no slice has a position, an orientation and a pixel spacing")
    if len(groups[0]) < MAIN_SHARE * count:
        raise GeometryError(
            f"only {len(groups[0])} of {count} slices share one orientation, size and frame of reference"
        )
    strays = count - len(groups[0])
    note = f"{strays} of {count} slices of another orientation, size or frame of reference left out"
    return groups[0], [note] if strays else []


def _levels(members: tuple[Instance, ...], normal: np.ndarray) -> np.ndarray:
    return np.array([instance.position for instance in members], float) @ normal


def _unique_levels(
    members: tuple[Instance, ...], normal: np.ndarray
) -> tuple[tuple[Instance, ...], list[str]]:
    """Sorted by level; of slices at one level the first by acquisition and instance number."""
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
            f"{repeated} of {len(members)} slices repeat a position: several scans in one series"
        )
    plural = "s" if repeated > 1 else ""
    notes = [f"{repeated} slice{plural} at a repeated position left out"] if repeated else []
    return tuple(members[n] for n in kept), notes
