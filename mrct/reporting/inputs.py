"""What the page is made of, read from the folders of the stages before; what is missing is named."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mrct.files import read_json, read_table
from mrct.reporting.tables import Results


@dataclass(frozen=True)
class Folders:
    """The stages' output folders (CONTRIBUTING.md, "What passes between the stages")."""

    anonymized: Path
    selected: Path
    registered: Path
    pairs: Path
    normalized: Path
    models: Path
    metrics: Path


@dataclass(frozen=True)
class Inputs:
    """Every table of the page; None or empty where the source has no such thing (volumes: no DICOM audit)."""

    source: dict[str, Any]
    files: pd.DataFrame | None
    attributes: pd.DataFrame | None
    audit_summary: dict[str, Any]
    series: pd.DataFrame
    patients: pd.DataFrame
    registered: pd.DataFrame
    pairs: pd.DataFrame
    rejected_slices: pd.DataFrame
    splits: pd.DataFrame
    contact_sheets: list[Path]
    normalized: dict[str, Any]
    results: list[Results]
    slices: dict[str, pd.DataFrame]
    histories: dict[str, pd.DataFrame]
    models: dict[str, dict[str, Any]]


def read_inputs(folders: Folders, methods: Sequence[str]) -> Inputs:
    """Reads all tables. Errors: a required file that is missing, with the stage that writes it."""
    audit = folders.anonymized / "audit"
    return Inputs(
        source=_json(folders.anonymized / "manifest.json", "anonymize"),
        files=_table_if_there(audit / "files.csv"),
        attributes=_table_if_there(audit / "attributes.csv"),
        audit_summary=read_json(audit / "summary.json") if (audit / "summary.json").is_file() else {},
        series=_table(
            folders.selected / "series.csv", "select", ("patient", "series", "modality", "decision", "rule")
        ),
        patients=_table(folders.selected / "patients.csv", "select", ("patient", "status", "reason")),
        registered=_table(folders.registered / "patients.csv", "register", ("patient", "status", "reason")),
        pairs=_table(folders.pairs / "pairs.csv", "pair", ("patient", "k", "split")),
        rejected_slices=_table(folders.pairs / "rejected.csv", "pair", ("patient", "k", "rule", "reason")),
        splits=_table(folders.pairs / "splits.csv", "pair", ("patient", "split", "n_pairs")),
        contact_sheets=sorted((folders.pairs / "contact_sheets").glob("*.png")),
        normalized=_json(folders.normalized / "manifest.json", "normalize"),
        results=[read_results(folders.metrics, method) for method in methods],
        slices={
            m: _table(folders.metrics / m / "slices.csv", f"evaluate ({m})", ("patient", "k"))
            for m in methods
        },
        histories=read_histories(folders.models, methods),
        models={m: read_json(p) for m in methods if (p := folders.models / m / "model.json").is_file()},
    )


def read_results(metrics: Path, method: str) -> Results:
    """summary.json and patients.csv of one method; an evaluation without a test patient is an error."""
    stage = f"evaluate ({method})"
    summary = _json(metrics / method / "summary.json", stage)
    patients = _table(metrics / method / "patients.csv", stage, ("direction", "patient"))
    if patients.empty:
        raise ValueError(f"{metrics / method / 'patients.csv'}: no test patient; raise pair.test_fraction")
    return Results(method, summary, patients)


def read_histories(models: Path, methods: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Training histories with at least one epoch; the first method must have one, the others need not."""
    paths = {method: models / method / "history.csv" for method in methods}
    tables = {m: read_table(p) for m, p in paths.items() if p.is_file() and p.stat().st_size > 1}
    if methods[0] not in tables or tables[methods[0]].empty:
        raise FileNotFoundError(f"{paths[methods[0]]}: no training history; rerun train")
    return {method: table for method, table in tables.items() if "epoch" in table and len(table)}


def _json(path: Path, stage: str) -> dict[str, Any]:
    _require(path, stage)
    return read_json(path)


def _table(path: Path, stage: str, columns: Sequence[str]) -> pd.DataFrame:
    _require(path, stage)
    table = read_table(path)
    missing = [column for column in columns if column not in table]
    if missing:
        raise ValueError(f"{path}: no column {', '.join(missing)}; got {list(table.columns)}; rerun {stage}")
    return table


def _table_if_there(path: Path) -> pd.DataFrame | None:
    return read_table(path) if path.is_file() and path.stat().st_size > 1 else None


def _require(path: Path, stage: str) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, but the report needs it; rerun {stage}")
