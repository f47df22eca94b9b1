"""What was kept, changed, dropped, quarantined and rejected, in tables and counts that hold no header value."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from mrct.core.files import write_json, write_rows
from mrct.deid.deidentify import CODES, METHOD, Change, Options
from mrct.deid.profile import EDITION
from mrct.deid.resume import Result, Row
from mrct.leaks.evidence import build_index
from mrct.leaks.output_sweep import LeakError
from mrct.leaks.phi_values import PhiValues

# places, counts and pseudonyms are our own; as digits they may equal a value by chance
_OURS = re.compile(rb"^\d+,|,\d+$|: \d+,?$|images/P[0-9a-f]{10}(?:/[0-9a-f]+)*/[a-z0-9.]+$", re.MULTILINE)


def write_files(folder: Path, rows: Iterable[Row]) -> None:
    """audit/files.csv, one row a file of the source, in the order of its listing."""
    write_rows(folder / "audit" / "files.csv", ("source_index", "action", "reason", "output"), sorted(rows))


def write_attributes(folder: Path, results: Sequence[Result]) -> None:
    """audit/attributes.csv: how often which attribute was kept, changed, emptied or dropped."""
    changes: Counter[Change] = Counter()
    for result in results:
        changes.update(result.changes)
    rows = [(*change, count) for change, count in sorted(changes.items())]
    write_rows(folder / "audit" / "attributes.csv", (*Change._fields, "count"), rows)


def write_summary(
    folder: Path,
    rows: Sequence[Row],
    results: Sequence[Result],
    options: Options,
    joined_patient_ids: int,
    values: int,
) -> None:
    """audit/summary.json of a DICOM source; `values`: how many different ones were searched for."""
    kept = [row for row in rows if row[1] == "kept"]
    summary = {
        "layout": "dicom",
        "method": METHOD,
        "standard": f"DICOM PS3.15 annex E, table E.1-1, edition {EDITION}",
        "method_codes": _declared(options),
        "max_shift_days": options.max_shift_days,
        "retain_age_and_sex": options.retain_age_and_sex,
        "already_deidentified_files": sum(result.already_deidentified for result in results),
        "joined_patient_ids": joined_patient_ids,
        "sweep": swept(rows, sum(result.bytes for result in results), values),
        **counts(rows, len({row[3].split("/")[1] for row in kept})),
    }
    write_json(folder / "audit" / "summary.json", summary)


def swept(rows: Iterable[Row], n_bytes: int, values: int) -> dict[str, int]:
    """What the sweep did; a hit raises, and no summary is written."""
    return {"files": sum(row[1] == "kept" for row in rows), "bytes": n_bytes, "values": values, "hits": 0}


def _declared(options: Options) -> dict[str, str]:
    """What is declared in the images themselves; Clean Pixel Data where the source says that nothing is burned in."""
    codes = ["113100", "113101", "113105", "113107", *["113108"] * options.retain_age_and_sex]
    return {code: CODES[code] for code in codes}


def counts(rows: Iterable[Row], n_patients: int) -> dict[str, object]:
    """Patients, files by action, and the reasons of those that were turned away."""
    files: Counter[str] = Counter()
    reasons: dict[str, Counter[str]] = defaultdict(Counter)
    for _, action, reason, _ in rows:
        files[action] += 1
        if action not in ("kept", "duplicate"):
            reasons[action][reason] += 1
    return {
        "patients": n_patients,
        "files": dict(files),
        "reasons": {action: dict(counted) for action, counted in reasons.items()},
    }


def sweep_audit(folder: Path, patients: Sequence[PhiValues]) -> None:
    """Searches what lies beside images/ for the values of all patients; LeakError names file and attribute."""
    index = build_index(patients)
    for path in sorted([*folder.glob("*.json"), *folder.glob("audit/*")]):
        found = index.find(_OURS.sub(b"", path.read_bytes()), cells=True)
        if found:
            raise LeakError(
                f"{path.relative_to(folder)}: it holds a patient's {min(found)}; nothing was published. "
                "Report the attribute and the file"
            )
