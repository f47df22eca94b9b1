"""The geometry of a series from its headers alone: which slices form one evenly spaced stack, and where they lie.

Spacing is computed from the positions, never read from SliceThickness or SpacingBetweenSlices: ImagePositionPatient
alone defines where a slice lies (PS3.3 C.7.6.2.1.1). mrct/dicom/even_slices.py finds the slices along the normal.

Convention: unit vectors `row` (the column index increases along it), `column` and `normal` = row x column in LPS. The
level of a slice is its ImagePositionPatient projected on `normal`, in mm.
"""

from dataclasses import dataclass, replace

import numpy as np

from mrct.dicom.errors import GeometryError
from mrct.dicom.even_slices import MAIN_SHARE, ROUNDING_MM, even_slices
from mrct.dicom.scans import restarts
from mrct.dicom.series import SCAN_SHARE, Instance, Series

#: Slices tilted further from axial are oblique. A head CT along the orbitomeatal line reaches 30 degrees.
MAX_ANGLE_DEG = 30.0
#: Slices closer than this (mm) lie at one level.
SAME_LEVEL_MM = 0.01
# direction cosines are written with as few as three decimals
_SAME_ORIENTATION = 0.01
_SAME_PIXEL_MM = 1e-3


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
        weights: (D, n), the D slices of the volume as means of the n images; None if each image is a slice.
        first_mm: Level of the first slice of the volume above image 0.
        filled: Indices of the slices of the volume that no image shows: they are interpolated, and no data.
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
    filled: tuple[int, ...] = ()

    @property
    def n_slices(self) -> int:
        """Number of slices that images show, at most D."""
        return (len(self.instances) if self.weights is None else len(self.weights)) - len(self.filled)

    @property
    def height_mm(self) -> float:
        """Height of the slices that images show."""
        return self.n_slices * self.slice_spacing_mm

    @property
    def origin(self) -> np.ndarray:
        """Center of the first voxel of the first slice, LPS mm."""
        return np.asarray(self.instances[0].position, float) + self.first_mm * self.normal

    @property
    def is_sheared(self) -> bool:
        """Return whether the slices drift off the normal by more than rounding, as under gantry tilt."""
        allowed_mm = rounding_mm(self.row), rounding_mm(self.column)
        return bool((np.abs(self.drift_mm).max(axis=0) > allowed_mm).any())


def stack(series: Series) -> Stack:
    """Find the evenly spaced slices that use most of the series.

    Thinner slices of a CT are averaged where that uses more. Missing slices are interpolated and named in `filled`.

    Raises:
        GeometryError: The slices do not form a volume; the text states why.
    """
    members, notes = _main_group(series)
    if restarts(members):
        raise GeometryError(
            "its instance numbers start again: several scans in one series, which no header value tells apart"
        )
    row, column, normal = axes(members[0].orientation or ())
    if min(members[0].pixel_spacing_mm or (0.0,)) <= 0:
        raise GeometryError("the pixel spacing is not positive")
    members, duplicates = _unique_levels(members, normal)
    levels = _levels(members, normal)
    thicknesses = [instance.thickness_mm for instance in members]
    even = even_slices(
        levels, thicknesses, may_average=series.modality == "CT", tolerance_mm=rounding_mm(normal)
    )
    if even is None:
        raise GeometryError(f"no three of {len(members)} slices are evenly spaced")
    first_mm = even.first_level_mm - float(levels[even.members[0]])
    members = tuple(members[n] for n in even.members)
    offsets = np.array([instance.position for instance in members]) - np.array(members[0].position)
    result = Stack(
        instances=members,
        row=row,
        column=column,
        normal=normal,
        slice_spacing_mm=even.spacing_mm,
        drift_mm=np.stack([offsets @ row, offsets @ column], axis=1),
        notes=(*notes, *duplicates, *even.notes),
        weights=even.weights,
        first_mm=first_mm,
        filled=even.filled,
    )
    return replace(result, notes=(*result.notes, _shear_note(result))) if result.is_sheared else result


def rounding_mm(direction: np.ndarray) -> float:
    """Return how far two points lie apart along a unit vector at most, if only the rounding of positions parts them."""
    return ROUNDING_MM * float(np.abs(direction).sum())


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
