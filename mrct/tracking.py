"""Tracking of runs in MLflow, in the only module that uses it.

A run is found by the fingerprint of its method, parameters and data. DVC may take a trained model from its cache: its
run is then found again, or rebuilt from the outputs of the stages, and never made twice. The database is an SQLite file
in the project's root, also if DVC runs in a temporary workspace; the environment variable MLFLOW_TRACKING_URI names
another one. Runs are logged by the client and not by MLflow's module-level functions, because these add the account
name and the script's path as tags.

No result depends on MLflow. Whatever fails in it is a `TrackingError`; the stages go on after a warning (`attempt`),
and `mrct track` adds the missing runs later.
"""

import logging
import math
import os
import re
import sqlite3
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrct.core.contracts import HISTORY, Direction
from mrct.core.errors import MrctError, NotFoundError, RunError
from mrct.core.files import read_json

if TYPE_CHECKING:
    import numpy as np
    from mlflow.tracking import MlflowClient

EXPERIMENT = "mrct"
FINGERPRINT = "mrct.fingerprint"
_LONGEST_CAUSE = 300
# User name and password in an address.
_LOGIN = re.compile(r"//[^/@\s]*@")


class TrackingError(RunError):
    """MLflow cannot be used: its database or its server does not answer, is read-only, or of another version."""


def attempt(step: Callable[[], object]) -> bool:
    """Run a step of the tracking and return whether it worked. If MLflow fails, a warning says what to do."""
    try:
        step()
    except TrackingError as error:
        print(f"warning: {error}", file=sys.stderr)
        return False
    return True


@contextmanager
def _mlflow() -> Iterator[None]:
    """Turn every failure of MLflow, its database or its network into a `TrackingError`."""
    try:
        yield
    except MrctError:
        raise
    except Exception as error:  # MLflow, SQLAlchemy, alembic and requests have no class of errors in common
        cause = " ".join(str(error).split("\n")[0].split())[:_LONGEST_CAUSE]
        text = (
            f"MLflow at {tracking_uri()} cannot be used ({type(error).__name__}: {cause}). Models and reports do not "
            "depend on it. Make it usable (is the file writable, does the server answer, is this the MLflow of "
            "constraints.txt?) or name another place by MLFLOW_TRACKING_URI; then `mrct track` adds the missing runs."
        )
        raise TrackingError(_LOGIN.sub("//", text)) from error


def project_root(folder: Path | None = None) -> Path:
    """Return the project's root; in a temporary workspace of DVC (.dvc/tmp/exps/...), the root of its project."""
    folder = (folder or Path.cwd()).resolve()
    parts = folder.parts
    if ".dvc" in parts and "exps" in parts:
        return Path(*parts[: parts.index(".dvc")])
    return folder


def tracking_uri() -> str:
    """Return MLFLOW_TRACKING_URI, or else the SQLite file in the project's root."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{project_root() / 'mlflow.db'}"


def artifact_location() -> str | None:
    """Return the folder `mlruns` beside an SQLite file; None for a server, which chooses its own place."""
    kind, _, file = tracking_uri().partition("sqlite:///")
    return None if kind else (Path(file).resolve().parent / "mlruns").as_uri()


class Run:
    """MLflow run with a given fingerprint; it is created if there is none yet.

    Raises:
        TrackingError: MLflow cannot be used. Every method may raise it.
    """

    @_mlflow()
    def __init__(self, fingerprint: str, name: str) -> None:
        client = _client()
        experiment_id = _active_experiment(client)
        found = client.search_runs([experiment_id], f"tags.`{FINGERPRINT}` = '{fingerprint}'", max_results=1)
        tags = {FINGERPRINT: fingerprint}
        run = found[0] if found else client.create_run(experiment_id, run_name=name, tags=tags)
        self.client, self.run_id = client, run.info.run_id

    @_mlflow()
    def params(self, values: Mapping[str, Any]) -> None:
        """Log nested parameters under dotted names; a parameter that is already logged keeps its value."""
        logged = self.client.get_run(self.run_id).data.params
        for key, value in flatten(values).items():
            if key not in logged:
                self.client.log_param(self.run_id, key, value)

    @_mlflow()
    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log the finite metrics of one step."""
        for key, value in values.items():
            if math.isfinite(value):
                self.client.log_metric(self.run_id, key, float(value), step=step)

    @_mlflow()
    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags; tags of the same name are overwritten."""
        for key, value in values.items():
            self.client.set_tag(self.run_id, key, value)

    @_mlflow()
    def missing_tags(self, values: Mapping[str, str]) -> None:
        """Set the tags that the run does not have yet."""
        known = self.client.get_run(self.run_id).data.tags
        self.tags({key: value for key, value in values.items() if key not in known})

    @_mlflow()
    def image(self, name: str, pixels: "np.ndarray", step: int) -> None:
        """Log an image (H, W) uint8 of one step; MLflow shows the images of a name with a slider."""
        self.client.log_image(self.run_id, pixels, key=name, step=step, synchronous=True)

    @_mlflow()
    def artifacts(self, files: Iterable[Path], folder: str | None = None) -> None:
        """Copy the files that exist into the run."""
        for file in files:
            if file.is_file():
                self.client.log_artifact(self.run_id, str(file), folder)

    @_mlflow()
    def logged_steps(self, metric: str) -> set[int]:
        """Return the steps at which the metric is already logged."""
        return {entry.step for entry in self.client.get_metric_history(self.run_id, metric)}

    @_mlflow()
    def finish(self, failed: bool = False) -> None:
        """Mark the run as finished or failed."""
        self.client.set_terminated(self.run_id, "FAILED" if failed else "FINISHED")


def record(model: Path, metrics: Path, artifacts: Iterable[Path]) -> str:
    """Log the whole run of one trained model: parameters, curves, test metrics and files.

    Everything is read from the outputs of the stages, and repeating it changes nothing.

    Args:
        model: models/<method>.
        metrics: reports/metrics/<method>; what is missing there is not logged.
        artifacts: Further files for the run, such as figures.

    Returns:
        The name of the method.

    Raises:
        NotFoundError: The model was not trained.
    """
    if not (model / "model.json").is_file():
        raise NotFoundError(
            f"{model / 'model.json'}: no such file; run the stage train first (dvc repro train)"
        )
    content = read_json(model / "model.json")
    method = str(content["method"])
    run = Run(content["fingerprint"], method)
    run.params(content["params"] | content["normalization"])
    run.missing_tags({"method": method, "data.sha256": content["data_sha256"]} | origin_tags())
    if (model / HISTORY.file).is_file():
        known = run.logged_steps("epoch")
        for row in HISTORY.read(model).to_dict("records"):
            if (epoch := int(row["epoch"])) not in known:
                run.metrics({str(name): float(value) for name, value in row.items()}, step=epoch)
    summary = metrics / "summary.json"
    if summary.is_file():
        run.metrics(test_metrics(read_json(summary)))
    run.artifacts([model / "model.json", *sorted(model.glob("*.safetensors"))], "model")
    run.artifacts(artifacts)
    run.finish()
    return method


def record_all(models: Path, reports: Path, reference: str) -> list[str]:
    """Log the run of every trained model.

    Args:
        models: The folder of the models.
        reports: The folder of the reports.
        reference: The method whose run gets the report's figures.

    Returns:
        The names of the methods.
    """
    names = []
    for model in sorted(path.parent for path in models.glob("*/model.json")):
        artifacts = [Path("params.yaml"), Path("dvc.lock")]
        if model.name == reference:
            artifacts += sorted((reports / "figures").glob("*.png"))
        names.append(record(model, reports / "metrics" / model.name, artifacts))
    return names


def test_metrics(summary: Mapping[str, Any]) -> dict[str, float]:
    """Extract the means from summary.json: {"test_mr_to_ct_mae_hu": mean, ...}."""
    return {
        f"test_{direction}_{name}": float(value["mean"])
        for direction in Direction
        for name, value in summary.get(direction, {}).items()
    }


def origin_tags() -> dict[str, str]:
    """Return the DVC experiment and the git commit of this process; MLflow shows the commit as the run's version."""
    tags = {"dvc.experiment": os.environ.get("DVC_EXP_NAME", "workspace")}
    commit = _git("rev-parse", "HEAD")
    if commit:
        changed = _git("status", "--porcelain", "--untracked-files=no")
        tags |= {"mlflow.source.git.commit": commit, "git.changed": str(bool(changed)).lower()}
    return tags


def _git(*command: str) -> str:
    """Return the output of a git command; empty without git or outside a repository."""
    try:
        done = subprocess.run(["git", *command], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings: {"a": {"b": 1}} becomes {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _active_experiment(client: "MlflowClient") -> str:
    """Return the id of the experiment; it is created, or restored if somebody has deleted it.

    MLflow keeps the name of a deleted experiment, so that no new one can have it. Its runs were deleted with it and
    stay so.
    """
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return client.create_experiment(EXPERIMENT, artifact_location=artifact_location())
    if experiment.lifecycle_stage == "deleted":
        deleted = list(_runs(client, experiment.experiment_id))
        client.restore_experiment(experiment.experiment_id)
        for run_id in deleted:
            client.delete_run(run_id)
        print(
            f"MLflow: the experiment {EXPERIMENT} was deleted. It is restored for new runs; its {len(deleted)} earlier "
            "runs stay deleted. `mrct track` adds those of models/ again.",
            file=sys.stderr,
        )
    return experiment.experiment_id


def _runs(client: "MlflowClient", experiment_id: str) -> Iterator[str]:
    from mlflow.entities import ViewType

    token = None
    while True:
        page = client.search_runs([experiment_id], run_view_type=ViewType.ALL, page_token=token)
        yield from (run.info.run_id for run in page)
        if not (token := page.token):
            return


def _client() -> "MlflowClient":
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow.tracking import MlflowClient

        # set after the import, which sets its own levels: the messages about a new database are not for the user
        for name in ("alembic", "mlflow.store.db.utils"):
            logging.getLogger(name).setLevel(logging.WARNING)
        # seven retries, MLflow's default, let a training wait for minutes for a server that is switched off
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        _check_database(tracking_uri())
        return MlflowClient(tracking_uri=tracking_uri())


def _check_database(uri: str) -> None:
    """Raise sqlite3.Error if an SQLite file cannot be read: MLflow would try to open it for 100 seconds."""
    kind, _, file = uri.partition("sqlite:///")
    if not kind and "?" not in file:
        with closing(sqlite3.connect(file)) as database:
            database.execute("PRAGMA schema_version")
