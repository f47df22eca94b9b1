"""The command line tells what is wrong and exits with 1; it never shows a traceback for a user's mistake."""

import numpy as np
import SimpleITK as sitk  # noqa: N813
from typer.testing import CliRunner

from mrct.cli import app
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
    assert invoke("track").exit_code == 0
