"""The command line states what is wrong and exits with code 1; it never shows a traceback for a user's mistake."""

import numpy as np
import pytest
import SimpleITK as sitk
from typer.testing import CliRunner

from mrct.cli.main import app
from mrct.dicom.write import write_synthetic_series


def invoke(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def test_check_names_an_empty_folder(tmp_path):
    result = invoke("check", str(tmp_path))
    assert result.exit_code == 1
    assert tmp_path.name in result.output.replace("\n", "")
    assert "Traceback" not in result.output


def test_check_counts_and_says_what_is_missing(tmp_path):
    ct = sitk.GetImageFromArray(np.random.default_rng(0).normal(0, 50, (6, 16, 16)).astype(np.float32))
    write_synthetic_series(ct, None, tmp_path / "a", "CT")
    (tmp_path / "a/readme.txt").write_text("not DICOM")
    result = invoke("check", str(tmp_path))
    assert result.exit_code == 1
    assert "not DICOM" in result.output
    assert "there is no MR" in result.output.replace("\n", " ")


def test_synthesize_without_a_model_says_how_to_get_one(tmp_path):
    (tmp_path / "in").mkdir()
    result = invoke(
        "synthesize", str(tmp_path / "in"), str(tmp_path / "out"), "--model", str(tmp_path / "no.safetensors")
    )
    assert result.exit_code == 1
    assert "dvc repro train" in result.output.replace("\n", " ")


def test_track_without_models_is_quiet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("report: {patients: 4, reference: unet}")
    assert invoke("track").exit_code == 0


@pytest.fixture
def swept(tmp_path, monkeypatch):
    monkeypatch.setenv("MRCT_WORKERS", "1")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "people.csv").write_text("PatientName,PatientID\nQuenneville Zebulon,998877665\n")
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "a.txt").write_text("nothing")
    return tmp_path


def test_sweep_counts_what_it_searched_when_nothing_is_found(swept):
    result = invoke("sweep", str(swept / "project"), "--against", str(swept / "raw"))
    assert result.exit_code == 0
    assert "0 hits in 1 files" in result.output
    assert "of 1 patient." in result.output.replace("\n", " ")


def test_sweep_exits_with_1_and_names_file_and_attribute_but_not_the_value(swept):
    (swept / "project" / "b.txt").write_text("by Quenneville")
    result = invoke("sweep", str(swept / "project"), "--against", str(swept / "raw"))
    assert result.exit_code == 1
    assert "PatientName" in result.output
    assert "b.txt" in result.output
    assert "quenneville" not in result.output.lower()


def test_sweep_shows_and_counts_what_it_did_not_search_and_exits_with_0(swept):
    for name in ("a.rar", "b.rar"):
        (swept / "project" / name).write_bytes(b"Rar!\x1a\x07\x01\x00")
    result = invoke("sweep", str(swept / "project"), "--against", str(swept / "raw"))
    assert result.exit_code == 0
    output = " ".join(result.output.split())
    assert "Not searched, or only in part" in output
    assert "2 places were not searched, or only in part" in output


def test_sweep_exits_with_2_when_it_cannot_start(swept):
    for arguments in (
        (str(swept / "project"),),
        (str(swept / "none"), "--against", str(swept / "raw")),
        (str(swept / "project"), "--against", str(swept / "project")),
    ):
        result = invoke("sweep", *arguments)
        assert result.exit_code == 2
        assert "Traceback" not in result.output
