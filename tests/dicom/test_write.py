"""A synthetic series: SimpleITK's reader must find the same HU at the same points."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import phi_factory
from mrct.dicom.write import write_synthetic_series

REFERENCE = [phi_factory.person_dataset("MR", instance) for instance in (1, 2, 3)]


def oblique(size=(7, 6, 4), seed=0, low=-1000.0, high=2500.0):
    """Make a volume with unequal spacing, tilted and rotated."""
    rng = np.random.default_rng(seed)
    image = sitk.GetImageFromArray(rng.uniform(low, high, size[::-1]).astype(np.float32))
    image.SetSpacing((0.7, 0.9, 3.3))
    image.SetOrigin((-101.123456, 33.3, -777.7))
    turn = sitk.Euler3DTransform((0, 0, 0), *rng.uniform(-0.4, 0.4, 3))
    image.SetDirection(turn.GetMatrix())
    return image


def read_back(folder: Path) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


@pytest.mark.parametrize("seed", range(3))
def test_another_reader_sees_the_same_hu_at_the_same_points(tmp_path, seed):
    image = oblique(seed=seed)
    write_synthetic_series(image, REFERENCE, tmp_path, "CT")
    result = read_back(tmp_path)
    assert result.GetSize() == image.GetSize()
    difference = sitk.GetArrayFromImage(result) - sitk.GetArrayFromImage(image)
    assert np.abs(difference).max() <= 0.5 + 1e-3
    for index in ((0, 0, 0), (6, 5, 3), (6, 0, 2)):
        got, wanted = (each.TransformIndexToPhysicalPoint(index) for each in (result, image))
        assert np.linalg.norm(np.subtract(got, wanted)) < 0.01


def test_a_left_handed_volume_keeps_its_points(tmp_path):
    image = oblique()
    image.SetDirection((1, 0, 0, 0, 1, 0, 0, 0, -1))
    write_synthetic_series(image, None, tmp_path, "CT")
    result = read_back(tmp_path)  # sorts the other way along its own normal
    for i, j, k in ((0, 0, 0), (3, 2, 1)):
        point = image.TransformIndexToPhysicalPoint((i, j, k))
        index = result.TransformPhysicalPointToIndex(point)
        assert result.TransformIndexToPhysicalPoint(index) == pytest.approx(point, abs=0.01)
        assert result[index] == pytest.approx(image[i, j, k], abs=0.51)


def test_values_outside_the_range_are_clipped_before_the_cast(tmp_path):
    image = sitk.GetImageFromArray(np.array([[[-9e9, -1024.4, 0.4], [3071.0, 4e4, 9e9]]], np.float32))
    write_synthetic_series(image, None, tmp_path, "CT")
    assert sitk.GetArrayFromImage(read_back(tmp_path)).ravel().tolist() == [-1024, -1024, 0, 3071, 3071, 3071]


@settings(max_examples=20, deadline=None)
@given(st.floats(1e-3, 1e6))
def test_mr_of_any_scale_keeps_a_4095th_of_its_largest_value(tmp_path_factory, scale):
    folder = tmp_path_factory.mktemp("mr")
    image = sitk.GetImageFromArray(np.linspace(0, scale, 24, dtype=np.float32).reshape(2, 3, 4))
    paths = write_synthetic_series(image, None, folder, "MR")
    slices = [pydicom.dcmread(path) for path in paths]
    values = np.stack([item.pixel_array * float(item.RescaleSlope) for item in slices])
    assert np.abs(values - sitk.GetArrayFromImage(image)).max() <= scale / 4095 * 0.501


def test_it_files_beside_the_patients_own_images(tmp_path):
    paths = write_synthetic_series(oblique(), REFERENCE, tmp_path, "CT", derivation="mrct sc_cyclegan")
    first = pydicom.dcmread(paths[0])
    for keyword in (
        "PatientID",
        "PatientName",
        "PatientBirthDate",
        "StudyInstanceUID",
        "FrameOfReferenceUID",
    ):
        assert first[keyword].value == REFERENCE[0][keyword].value, keyword
    assert first.SeriesInstanceUID != REFERENCE[0].SeriesInstanceUID
    assert first.SeriesDescription == "Synthetic CT (research use only)"
    assert list(first.ImageType[:2]) == ["DERIVED", "SECONDARY"]
    assert "sc_cyclegan" in first.DerivationDescription
    assert (first.Modality, first.RescaleType, first.BurnedInAnnotation) == ("CT", "HU", "NO")
    assert first.SOPClassUID == pydicom.uid.CTImageStorage
    assert first.SourceImageSequence[0].ReferencedSOPInstanceUID in {
        item.SOPInstanceUID for item in REFERENCE
    }


def test_each_slice_refers_to_the_source_slice_of_its_level(tmp_path):
    image = sitk.Image((4, 4, 3), sitk.sitkFloat32)
    image.SetSpacing((1, 1, 2.5))
    image.SetOrigin((0, 0, 2.4))  # the reference lies at 2.5, 5 and 7.5 mm
    paths = write_synthetic_series(image, REFERENCE, tmp_path, "CT")
    sources = [pydicom.dcmread(path).SourceImageSequence[0].ReferencedSOPInstanceUID for path in paths]
    assert sources == [item.SOPInstanceUID for item in REFERENCE]


def test_files_are_strictly_valid_and_their_uids_unique(tmp_path):
    paths = write_synthetic_series(oblique(), REFERENCE, tmp_path, "CT")
    slices = [pydicom.dcmread(path) for path in paths]
    assert len({item.SOPInstanceUID for item in slices}) == len(slices)
    assert len({item.SeriesInstanceUID for item in slices}) == 1
    assert [item.InstanceNumber for item in slices] == [1, 2, 3, 4]
    for item in slices:
        for element in item.iterall():
            if element.keyword in ("PatientName", "PixelData") or element.VM == 0:
                continue
            value = element.value if element.VM == 1 else list(element.value)
            if element.VR in ("DS", "UI", "CS", "DA", "IS"):  # raises where the text breaks PS3.5
                pydicom.dataelem.DataElement(
                    element.tag, element.VR, value, validation_mode=pydicom.config.RAISE
                )  # fmt: skip
        assert item.file_meta.MediaStorageSOPInstanceUID == item.SOPInstanceUID


def test_the_same_volume_gives_the_same_bytes_and_another_one_another_series(tmp_path):
    contents = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        paths = write_synthetic_series(oblique(seed=seed), REFERENCE, tmp_path / name, "CT")
        contents.append([path.read_bytes() for path in paths])
    assert contents[0] == contents[1]
    uids = {pydicom.dcmread(tmp_path / name / "0001.dcm").SeriesInstanceUID for name in ("a", "c")}
    assert len(uids) == 2


@pytest.mark.parametrize(
    ("values", "modality", "message"),
    [
        (np.full((2, 3, 4), np.nan), "CT", "finite"),
        (np.zeros((3, 4)), "CT", "3D"),
        (np.zeros((2, 3, 4)), "PT", "CT or MR"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, values, modality, message):
    with pytest.raises(ValueError, match=message):
        write_synthetic_series(sitk.GetImageFromArray(values), None, tmp_path, modality)


def test_an_empty_mr_and_a_single_slice_pass(tmp_path):
    paths = write_synthetic_series(sitk.Image((4, 4, 1), sitk.sitkFloat32), None, tmp_path, "MR")
    assert pydicom.dcmread(paths[0]).pixel_array.max() == 0
