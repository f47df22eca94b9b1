"""Tests of how a stage ends: expected errors give one message, defects a traceback, private ones no values."""

import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mrct.core.files import write_json
from mrct.core.parallel import map_processes
from mrct.core.runner import explain
from mrct.deid.pseudonyms import from_secret

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def functions():
    """Provide a module that worker processes can import, because they inherit sys.path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tests"))
        yield importlib.import_module("helpers.worker_functions")


def caught(function, *arguments):
    try:
        function(*arguments)
    except Exception as error:
        return error
    raise AssertionError("no error")


def test_an_error_that_our_code_raises_is_its_message():
    error = caught(from_secret, Path("x"), (), {"MRCT_KEY": "short"})
    assert explain(error, private=True) == explain(error, private=False) == str(error)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_is_the_same_from_a_worker_process(functions, workers, monkeypatch):
    monkeypatch.setenv("MRCT_WORKERS", workers)
    error = caught(map_processes, functions.refuse, [1, 2], "x")
    assert "did you mean 'width'" in explain(error, private=True)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_defect_in_private_names_class_and_places_only(functions, workers, monkeypatch):
    monkeypatch.setenv("MRCT_WORKERS", workers)
    error = caught(map_processes, functions.quote, [1, 2], "x")
    assert explain(error, private=False) is None
    message = explain(error, private=True)
    assert "AttributeError at " in message
    assert "mrct/deid/pseudonyms.py:" in message
    assert "has no attribute" not in message


def test_a_value_quoted_by_a_conversion_in_our_own_line_is_not_shown(functions, monkeypatch):
    """int() fails in our line, but the text is Python's."""
    monkeypatch.setenv("MRCT_WORKERS", "Quenneville")
    error = caught(map_processes, functions.refuse, [1, 2], "x")
    assert "Quenneville" in str(error)
    assert "Quenneville" not in explain(error, private=True)


def test_an_error_of_the_system_shows_no_file_name_in_private(tmp_path):
    (tmp_path / "Quenneville").write_text("")
    error = caught(write_json, tmp_path / "Quenneville" / "x.json", {})
    assert "Quenneville" in explain(error, private=False)
    assert "Quenneville" not in explain(error, private=True)
    assert "exists" in explain(error, private=True)


def test_a_stage_ends_with_one_message_and_status_1(tmp_path):
    text = (ROOT / "params.yaml").read_text().replace("source: data/cohort ", "source: data/nowhere ")
    (tmp_path / "params.yaml").write_text(text.replace("~/.config/mrct", str(tmp_path / "keys")))
    run = [sys.executable, "-m", "stages.anonymize"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "", "MRCT_KEY": "0123456789abcdef" * 4}
    result = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith("stages.anonymize: data/nowhere: no such folder")
    assert "Traceback" not in result.stderr
    shutil.copy(ROOT / "params.yaml", tmp_path)
    result = subprocess.run(
        [*run[:2], "stages.register"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
