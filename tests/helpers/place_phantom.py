"""Series whose values tell the place of each pixel, written as DICOM with any positions.

`field` is linear everywhere, so that a place that is off by 0.1 mm along the steepest axis shows as 2 HU, and
interpolation changes nothing. `head_hu` and `head_signal` show one head, for the stages that look for one.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from helpers.series_factory import AXIAL, write_enhanced, write_series
from mrct.dicom.grouping import group
from mrct.dicom.series import Series, read_instances

FIELD_PER_MM = np.array([3.0, 5.0, 20.0])
AIR_HU = -1000.0
Field = Callable[[np.ndarray], np.ndarray]


def field(points_mm: np.ndarray) -> np.ndarray:
    """Return 20 per mm along z, 5 along y and 3 along x, at points (..., 3) in LPS mm."""
    return points_mm @ FIELD_PER_MM


def _radius(points_mm: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points_mm / (68.0, 84.0, 74.0), axis=-1)


def head_hu(points_mm: np.ndarray) -> np.ndarray:
    """Return the HU of a head: air, scalp, skull, a brain that differs along all axes, and a ventricle on the left."""
    x, y, z = np.moveaxis(points_mm, -1, 0)
    brain = 35 + 0.2 * x + 0.15 * y + 0.25 * z
    brain = np.where((np.abs(x - 22) < 14) & (np.abs(y + 5) < 30), 5.0, brain)
    return np.select([_radius(points_mm) < r for r in (0.85, 0.95, 1.0)], [brain, 800.0, 10.0], AIR_HU)


def head_signal(points_mm: np.ndarray) -> np.ndarray:
    """Return the signal of the same head in a T2-weighted MR."""
    x, y, z = np.moveaxis(points_mm, -1, 0)
    brain = 500 + 1.5 * x + 1.0 * y - 1.2 * z
    brain = np.where((np.abs(x - 22) < 14) & (np.abs(y + 5) < 30), 1200.0, brain)
    return np.select([_radius(points_mm) < r for r in (0.85, 0.95, 1.0)], [brain, 40.0, 350.0], 5.0)


def write_phantom(
    folder: Path,
    modality: str,
    positions: Sequence[Any],
    function: Field = field,
    *,
    orientation: Sequence[float] = AXIAL,
    size: int = 8,
    pixel_mm: float = 4.0,
    decimals: int | None = None,
    enhanced: bool = False,
    each: Callable[[int], dict[str, Any]] = lambda k: {},
    **attributes: Any,
) -> None:
    """Write a series whose pixels lie at `positions`, which the headers state with so many decimals."""
    row, column = np.reshape(orientation, (2, 3)) * pixel_mm
    j, i = np.mgrid[:size, :size]
    inside = i[..., None] * row + j[..., None] * column
    offset = 1024.0 if modality == "CT" else 0.0
    values = np.stack([function(np.asarray(place, float) + inside) for place in positions]) + offset
    stated = [tuple(np.round(place, 6 if decimals is None else decimals)) for place in positions]
    write = write_enhanced if enhanced else write_series
    header = (
        {} if enhanced else {"ImageOrientationPatient": list(orientation), "PixelSpacing": [pixel_mm] * 2}
    )
    write(folder, modality, np.rint(values).astype(np.int16), stated, each=each, **header, **attributes)


def axial_positions(levels_mm: Sequence[float], size: int = 8, pixel_mm: float = 4.0) -> list[np.ndarray]:
    """Return positions of untilted slices at these z, centered on x = y = 0."""
    return [np.array((-(size - 1) * pixel_mm / 2, -(size - 1) * pixel_mm / 2, z)) for z in levels_mm]


def series_of(folder: Path) -> Series:
    """Read the only series below a folder."""
    [found] = group(
        [one for path in sorted(folder.rglob("*.dcm")) for one in read_instances(path)], lambda _: ("P", "S")
    )
    return found


def points_of(image: sitk.Image) -> np.ndarray:
    """Return the places (D, H, W, 3) of all voxels, LPS mm."""
    k, j, i = np.indices(image.GetSize()[::-1])
    matrix = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    return np.stack([i, j, k], axis=-1) @ matrix.T + image.GetOrigin()
