"""The stage from a messy export to data/anonymized: verdicts, audit, reproducible bytes, and the sweep."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.uid import EncapsulatedPDFStorage, MediaStorageDirectoryStorage

from helpers.phi_factory import person_dataset, save, secrets_in
from mrct.core import params as parameters
from mrct.deid import survey, writing
from mrct.deid.pseudonyms import DEMONSTRATION_KEY, KeyRefusedError, Pseudonyms, demonstration
from mrct.dicom.read import Unreadable
from mrct.leaks.output_sweep import LeakError
from stages.anonymize import Params, Source, choose_pseudonyms, run

PARAMS = Params(key_file="unused", max_shift_days=365, retain_age_and_sex=False)
KEYS = demonstration()


@pytest.fixture(autouse=True)
def _one_process(monkeypatch):
    monkeypatch.setenv("MRCT_WORKERS", "1")


@pytest.fixture
def export(tmp_path):
    """Write one patient's CT and MR (two slices each) under personal file names."""
    root = tmp_path / "raw"
    for modality in ("CT", "MR"):
        for instance in (1, 2):
            save(person_dataset(modality, instance), root / "Quenneville" / f"{modality}{instance}")
    return root


def anonymize(root, out, mapping=KEYS, params=PARAMS):
    run(params, Source(source=str(root), source_layout="dicom"), out, out.parent / "work", mapping)
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


def test_one_uid_under_two_patient_ids_is_refused_both_times(export, tmp_path):
    save(person_dataset("CT", 1, PatientID="other"), export / "x")
    table = anonymize(export, tmp_path / "out")
    assert table.action.value_counts().to_dict() == {"kept": 3, "rejected": 2}
    assert table[table.action == "rejected"].reason.str.contains("under two PatientIDs").all()


def joined(export, rows):
    (export / "Quenneville same.csv").write_text("patient_id,same_as\n" + rows)
    return PARAMS.model_copy(update={"same_person": "Quenneville same.csv"})


def test_only_the_table_joins_two_ids_and_then_ct_and_mr_share_pseudonym_and_shift(export, tmp_path, capfd):
    for path in export.rglob("MR*"):
        dataset = pydicom.dcmread(path)
        dataset.PatientID = "mrn-774411-b "
        save(dataset, path)
    apart = anonymize(export, tmp_path / "apart")
    assert apart.output.str.split("/").str[1].nunique() == 2
    table = anonymize(
        export, tmp_path / "out", params=joined(export, "mrn-774411-b,MRN-774411\nZebulon9,Zebulon8\n")
    )
    assert table.action.value_counts().to_dict() == {"kept": 4, "skipped": 1}
    assert table[table.action == "skipped"].reason.tolist() == ["the table of same persons"]
    images = [pydicom.dcmread(path) for path in sorted((tmp_path / "out").rglob("*.dcm"))]
    assert {image.PatientID for image in images} == {KEYS.patient("MRN-774411")}
    days = {pd.Timestamp(image.StudyDate) for image in images}
    assert max(days) - min(days) == pd.Timestamp("20200305") - pd.Timestamp("20200229")
    summary = json.loads((tmp_path / "out" / "audit" / "summary.json").read_text())
    assert (summary["joined_patient_ids"], summary["patients"]) == (1, 1)
    message = capfd.readouterr().err
    assert "2 of its ids do not occur" in message
    assert secrets_in(message.encode()) == []


def test_joining_does_not_excuse_two_people_under_one_id(export, tmp_path):
    save(person_dataset("CT", 3, PatientName="Someone^Else"), export / "x")
    save(person_dataset("CT", 9, PatientID="other", SOPInstanceUID="1.9"), export / "y")
    table = anonymize(export, tmp_path / "out", params=joined(export, "other,MRN-774411\n"))
    assert table.action.value_counts().to_dict() == {"rejected": 5, "kept": 1, "skipped": 1}


def test_the_table_that_leads_back_is_written_where_asked_and_when_the_run_succeeds(export, tmp_path):
    file = tmp_path / "secret" / "table.csv"
    params = joined(export, "b,MRN-774411\n").model_copy(update={"reidentification_table": str(file)})
    save(person_dataset("CT", 3, PatientID="b"), export / "x")
    save(person_dataset("CT", 4, PatientID="burned", BurnedInAnnotation="YES"), export / "y")
    anonymize(export, tmp_path / "out", params=params)
    patient, days = KEYS.patient("MRN-774411"), KEYS.shift_days("MRN-774411", 365)
    assert file.read_text() == (
        f"patient,patient_id,shift_days\n{patient},MRN-774411,{days}\n{patient},b,{days}\n"
    )
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["table.csv"]


def test_the_table_that_leads_back_is_refused_beside_the_data_or_readable_by_others(export, tmp_path):
    (tmp_path / "open.csv").write_text("")
    (tmp_path / "open.csv").chmod(0o644)
    for place in (tmp_path / "out" / "t.csv", export / "t.csv", Path.cwd() / "t.csv", tmp_path / "open.csv"):
        params = PARAMS.model_copy(update={"reidentification_table": str(place)})
        with pytest.raises(KeyRefusedError, match="table"):
            anonymize(export, tmp_path / "out", params=params)
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("key", ["same_person", "reidentification_table"])
def test_what_serves_dicom_alone_is_refused_for_volumes(tmp_path, key):
    params = PARAMS.model_copy(update={key: "x.csv"})
    source = Source(source="data/sample/rire_001", source_layout="rire")
    with pytest.raises(ValueError, match=f"{key} serves DICOM sources alone"):
        run(params, source, tmp_path / "out", tmp_path / "work", KEYS)


def test_a_value_in_the_audit_fails_the_stage_as_one_in_an_image_does(export, tmp_path, monkeypatch):
    save(person_dataset("CT", 9, PatientID="other", SOPInstanceUID="1.9"), export / "y")
    honest = writing.deidentify

    def quoting(dataset, *rest):
        if dataset.PatientID == "other":
            raise Unreadable("an image of Zebulon Quenneville that is odd")
        return honest(dataset, *rest)

    monkeypatch.setattr(writing, "deidentify", quoting)
    with pytest.raises(LeakError, match=r"audit/files.csv: it holds a patient's PatientName") as error:
        anonymize(export, tmp_path / "out")
    assert secrets_in(str(error.value).encode()) == []
    assert not (tmp_path / "out").exists()


def test_a_patient_with_an_everyday_name_and_a_small_number_raises_no_false_alarm(export, tmp_path):
    person = {"PatientID": "1", "PatientName": "Image^Patient", "AccessionNumber": "000002"}
    save(person_dataset("CT", 9, SOPInstanceUID="1.9", **person), export / "y")
    save(person_dataset("CT", 8, PatientID="2", PatientName="Text^File", SOPInstanceUID="1.8"), export / "x")
    _zip(export)
    assert (anonymize(export, tmp_path / "out").action != "kept").sum() == 1


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


@pytest.fixture
def leaky(monkeypatch):
    """Make the stage write the name into the comments of instance 2 of the patient MRN-774411."""
    honest = writing.deidentify

    def deidentify(dataset, *rest):
        result = honest(dataset, *rest)
        if (dataset.PatientID, dataset.InstanceNumber) == ("MRN-774411", 2):
            result.dataset.ImageComments = "for quenneville"
        return result

    monkeypatch.setattr(writing, "deidentify", deidentify)


def test_a_leak_of_the_only_patient_fails_the_stage_names_the_attribute_only_and_publishes_nothing(
    export, tmp_path, leaky, capfd
):
    with pytest.raises(ValueError, match="would hold the patient's PatientName") as error:
        anonymize(export, tmp_path / "out")
    assert secrets_in((str(error.value) + "".join(capfd.readouterr())).encode()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.work", "raw", "work"]
    assert list((tmp_path / ".out.work").rglob("*.dcm")) == []


def test_a_leak_costs_its_patient_alone_with_all_files_and_counts(
    export, tmp_path, leaky, capfd, monkeypatch
):
    """The leak is in one chunk of the patient; the other chunks are clean."""
    monkeypatch.setattr(survey, "chunk_size", lambda n_files: 1)
    others = export.parent / "others"
    for instance in (1, 2):
        for root in (export, others):
            image = person_dataset("CT", instance, PatientID="b", SOPInstanceUID=f"1.9.{instance}")
            save(image, root / f"z{instance}")
    save(person_dataset("CT", 1), export / "Quenneville" / "CT1 copy")
    table = anonymize(export, tmp_path / "out")
    assert table.action.tolist() == ["rejected"] * 5 + ["kept"] * 2
    assert (
        table.reason[:5].str.contains(r"the output of file [24] would hold the patient's PatientName").all()
    )
    assert table.reason[:5].str.contains("nothing of this patient was published").all()
    assert [path.name for path in (tmp_path / "out" / "images").iterdir()] == [KEYS.patient("b")]
    assert "this patient is left out" in capfd.readouterr().err
    # all else is as if the patient had not been there
    anonymize(others, tmp_path / "alone")
    for name in ("audit/attributes.csv", "manifest.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
    ours, theirs = (
        json.loads((tmp_path / name / "audit" / "summary.json").read_text()) for name in ("out", "alone")
    )
    assert ours["patients"] == theirs["patients"] == 1
    for key in ("files", "bytes", "hits"):
        assert ours["sweep"][key] == theirs["sweep"][key], key


def test_an_id_that_equals_a_measurement_costs_that_patient_alone(export, tmp_path):
    """No defect is needed: six digits may be an id and a number of the image."""
    save(person_dataset("CT", 3, PatientID="451234", SOPInstanceUID="1.9", KVP="451234"), export / "x")
    table = anonymize(export, tmp_path / "out")
    assert table.action.tolist() == ["kept"] * 4 + ["rejected"]
    assert "would hold the patient's PatientID" in table.reason.iloc[-1]


def test_a_name_among_the_pixels_costs_that_image_and_not_the_run(export, tmp_path):
    """The file is quarantined if header text moved into the image or was hidden there."""
    image = person_dataset("CT", 3)
    image.PixelData = b"Zebulon Quenneville ".ljust(len(image.PixelData), b"\0")
    save(image, export / "Quenneville" / "CT3")
    table = anonymize(export, tmp_path / "out")
    assert table.action.value_counts().to_dict() == {"kept": 4, "quarantined": 1}
    row = table[table.action == "quarantined"].iloc[0]
    assert (row.reason, row.output) == ("text of the patient's header lies among the pixels", "")
    files = list((tmp_path / "out").rglob("*.dcm"))
    assert len(files) == 4
    summary = json.loads((tmp_path / "out" / "audit" / "summary.json").read_text())
    assert summary["sweep"]["bytes"] == sum(path.stat().st_size for path in files)
    counts = pd.read_csv(tmp_path / "out" / "audit" / "attributes.csv").set_index("keyword")["count"]
    assert counts["PixelData"] == 4


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
    assert (row.profile, row.action, row["count"]) == ("Z", "changed", 4)
    assert set(table.action) <= {"kept", "changed", "emptied", "dropped"}
    assert list(table.columns) == ["tag", "keyword", "profile", "action", "count"]
    assert row.profile == "Z"


def test_the_summary_says_what_was_done_and_how_it_was_proven(export, tmp_path):
    anonymize(export, tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "audit" / "summary.json").read_text())
    written = [path.stat().st_size for path in (tmp_path / "out").rglob("*.dcm")]
    sweep = summary["sweep"]
    assert (sweep["files"], sweep["bytes"], sweep["hits"]) == (4, sum(written), 0)
    assert sweep["values"] > 50
    assert "2026c" in summary["standard"]
    image = pydicom.dcmread(next((tmp_path / "out").rglob("*.dcm")))
    declared = {item.CodeValue: item.CodeMeaning for item in image.DeidentificationMethodCodeSequence}
    assert declared.items() <= summary["method_codes"].items()
    assert "113108" not in summary["method_codes"]


def test_a_volume_layout_says_what_it_knows(tmp_path):
    source = Path("data/sample/rire_001")
    run(PARAMS, Source(source=str(source), source_layout="rire"), tmp_path / "out", tmp_path / "work", KEYS)
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
