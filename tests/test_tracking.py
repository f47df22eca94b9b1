"""Runs are found by fingerprint, rebuilt from the stages' outputs, and not doubled."""

import json
import os
import shutil
import sqlite3
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from mlflow.entities import ViewType

from mrct.core.errors import NotFoundError
from mrct.tracking import (
    Run,
    TrackingError,
    artifact_location,
    attempt,
    flatten,
    origin_tags,
    project_root,
    record,
    record_all,
)


@pytest.fixture
def model(tmp_path) -> Path:
    folder = tmp_path / "models/x"
    folder.mkdir(parents=True)
    content = {
        "method": "x",
        "fingerprint": f"f-{tmp_path.name}",
        "data_sha256": "0",
        "params": {"lambda_pix": 50.0, "generator": {"filters": 4}},
        "normalization": {"image_size": 32},
    }
    (folder / "model.json").write_text(json.dumps(content))
    pd.DataFrame({"epoch": [1, 2], "pix_ct": [0.5, 0.25]}).to_csv(folder / "history.csv", index=False)
    (folder / "mr_to_ct.safetensors").write_bytes(b"weights")
    (tmp_path / "metrics").mkdir()
    summary = {"method": "x", "mr_to_ct": {"mae_hu": {"mean": 70.0, "low": None, "high": None}}}
    (tmp_path / "metrics/summary.json").write_text(json.dumps(summary))
    return folder


def test_a_run_is_rebuilt_whole_and_only_once(model, tmp_path):
    for _ in range(2):
        record(model, tmp_path / "metrics", [])
    run = Run(f"f-{tmp_path.name}", "x")
    data = run.client.get_run(run.run_id).data
    assert data.params == {"lambda_pix": "50.0", "generator.filters": "4", "image_size": "32"}
    assert data.metrics["test_mr_to_ct_mae_hu"] == 70.0
    assert [entry.value for entry in run.client.get_metric_history(run.run_id, "pix_ct")] == [0.5, 0.25]
    stored = {file.path for file in run.client.list_artifacts(run.run_id, "model")}
    assert stored == {"model/model.json", "model/mr_to_ct.safetensors"}


def test_every_method_is_one_run_and_all_compare_under_the_same_names(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_EXP_NAME", "four-systems")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports/figures").mkdir(parents=True)
    (tmp_path / "reports/figures/methods_mr_to_ct_bone_1.png").write_bytes(b"picture")
    methods = {"sc_cyclegan": ("mr_to_ct", "ct_to_mr"), "unet": ("mr_to_ct",), "mean_ct": ("mr_to_ct",)}
    for number, (method, directions) in enumerate(methods.items()):
        folder, metrics = tmp_path / "models" / method, tmp_path / "reports/metrics" / method
        folder.mkdir(parents=True)
        metrics.mkdir(parents=True)
        content = {
            "method": method,
            "fingerprint": f"{tmp_path.name}-{method}",
            "data_sha256": "0",
            "params": {},
        }
        (folder / "model.json").write_text(json.dumps(content | {"normalization": {"image_size": 32}}))
        # mean_ct is fitted in one pass and has no epochs; the others are validated every second epoch
        if method != "mean_ct":
            rows = {"epoch": [1, 2], "phase": [1, 2], "validation_mr_to_ct": [None, 80.0]}
            pd.DataFrame(rows).to_csv(folder / "history.csv", index=False)
        summary = {d: {"mae_hu": {"mean": 70.0 + number, "low": None, "high": None}} for d in directions}
        (metrics / "summary.json").write_text(json.dumps(summary))
    for _ in range(2):
        assert record_all(Path("models"), Path("reports"), reference="unet") == sorted(methods)
    for number, method in enumerate(methods):
        run = Run(f"{tmp_path.name}-{method}", method)
        found = run.client.get_run(run.run_id)
        assert found.info.run_name == method
        assert found.data.tags["method"] == method
        assert found.data.tags["dvc.experiment"] == "four-systems"
        assert found.data.metrics["test_mr_to_ct_mae_hu"] == 70.0 + number
        assert ("test_ct_to_mr_mae_hu" in found.data.metrics) == (method == "sc_cyclegan")
        assert run.logged_steps("validation_mr_to_ct") == (set() if method == "mean_ct" else {2})
        pictures = {file.path for file in run.client.list_artifacts(run.run_id) if file.path.endswith(".png")}
        assert pictures == ({"methods_mr_to_ct_bone_1.png"} if method == "unet" else set())


def test_the_origin_of_a_run_is_where_it_was_trained(model, tmp_path, monkeypatch):
    """A later stage of another experiment completes the run and does not change its origin."""
    monkeypatch.setenv("DVC_EXP_NAME", "first")
    run = Run(f"f-{tmp_path.name}", "x")
    run.tags(origin_tags())
    monkeypatch.setenv("DVC_EXP_NAME", "second")
    record(model, tmp_path / "metrics", [])
    tags = run.client.get_run(run.run_id).data.tags
    assert tags["dvc.experiment"] == "first"
    assert len(tags["mlflow.source.git.commit"]) == 40
    assert tags["data.sha256"] == "0"


def test_outside_a_repository_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert set(origin_tags()) == {"dvc.experiment"}


def test_no_account_name_and_no_path_is_logged(model, tmp_path):
    record(model, tmp_path / "metrics", [])
    run = Run(f"f-{tmp_path.name}", "x")
    tags = run.client.get_run(run.run_id).data.tags
    assert not {"mlflow.user", "mlflow.source.name"} & set(tags)


def test_a_dvc_workspace_logs_into_its_repository(tmp_path):
    assert project_root(tmp_path / "repo/.dvc/tmp/exps/tmp123") == tmp_path / "repo"
    assert project_root(tmp_path) == tmp_path


@pytest.mark.parametrize(
    ("uri", "wanted"),
    [("sqlite:////a/b/mlflow.db", "file:///a/b/mlruns"), ("https://mlflow.example.org", None)],
)
def test_artifacts_lie_beside_the_database(monkeypatch, uri, wanted):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert artifact_location() == wanted


def test_flatten():
    assert flatten({"a": {"b": 1, "c": {"d": 2}}, "e": 3}) == {"a.b": 1, "a.c.d": 2, "e": 3}


def test_a_model_that_was_not_trained_is_named_with_its_stage(tmp_path):
    with pytest.raises(NotFoundError, match=r"unet/model.json: no such file; run the stage train first"):
        record(tmp_path / "unet", tmp_path, [])


def runs(run, view):
    found = run.client.search_runs([experiment(run).experiment_id], run_view_type=view)
    return {one.data.tags["mrct.fingerprint"] for one in found}


def experiment(run):
    return run.client.get_experiment_by_name("mrct")


@pytest.fixture
def own_database(tmp_path, monkeypatch) -> Path:
    """Point MLflow to a copy of the tests' database (making a new one takes seconds), with one run more."""
    Run("before", "x")
    shared = os.environ["MLFLOW_TRACKING_URI"].removeprefix("sqlite:///")
    file = Path(shutil.copy(shared, tmp_path / "mlflow.db"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{file}")
    return file


def test_an_experiment_that_was_deleted_in_the_page_is_restored_and_its_runs_stay_deleted(
    own_database, model, tmp_path, capsys
):
    run = Run("earlier", "x")
    run.client.delete_experiment(experiment(run).experiment_id)
    record(model, tmp_path / "metrics", [])
    assert "the experiment mrct was deleted. It is restored for new runs" in capsys.readouterr().err
    assert experiment(run).lifecycle_stage == "active"
    assert runs(run, ViewType.ACTIVE_ONLY) == {f"f-{tmp_path.name}"}
    assert runs(run, ViewType.DELETED_ONLY) >= {"before", "earlier"}
    record(model, tmp_path / "metrics", [])
    assert capsys.readouterr().err == ""


def test_a_deleted_run_is_made_again(own_database):
    run = Run("before", "x")
    run.client.delete_run(run.run_id)
    assert Run("before", "x").run_id != run.run_id


def of_a_newer_mlflow(database: Path) -> str:
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'fedcba987654'")
    return f"sqlite:///{database}"


def read_only(database: Path) -> str:
    return f"sqlite:///file:{database}?mode=ro&uri=true"


def damaged(database: Path) -> str:
    database.write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 40)
    return f"sqlite:///{database}"


def a_folder(database: Path) -> str:
    return f"sqlite:///{database.parent}"


def a_server_that_does_not_answer(database: Path) -> str:
    return "http://somebody:secret@127.0.0.1:9"


def an_unknown_kind(database: Path) -> str:
    return "nonsense://x"


@pytest.mark.parametrize(
    "broken",
    [of_a_newer_mlflow, read_only, damaged, a_folder, a_server_that_does_not_answer, an_unknown_kind],
)
def test_whatever_fails_in_mlflow_is_an_error_that_says_what_to_do_and_a_warning_to_the_stages(
    own_database, model, tmp_path, monkeypatch, capsys, broken
):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", broken(own_database))
    with pytest.raises(TrackingError, match="`mrct track` adds the missing runs") as caught:
        record(model, tmp_path / "metrics", [])
    assert "secret" not in str(caught.value)
    assert not attempt(partial(record, model, tmp_path / "metrics", []))
    assert capsys.readouterr().err.splitlines()[-1].startswith("warning: MLflow at ")
