"""MLflow, behind one door: runs are found by fingerprint, so that a run from DVC's cache is not lost or doubled.

The database is sqlite at the project's root whatever workspace DVC runs in; MLFLOW_TRACKING_URI wins. The
low-level client is used because the fluent one tags every run with the account name and script path.
"""

import csv
import json
import logging
import math
import os
import subprocess
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

EXPERIMENT = "mrct"
FINGERPRINT = "mrct.fingerprint"


def project_root(folder: Path | None = None) -> Path:
    """The repository; for a DVC temporary workspace (.dvc/tmp/exps/...) the repository it belongs to."""
    folder = (folder or Path.cwd()).resolve()
    parts = folder.parts
    if ".dvc" in parts and "exps" in parts:
        return Path(*parts[: parts.index(".dvc")])
    return folder


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or sqlite at an absolute path."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{project_root() / 'mlflow.db'}"


def artifact_location() -> str | None:
    """The folder mlruns beside an sqlite file; any other server has its own place."""
    kind, _, file = tracking_uri().partition("sqlite:///")
    return None if kind else (Path(file).resolve().parent / "mlruns").as_uri()


class Run:
    """One MLflow run, found or made; a terminal method a call, nothing global."""

    def __init__(self, fingerprint: str, name: str) -> None:
        client = _client()
        experiment = client.get_experiment_by_name(EXPERIMENT)
        experiment_id = (
            experiment.experiment_id
            if experiment
            else client.create_experiment(EXPERIMENT, artifact_location=artifact_location())
        )
        found = client.search_runs([experiment_id], f"tags.`{FINGERPRINT}` = '{fingerprint}'", max_results=1)
        tags = {FINGERPRINT: fingerprint}
        run = found[0] if found else client.create_run(experiment_id, run_name=name, tags=tags)
        self.client, self.run_id = client, run.info.run_id

    def params(self, values: dict[str, Any]) -> None:
        """Nested parameters as dotted names; what is logged already stays."""
        logged = self.client.get_run(self.run_id).data.params
        for key, value in flatten(values).items():
            if key not in logged:
                self.client.log_param(self.run_id, key, value)

    def metrics(self, values: dict[str, float], step: int = 0) -> None:
        """Finite metrics of one step."""
        for key, value in values.items():
            if math.isfinite(value):
                self.client.log_metric(self.run_id, key, float(value), step=step)

    def tags(self, values: dict[str, str]) -> None:
        """Set or overwrite tags."""
        for key, value in values.items():
            self.client.set_tag(self.run_id, key, value)

    def missing_tags(self, values: dict[str, str]) -> None:
        """Set the tags that the run does not have yet."""
        known = self.client.get_run(self.run_id).data.tags
        self.tags({key: value for key, value in values.items() if key not in known})

    def image(self, name: str, pixels: "np.ndarray", step: int) -> None:
        """(H, W) uint8, shown in the run's charts under `name` with a slider over the steps."""
        self.client.log_image(self.run_id, pixels, key=name, step=step, synchronous=True)

    def artifacts(self, files: list[Path], folder: str | None = None) -> None:
        """Copy the files that exist into the run."""
        for file in files:
            if file.is_file():
                self.client.log_artifact(self.run_id, str(file), folder)

    def logged_steps(self, metric: str) -> set[int]:
        """Steps at which the metric is logged already."""
        return {entry.step for entry in self.client.get_metric_history(self.run_id, metric)}

    def finish(self, failed: bool = False) -> None:
        """Mark the run's end."""
        self.client.set_terminated(self.run_id, "FAILED" if failed else "FINISHED")


def record(model: Path, metrics: Path, artifacts: list[Path]) -> str:
    """The run of one trained model, complete: parameters, curves, test metrics, artifacts; its method's name.

    Built from the stages' outputs alone and safe to repeat: DVC may have taken a model from its cache, in
    which case nothing trained and nothing was logged here.
    """
    content = json.loads((model / "model.json").read_text())
    run = Run(content["fingerprint"], content["method"])
    run.params(content["params"] | content["normalization"])
    run.missing_tags({"method": content["method"], "data.sha256": content["data_sha256"]} | origin_tags())
    history = model / "history.csv"
    if history.is_file():
        with history.open(newline="") as stream:
            table = list(csv.DictReader(stream))
        # an epoch that was not validated has an empty cell
        rows = [{key: float(value) for key, value in row.items() if value} for row in table]
        known = run.logged_steps("epoch")
        for row in rows:
            if int(row["epoch"]) not in known:
                run.metrics(row, step=int(row["epoch"]))
    summary = metrics / "summary.json"
    if summary.is_file():
        run.metrics(test_metrics(json.loads(summary.read_text())))
    run.artifacts([model / "model.json", *sorted(model.glob("*.safetensors"))], "model")
    run.artifacts(artifacts)
    run.finish()
    return str(content["method"])


def record_all(models: Path, reports: Path) -> list[str]:
    """`record` for every model below `models`; figures go to the main system's run."""
    names = []
    for model in sorted(path.parent for path in models.glob("*/model.json")):
        artifacts = [Path("params.yaml"), Path("dvc.lock")]
        if model.name == "sc_cyclegan":
            artifacts += sorted((reports / "figures").glob("*.png"))
        names.append(record(model, reports / "metrics" / model.name, artifacts))
    return names


def test_metrics(summary: dict[str, Any]) -> dict[str, float]:
    """summary.json -> {"test_mr_to_ct_mae_hu": mean, ...}."""
    return {
        f"test_{direction}_{name}": float(value["mean"])
        for direction in ("mr_to_ct", "ct_to_mr")
        for name, value in summary.get(direction, {}).items()
    }


def origin_tags() -> dict[str, str]:
    """The DVC experiment and the git commit this process belongs to; MLflow shows the latter as the version."""
    tags = {"dvc.experiment": os.environ.get("DVC_EXP_NAME", "workspace")}
    commit = _git("rev-parse", "HEAD")
    if commit:
        changed = _git("status", "--porcelain", "--untracked-files=no")
        tags |= {"mlflow.source.git.commit": commit, "git.changed": str(bool(changed)).lower()}
    return tags


def _git(*command: str) -> str:
    """Its output; empty where there is no git or no repository."""
    try:
        done = subprocess.run(["git", *command], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _client() -> Any:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow.tracking import MlflowClient

        # after the import, which sets its own levels: making a database is no news
        for name in ("alembic", "mlflow.store.db.utils"):
            logging.getLogger(name).setLevel(logging.WARNING)
        return MlflowClient(tracking_uri=tracking_uri())
