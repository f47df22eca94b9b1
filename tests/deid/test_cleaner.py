"""Caching cleaned elements does not change a byte; the kept attributes depend on the kind of image."""

from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset, dcmwrite
from pydicom.uid import ImplicitVRLittleEndian

from helpers.phi_factory import person_dataset
from mrct.deid import cleaner
from mrct.deid.deidentify import Options, deidentify
from mrct.deid.pseudonyms import demonstration
from mrct.dicom.read import read_dataset
from mrct.dicom.write import save_dataset

KEYS = demonstration()
KOREAN = {"SpecificCharacterSet": ["", "ISO 2022 IR 149"]}


def saved(image: Dataset, path: Path, implicit: bool = False) -> Path:
    if implicit:
        image.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    image.save_as(path, enforce_file_format=True, implicit_vr=implicit, little_endian=True)
    return path


def output(path: Path, folder: Path, options: Options | None = None) -> tuple[bytes, dict]:
    result = deidentify(read_dataset(path, pixels=True), KEYS, options or Options())
    save_dataset(result.dataset, folder / "out.dcm")
    return (folder / "out.dcm").read_bytes(), dict(result.changes)


@pytest.fixture
def files(tmp_path) -> list[Path]:
    """Write files that share many bytes, which have different meanings: patient, character set, sign, encoding."""
    images = [person_dataset(modality, instance) for modality in ("CT", "MR") for instance in (1, 2)]
    images += [
        person_dataset(PatientID="MRN-2"),
        person_dataset(**KOREAN),
        person_dataset(PixelRepresentation=1),
    ]
    for image in images:
        image.add_new("PixelPaddingValue", "US", 63536)
        image.StudyDescription = "AX T2 É洪" if image.SpecificCharacterSet != "ISO_IR 100" else "AX T2 É"
    paths = [saved(image, tmp_path / f"{n}.dcm") for n, image in enumerate(images)]
    return [*paths, saved(images[0], tmp_path / "implicit.dcm", implicit=True)]


def test_the_memory_changes_no_byte_and_no_count(files, tmp_path, monkeypatch):
    cold = []
    for path in files:
        cleaner.cleaner_for.cache_clear()
        cold.append(output(path, tmp_path))
    assert [output(path, tmp_path) for path in files] == cold
    assert [output(path, tmp_path) for path in reversed(files)] == cold[::-1]
    monkeypatch.setattr(cleaner, "_MOST", 3)  # nearly always drops entries
    cleaner.cleaner_for.cache_clear()
    assert [output(path, tmp_path) for path in files] == cold
    # the Korean and the implicit file become the same file as the first
    assert [content == cold[0][0] for content, _ in cold] == [n in (0, 5, 7) for n in range(8)]


def test_the_memory_is_used_and_bounded(files, tmp_path, monkeypatch):
    cleaner.cleaner_for.cache_clear()
    computed = []
    honest = cleaner.Cleaner._computed
    monkeypatch.setattr(
        cleaner.Cleaner, "_computed", lambda self, *rest: computed.append(1) or honest(self, *rest)
    )
    output(files[0], tmp_path)
    first = len(computed)
    output(files[0], tmp_path)
    assert first > 20
    again = len(computed) - first
    assert again < first / 3  # elements that the reader has already converted (rows, columns, ...)
    long = person_dataset(ImageType=["ORIGINAL", "PRIMARY", "AXIAL", "X" * 2000])
    output(saved(long, tmp_path / "long.dcm"), tmp_path)
    before = len(computed)
    output(tmp_path / "long.dcm", tmp_path)
    assert len(computed) - before == again + 1  # the long value is not cached


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_equal_bytes_in_other_characters_are_other_words(tmp_path, order):
    """In GB18030 the second byte of a character may be an ASCII letter: 81 41 is one character, not an A."""
    expected = {"ISO_IR 100": "AX T2", "GB18030": "T2"}
    for index in order:
        character_set = list(expected)[index]
        image = person_dataset(SpecificCharacterSet=character_set, PatientName="Lee")
        image.add(pydicom.dataelem.RawDataElement(
            pydicom.tag.Tag("StudyDescription"), "LO", 6, b"\x81AX T2", 0, False, True))  # fmt: skip
        source = read_dataset(saved(image, tmp_path / "x.dcm"), pixels=True)
        assert source.get_item("StudyDescription").value == b"\x81AX T2"
        result = deidentify(source, KEYS, Options()).dataset
        assert result.StudyDescription == expected[character_set]


def test_options_are_not_mixed_up(files, tmp_path):
    without, with_sex = (
        output(files[0], tmp_path),
        output(files[0], tmp_path, Options(retain_age_and_sex=True)),
    )
    assert without != with_sex
    assert output(files[0], tmp_path) == without


def test_the_file_is_what_pydicom_would_write(tmp_path):
    source = saved(person_dataset("MR", size=200), tmp_path / "in.dcm")  # pixels of more than 64 KB
    result = deidentify(read_dataset(source, pixels=True), KEYS, Options()).dataset
    save_dataset(result, tmp_path / "ours.dcm")
    theirs = BytesIO()
    result.preamble = b"\0" * 128
    dcmwrite(theirs, pydicom.dcmread(tmp_path / "ours.dcm"), enforce_file_format=True)
    assert (tmp_path / "ours.dcm").read_bytes() == theirs.getvalue()
    result["PixelData"] = cleaner.encoded(result["PixelData"])
    save_dataset(result, tmp_path / "copied.dcm")
    assert (tmp_path / "copied.dcm").read_bytes() == theirs.getvalue()
    for element in result:  # now every element is converted, none is copied
        assert element.tag in result
    save_dataset(result, tmp_path / "again.dcm")
    assert (tmp_path / "again.dcm").read_bytes() == theirs.getvalue()


def test_a_name_in_other_characters_is_written_as_its_character_set_says(tmp_path):
    image = person_dataset(PatientName="Hong^Gildong=洪^吉洞", **KOREAN)
    save_dataset(image, tmp_path / "x.dcm")
    assert str(pydicom.dcmread(tmp_path / "x.dcm").PatientName) == "Hong^Gildong=洪^吉洞"


def test_an_attribute_of_another_kind_of_image_is_dropped_and_listed():
    result = deidentify(person_dataset("MR", KVP="120"), KEYS, Options())
    assert "KVP" not in result.dataset
    assert result.changes[cleaner.Change("(0018,0060)", "KVP", "", "dropped")] == 1
    assert deidentify(person_dataset("CT"), KEYS, Options()).dataset.KVP == 120


def test_changes_name_the_action_of_the_profile():
    changes = deidentify(person_dataset(), KEYS, Options()).changes
    found = {change.keyword: (change.profile, change.action) for change in changes}
    assert found["PatientName"] == ("Z", "changed")
    assert found["InstitutionName"] == ("X/Z/D", "dropped")
    assert found["SOPInstanceUID"] == ("U", "changed")
    assert found["StudyDate"] == ("Z", "changed")
    assert found["Rows"] == ("", "kept")
    assert found["AccessionNumber"] == ("Z", "emptied")


def test_an_id_inside_an_item_is_dropped_not_replaced():
    """The id may belong to another person."""
    item = deidentify(person_dataset(), KEYS, Options()).dataset.SourceImageSequence[0]
    assert "PatientID" not in item


def test_a_type_2_number_that_is_none_is_emptied_not_dropped():
    image = person_dataset("CT")
    image.add(pydicom.dataelem.RawDataElement(
        pydicom.tag.Tag("KVP"), "DS", 12, b"Quenneville ", 0, False, True))  # fmt: skip
    result = deidentify(image, KEYS, Options())
    assert result.dataset["KVP"].is_empty
    assert result.changes[cleaner.Change("(0018,0060)", "KVP", "", "emptied")] == 1
