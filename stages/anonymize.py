"""anonymize: what may leave the hospital, under keyed pseudonyms.  ${source} -> data/anonymized

Every file of the source is looked at and listed in audit/files.csv, by its place in the sorted listing
(file names hold names). CT and MR images are written anew from an allow-list and swept; the rest is
skipped, rejected or quarantined with a reason. Volume layouts (synthrad, rire) enter here as well.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import Field

from mrct.dicom import pseudonyms as keys
from mrct.dicom.deidentify import METHOD, Options
from mrct.dicom.intake import Entry, inspect, stop_mixed_patients
from mrct.dicom.layouts import VolumeTask, find_cases, write_case
from mrct.dicom.patient import Result, Task, write_patient
from mrct.dicom.pseudonyms import Pseudonyms
from mrct.dicom.read import find_files
from mrct.files import output_folder, write_json, write_table
from mrct.parallel import map_processes
from mrct.params import Section, load

OUT = Path("data/anonymized")
VIRTUAL_COHORT = Path("data/cohort")
_FILES_AT_ONCE = 256


class Source(Section):
    """Where the data comes from; top-level keys of params.yaml."""

    source: str
    source_layout: Literal["dicom", "synthrad", "rire"]


class Params(Section):
    key_file: str
    max_shift_days: int = Field(ge=1)
    retain_age_and_sex: bool


def main() -> None:
    source, params = load(Source), load(Params, "anonymize")
    run(params, source, OUT, choose_pseudonyms(params, source))


def choose_pseudonyms(params: Params, source: Source) -> Pseudonyms:
    """The published mapping for the virtual cohort alone; for any other source that of a secret key."""
    if source.source_layout == "dicom" and Path(source.source).resolve() == VIRTUAL_COHORT.resolve():
        return keys.demonstration()
    mapping, origin = keys.from_secret(Path(params.key_file), (Path.cwd(), Path(source.source)))
    if origin == "new key file":
        print(
            f"A new key was made: {params.key_file}. Keep it, and keep it secret: without it the same "
            "patients get other pseudonyms, with it pseudonyms can be led back to them.",
            file=sys.stderr,
        )
    return mapping


def run(params: Params, source: Source, out: Path, mapping: Pseudonyms) -> None:
    """Fills `out` from the source; when the sweep finds something, LeakError, and nothing is published."""
    root = Path(source.source)
    _require_apart(root, out)
    with output_folder(out) as folder:
        if source.source_layout == "dicom":
            _anonymize_dicom(params, root, folder, mapping)
        else:
            _anonymize_volumes(source.source_layout, root, folder, mapping)


def _require_apart(source: Path, out: Path) -> None:
    inner, outer = out.resolve(), source.resolve()
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise ValueError(f"source {source} and output {out} lie inside one another; change the key `source`")


def _anonymize_dicom(params: Params, root: Path, folder: Path, mapping: Pseudonyms) -> None:
    entries = _inspect_all(find_files(root))
    candidates: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if not entry.action:
            candidates[entry.patient_id].append(entry)
    _require_images(root, entries, len(candidates))
    _require_distinct(mapping.patient(patient_id) for patient_id in candidates)
    options = Options(params.max_shift_days, params.retain_age_and_sex)
    tasks = [Task(tuple(members), folder, mapping, options) for _, members in sorted(candidates.items())]
    results = map_processes(write_patient, tasks, "anonymize")
    rows = [(entry.index, entry.action, entry.reason, "") for entry in entries if entry.action]
    rows += [row for result in results for row in result.rows]
    _require_kept(root, rows)
    write_json(folder / "manifest.json", _manifest("dicom", False, "unknown"))
    _write_audit(folder, rows, results, options)


def _inspect_all(files: Sequence[Path]) -> list[Entry]:
    numbered = list(enumerate(files))
    chunks = [numbered[start : start + _FILES_AT_ONCE] for start in range(0, len(numbered), _FILES_AT_ONCE)]
    inspected = map_processes(inspect, chunks, "read headers")
    return stop_mixed_patients([entry for chunk in inspected for entry in chunk])


def _anonymize_volumes(layout: str, root: Path, folder: Path, mapping: Pseudonyms) -> None:
    cases, files = find_cases(root, layout)
    _require_distinct(mapping.patient(case.name) for case in cases)
    tasks = [VolumeTask(case, folder / "images", mapping) for case in cases]
    results = map_processes(write_case, tasks, "anonymize")
    verdicts = {row[0]: row for result in results for row in result.rows}
    missing = "not part of the layout"
    rows = [verdicts.get(index, (index, "skipped", missing, "")) for index in range(len(files))]
    _require_kept(root, rows)
    weightings = {result.weighting for result in results if result.weighting}
    weighting = weightings.pop() if len(weightings) == 1 else "any"
    write_json(folder / "manifest.json", _manifest("volumes", layout == "synthrad", weighting))
    _write_files(folder, rows)
    write_json(folder / "audit" / "summary.json", {"layout": layout, **_counts(rows, len(cases))})


def _manifest(layout: str, registered: bool, weighting: str) -> dict[str, object]:
    return {"layout": layout, "registered": registered, "mr_weighting": weighting}


def _require_images(root: Path, entries: Sequence[Entry], n_patients: int) -> None:
    if n_patients == 0:
        _fail_empty(root, [(entry.action, entry.reason) for entry in entries])


def _require_kept(root: Path, rows: Sequence[tuple[int, str, str, str]]) -> None:
    if not any(row[1] == "kept" for row in rows):
        _fail_empty(root, [(row[1], row[2]) for row in rows])


def _fail_empty(root: Path, verdicts: Sequence[tuple[str, str]]) -> None:
    counts = Counter(verdicts).most_common(8)
    lines = [f"  {count} {action}: {reason}" for (action, reason), count in counts]
    raise ValueError(
        f"{root}: none of its {len(verdicts)} files can be used; expected CT and MR images in the layout "
        "named by the key `source_layout` (dicom | synthrad | rire)\n" + "\n".join(lines)
    )


def _require_distinct(patients: object) -> None:
    counts = Counter(patients)  # type: ignore[call-overload]
    if counts and max(counts.values()) > 1:
        raise ValueError(
            "two patients got the same pseudonym; use another key (MRCT_KEY or anonymize.key_file)"
        )


def _write_audit(
    folder: Path, rows: list[tuple[int, str, str, str]], results: Sequence[Result], options: Options
) -> None:
    _write_files(folder, rows)
    changes = sum((result.changes for result in results), Counter())
    table = [(*change, count) for change, count in sorted(changes.items())]
    columns = ["tag", "keyword", "action", "count"]
    write_table(folder / "audit" / "attributes.csv", pd.DataFrame(table, columns=columns))
    patients = {result.patient for result in results if any(row[1] == "kept" for row in result.rows)}
    summary = {
        "layout": "dicom",
        "method": METHOD,
        "max_shift_days": options.max_shift_days,
        "retain_age_and_sex": options.retain_age_and_sex,
        "already_deidentified_files": sum(result.already_deidentified for result in results),
        "sweep_hits": 0,  # a hit raises, and no summary is written
        **_counts(rows, len(patients)),
    }
    write_json(folder / "audit" / "summary.json", summary)


def _write_files(folder: Path, rows: Sequence[tuple[int, str, str, str]]) -> None:
    table = pd.DataFrame(sorted(rows), columns=["source_index", "action", "reason", "output"])
    write_table(folder / "audit" / "files.csv", table)


def _counts(rows: Sequence[tuple[int, str, str, str]], n_patients: int) -> dict[str, object]:
    reasons: dict[str, Counter[str]] = defaultdict(Counter)
    for _, action, reason, _ in rows:
        if action not in ("kept", "duplicate"):
            reasons[action][reason] += 1
    return {
        "patients": n_patients,
        "files": dict(Counter(action for _, action, _, _ in rows)),
        "reasons": {action: dict(counts) for action, counts in reasons.items()},
    }


if __name__ == "__main__":
    main()
