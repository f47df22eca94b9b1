"""The stage from a messy export to data/anonymized: verdicts, audit, sameness, and the sweep."""

import json
import os
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.uid import EncapsulatedPDFStorage, MediaStorageDirectoryStorage

from mrct import params as parameters
from mrct.dicom import patient as worker
from mrct.dicom.pseudonyms import DEMONSTRATION_KEY, KeyRefusedError, Pseudonyms, demonstration
from mrct.dicom.sweep import LeakError
from stages.anonymize import Params, Source, choose_pseudonyms, run

factory = runpy.run_path(str(Path(__file__).parents[1] / "dicom" / "phi_factory.py"))
person_dataset, save, secrets_in = factory["person_dataset"], factory["save"], factory["secrets_in"]
PARAMS = Params(key_file="unused", max_shift_days=365, retain_age_and_sex=False)
KEYS = demonstration()


@pytest.fixture(autouse=True)
def _one_process(monkeypatch):
    monkeypatch.setenv("MRCT_WORKERS", "1")


@pytest.fixture
def export(tmp_path):
    """One patient's CT and MR (two slices each) under personal file names."""
    root = tmp_path / "raw"
    for modality in ("CT", "MR"):
        for instance in (1, 2):
            save(person_dataset(modality, instance), root / "Quenneville" / f"{modality}{instance}")
    return root


def anonymize(root, out, mapping=KEYS, params=PARAMS):
    run(params, Source(source=str(root), source_layout="dicom"), out, mapping)
    return pd.read_csv(out / "audit" / "files.csv", keep_default_na=False)


def test_an_export_becomes_the_tree_of_the_contract(export, tmp_path):
    table = anonymize(export, tmp_path / "out")
    assert table.action.tolist() == ["kept"] * 4
    written = sorted((tmp_path / "out" / "images").rglob("*.dcm"))
    assert sorted(table.output) == [str(path.relative_to(tmp_path / "out")) for path in written]
    parts = {path.relative_to(tmp_path / "out").parts for path in written}
    assert {len(part) for part in parts} == {5}
    assert {part[1] for part in parts} == {KEYS.patient("MRN-774411")}
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest == {"layout": "dicom", "registered": False, "mr_weighting": "unknown"}


def test_nothing_personal_is_in_any_output_byte_or_name(export, tmp_path, capfd):
    anonymize(export, tmp_path / "out")
    for path in (tmp_path / "out").rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert secrets_in(str(path.relative_to(tmp_path)).encode() + b"\n" + content) == [], path
    assert secrets_in("".join(capfd.readouterr()).encode()) == []


def test_the_same_key_gives_the_same_bytes_and_another_key_other_names(export, tmp_path):
    trees = []
    for name, mapping in (("a", KEYS), ("b", KEYS), ("c", Pseudonyms(b"k" * 32))):
        anonymize(export, tmp_path / name, mapping)
        paths = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        trees.append({str(path.relative_to(tmp_path / name)): path.read_bytes() for path in paths})
    assert trees[0] == trees[1]
    assert set(trees[0]) != set(trees[2])


def test_two_processes_write_what_one_writes(export, tmp_path, monkeypatch):
    save(person_dataset(PatientID="second", SOPInstanceUID="1.2.9"), export / "x")
    anonymize(export, tmp_path / "one")
    monkeypatch.setenv("MRCT_WORKERS", "2")
    anonymize(export, tmp_path / "two")
    for path in (tmp_path / "one").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()


def _pdf(root):
    save(person_dataset(SOPClassUID=EncapsulatedPDFStorage), root / "x")


def _dicomdir(root):
    save(person_dataset(SOPClassUID=MediaStorageDirectoryStorage), root / "DICOMDIR")


def _burned(root):
    save(person_dataset(BurnedInAnnotation="YES", SOPInstanceUID="1.9"), root / "x")


def _derived(root):
    save(person_dataset(ImageType=["DERIVED", "PRIMARY", "MPR"], SOPInstanceUID="1.9"), root / "x")


def _derived_clean(root):
    image = person_dataset(
        ImageType=["DERIVED", "PRIMARY", "MPR"], SOPInstanceUID="1.9", BurnedInAnnotation="NO"
    )
    save(image, root / "x")


def _no_patient(root):
    save(person_dataset(PatientID=" ", SOPInstanceUID="1.9"), root / "x")


def _truncated(root):
    path = save(person_dataset(SOPInstanceUID="1.9"), root / "x")
    path.write_bytes(path.read_bytes()[:-100])


def _empty(root):
    (root / ".DS_Store").touch()


def _zip(root):
    (root / "export.zip").write_bytes(b"PK\x03\x04" * 100)


def _copy(root):
    save(person_dataset("CT", 1, PatientName=None), root / "zz copy")


def _color(root):
    save(person_dataset(SamplesPerPixel=3, SOPInstanceUID="1.9", Rows=4, Columns=4), root / "x")


@pytest.mark.parametrize(
    ("add", "action", "reason"),
    [
        (_pdf, "rejected", "Encapsulated PDF"),
        (_dicomdir, "rejected", "DICOMDIR"),
        (_burned, "quarantined", "burned into"),
        (_derived, "quarantined", "derived image"),
        (_derived_clean, "kept", ""),
        (_no_patient, "rejected", "no PatientID"),
        (_truncated, "quarantined", "truncated"),
        (_empty, "skipped", "0 bytes"),
        (_zip, "skipped", "not DICOM"),
        (_copy, "duplicate", "the same image"),
        (_color, "rejected", "color"),
    ],
)
def test_each_odd_file_gets_its_verdict_and_the_others_are_kept(export, tmp_path, add, action, reason):
    add(export)
    table = anonymize(export, tmp_path / "out")
    assert len(table) == 5
    odd = table[~table.reason.eq("") | table.action.ne("kept")] if action != "kept" else table.iloc[-1:]
    assert odd.action.tolist() == [action]
    assert reason in odd.reason.iloc[0]
    assert (table.action == "kept").sum() == (5 if action == "kept" else 4)
    summary = json.loads((tmp_path / "out" / "audit" / "summary.json").read_text())
    assert sum(summary["files"].values()) == 5


def test_one_uid_with_two_different_images_is_refused_both_times(export, tmp_path):
    image = person_dataset("CT", 1)
    image.PixelData = np.zeros(256, "<u2").tobytes()
    save(image, export / "zz")
    table = anonymize(export, tmp_path / "out")
    refused = table[table.action == "rejected"]
    assert len(refused) == 2
    assert refused.reason.str.contains("other pixels").all()


@pytest.mark.parametrize("change", [{"PatientName": "Someone^Else"}, {"PatientBirthDate": "19600101"}])
def test_two_people_under_one_id_stop_that_patient_and_no_other(export, tmp_path, change):
    save(person_dataset("CT", 3, **change), export / "x")
    save(person_dataset("CT", 9, PatientID="other", SOPInstanceUID="1.9"), export / "y")
    table = anonymize(export, tmp_path / "out")
    assert (table.action == "kept").sum() == 1
    assert table[table.action == "rejected"].reason.str.contains("two different persons").all()


def test_spelling_of_a_name_is_not_another_person(export, tmp_path):
    save(person_dataset("CT", 3, PatientName="QUENNEVILLE ZEBULON^^"), export / "x")
    assert (anonymize(export, tmp_path / "out").action == "kept").all()


def test_own_output_is_recognized_and_its_dates_stay(export, tmp_path):
    anonymize(export, tmp_path / "one")
    anonymize(tmp_path / "one" / "images", tmp_path / "two")
    dates = [
        sorted(pydicom.dcmread(path).StudyDate for path in (tmp_path / name).rglob("*.dcm"))
        for name in ("one", "two")
    ]
    assert dates[0] == dates[1]
    summary = json.loads((tmp_path / "two" / "audit" / "summary.json").read_text())
    assert summary["already_deidentified_files"] == 4


def test_a_leak_fails_the_stage_names_the_attribute_only_and_publishes_nothing(export, tmp_path, monkeypatch):
    honest = worker.deidentify

    def leaky(dataset, *rest):
        result = honest(dataset, *rest)
        result.dataset.ImageComments = "for quenneville"
        return result

    monkeypatch.setattr(worker, "deidentify", leaky)
    with pytest.raises(LeakError, match="PatientName") as error:
        anonymize(export, tmp_path / "out")
    assert secrets_in(str(error.value).encode()) == []
    assert not (tmp_path / "out").exists()


def test_a_source_without_images_is_an_error_that_counts_the_reasons(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a").write_text("no image")
    with pytest.raises(ValueError, match=r"(?s)none of its 1 files.*not DICOM"):
        anonymize(tmp_path / "raw", tmp_path / "out")


def test_source_and_output_inside_one_another_are_refused(export, tmp_path):
    for out in (export / "out", export, tmp_path):
        with pytest.raises(ValueError, match="inside one another"):
            anonymize(export, out)


def test_the_audit_counts_attributes_without_values(export, tmp_path):
    anonymize(export, tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "audit" / "attributes.csv", keep_default_na=False)
    row = table[table.keyword == "PatientName"].iloc[0]
    assert (row.action, row["count"]) == ("dropped", 4)
    assert set(table.action) <= {"kept", "changed", "emptied", "dropped"}


def test_a_volume_layout_says_what_it_knows(tmp_path):
    source = Path("data/sample/rire_001")
    run(PARAMS, Source(source=str(source), source_layout="rire"), tmp_path / "out", KEYS)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest == {"layout": "volumes", "registered": False, "mr_weighting": "t1"}
    written = sorted(path.name for path in (tmp_path / "out" / "images").rglob("*.gz"))
    assert written == ["ct.nii.gz", "mr.nii.gz"]
    table = pd.read_csv(tmp_path / "out" / "audit" / "files.csv", keep_default_na=False)
    assert set(table.action) == {"kept", "skipped"}
    assert len(table) == sum(path.is_file() for path in source.rglob("*"))


def test_the_demonstration_key_serves_the_virtual_cohort_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("MRCT_KEY", DEMONSTRATION_KEY)
    cohort = Source(source="data/cohort", source_layout="dicom")
    assert choose_pseudonyms(PARAMS, cohort).key == DEMONSTRATION_KEY.encode()
    with pytest.raises(KeyRefusedError, match="virtual cohort"):
        choose_pseudonyms(PARAMS, Source(source="data/raw", source_layout="dicom"))


def test_a_new_key_is_announced_without_being_shown(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("MRCT_KEY", raising=False)
    file = tmp_path / "config" / "key"
    params = PARAMS.model_copy(update={"key_file": str(file)})
    mapping = choose_pseudonyms(params, Source(source=str(tmp_path / "raw"), source_layout="dicom"))
    message = capsys.readouterr().err
    assert str(file) in message
    assert mapping.key.decode() not in message
    inside = PARAMS.model_copy(update={"key_file": str(Path.cwd() / "key")})
    with pytest.raises(KeyRefusedError, match="inside"):
        choose_pseudonyms(inside, Source(source="data/raw", source_layout="dicom"))


def test_params_yaml_fits_the_models():
    path = Path(__file__).parents[2] / "params.yaml"
    assert parameters.load(Source, path=path).source == "data/cohort"
    assert parameters.load(Params, "anonymize", path).max_shift_days == 365


def test_unreadable_files_are_listed(export, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    path = save(person_dataset(), export / "x")
    path.chmod(0)
    table = anonymize(export, tmp_path / "out")
    assert "permissions" in table[table.action == "skipped"].reason.iloc[0]
