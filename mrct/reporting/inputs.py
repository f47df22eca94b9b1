"""What the page is made of, read from the folders of the stages before; what is missing is named."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mrct.core.errors import DataError, NotFoundError
from mrct.core.files import read_json, read_table
from mrct.reporting.tables import Results

#: What every audit states, and what a DICOM audit states beside it (CONTRIBUTING.md, data/anonymized).
AUDIT_KEYS = ("patients", "files", "sweep")
DICOM_AUDIT_KEYS = (
    "method", "standard", "method_codes", "max_shift_days", "retain_age_and_sex",
    "already_deidentified_files", "joined_patient_ids",
)  # fmt: skip
#: PS3.16 CID 7050: Retain Patient Characteristics Option.
RETAINED = "113108"
SWEEP_KEYS = ("files", "bytes", "values", "hits")


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
class Audit:
    """The account of the stage anonymize; `checksums`: name of each audit file to its SHA-256, hex.

    `attributes` is None where the source has no DICOM attributes (image volumes).
    """

    files: pd.DataFrame
    attributes: pd.DataFrame | None
    summary: dict[str, Any]
    checksums: dict[str, str]


@dataclass(frozen=True)
class Inputs:
    """Every table of the page."""

    source: dict[str, Any]
    audit: Audit
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
    source = _json(folders.anonymized / "manifest.json", "anonymize")
    results = [read_results(folders.metrics, method) for method in methods]
    require_same_patients(results)
    return Inputs(
        source=source,
        audit=read_audit(folders.anonymized / "audit", dicom=source["layout"] == "dicom"),
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
        results=results,
        slices={
            m: _table(folders.metrics / m / "slices.csv", f"evaluate ({m})", ("patient", "k"))
            for m in methods
        },
        histories=read_histories(folders.models, methods),
        models={m: read_json(p) for m in methods if (p := folders.models / m / "model.json").is_file()},
    )


def read_audit(folder: Path, dicom: bool) -> Audit:
    """files.csv, summary.json and, of DICOM, attributes.csv.

    A person signs the page that is made of these, so what contradicts itself is an error: a key that is
    missing, a count that differs, a sweep with a hit or over fewer files than were written.
    """
    names = ["files.csv", "summary.json", *(["attributes.csv"] if dicom else [])]
    files = _table(folder / "files.csv", "anonymize", ("source_index", "action", "reason", "output"))
    columns = ("tag", "keyword", "profile", "action", "count")
    attributes = _table(folder / "attributes.csv", "anonymize", columns) if dicom else None
    summary = _json(folder / "summary.json", "anonymize")
    where = folder / "summary.json"
    _require_keys(where, summary, (*AUDIT_KEYS, *(DICOM_AUDIT_KEYS if dicom else ())))
    _require_keys(where, summary["sweep"], SWEEP_KEYS)
    if dicom and (RETAINED in summary["method_codes"]) != summary["retain_age_and_sex"]:
        raise DataError(
            f"{where}: retain_age_and_sex is {summary['retain_age_and_sex']}, but method_codes are "
            f"{sorted(summary['method_codes'])}; expected {RETAINED} only where it is true; rerun anonymize"
        )
    _require_complete(folder, files, summary)
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    return Audit(files, attributes, summary, digests)


def _require_keys(path: Path, content: dict[str, Any], keys: Iterable[str]) -> None:
    missing = [key for key in keys if key not in content]
    if missing:
        raise DataError(f"{path}: no key {', '.join(missing)}; got {sorted(content)}; rerun anonymize")


def _require_complete(folder: Path, files: pd.DataFrame, summary: dict[str, Any]) -> None:
    """Every file found has one verdict, both tables count alike, and the sweep saw every output."""
    if sorted(files["source_index"]) != list(range(len(files))):
        raise DataError(f"{folder / 'files.csv'}: the files are not numbered 0, 1, 2, ...; rerun anonymize")
    counted = {action: int(n) for action, n in files["action"].value_counts().items()}
    if counted != {action: n for action, n in summary["files"].items() if n}:
        raise DataError(
            f"{folder}: files.csv counts {counted}, summary.json {summary['files']}; rerun anonymize"
        )
    written, sweep = files.loc[files["action"] == "kept", "output"].nunique(), summary["sweep"]
    if sweep["hits"] or sweep["files"] < written:
        raise DataError(
            f"{folder / 'summary.json'}: the sweep states {sweep['hits']} hits in {sweep['files']} files; "
            f"expected 0 in at least {written}. Use nothing of data/anonymized; rerun anonymize"
        )


def read_results(metrics: Path, method: str) -> Results:
    """summary.json and patients.csv of one method; an evaluation without a test patient is an error."""
    stage = f"evaluate ({method})"
    summary = _json(metrics / method / "summary.json", stage)
    patients = _table(metrics / method / "patients.csv", stage, ("direction", "patient"))
    if patients.empty:
        raise DataError(f"{metrics / method / 'patients.csv'}: no test patient; raise pair.test_fraction")
    return Results(method, summary, patients)


def require_same_patients(results: Sequence[Results]) -> None:
    """Methods are compared on the same test patients; ValueError names a method that was scored on others."""
    wanted = set(results[0].patients["patient"])
    for result in results[1:]:
        if (got := set(result.patients["patient"])) != wanted:
            raise DataError(
                f"{result.method}: scored on {len(got)} test patients, {results[0].method} on {len(wanted)}, "
                f"{len(got & wanted)} of them the same; rerun evaluate"
            )


def read_histories(models: Path, methods: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Training histories with at least one epoch; the first method must have one, the others need not."""
    paths = {method: models / method / "history.csv" for method in methods}
    tables = {m: read_table(p) for m, p in paths.items() if p.is_file() and p.stat().st_size > 1}
    if methods[0] not in tables or tables[methods[0]].empty:
        raise NotFoundError(f"{paths[methods[0]]}: no training history; rerun train")
    return {method: table for method, table in tables.items() if "epoch" in table and len(table)}


def _json(path: Path, stage: str) -> dict[str, Any]:
    _require(path, stage)
    return read_json(path)


def _table(path: Path, stage: str, columns: Sequence[str]) -> pd.DataFrame:
    _require(path, stage)
    table = read_table(path)
    missing = [column for column in columns if column not in table]
    if missing:
        raise DataError(f"{path}: no column {', '.join(missing)}; got {list(table.columns)}; rerun {stage}")
    return table


def _require(path: Path, stage: str) -> None:
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file, but the report needs it; rerun {stage}")
