"""Test of the whole pipeline on a tiny virtual hospital, from raw DICOM to the report, by the stages' functions."""

import hashlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pydicom
import pytest

from helpers.configurations import tiny_configuration
from mrct.core.contracts import SELECTED_PATIENTS, SELECTED_SERIES
from mrct.core.files import read_json
from mrct.core.params import load
from mrct.deid import pseudonyms
from mrct.reporting.inputs import Folders
from mrct.training.run import train
from stages import anonymize, cohort, evaluate, normalize, pair, register, report, select
from virtual_hospital.selection_score import score_selection

LABELS = Path("data/sample/colin27/labels.nii.gz")
DATA_STAGES = ("cohort", "cohort_truth", "anonymized", "selected", "registered", "pairs", "normalized")


def run_data_stages(root: Path) -> SimpleNamespace:
    """Run the data stages on a cohort of four patients, up to normalized; return the folders."""
    at = SimpleNamespace(**{name: root / name for name in DATA_STAGES})
    params = cohort.Params(seed=7, patients=4, image_size=96, contamination=True)
    cohort.run(params, LABELS, at.cohort, at.cohort_truth)
    source = anonymize.Source(source=str(at.cohort), source_layout="dicom")
    params, work = load(anonymize.Params, "anonymize"), at.anonymized.with_name("work")
    anonymize.run(params, source, at.anonymized, work, pseudonyms.demonstration())
    select.run(load(select.Params, "select"), at.anonymized, at.selected)
    register.run(load(register.Params, "register"), at.selected, at.registered)
    pair.run(load(pair.Params, "pair"), at.registered, at.pairs)
    settings = load(normalize.Params, "normalize").model_copy(update={"pixel_spacing_mm": 4.0})
    acquisitions = at.selected / "acquisitions.json"
    normalize.run(settings, 64, acquisitions, at.registered, at.pairs, at.normalized)
    return at


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> SimpleNamespace:
    return run_data_stages(tmp_path_factory.mktemp("pipeline"))


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def test_every_data_stage_gives_the_same_bytes_again(data, tmp_path):
    again = run_data_stages(tmp_path)
    for name in DATA_STAGES:
        first, second = hashes(getattr(data, name)), hashes(getattr(again, name))
        assert first == second, f"{name} differs"
        assert first


def test_every_series_is_kept_or_has_its_reason(data):
    series = pd.read_csv(data.selected / "series.csv")
    rejected = series[series["decision"] == "rejected"]
    assert len(rejected) >= 4
    assert rejected["reason"].str.len().min() > 5
    kept = series[series["decision"] == "kept"]
    assert sorted(kept.groupby("patient")["modality"].agg("-".join).unique()) in (
        ["CT-MR"],
        ["CT-MR", "MR-CT"],
        ["MR-CT"],
    )


def test_the_kept_series_are_the_clean_ones(data):
    """The truth table names the clean series; pseudonyms are keyed, so that the test can follow them."""
    truth = pd.read_csv(data.cohort_truth / "series.csv", dtype=str)
    clean = truth[truth["kind"] == "clean"]
    mapping = pseudonyms.demonstration()
    expected = {(mapping.patient(row.patient_id), mapping.uid(row.series_uid)) for row in clean.itertuples()}
    kept = pd.read_csv(data.selected / "series.csv", dtype=str)
    kept = kept[kept["decision"] == "kept"]
    found = set()
    for row in kept.itertuples():
        file = next((data.anonymized / "images" / row.patient).rglob(f"*/{row.series}/*.dcm"))
        found.add((row.patient, str(pydicom.dcmread(file, stop_before_pixels=True).SeriesInstanceUID)))
    assert found == expected


def test_no_series_that_the_truth_calls_unwanted_is_kept(data):
    mapping = pseudonyms.demonstration()
    truth = pd.read_csv(data.cohort_truth / "series.csv", dtype={"patient_id": str})
    tables = (table.read(data.selected) for table in (SELECTED_SERIES, SELECTED_PATIENTS))
    found = score_selection(truth, *tables, mapping.patient, lambda uid: mapping.short("series", uid))
    assert found.kept_unwanted.empty
    assert found.lost_clean.empty
    assert (found.series["wanted"] == "no").sum() > 20


def test_registration_finds_the_true_pose(data):
    """Within 1 mm on average over the head's box; 96 pixels per slice are coarse."""
    truth = pd.read_csv(data.cohort_truth / "patients.csv", dtype=str)
    mapping = pseudonyms.demonstration()
    corners = np.array([[x, y, z, 1.0] for x in (-60, 60) for y in (-80, 80) for z in (-40, 40)])
    for number, row in enumerate(truth.itertuples()):
        folder = data.registered / mapping.patient(row.patient_id)
        true = np.array(read_json(data.cohort_truth / str(number) / "ct_to_mr.json")["matrix"])
        found = np.array(read_json(folder / "ct_to_mr.json")["matrix"])
        center = np.linalg.inv(true) @ np.array([*_head_center(folder), 1.0])
        points = corners + np.append(center[:3], 0.0)
        error = np.linalg.norm(((found - true) @ points.T)[:3], axis=0)
        assert error.mean() < 1.0, f"patient {number}: {error.mean():.2f} mm"


def _head_center(folder: Path) -> np.ndarray:
    import SimpleITK as sitk

    mask = sitk.ReadImage(str(folder / "mask.nii.gz"))
    k, j, i = np.mean(np.nonzero(sitk.GetArrayFromImage(mask)), axis=1)
    return np.array(mask.TransformContinuousIndexToPhysicalPoint((i, j, k)))


def test_train_evaluate_and_report(data, tmp_path):
    models, metrics = tmp_path / "models", tmp_path / "reports/metrics"
    methods = ["sc_cyclegan", "mean_ct", "intensity_map"]
    for name in methods:
        train(tiny_configuration(tmp_path, name), data.normalized, models / name, tmp_path / "work")
        evaluate.run(load(evaluate.Params, "evaluate"), data.normalized, models / name, metrics / name)
    folders = Folders(
        data.anonymized, data.selected, data.registered, data.pairs, data.normalized, models, metrics
    )
    shared = load(evaluate.Params, "evaluate")
    intervals = report.Intervals(**shared.model_dump(include=set(report.Intervals.model_fields)))
    page = report.run(
        load(report.Params, "report"), intervals, folders, methods, True, tmp_path / "reports"
    ).read_text()
    assert "research use only" in page.lower()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "<script src" not in page
    no_personal_value(data, [models, tmp_path / "reports"])


def no_personal_value(data: SimpleNamespace, folders: list[Path]) -> None:
    """Check that no file in the folders contains any invented name or id of the export."""
    personal: set[bytes] = set()
    for file in data.cohort.rglob("*"):
        if file.is_file():
            try:
                header = pydicom.dcmread(file, stop_before_pixels=True)
            except pydicom.errors.InvalidDicomError:
                continue
            name = str(header.get("PatientName", "")).split("=")[0]
            personal |= {part.encode() for part in name.replace("^", " ").split() if len(part) > 4}
            personal.add(str(header.get("PatientID", "")).strip().encode())
    personal.discard(b"")
    assert len(personal) >= 4
    for folder in [data.anonymized, data.selected, data.registered, data.pairs, data.normalized, *folders]:
        for file in folder.rglob("*"):
            if file.is_file() and file.suffix not in (".png", ".gz", ".npy"):
                content = file.read_bytes()
                assert not [value for value in personal if value in content], file
            assert not [value for value in personal if value in str(file.relative_to(folder)).encode()]
