"""Volume layouts: found, rewritten without their headers' text, listed when they cannot be used."""

import gzip

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from mrct.dicom.layouts import VolumeTask, find_cases, weighting_of, write_case
from mrct.dicom.pseudonyms import demonstration

KEYS = demonstration()


def volume(path, values=None, size=(5, 4, 3), pixel=np.int16, notes=""):
    """A small volume with its own geometry and free text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.arange(np.prod(size)).reshape(size[::-1]) if values is None else values
    image = sitk.GetImageFromArray(np.asarray(array, pixel))
    image.SetSpacing((0.5, 0.75, 4.0))
    image.SetOrigin((-10.0, 20.0, 7.5))
    image.SetDirection((1, 0, 0, 0, -1, 0, 0, 0, -1))
    if notes:
        image.SetMetaData("ITK_FileNotes", notes)
        image.SetMetaData("aux_file", notes)
        image.SetMetaData("Comment", notes)
    sitk.WriteImage(image, str(path))
    return path


def write_all(source, layout, out):
    cases, files = find_cases(source, layout)
    return [write_case(VolumeTask(case, out / "images", KEYS)) for case in cases], files


def test_synthrad_cases_are_written_with_geometry_and_values(tmp_path):
    for name, pixel in (("mr", np.float32), ("ct", np.int16), ("mask", np.uint8)):
        volume(tmp_path / "in" / "1BA001" / f"{name}.nii.gz", pixel=pixel)
    results, _ = write_all(tmp_path / "in", "synthrad", tmp_path / "out")
    folder = tmp_path / "out" / "images" / KEYS.patient("1BA001")
    assert sorted(path.name for path in folder.iterdir()) == ["ct.nii.gz", "mask.nii.gz", "mr.nii.gz"]
    source, result = (sitk.ReadImage(str(f / "ct.nii.gz")) for f in (tmp_path / "in" / "1BA001", folder))
    assert result.GetPixelID() == sitk.sitkFloat32
    assert np.array_equal(sitk.GetArrayFromImage(source), sitk.GetArrayFromImage(result))
    for point in ((0, 0, 0), (4, 3, 2)):
        expected = source.TransformIndexToPhysicalPoint(point)
        assert result.TransformIndexToPhysicalPoint(point) == pytest.approx(expected, abs=1e-4)
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "mask.nii.gz")))
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) == {0, 1}
    assert [row[1] for row in results[0].rows] == ["kept"] * 3


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha", ".mhd"])
def test_free_text_of_headers_does_not_pass(tmp_path, suffix):
    for name in ("ct", "mr_T1"):
        volume(tmp_path / "in" / "Quenneville" / f"{name}{suffix}", notes="Quenneville Zebulon")
    write_all(tmp_path / "in", "rire", tmp_path / "out")
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(written) == 2
    for path in written:
        content = str(path).encode() + path.read_bytes()[:64] + gzip.decompress(path.read_bytes())
        assert b"quenneville" not in content.lower()
        assert b"zebulon" not in content.lower()


def test_rire_takes_the_folder_itself_or_its_cases_and_the_first_mr(tmp_path):
    for name in ("ct", "mr_T2", "mr_T1", "mr_PD"):
        volume(tmp_path / "alone" / f"{name}.mha")
        volume(tmp_path / "many" / "p1" / f"{name}.mha")
    (tmp_path / "alone" / "ct_T1.standard").write_text("points")
    for source in ("alone", "many"):
        results, files = write_all(tmp_path / source, "rire", tmp_path / "out" / source)
        verdicts = {files[row[0]].name: row[1] for row in results[0].rows}
        assert verdicts == {
            "ct.mha": "kept",
            "mr_PD.mha": "kept",
            "mr_T1.mha": "rejected",
            "mr_T2.mha": "rejected",
        }
        assert results[0].weighting == "any"


@pytest.mark.parametrize(
    ("name", "layout", "weighting"),
    [
        ("mr_t1.nii.gz", "rire", "t1"),
        ("mr_T1.mha", "rire", "t1"),
        ("mr_T1_rectified.mhd", "rire", "t1"),
        ("mr_T2.mha", "rire", "t2"),
        ("mr_PD.mha", "rire", "any"),
        ("mr.nii.gz", "synthrad", "any"),
    ],
)
def test_the_file_name_declares_the_weighting(tmp_path, name, layout, weighting):
    assert weighting_of(tmp_path / name, layout) == weighting


def test_a_one_slice_volume_passes(tmp_path):
    for name in ("ct", "mr"):
        volume(tmp_path / "in" / "a" / f"{name}.nii.gz", size=(6, 5, 1))
    write_all(tmp_path / "in", "synthrad", tmp_path / "out")
    result = sitk.ReadImage(str(tmp_path / "out" / "images" / KEYS.patient("a") / "ct.nii.gz"))
    assert result.GetSize() == (6, 5, 1)


def test_what_cannot_be_used_is_listed_and_the_others_go_on(tmp_path):
    for case in ("broken", "good", "lonely", "nan"):
        volume(tmp_path / "in" / case / "ct.nii.gz")
    for case in ("good", "broken"):
        volume(tmp_path / "in" / case / "mr.nii.gz")
    volume(tmp_path / "in" / "nan" / "mr.mha", np.full((3, 4, 5), np.nan), pixel=np.float32)
    (tmp_path / "in" / "broken" / "ct.nii.gz").write_bytes(b"no volume")
    results, _ = write_all(tmp_path / "in", "synthrad", tmp_path / "out")
    actions = [sorted(row[1] for row in result.rows) for result in results]
    assert actions == [
        ["quarantined", "rejected"],
        ["kept", "kept"],
        ["rejected"],
        ["quarantined", "rejected"],
    ]
    assert "no MR" in results[2].rows[0][2]
    assert len(list((tmp_path / "out").rglob("*.nii.gz"))) == 2


def test_a_source_without_the_layout_is_an_error_that_shows_it(tmp_path):
    (tmp_path / "readme").write_text("hello")
    with pytest.raises(FileNotFoundError, match="<case>/"):
        find_cases(tmp_path, "synthrad")


def test_the_same_source_gives_the_same_bytes(tmp_path):
    for name in ("ct", "mr"):
        volume(tmp_path / "in" / "a" / f"{name}.nii.gz")
    contents = []
    for out in ("one", "two"):
        write_all(tmp_path / "in", "synthrad", tmp_path / out)
        contents.append([path.read_bytes() for path in sorted((tmp_path / out).rglob("*.gz"))])
    assert contents[0] == contents[1]
