"""Fixtures shared by all tests: no progress bars, no network, no shared MLflow database, a tiny data/normalized."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from helpers.training_domain import DOMAIN
from mrct.core.contracts import NORMALIZED_PAIRS
from mrct.normalization.intensity import MrScaling
from mrct.normalization.normalization import Normalization

os.environ.setdefault("DVC_NO_ANALYTICS", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ["CI"] = "true"
# two test processes share two cores: no process starts more of them, or more threads, on its own
for name in ("MRCT_WORKERS", "MRCT_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(name, "1")


@pytest.fixture(autouse=True)
def _own_tracking_database(tmp_path_factory, monkeypatch):
    """Keep tests from writing into the project's MLflow database."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path_factory.getbasetemp() / 'mlflow.db'}")


@pytest.fixture
def normalized(tmp_path) -> Path:
    """Make ten patients of three 32² slices: an ellipse whose CT is a nonlinear function of its MR."""
    folder, size = tmp_path / "normalized", 32
    splits = ["train"] * 3 + ["validation"] * 2 + ["test"] * 5
    y, x = np.mgrid[:size, :size] - size / 2 + 0.5
    patients, rows = {}, []
    for number, split in enumerate(splits):
        rng = np.random.default_rng(number)
        name = f"P{number:010x}"
        mask = np.stack(
            [(x / rng.uniform(9, 12)) ** 2 + (y / rng.uniform(10, 14)) ** 2 < 1 for _ in range(3)]
        )
        mr = np.where(mask, rng.uniform(-0.6, 0.8, mask.shape), -1.0)
        ct_hu = np.where(mask, 400 * mr**2 + 200 * mr, -1000.0)
        arrays = {
            "mr": mr.astype(np.float32),
            "ct_hu": ct_hu.astype(np.float32),
            "ct": ((np.clip(ct_hu, -1024, 3000) + 1024) / 4024 * 2 - 1).astype(np.float32),
            "mask": mask.astype(np.uint8),
            "valid": np.array([True, True, number % 2 == 0]),
        }
        (folder / name).mkdir(parents=True)
        for part, array in arrays.items():
            np.save(folder / name / f"{part}.npy", array)
        patients[name] = {
            "split": split,
            "depth": 3,
            "mr_low": 0.0,
            "mr_high": 1.0,
            "slice_spacing_mm": 5.0,
            "affine": np.diag([2.0, 2.0, 5.0, 1.0]).tolist(),
        }
        rows += [(name, k, split) for k in np.flatnonzero(arrays["valid"])]
    normalization = Normalization(size, 2.0, (-1024.0, 3000.0), MrScaling("percentile", (0.5, 99.5)))
    manifest = normalization.to_json() | {"patients": patients}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "domain.json").write_text(json.dumps(DOMAIN.to_json()))
    NORMALIZED_PAIRS.write(folder, [{"patient": p, "k": int(k), "split": s} for p, k, s in rows])
    return folder
