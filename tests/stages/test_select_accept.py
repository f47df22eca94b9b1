"""From an export without a usable MR to a pair: the message names an override that DVC's -S accepts unchanged."""

import re
import shutil
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides
from typer.testing import CliRunner

from helpers.series_factory import stack_positions, write_series
from mrct.cli.main import app
from mrct.core import contracts
from mrct.core.contracts import SelectionStatus
from mrct.core.errors import DataError
from stages import anonymize, select

ROOT = Path(__file__).parents[2]
PATIENTS = 2


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a project whose source holds two patients, each with a CT and a turbo spin echo of the whole head."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MRCT_WORKERS", "1")
    monkeypatch.setenv("MRCT_KEY", "a key for the tests of this project alone")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    apply_overrides(tmp_path / "params.yaml", ["source=data/raw"])
    head = {"positions": stack_positions(13), "PixelSpacing": [8.0, 8.0]}
    for n in range(PATIENTS):
        patient = {"PatientID": f"Q{n}77112", "StudyInstanceUID": f"1.{n + 1}"} | head
        folder = tmp_path / "data/raw" / str(n)
        write_series(folder / "ct", "CT", SeriesInstanceUID=f"1.{n + 1}.1", **patient)
        write_series(folder / "mr", "MR", SeriesInstanceUID=f"1.{n + 1}.2", EchoTrainLength=15, **patient)
    return tmp_path


def advice(text: str) -> str:
    """Return the override that a message names, as the shell passes it to DVC."""
    found = re.search(r"keep them with -S '([^']*)'", " ".join(text.split()))
    assert found is not None, text
    return found.group(1)


def test_the_override_of_the_message_turns_an_empty_cohort_into_pairs(project: Path) -> None:
    dry_run = CliRunner().invoke(app, ["check", "data/raw"])
    assert dry_run.exit_code == 1
    assert advice(dry_run.output) == "select.accept=[tse]"
    anonymize.main()
    with pytest.raises(DataError, match="Rule 'tse' removed 2 MR series") as empty:
        select.main()
    assert advice(str(empty.value)) == "select.accept=[tse]"
    assert not (project / "data/selected").exists()

    apply_overrides(project / "params.yaml", [advice(str(empty.value))])
    dry_run = CliRunner().invoke(app, ["check", "data/raw"])
    assert dry_run.exit_code == 0, dry_run.output
    assert "2 of 2 patients have both" in " ".join(dry_run.output.split())
    select.main()
    patients = contracts.SELECTED_PATIENTS.read(project / "data/selected")
    assert patients["status"].tolist() == [SelectionStatus.PAIRED] * PATIENTS


def test_rules_that_are_accepted_already_stay_in_the_override(project: Path) -> None:
    apply_overrides(project / "params.yaml", ["select.accept=[flair]"])
    dry_run = CliRunner().invoke(app, ["check", "data/raw"])
    assert advice(dry_run.output) == "select.accept=[flair,tse]"


def test_a_mistyped_rule_stops_the_dry_run_with_the_nearest_name(project: Path) -> None:
    apply_overrides(project / "params.yaml", ["select.accept=[tes]"])
    dry_run = CliRunner().invoke(app, ["check", "data/raw"])
    assert dry_run.exit_code == 1
    assert "did you mean 'tse'?" in " ".join(dry_run.output.split())
