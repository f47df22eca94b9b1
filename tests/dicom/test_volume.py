"""Geometry and values of built volumes, compared with SimpleITK's series reader and with analytic fields."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from scipy.spatial.transform import Rotation

from helpers.series_factory import smooth, stack_positions, write_series
from mrct.dicom.errors import GeometryError
from mrct.dicom.grouping import group
from mrct.dicom.series import Series, read_instances
from mrct.dicom.stack import stack
from mrct.dicom.volume import build_volume, padding, read_slice
from mrct.selection.thumbnail import HEIGHT_PX, save_thumbnail, series_thumbnail


def series_in(folder: Path) -> Series:
    instances = [one for path in sorted(folder.glob("*.dcm")) for one in read_instances(path)]
    [item] = group(instances, lambda _: ("P", "S"))
    return item


def array_of(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image)


def points_of(image: sitk.Image) -> np.ndarray:
    """Return the points (D, H, W, 3) of all voxels in LPS mm."""
    k, j, i = np.meshgrid(*(np.arange(n) for n in image.GetSize()[::-1]), indexing="ij")
    axes = np.reshape(image.GetDirection(), (3, 3)) * np.asarray(image.GetSpacing())
    return np.stack([i, j, k], axis=-1) @ axes.T + image.GetOrigin()


def write_rotated(
    folder: Path, rotation: Rotation, spacing: tuple[float, float], gap_mm: float, count: int = 5
) -> None:
    row, column, normal = rotation.as_matrix().T
    write_series(
        folder,
        positions=[np.array((-30.0, 12.0, 55.0)) + gap_mm * k * normal for k in range(count)],
        ImageOrientationPatient=[round(float(value), 8) for value in (*row, *column)],
        PixelSpacing=list(spacing),
    )


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(st.floats(0.3, 2.0), st.floats(0.3, 2.0)),
    gap_mm=st.floats(0.5, 7.0),
)
def test_same_voxels_at_the_same_points_as_simpleitk(
    tmp_path_factory: pytest.TempPathFactory, angles: tuple, spacing: tuple, gap_mm: float
) -> None:
    folder = tmp_path_factory.mktemp("series")
    rotation = Rotation.from_euler("xyz", angles, degrees=True)
    write_rotated(folder, rotation, (round(spacing[0], 4), round(spacing[1], 4)), gap_mm)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    oracle = sitk.DICOMOrient(reader.Execute(), "LPS")
    image, notes, _ = build_volume(series_in(folder))
    assert notes == ()
    assert image.GetSize() == oracle.GetSize()
    np.testing.assert_array_equal(array_of(image), array_of(oracle))
    np.testing.assert_allclose(points_of(image), points_of(oracle), atol=0.01)


def test_axes_run_to_left_posterior_superior_whatever_the_stack(tmp_path: Path) -> None:
    """The volume is LPS even if the series is written feet first and mirrored, and each point keeps its value."""
    flipped = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    places = stack_positions(6)[::-1]
    write_series(tmp_path, values=smooth(6), ImageOrientationPatient=list(flipped), positions=places)
    image, *_ = build_volume(series_in(tmp_path))
    np.testing.assert_allclose(np.reshape(image.GetDirection(), (3, 3)), np.eye(3), atol=1e-12)
    x, y, z = np.moveaxis(points_of(image), -1, 0)
    expected = 200 * ((-15.0 - z) / 5.0) + 30 * (y + 15.0) + 11 * (-20.0 - x) - 1024
    np.testing.assert_allclose(array_of(image), expected, atol=1e-3)


@pytest.mark.parametrize("tilt_deg", [-25.0, 5.0, 18.5])
@pytest.mark.parametrize("gap_mm", [2.0, 7.0])
def test_gantry_tilt_is_sheared_back_exactly_for_a_linear_field(
    tmp_path: Path, tilt_deg: float, gap_mm: float
) -> None:
    """Linear interpolation reproduces a linear f(x, y, z), so that each voxel must equal f at its point."""
    angle = np.radians(tilt_deg)
    column = np.array((0.0, np.cos(angle), -np.sin(angle)))
    positions = stack_positions(6, gap_mm / np.cos(angle), (-10.0, -12.0, 3.0))
    j, i = np.meshgrid(np.arange(24), np.arange(20), indexing="ij")
    field = np.array((3.0, 5.0, 2.0))
    planes = [
        (np.asarray(place) + 0.8 * i[..., None] * (1.0, 0.0, 0.0) + 0.5 * j[..., None] * column) @ field
        for place in positions
    ]
    stored = np.rint(np.stack(planes) / 0.02).astype(np.int16)
    write_series(
        tmp_path,
        values=stored,
        positions=positions,
        ImageOrientationPatient=[1.0, 0.0, 0.0, 0.0, *(round(float(v), 10) for v in column[1:])],
        PixelSpacing=[0.5, 0.8],
        RescaleSlope=0.02,
        RescaleIntercept=0.0,
    )
    image, notes, _ = build_volume(series_in(tmp_path))
    assert notes == (f"gantry tilt of {abs(tilt_deg):.1f}° (from positions) sheared back",)
    assert image.GetSpacing() == pytest.approx((0.8, 0.5, gap_mm), abs=1e-6)
    values = array_of(image)
    inside = values > -1000
    assert inside.sum() >= 6 * 20 * 22
    np.testing.assert_allclose(values[inside], (points_of(image) @ field)[inside], atol=0.011)
    assert (values[~inside] == -1024).all()


def test_the_tilt_tag_is_not_believed(tmp_path: Path) -> None:
    write_series(tmp_path, GantryDetectorTilt=18.5)
    image, notes, _ = build_volume(series_in(tmp_path))
    assert notes == ()
    assert image.GetSize() == (20, 24, 6)


@pytest.mark.parametrize(
    ("levels", "kept"),
    [
        ([0, 5, 10, 15, 75, 80], [0, 5, 10, 15]),  # a gap with more missing than there is
        ([0, 5, 10, 10, 15, 20, 25, 30], [0, 5, 10, 15, 20, 25, 30]),  # a repeated slice
        ([0, 5, 10, 15, 20, 300], [0, 5, 10, 15, 20]),  # a stray far away covers nothing
        ([0, 4, 8, *(10.5 + 2.5 * k for k in range(20))], [8 + 2.5 * k for k in range(21)]),
        ([0, 5], [0, 5]),
    ],
)
def test_gaps_and_duplicates(tmp_path: Path, levels: list[float], kept: list[float]) -> None:
    write_series(tmp_path, positions=[(0.0, 0.0, z) for z in levels], values=smooth(len(levels)))
    layout = stack(series_in(tmp_path))
    assert [item.position[2] for item in layout.instances if item.position] == kept
    assert bool(layout.notes) == (len(levels) != len(kept))


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ([0], "one position"),
        ([0, 0, 0], "one position"),
        ([0, 1, 4.5, 12.3, 31.6], "evenly"),
    ],
)
def test_no_volume_from_these(tmp_path: Path, levels: list[float], message: str) -> None:
    write_series(tmp_path, positions=[(0.0, 0.0, z) for z in levels], values=smooth(len(levels)))
    with pytest.raises(GeometryError, match=message):
        stack(series_in(tmp_path))


def test_truncated_pixels_name_the_slice_not_the_file(tmp_path: Path) -> None:
    path = write_series(tmp_path)[2]
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(GeometryError, match=r"^slice 3 of 6: truncated"):
        build_volume(series_in(tmp_path))


def one_slice(folder: Path, stored: list[list[int]], dtype: type, **attributes: Any) -> np.ndarray:
    modality = attributes.pop("modality", "CT")
    path = write_series(folder, modality, np.array([stored], dtype), [(0.0, 0.0, 0.0)], **attributes)[0]
    return read_slice(read_instances(path)[0], modality)


def test_twelve_bits_signed_with_rubbish_above(tmp_path: Path) -> None:
    got = one_slice(
        tmp_path, [[0x0FFF, 0xF001], [0x77FF, 0x0C00]], np.uint16,
        BitsStored=12, HighBit=11, PixelRepresentation=1, RescaleIntercept=0.0,
    )  # fmt: skip
    np.testing.assert_array_equal(got, [[-1, 1], [2047, -1024]])


@pytest.mark.parametrize(
    ("dtype", "bits", "stored", "expected"),
    [
        (np.uint16, 12, [[0, 1000], [4095, 95]], [[4095, 3095], [0, 4000]]),
        (np.int16, 16, [[0, -1], [500, -500]], [[-1, 0], [-501, 499]]),
    ],
)
def test_monochrome1_is_inverted_within_its_bits(
    tmp_path: Path, dtype: type, bits: int, stored: list, expected: list
) -> None:
    shared = {
        "modality": "MR",
        "PhotometricInterpretation": "MONOCHROME1",
        "BitsStored": bits,
        "HighBit": bits - 1,
    }
    np.testing.assert_array_equal(one_slice(tmp_path, stored, dtype, **shared), expected)


def test_monochrome1_with_a_negative_slope_is_turned_once(tmp_path: Path) -> None:
    got = one_slice(
        tmp_path, [[0, 1000], [2000, 10]], np.uint16,
        PhotometricInterpretation="MONOCHROME1", RescaleSlope=-1.0, RescaleIntercept=1000.0,
    )  # fmt: skip
    np.testing.assert_array_equal(got, [[1000, 0], [-1000, 990]])


@pytest.mark.parametrize("value", [-2000, -3024])
def test_ct_padding_and_what_lies_below_air_become_air(tmp_path: Path, value: int) -> None:
    got = one_slice(
        tmp_path, [[value, 40], [-1500, 30]], np.int16, RescaleIntercept=0.0, PixelPaddingValue=value
    )
    np.testing.assert_array_equal(got, [[-1024, 40], [-1024, 30]])


def test_padding_counts_only_where_it_touches_the_edge() -> None:
    """If a header declares 0 as padding, 0 HU inside the head must not become air."""
    dataset = Dataset()
    dataset.PixelPaddingValue, dataset.BitsAllocated, dataset.PixelRepresentation = 0, 16, 1
    stored = np.full((7, 7), 9, np.int16)
    stored[0] = stored[1, 1] = 0
    stored[4, 4] = 0
    mask = padding(stored, dataset)
    assert mask[0].all()
    assert mask[1, 1]
    assert mask.sum() == 8


def test_padding_written_unsigned_for_signed_pixels() -> None:
    dataset = Dataset()
    dataset.PixelPaddingValue, dataset.BitsAllocated, dataset.PixelRepresentation = 63536, 16, 1
    assert padding(np.full((2, 2), -2000, np.int16), dataset).all()


def test_mr_padding_is_zero_and_its_rescale_applied(tmp_path: Path) -> None:
    got = one_slice(
        tmp_path,
        [[7, 40], [50, 60]],
        np.uint16,
        modality="MR",
        PixelPaddingValue=7,
        RescaleSlope=2.0,
        RescaleIntercept=1.0,
    )
    np.testing.assert_array_equal(got, [[0, 81], [101, 121]])


def test_thumbnail_has_true_proportions_and_stable_bytes(tmp_path: Path) -> None:
    write_series(tmp_path / "s", PixelSpacing=[2.0, 1.0])
    picture = series_thumbnail(series_in(tmp_path / "s"))
    assert picture.shape == (HEIGHT_PX, round(HEIGHT_PX * 20 / 48))
    assert 0.0 <= picture.min() < picture.max() <= 1.0
    for name in ("a.png", "b.png"):
        save_thumbnail(tmp_path / name, picture)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
