"""Volumes of series with missing slices and rounded positions: each voxel's value tells the place it was made at."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread

from helpers.place_phantom import FIELD_PER_MM, axial_positions, field, points_of, series_of, write_phantom
from helpers.series_factory import AXIAL, SAGITTAL
from mrct.dicom.stack import stack
from mrct.dicom.volume import build_volume

UPSIDE_DOWN = (1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
STEEP_PER_MM = float(np.abs(FIELD_PER_MM).max())


def oblique(degrees: float, levels_mm: Sequence[float]) -> tuple[list[float], list[np.ndarray]]:
    """Return cosines and positions of slices turned about x and then about y by a third of the angle."""
    a, b = np.radians(degrees), np.radians(degrees / 3)
    turn = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]]) @ np.array(
        [[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]]
    )
    start = np.array([-13.37, -12.93, 4.21])
    return [*turn[:, 0], *turn[:, 1]], [start + level * turn[:, 2] for level in levels_mm]


def error_mm(image: sitk.Image) -> float:
    """Return the largest distance, along the steepest axis, between the place of a voxel and what its value tells."""
    off = np.abs(sitk.GetArrayFromImage(image) - field(points_of(image)))
    return float((off.max() - 0.5) / STEEP_PER_MM)


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("enhanced", [False, True], ids=["classic", "enhanced"])
def test_a_missing_slice_is_filled_and_named_and_the_others_keep_their_place(
    tmp_path: Path, modality: str, enhanced: bool
) -> None:
    levels = [5.0 * k + 20 for k in range(12) if k not in (4, 8, 9)]
    orientation: dict[str, Any] = {} if enhanced else {"orientation": AXIAL}
    pixel = {"pixel_mm": 1.0} if enhanced else {}
    write_phantom(
        tmp_path, modality, axial_positions(levels), enhanced=enhanced, **orientation, **pixel
    )  # the enhanced factory has one orientation and pixels of 1 mm
    series = series_of(tmp_path)
    image, notes, filled = build_volume(series)
    assert filled is not None
    assert "3 missing slices interpolated, never used as a pair" in notes
    assert image.GetSize()[2] == 12
    assert error_mm(image) < 0.01
    assert filled.GetSize() == image.GetSize()
    assert filled.GetPixelID() == sitk.sitkUInt8
    mask = sitk.GetArrayFromImage(filled)
    assert np.flatnonzero(mask.any(axis=(1, 2))).tolist() == [4, 8, 9]
    assert mask[[4, 8, 9]].all()


@pytest.mark.parametrize(
    ("orientation", "axis"), [(AXIAL, 0), (UPSIDE_DOWN, 0), (SAGITTAL, 2)], ids=["axial", "down", "sagittal"]
)
def test_the_filled_slices_are_found_however_the_axes_are_turned(
    tmp_path: Path, orientation: tuple, axis: int
) -> None:
    row, column = np.reshape(orientation, (2, 3))
    normal = np.cross(row, column)
    lost_mm = 10.0 + 5.0 * 2
    places = [(10.0 + 5.0 * k) * normal for k in range(9) if k != 2]
    write_phantom(tmp_path, "MR", places, orientation=orientation)
    series = series_of(tmp_path)
    image, _, filled = build_volume(series)
    assert filled is not None
    assert error_mm(image) < 0.01
    mask = sitk.GetArrayFromImage(filled) > 0
    assert (points_of(image) @ normal)[mask] == pytest.approx(lost_mm)
    assert mask.sum() == mask.size / mask.shape[axis]


def test_the_filled_slices_of_a_tilted_gantry_are_found_in_the_sheared_volume(tmp_path: Path) -> None:
    orientation, _ = oblique(24.0, [])
    places = [np.array((0.0, 0.0, 6.0 * k)) for k in range(10) if k != 6]
    write_phantom(tmp_path, "CT", places, orientation=orientation)
    series = series_of(tmp_path)
    image, notes, filled = build_volume(series)
    assert filled is not None
    assert any("gantry tilt" in note for note in notes)
    mask = sitk.GetArrayFromImage(filled) > 0
    assert np.flatnonzero(mask.any(axis=(1, 2))).tolist() == [6]
    inside = sitk.GetArrayFromImage(image) > -1024
    off = np.abs(sitk.GetArrayFromImage(image) - field(points_of(image)))[inside & ~mask]
    assert off.max() < 1.0


def test_a_series_without_a_gap_has_no_filled_slices(tmp_path: Path) -> None:
    write_phantom(tmp_path, "CT", axial_positions([5.0 * k for k in range(8)]))
    series = series_of(tmp_path)
    assert build_volume(series).filled is None


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("degrees", [0.0, 9.0, 24.0, 30.0])
@pytest.mark.parametrize(("spacing_mm", "count"), [(5.5, 24), (0.625, 128)])
@pytest.mark.parametrize("decimals", [1, 2])
def test_rounded_positions_make_one_even_volume_that_is_right_within_the_rounding(
    tmp_path: Path, modality: str, degrees: float, spacing_mm: float, count: int, decimals: int
) -> None:
    orientation, places = oblique(degrees, [spacing_mm * k for k in range(count)])
    write_phantom(tmp_path, modality, places, orientation=orientation, decimals=decimals, size=4)
    series = series_of(tmp_path)
    layout = stack(series)
    assert layout.n_slices == count
    assert (layout.filled, layout.notes, layout.is_sheared) == ((), (), False)
    assert error_mm(build_volume(series)[0]) < 0.1


def test_rounded_positions_in_reverse_with_slices_missing_lose_no_slice(tmp_path: Path) -> None:
    orientation, places = oblique(15.0, [3.3 * k for k in range(40) if k not in (7, 20, 21)])
    write_phantom(tmp_path, "MR", places[::-1], orientation=orientation, decimals=1, size=4)
    layout = stack(series_of(tmp_path))
    assert (layout.n_slices, layout.filled) == (37, (7, 20, 21))
    assert layout.height_mm == pytest.approx(37 * 3.3, abs=0.2)


@pytest.mark.parametrize("blank", [(5,), (4, 5, 6)])
def test_slices_of_one_value_are_missing(tmp_path: Path, blank: tuple[int, ...]) -> None:
    write_phantom(tmp_path, "CT", axial_positions([5.0 * k for k in range(12)]), orientation=AXIAL)
    for k in blank:
        path = sorted(tmp_path.rglob("*.dcm"))[k]
        image = dcmread(path)
        image.PixelData = bytes(len(image.PixelData))
        image.save_as(path)
    volume, notes, filled = build_volume(series_of(tmp_path))
    assert filled is not None
    assert np.flatnonzero(sitk.GetArrayFromImage(filled).any(axis=(1, 2))).tolist() == list(blank)
    assert any("of one single value left out" in note for note in notes)
    assert error_mm(volume) < 0.01
