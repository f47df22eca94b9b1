"""Inputs of the report: the outputs of all other stages, checked against each other."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from mrct.core.contracts import (
    AUDITED_ATTRIBUTES,
    AUDITED_FILES,
    HISTORY,
    PAIRS,
    PATIENT_METRICS,
    PATIENT_SPLITS,
    REGISTERED_PATIENTS,
    REJECTED_SLICES,
    SELECTED_PATIENTS,
    SELECTED_SERIES,
    SLICE_METRICS,
    Direction,
    FileAction,
)
from mrct.core.errors import DataError, NotFoundError
from mrct.core.files import read_json
from mrct.metrics.statistics import Interval
from mrct.normalization.normalization import Normalization

#: Keys of audit/summary.json: those of every audit, the additional ones for DICOM, and those of the leak scan.
AUDIT_KEYS = ("patients", "files", "sweep")
DICOM_AUDIT_KEYS = (
    "method", "standard", "method_codes", "max_shift_days", "retain_age_and_sex",
    "already_deidentified_files", "joined_patient_ids",
)  # fmt: skip
SCAN_KEYS = ("files", "bytes", "values", "hits")
#: The Retain Patient Characteristics Option (DICOM PS3.16, CID 7050).
RETAIN_CHARACTERISTICS = "113108"


@dataclass(frozen=True)
class Folders:
    """Output folders of the stages."""

    anonymized: Path
    selected: Path
    registered: Path
    pairs: Path
    normalized: Path
    models: Path
    metrics: Path


@dataclass(frozen=True)
class Audit:
    """Account of what the stage anonymize did to the files and attributes of the source.

    `attributes` is None for image volumes, which have no DICOM attributes. `checksums` holds the SHA-256 of each file
    of the audit, in hexadecimal digits.
    """

    files: pd.DataFrame
    attributes: pd.DataFrame | None
    summary: dict[str, Any]
    checksums: dict[str, str]


@dataclass(frozen=True)
class MethodResults:
    """Test results of one method, with the record and history of its training.

    `summary`, `patients` and `slices` are summary.json, patients.csv and slices.csv of the stage evaluate. `model` is
    model.json. `history` is None for a method that is fitted in one pass and has no epochs.
    """

    method: str
    summary: Mapping[str, Any]
    patients: pd.DataFrame
    slices: pd.DataFrame = field(default_factory=pd.DataFrame)
    model: Mapping[str, Any] = field(default_factory=dict)
    history: pd.DataFrame | None = None

    @property
    def best_epochs(self) -> dict[Direction, int]:
        """Return the epoch whose weights were kept, per direction; empty for a method without epochs."""
        found = self.model.get("best_epoch", {})
        return {direction: int(found[direction]) for direction in Direction if direction in found}

    @property
    def n_parameters(self) -> int | None:
        """Return the number of weights of the larger network; None for a method that is fitted in one pass."""
        return max(self.model.get("n_parameters", {}).values(), default=None)

    def has(self, direction: str) -> bool:
        """Return whether the method was evaluated in this direction."""
        return direction in self.summary

    def metrics(self, direction: str) -> Mapping[str, Any]:
        """Return the metrics of one direction in summary.json; empty if the method lacks the direction."""
        return self.summary.get(direction, {})

    def interval(self, direction: str, column: str) -> Interval:
        """Return the mean over the patients and its interval; NaN and None if the method has no such metric."""
        found = self.metrics(direction).get(column) or {}
        mean = found.get("mean")
        return Interval(float("nan") if mean is None else float(mean), found.get("low"), found.get("high"))

    def values(self, direction: str, column: str) -> pd.Series:
        """Return one value per test patient, indexed by patient; empty if the method has no such metric."""
        if column not in self.patients:
            return pd.Series(dtype=float)
        rows = self.patients[self.patients["direction"] == direction]
        return rows.set_index("patient")[column].astype(float).sort_index()


@dataclass(frozen=True)
class Inputs:
    """Everything that the page is made of; the first of `results` is the reference method."""

    source: dict[str, Any]
    audit: Audit
    series: pd.DataFrame
    patients: pd.DataFrame
    registered: pd.DataFrame
    pairs: pd.DataFrame
    rejected_slices: pd.DataFrame
    splits: pd.DataFrame
    contact_sheets: list[Path]
    normalization: Normalization
    results: list[MethodResults]


def read_inputs(folders: Folders, methods: Sequence[str]) -> Inputs:
    """Read the outputs of all stages.

    Args:
        folders: The output folders.
        methods: The methods of the run, the reference method first.

    Raises:
        NotFoundError: A file is missing; the message names the stage that writes it.
        DataError: A file is not what its stage writes, or contradicts another one.
    """
    source = _json(folders.anonymized / "manifest.json", "anonymize")
    results = [read_results(folders, method) for method in methods]
    require_same_patients(results)
    return Inputs(
        source=source,
        audit=read_audit(folders.anonymized, dicom=source["layout"] == "dicom"),
        series=SELECTED_SERIES.read(folders.selected),
        patients=SELECTED_PATIENTS.read(folders.selected),
        registered=REGISTERED_PATIENTS.read(folders.registered),
        pairs=PAIRS.read(folders.pairs),
        rejected_slices=REJECTED_SLICES.read(folders.pairs),
        splits=PATIENT_SPLITS.read(folders.pairs),
        contact_sheets=sorted((folders.pairs / "contact_sheets").glob("*.png")),
        normalization=Normalization.from_json(_json(folders.normalized / "manifest.json", "normalize")),
        results=results,
    )


def read_audit(anonymized: Path, dicom: bool) -> Audit:
    """Read the audit of the stage anonymize, from which the page to sign is made.

    Args:
        anonymized: The stage's output folder.
        dicom: Whether the source is DICOM, which has an audit of its attributes.

    Raises:
        NotFoundError: A file of the audit is missing.
        DataError: A key is missing, two counts differ, or the leak scan has a hit or has read fewer files than
            were written.
    """
    tables = [AUDITED_FILES, AUDITED_ATTRIBUTES] if dicom else [AUDITED_FILES]
    files, *attributes = (table.read(anonymized) for table in tables)
    path = anonymized / "audit/summary.json"
    summary = _json(path, "anonymize")
    _require_keys(path, summary, (*AUDIT_KEYS, *(DICOM_AUDIT_KEYS if dicom else ())))
    _require_keys(path, summary["sweep"], SCAN_KEYS)
    if dicom and (RETAIN_CHARACTERISTICS in summary["method_codes"]) != summary["retain_age_and_sex"]:
        raise DataError(
            f"{path}: retain_age_and_sex is {summary['retain_age_and_sex']}, but method_codes are "
            f"{sorted(summary['method_codes'])}; expected {RETAIN_CHARACTERISTICS} only where it is true; "
            "run the stage anonymize again"
        )
    _require_complete(anonymized, files, summary)
    paths = [path, *(anonymized / table.file for table in tables)]
    checksums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    return Audit(files, attributes[0] if attributes else None, summary, checksums)


def _require_keys(path: Path, content: dict[str, Any], keys: Iterable[str]) -> None:
    missing = [key for key in keys if key not in content]
    if missing:
        raise DataError(
            f"{path}: no key {', '.join(missing)}; got {sorted(content)}; run the stage anonymize again"
        )


def _require_complete(anonymized: Path, files: pd.DataFrame, summary: dict[str, Any]) -> None:
    """Raise DataError unless every file has one entry, the counts agree, and the leak scan is complete without hits."""
    table, path = anonymized / AUDITED_FILES.file, anonymized / "audit/summary.json"
    if sorted(files["source_index"]) != list(range(len(files))):
        raise DataError(f"{table}: source_index is not 0, 1, 2, ...; run the stage anonymize again")
    counted = {action: int(n) for action, n in files["action"].value_counts().items()}
    if counted != {action: n for action, n in summary["files"].items() if n}:
        raise DataError(
            f"{table} counts {counted}, but summary.json {summary['files']}; run the stage anonymize again"
        )
    written, scan = files.loc[files["action"] == FileAction.KEPT, "output"].nunique(), summary["sweep"]
    if scan["hits"] or scan["files"] < written:
        raise DataError(
            f"{path}: the leak scan has {scan['hits']} hits in {scan['files']} files; expected 0 hits in at "
            f"least {written} files. Do not use {anonymized}; run the stage anonymize again"
        )


def read_results(folders: Folders, method: str) -> MethodResults:
    """Read the evaluation and the training record of one method.

    Raises:
        NotFoundError: A file is missing, the history of a method with epochs included.
        DataError: The evaluation has no test patient, or the history no epoch.
    """
    metrics, model = folders.metrics / method, folders.models / method
    summary = _json(metrics / "summary.json", "evaluate")
    patients = PATIENT_METRICS.read(metrics)
    if patients.empty:
        raise DataError(f"{metrics / PATIENT_METRICS.file}: no test patient; raise pair.test_fraction")
    record = _json(model / "model.json", "train")
    history = HISTORY.read(model) if "best_epoch" in record else None
    if history is not None and history.empty:
        raise DataError(f"{model / HISTORY.file}: no epoch; run the stage train again")
    return MethodResults(method, summary, patients, SLICE_METRICS.read(metrics), record, history)


def require_same_patients(results: Sequence[MethodResults]) -> None:
    """Raise DataError for a method that was evaluated on other test patients than the reference."""
    reference = results[0]
    expected = set(reference.patients["patient"])
    for result in results[1:]:
        if (got := set(result.patients["patient"])) != expected:
            raise DataError(
                f"{result.method}: evaluated on {len(got)} test patients, {reference.method} on {len(expected)}, "
                f"of which {len(got & expected)} are the same; run the stage evaluate again for both"
            )


def _json(path: Path, stage: str) -> dict[str, Any]:
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file; run the stage {stage} first (dvc repro {stage})")
    return read_json(path)
