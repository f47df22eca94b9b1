"""The stage tells persons apart by the stored bytes, explains why it stops one, and takes any file name."""

import csv
import gzip
import json
import os
import struct
from pathlib import Path

import pandas as pd
import pydicom
import pytest
from pydicom.tag import Tag

from helpers.phi_factory import person_dataset, save, secrets_in
from mrct.deid.pseudonyms import demonstration
from stages.anonymize import Params, Source, run

KEYS = demonstration()
UNREADABLE = bytes(range(0xF8, 0x100))  # no text in UTF-8
LATIN1_NAME = "M\udcfcller"  # the bytes of a file name in Latin-1, as Python shows them


@pytest.fixture(autouse=True)
def _one_process(monkeypatch):
    monkeypatch.setenv("MRCT_WORKERS", "1")


def anonymize(folder: Path, **params) -> pd.DataFrame:
    """Run the stage on folder/raw and return the audit of its files."""
    section = Params(key_file="unused", max_shift_days=365, retain_age_and_sex=False, **params)
    source = Source(source=str(folder / "raw"), source_layout="dicom")
    run(section, source, folder / "out", folder / "work", KEYS)
    return pd.read_csv(folder / "out" / "audit" / "files.csv", keep_default_na=False)


def patients(table: pd.DataFrame) -> list[str]:
    return table.output.str.split("/").str[1].tolist()


def add(path: Path, modality="CT", instance=1, charset="ISO_IR 100", stored=None, **changes) -> Path:
    """Save an image; in the file, the elements `stored` hold these bytes, in whatever character set is declared."""
    image = person_dataset(modality, instance, **changes)
    image.SpecificCharacterSet = charset
    marks = {}
    for number, (keyword, value) in enumerate((stored or {}).items()):
        value += b" " * (len(value) % 2)
        mark = str(number) * len(value)
        setattr(image, keyword, mark)
        tag, vr = Tag(keyword), pydicom.datadict.dictionary_VR(keyword)
        head = struct.pack("<HH2sH", tag.group, tag.element, vr.encode(), len(value))
        marks[head + mark.encode()] = head + value
    save(image, path)
    content = path.read_bytes()
    for mark, value in marks.items():
        assert content.count(mark) == 1
        content = content.replace(mark, value)
    path.write_bytes(content)
    return path


def test_ids_that_no_decoder_reads_are_other_persons_if_their_bytes_differ(tmp_path):
    """Both ids are read as two replacement characters and a 1."""
    ids = {"CT": b"\xff\xfe1", "MR": b"\xfe\xff1"}
    for modality, value in ids.items():
        for instance in (1, 2):
            add(
                tmp_path / "raw" / f"{modality}{instance}",
                modality,
                instance,
                "ISO_IR 192",
                {"PatientID": value},
            )
    table = anonymize(tmp_path)
    assert table.action.tolist() == ["kept"] * 4
    assert patients(table) == [KEYS.patient(r"\xff\xfe1")] * 2 + [KEYS.patient(r"\xfe\xff1")] * 2
    content = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert not [value for value in ids.values() if value in content]


def test_the_bytes_of_an_id_that_no_decoder_reads_are_searched_for(tmp_path, monkeypatch):
    from mrct.deid import writing

    honest = writing.save_dataset

    def leaky(dataset, path):
        honest(dataset, path)
        content = path.read_bytes()
        path.write_bytes(content.replace(b"SIEMENS ", UNREADABLE))

    monkeypatch.setattr(writing, "save_dataset", leaky)
    add(tmp_path / "raw" / "a", charset="ISO_IR 192", stored={"PatientID": UNREADABLE})
    with pytest.raises(ValueError, match="would hold the patient's PatientID"):
        anonymize(tmp_path)


def test_one_id_in_two_character_sets_is_one_patient(tmp_path):
    add(
        tmp_path / "raw" / "ct", "CT", charset="ISO_IR 100", stored={"PatientID": "Müller1".encode("latin-1")}
    )
    add(tmp_path / "raw" / "mr", "MR", charset="ISO_IR 192", stored={"PatientID": "Müller1".encode()})
    assert patients(anonymize(tmp_path)) == [KEYS.patient("Müller1")] * 2


def test_tables_of_persons_hold_an_undecodable_id_as_its_bytes(tmp_path):
    add(tmp_path / "raw" / "ct", "CT", charset="ISO_IR 192", stored={"PatientID": b"\xff1"})
    add(tmp_path / "raw" / "mr", "MR", PatientID="MRN-1")
    (tmp_path / "raw" / "same.csv").write_text("patient_id,same_as\n" + r"\xff1,MRN-1" + "\n")
    back = tmp_path / "safe" / "back.csv"
    table = anonymize(tmp_path, same_person="same.csv", reidentification_table=str(back))
    assert table.action.tolist() == ["kept", "kept", "skipped"]
    with back.open(encoding="utf-8") as stream:
        rows = [(row["patient"], row["patient_id"]) for row in csv.DictReader(stream)]
    assert rows == [(KEYS.patient("MRN-1"), "MRN-1"), (KEYS.patient("MRN-1"), r"\xff1")]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"PatientName": "Someone^Else"}, "the names differ, the birth dates agree"),
        ({"PatientBirthDate": "19600101"}, "the names agree, the birth dates differ"),
        ({"PatientSex": "M"}, "the names agree, the birth dates agree, the sexes differ"),
        ({"PatientName": "Else", "PatientBirthDate": "1960"}, "the names differ, the birth dates differ"),
    ],
)
def test_a_stopped_patient_is_told_what_differs_where_and_how_to_go_on(tmp_path, changes, reason):
    for instance, change in ((1, {}), (2, {}), (3, changes), (4, changes | {"PatientBirthDate": ""})):
        add(tmp_path / "raw" / f"{instance}", instance=instance, **change)
    add(tmp_path / "raw" / "z", PatientID="other", SOPInstanceUID="1.9")
    table = anonymize(tmp_path)
    assert table.action.tolist() == ["rejected"] * 4 + ["kept"]
    assert table.reason[:4].str.contains(f"{reason} (see file 0 and file 2 of", regex=False).all()
    assert table.reason[:4].str.contains("correct the export, or confirm").all()
    assert table.reason[:4].str.contains("anonymize.same_person").all()
    assert secrets_in(table.to_csv().encode()) == []
    summary = json.loads((tmp_path / "out" / "audit" / "summary.json").read_text())
    assert [text for text in summary["reasons"]["rejected"] if "see another file and another file" in text]


def test_a_row_with_one_id_twice_confirms_that_its_files_are_one_person(tmp_path):
    add(tmp_path / "raw" / "a", "CT", PatientName="MUELLER^JOERG")
    add(tmp_path / "raw" / "b", "MR", stored={"PatientName": "MÜLLER^JÖRG".encode("latin-1")})
    add(tmp_path / "raw" / "c", "CT", PatientID="b", SOPInstanceUID="1.9")
    add(tmp_path / "raw" / "d", "CT", PatientID="b", SOPInstanceUID="1.8", PatientName="Someone^Else")
    assert (tmp_path / "raw" / "e.csv").write_text("patient_id,same_as\nMRN-774411,MRN-774411\n")
    table = anonymize(tmp_path, same_person="e.csv")
    assert table.action.tolist() == ["kept", "kept", "rejected", "rejected", "skipped"]
    assert patients(table)[:2] == [KEYS.patient("MRN-774411")] * 2
    summary = json.loads((tmp_path / "out" / "audit" / "summary.json").read_text())
    assert summary["joined_patient_ids"] == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_file_names_of_any_bytes_reach_no_output_and_end_no_run(tmp_path, capfd, monkeypatch, workers):
    monkeypatch.setenv("MRCT_WORKERS", workers)
    root = tmp_path / "raw" / LATIN1_NAME
    for instance in (1, 2):
        add(root / f"{LATIN1_NAME}{instance}", instance=instance)
    add(root / "\udcff" / "x", PatientID="other", SOPInstanceUID="1.9")
    (root / "\udce9.txt").write_text("no image")
    assert anonymize(tmp_path).action.tolist() == ["kept", "kept", "skipped", "kept"]
    names = b"\0".join(os.fsencode(path) for path in (tmp_path / "out").rglob("*"))
    content = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert b"\xfc" not in names + "".join(capfd.readouterr()).encode()
    assert b"M\xfcller" not in content


def test_a_source_of_archives_says_so(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.zip").write_bytes(b"PK\x03\x04" * 10)
    (tmp_path / "raw" / "b").write_bytes(gzip.compress(b"x" * 600))
    with pytest.raises(ValueError, match="2 of 2 files in the source are archives") as error:
        anonymize(tmp_path)
    assert "1 skipped: not DICOM, but a zip archive: unpack it into the source folder" in str(error.value)


def test_an_archive_beside_images_is_listed_with_what_to_do(tmp_path):
    add(tmp_path / "raw" / "a")
    (tmp_path / "raw" / "b.zip").write_bytes(b"PK\x03\x04" * 10)
    assert anonymize(tmp_path).reason.tolist() == [
        "",
        "not DICOM, but a zip archive: unpack it into the source folder",
    ]
