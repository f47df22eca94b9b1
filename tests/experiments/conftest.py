"""A tiny data/normalized with five training and five validation patients."""

import json
from pathlib import Path

import pandas as pd
import pytest


@pytest.fixture
def cohort(normalized) -> Path:
    """The shared fixture, its test patients given to training and to validation."""
    manifest = json.loads((normalized / "manifest.json").read_text())
    for place, name in enumerate(sorted(manifest["patients"])):
        manifest["patients"][name]["split"] = "train" if place % 2 else "validation"
    (normalized / "manifest.json").write_text(json.dumps(manifest))
    pairs = pd.read_csv(normalized / "pairs.csv", dtype={"patient": str})
    pairs["split"] = [manifest["patients"][name]["split"] for name in pairs["patient"]]
    pairs.to_csv(normalized / "pairs.csv", index=False)
    return normalized
