"""Known problems with the geometry of real series, one group of tests per problem.

Real DICOM is used where it is present beside the project; tests of the same properties on generated series always run.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from helpers.series_factory import smooth, stack_positions, write_series
from mrct.dicom.errors import GeometryError
from mrct.dicom.even_slices import even_slices
from mrct.dicom.grouping import group
from mrct.dicom.series import Series, read_instances
from mrct.dicom.stack import stack
from mrct.dicom.volume import build_volume
from mrct.imaging.volumes import read_volume, write_volume

REAL = Path(__file__).parents[3] / "shared" / "data"
TILT_DEG = 18.5


def all_series(folder: Path) -> list[Series]:
    instances = [one for path in sorted(folder.rglob("*.dcm")) for one in read_instances(path)]
    return group(instances, lambda _: ("P", "S"))


def one_series(folder: Path) -> Series:
    [item] = all_series(folder)
    return item


def real(name: str) -> Path:
    if not (REAL / name).is_dir():
        pytest.skip(f"no {name} beside the project")
    return REAL / name


def array_of(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image)


def through_nifti(image: sitk.Image, folder: Path) -> sitk.Image:
    write_volume(folder / "v.nii.gz", image)
    return read_volume(folder / "v.nii.gz")


def corners(image: sitk.Image) -> np.ndarray:
    """Return the corners (8, 3) in LPS mm; affine maps that agree on them agree everywhere."""
    last = np.asarray(image.GetSize()) - 1
    return np.array(
        [image.TransformIndexToPhysicalPoint((last * bits).tolist()) for bits in np.ndindex(2, 2, 2)]
    )


def gantry_tilted(levels: Sequence[float]) -> tuple[list[np.ndarray], list[float]]:
    """Return positions and orientation of slices at these levels along the normal, as written with a tilted gantry."""
    angle = np.radians(TILT_DEG)
    positions = [np.array((-10.0, -12.0, level / np.cos(angle))) for level in levels]
    return positions, [1.0, 0.0, 0.0, 0.0, float(np.cos(angle)), float(-np.sin(angle))]


def points_of_slice(header: pydicom.Dataset) -> np.ndarray:
    """Return the points (rows, columns, 3) of all pixels in LPS mm: PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1."""
    between_rows, between_columns = map(float, header.PixelSpacing)
    along_row, along_column = np.reshape([float(v) for v in header.ImageOrientationPatient], (2, 3))
    j, i = np.meshgrid(np.arange(header.Rows), np.arange(header.Columns), indexing="ij")
    start = np.array([float(v) for v in header.ImagePositionPatient])
    return start + i[..., None] * between_columns * along_row + j[..., None] * between_rows * along_column


# 43: gantry tilt


@pytest.mark.parametrize("folder", ["ct", "t2"])
def test_a_real_series_ends_where_simpleitk_puts_it(tmp_path: Path, folder: Path) -> None:
    """porcine_ct_t2 through DICOM and NIfTI, compared with an independent DICOM series reader (GDCM)."""
    source = real("porcine_ct_t2") / folder
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(source)))
    oracle = sitk.DICOMOrient(reader.Execute(), "LPS")
    image, notes, _ = build_volume(one_series(source))
    again = through_nifti(image, tmp_path)
    assert notes == ()
    assert again.GetSize() == oracle.GetSize()
    np.testing.assert_allclose(corners(again), corners(oracle), atol=0.01)
    expected = array_of(oracle) if folder == "t2" else np.maximum(array_of(oracle), -1024)
    np.testing.assert_array_equal(array_of(again), expected)


def test_the_volume_of_a_tilted_series_has_each_pixel_where_its_slice_has_it(tmp_path: Path) -> None:
    """Each pixel of a slice, looked up in the volume by its point, has the slice's value."""
    positions, orientation = gantry_tilted([5.0 * k for k in range(7)])
    paths = write_series(
        tmp_path / "s",
        values=smooth(7),
        positions=positions,
        ImageOrientationPatient=orientation,
        PixelSpacing=[0.5, 0.8],
    )
    image, [note], _ = build_volume(one_series(tmp_path / "s"))
    assert note == "gantry tilt of 18.5° (from positions) sheared back"
    volume = through_nifti(image, tmp_path)
    for path in paths:
        header = pydicom.dcmread(path)
        expected = header.pixel_array * float(header.RescaleSlope) + float(header.RescaleIntercept)
        points = points_of_slice(header)[1:-1, 1:-1].reshape(-1, 3)
        got = [volume.EvaluateAtPhysicalPoint(point.tolist(), sitk.sitkLinear) for point in points]
        # the values are linear in the plane, so that linear interpolation keeps them
        np.testing.assert_allclose(got, expected[1:-1, 1:-1].ravel(), atol=0.1)


def test_a_real_head_of_two_thicknesses_and_tilt_keeps_its_places_and_its_skull_base(tmp_path: Path) -> None:
    """ge_head_ct_tilt: 14 slices of 4 mm, then 14 of 7 mm, 1.1 mm after the last; 18.5 degrees."""
    source = real("ge_head_ct_tilt")
    image, notes, _ = build_volume(one_series(source))
    assert any(note.startswith("gantry tilt of 18.5°") for note in notes)
    assert any("14 slices kept as they are, 13 thinner" in note for note in notes)
    assert image.GetSize()[2] == 21
    headers = sorted((pydicom.dcmread(path) for path in source.glob("*.dcm")), key=lambda h: h.InstanceNumber)
    volume = through_nifti(image, tmp_path)
    assert volume.GetSpacing()[2] == pytest.approx(7.0, abs=0.01)
    for n, header in enumerate(headers[14:], 7):  # the thick slices are slices of the volume
        points = points_of_slice(header)[::97, ::89].reshape(-1, 3)
        index = [volume.TransformPhysicalPointToContinuousIndex(point.tolist()) for point in points]
        np.testing.assert_allclose(np.array(index)[:, 2] * 7.0, n * 7.0, atol=0.01)
        # the edge of a bone may move by half a pixel, so the median difference is tested
        stored = header.pixel_array * float(header.RescaleSlope) + float(header.RescaleIntercept)
        got = [
            volume.EvaluateAtPhysicalPoint(point.tolist(), sitk.sitkLinear)
            for point in points_of_slice(header)[100:400:15, 100:400:15].reshape(-1, 3)
        ]
        assert np.median(np.abs(np.array(got) - stored[100:400:15, 100:400:15].ravel())) < 6.0
    top = np.array([float(v) for v in headers[-1].ImagePositionPatient])
    assert volume.TransformPhysicalPointToContinuousIndex(top.tolist())[2] == pytest.approx(20, abs=0.002)


# 44: two thicknesses, gaps, duplicates, spacing


def test_thin_slices_are_averaged_over_the_thick_ones_height(tmp_path: Path) -> None:
    """3 mm below 6 mm, contiguous: two thin slices become one thick one; the thick ones do not change."""
    levels = [3.0 * k for k in range(8)] + [25.5 + 6.0 * k for k in range(6)]
    values = (np.arange(14, dtype=np.int16) * 100)[:, None, None] + smooth(1)
    write_series(
        tmp_path,
        values=values,
        positions=[(0.0, 0.0, level) for level in levels],
        each=lambda k: {"SliceThickness": 3.0 if k < 8 else 6.0},
    )
    image, notes, _ = build_volume(one_series(tmp_path))
    assert image.GetSpacing()[2] == pytest.approx(6.0)
    assert image.GetOrigin()[2] == pytest.approx(1.5)
    columns = array_of(image)[:, 0, 0] + 1024
    np.testing.assert_allclose(columns, [50, 250, 450, 650, 800, 900, 1000, 1100, 1200, 1300], atol=1e-3)
    assert notes == (
        "uneven: runs of 3, 6 mm spacing",
        "6 slices kept as they are, 8 thinner or closer ones averaged to 4 of 6 mm, 0 left out",
    )


@pytest.mark.parametrize("upside_down", [False, True])
def test_an_average_of_thin_slices_keeps_a_field_that_is_linear_in_height(upside_down: bool) -> None:
    """Weights are overlaps with the slab, so that the mean level of an averaged slice is its own level."""
    levels = np.array([4.0 * k for k in range(14)] + [52.0 + 1.081 + 6.998 * k for k in range(14)])
    thicknesses: list[float | None] = [4.0] * 14 + [7.0] * 14
    if upside_down:
        levels, thicknesses = -levels[::-1], thicknesses[::-1]
    even = even_slices(levels, thicknesses, may_average=True)
    assert even is not None
    assert even.weights is not None
    assert even.filled == ()
    made = even.first_level_mm + even.spacing_mm * np.arange(len(even.weights))
    np.testing.assert_allclose(even.weights.sum(axis=1), 1.0)
    # a cell is assigned by its center: exact if slabs end between cells, otherwise within half a thin slice
    np.testing.assert_allclose(even.weights @ levels[list(even.members)], made, atol=2.0)
    assert np.isclose(even.weights.max(axis=1), 1.0).sum() == 14
    assert len(made) == 21


def test_thick_slices_are_never_made_thin_and_a_few_thick_ones_coarsen_nothing(tmp_path: Path) -> None:
    levels = [1.0 * k for k in range(40)] + [44.5 + 10.0 * k for k in range(3)]
    write_series(
        tmp_path,
        values=smooth(43, 6, 6),
        positions=[(0.0, 0.0, level) for level in levels],
        each=lambda k: {"SliceThickness": 1.0 if k < 40 else 10.0},
    )
    layout = stack(one_series(tmp_path))
    assert layout.weights is None
    assert layout.n_slices == 40
    assert layout.slice_spacing_mm == pytest.approx(1.0)
    assert "kept 40 of 43 slices, the largest even stack" in layout.notes


def test_mr_of_two_thicknesses_is_not_averaged(tmp_path: Path) -> None:
    """The MR signal grows with the slice thickness, and slice profiles are not rectangular."""
    levels = [3.0 * k for k in range(8)] + [25.5 + 6.0 * k for k in range(6)]
    write_series(
        tmp_path,
        "MR",
        values=smooth(14, 6, 6),
        positions=[(0.0, 0.0, level) for level in levels],
        each=lambda k: {"SliceThickness": 3.0 if k < 8 else 6.0},
    )
    layout = stack(one_series(tmp_path))
    assert (layout.n_slices, layout.slice_spacing_mm) == (6, pytest.approx(6.0))


def test_a_gap_between_thick_and_thin_slices_is_interpolated_and_reported(tmp_path: Path) -> None:
    levels = [3.0 * k for k in range(8)] + [45.0 + 6.0 * k for k in range(6)]
    write_series(
        tmp_path,
        values=smooth(14, 6, 6),
        positions=[(0.0, 0.0, level) for level in levels],
        each=lambda k: {"SliceThickness": 3.0 if k < 8 else 6.0},
    )
    layout = stack(one_series(tmp_path))
    assert (layout.n_slices, layout.filled) == (6 + 3, (3, 4, 5, 6))
    assert layout.notes[-2:] == (
        "slices are missing: 1 gap of up to 24.0 mm",
        "4 missing slices interpolated, never used as a pair",
    )


def test_a_missing_slice_is_reported_with_its_size(tmp_path: Path) -> None:
    levels = [0, 5, 10, 20, 25, 30, 35]
    write_series(tmp_path, values=smooth(7), positions=[(0.0, 0.0, level) for level in levels])
    assert stack(one_series(tmp_path)).notes == (
        "slices are missing: 1 gap of up to 10.0 mm",
        "1 missing slice interpolated, never used as a pair",
    )


def test_a_slice_sent_twice_is_used_once(tmp_path: Path) -> None:
    levels = [0, 5, 10, 10, 15, 20, 25, 30]
    write_series(tmp_path, values=smooth(8), positions=[(0.0, 0.0, level) for level in levels])
    layout = stack(one_series(tmp_path))
    assert layout.n_slices == 7
    assert layout.notes == ("1 slice at a repeated position left out",)


@pytest.mark.parametrize("acquisitions", [[1] * 6 + [2] * 6, list(range(1, 13)), [0] * 12])
def test_two_scans_of_one_place_in_one_series_are_two_series(tmp_path: Path, acquisitions: list[int]) -> None:
    """They are split by acquisition number or, where GE increments it per rotation or it is missing, by repetition."""
    values = np.concatenate([smooth(6), smooth(6) + 7]).astype(np.int16)
    write_series(
        tmp_path,
        values=values,
        positions=stack_positions(6) * 2,
        each=lambda k: {"AcquisitionNumber": acquisitions[k]},
    )
    found = all_series(tmp_path)
    assert [item.name for item in found] == ["S-s1", "S-s2"]
    for item, offset in zip(found, (0, 7), strict=True):
        image, notes, _ = build_volume(item)
        assert notes == ()
        np.testing.assert_array_equal(array_of(image), smooth(6) + offset - 1024.0)


def test_slices_interleaved_in_time_are_told_apart_by_turn(tmp_path: Path) -> None:
    places = [place for place in stack_positions(6) for _ in range(2)]
    write_series(tmp_path, values=smooth(12), positions=places)
    first, second = all_series(tmp_path)
    assert [item.instance_number for item in first.instances] == [1, 3, 5, 7, 9, 11]
    assert len(second.instances) == 6


def test_scans_that_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    levels = [*range(12), *range(6, 12)]
    write_series(tmp_path, values=smooth(18), positions=[(0.0, 0.0, 5.0 * level) for level in levels])
    with pytest.raises(GeometryError, match="several scans in one series"):
        stack(one_series(tmp_path))


@pytest.mark.parametrize(
    "wrong", [{"SliceThickness": 1.0}, {"SpacingBetweenSlices": 1.0}, {"SliceThickness": None}]
)
def test_spacing_is_that_of_the_positions(tmp_path: Path, wrong: dict[str, Any]) -> None:
    write_series(tmp_path, positions=stack_positions(6, 3.3), **wrong)
    assert build_volume(one_series(tmp_path))[0].GetSpacing()[2] == pytest.approx(3.3)


# 45 to 50: numbers, values, pixels


def test_45_instance_numbers_and_file_order_do_not_matter(tmp_path: Path) -> None:
    write_series(tmp_path / "a", values=smooth(6), InstanceNumber=1)
    order = [3, 0, 5, 1, 4, 2]
    write_series(
        tmp_path / "b",
        values=smooth(6)[order],
        positions=[stack_positions(6)[k] for k in order],
        each=lambda k: {"InstanceNumber": None if k % 2 else 9 - k},
    )
    np.testing.assert_array_equal(*(array_of(build_volume(one_series(tmp_path / name))[0]) for name in "ab"))


def test_46_each_slice_has_its_own_rescale(tmp_path: Path) -> None:
    hu = np.linspace(-900, 1500, 4).round()
    slopes, intercepts = np.array([1.0, 2.0, 0.5, 4.0]), np.array([-1024.0, -1000.0, -950.0, 0.0])
    stored = np.rint((hu - intercepts) / slopes).astype(np.int16)
    write_series(
        tmp_path,
        values=np.broadcast_to(stored[:, None, None], (4, 6, 6)),
        positions=stack_positions(4),
        each=lambda k: {"RescaleSlope": slopes[k], "RescaleIntercept": intercepts[k]},
    )
    np.testing.assert_allclose(array_of(build_volume(one_series(tmp_path))[0])[:, 3, 3], hu, atol=2)


@pytest.mark.parametrize("named", [True, False])
def test_47_padding_is_air_and_outside_the_statistics(tmp_path: Path, named: bool) -> None:
    values = smooth(6)
    values[:, :2] = -2000
    write_series(tmp_path, values=values, **({"PixelPaddingValue": -2000} if named else {}))
    array = array_of(build_volume(one_series(tmp_path))[0])
    assert (array[:, :2] == -1024).all()
    assert array.min() == -1024
    np.testing.assert_array_equal(array[:, 2:], np.maximum(values[:, 2:] - 1024.0, -1024))


@pytest.mark.parametrize(
    ("dtype", "bits", "signed"),
    [(np.uint16, 12, 0), (np.uint16, 16, 0), (np.int16, 16, 1), (np.uint16, 12, 1)],
)
def test_48_the_same_hu_from_every_way_to_store_it(
    tmp_path: Path, dtype: type, bits: int, signed: int
) -> None:
    hu = smooth(6) % 1500 - 500
    intercept = 0 if signed else -1024
    # 12 signed bits: the bits above them do not belong to the value
    stored = (hu - intercept).astype(np.int64) & (2**bits - 1)
    write_series(
        tmp_path,
        values=stored.astype(np.uint16).view(dtype),
        BitsStored=bits,
        HighBit=bits - 1,
        PixelRepresentation=signed,
        RescaleIntercept=float(intercept),
    )
    np.testing.assert_array_equal(array_of(build_volume(one_series(tmp_path))[0]), hu)


def test_49_monochrome1_is_turned_and_said(tmp_path: Path) -> None:
    bright = smooth(6) % 4096
    shared = {"BitsStored": 12, "HighBit": 11}
    write_series(tmp_path / "a", "MR", bright.astype(np.uint16), **shared)
    inverted = (4095 - bright).astype(np.uint16)
    write_series(tmp_path / "b", "MR", inverted, PhotometricInterpretation="MONOCHROME1", **shared)
    (plain, none, _), (turned, notes, _) = (build_volume(one_series(tmp_path / name)) for name in "ab")
    np.testing.assert_array_equal(array_of(plain), array_of(turned))
    assert none == ()
    assert notes[0].startswith("MONOCHROME1")


def test_50_pixels_are_as_wide_as_their_spacing_says(tmp_path: Path) -> None:
    """PixelSpacing is (between rows, between columns): y before x."""
    write_series(tmp_path, PixelSpacing=[0.5, 1.25])
    image, *_ = build_volume(one_series(tmp_path))
    assert image.GetSpacing()[:2] == pytest.approx((1.25, 0.5))
    last = image.TransformIndexToPhysicalPoint((19, 23, 0))
    assert last == pytest.approx((-20.0 + 19 * 1.25, -15.0 + 23 * 0.5, -40.0))


# 51: frames of reference


def test_51_slices_of_two_frames_of_reference_are_no_one_volume(tmp_path: Path) -> None:
    """The positions of the two are measured from different origins (PS3.3 C.7.4.1)."""
    write_series(tmp_path, each=lambda k: {"FrameOfReferenceUID": "1.2.8" if k < 3 else "1.2.9"})
    with pytest.raises(GeometryError, match="only 3 of 6 slices share one orientation, size and frame"):
        stack(one_series(tmp_path))


def test_51_a_stray_of_another_frame_of_reference_is_left_out(tmp_path: Path) -> None:
    write_series(tmp_path, each=lambda k: {"FrameOfReferenceUID": "1.2.9" if k == 0 else "1.2.8"})
    layout = stack(one_series(tmp_path))
    assert layout.n_slices == 5
    assert layout.notes == ("1 of 6 slices of another orientation, size or frame of reference left out",)
