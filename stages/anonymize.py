"""anonymize: what may leave the hospital, under keyed pseudonyms.  ${source} -> data/anonymized

Every file of the source is looked at and listed in audit/files.csv, by its place in the sorted listing
(file names hold names). CT and MR images are written anew from an allow-list and swept; the rest is
skipped, rejected or quarantined with a reason. Volume layouts (synthrad, rire) enter here as well.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from mrct.core.errors import DataError
from mrct.core.files import move_folder, output_folder, write_json
from mrct.core.parallel import map_processes
from mrct.core.params import Section, load
from mrct.core.runner import run_stage
from mrct.deid import audit, planning, reidentification, resume, same_person
from mrct.deid import pseudonyms as keys
from mrct.deid.deidentify import Options
from mrct.deid.intake import Entry
from mrct.deid.patient import Task, write_and_sweep
from mrct.deid.pseudonyms import Pseudonyms
from mrct.deid.survey import by_person, survey
from mrct.leaks.phi_values import PhiValues

OUT = Path("data/anonymized")
WORK = Path(".work/anonymize")
VIRTUAL_COHORT = Path("data/cohort")


class Source(Section):
    """Where the data comes from; top-level keys of params.yaml."""

    source: str
    source_layout: Literal["dicom", "synthrad", "rire"]


class Params(Section):
    key_file: str
    max_shift_days: int = Field(ge=1)
    retain_age_and_sex: bool
    same_person: str = ""
    reidentification_table: str = ""


def main() -> None:
    source, params = load(Source), load(Params, "anonymize")
    run(params, source, OUT, WORK, choose_pseudonyms(params, source))


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


def run(params: Params, source: Source, out: Path, work: Path, mapping: Pseudonyms) -> None:
    """Fills `out` from the source; when the sweep finds something, LeakError, and nothing is published.

    A DICOM source is worked on in `work`, where a killed run is taken up by the next one.
    """
    root = Path(source.source)
    _require_apart(root, out)
    _require_apart(root, work)
    if source.source_layout == "dicom":
        _anonymize_dicom(params, root, out, work, mapping)
    else:
        _anonymize_volumes(params, source.source_layout, root, out, mapping)


def _require_apart(source: Path, out: Path) -> None:
    inner, outer = out.resolve(), source.resolve()
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise DataError(f"source {source} and output {out} lie inside one another; change the key `source`")


def _anonymize_dicom(params: Params, root: Path, out: Path, work: Path, mapping: Pseudonyms) -> None:
    options = Options(params.max_shift_days, params.retain_age_and_sex)
    table = _table_place(params, root, out)
    joins = same_person.locate(root, params.same_person) if params.same_person else None
    if joins:
        mapping = replace(mapping, same_person=same_person.read_same_person(joins))
    if resume.is_new_key(work, mapping, root):
        print(
            "anonymize: this is not the key of the last run on this source: every pseudonym and every date shift "
            "changes. If the key was lost and a new one made, put the old key file back and run again",
            file=sys.stderr,
        )
    with resume.work_folder(work, resume.fingerprint(mapping, options, root)) as folder:
        tree = folder / "tree"
        entries, values = survey(root, joins)
        joined = _count_joined(mapping, entries)
        phi_values = by_person(values, mapping)
        entries = planning.stop_mixed_patients(entries)
        entries = planning.stop_shared_instances(entries, mapping.person)
        results = _write(_tasks(entries, folder, phi_values, mapping, options))
        rows = [(entry.index, entry.action, entry.reason, "") for entry in entries if entry.action]
        rows += [row for result in results for row in result.rows]
        _require_kept(root, rows)
        resume.remove_unlisted(tree / "images", (row[3] for row in rows if row[3]))
        write_json(tree / "manifest.json", _manifest("dicom", False, "unknown"))
        audit.write_files(tree, rows)
        audit.write_attributes(tree, results)
        audit.write_summary(tree, rows, results, options, joined, sum(map(len, phi_values.values())))
        audit.sweep_audit(tree, list(phi_values.values()))
        move_folder(tree, out)
    if table:
        kept = {row[0] for row in rows if row[1] == "kept"}
        ids = {entry.patient_id for entry in entries if entry.index in kept}
        reidentification.write_reidentification(table, ids, mapping, params.max_shift_days)


def _table_place(params: Params, root: Path, out: Path) -> Path | None:
    """Where the re-identification table goes, refused before the work rather than after it."""
    if not params.reidentification_table:
        return None
    table = Path(params.reidentification_table).expanduser()
    reidentification.require_place(table, (Path.cwd(), root, out))
    return table


def _count_joined(mapping: Pseudonyms, entries: Sequence[Entry]) -> int:
    """How many PatientIDs of the export are joined to another; the table's others are warned of."""
    present = {entry.patient_id for entry in entries}
    absent = same_person.absent(mapping.same_person, present)
    if absent:
        print(f"anonymize.same_person: {absent} of its ids do not occur in the source", file=sys.stderr)
    return len(present & mapping.same_person.keys())


def _tasks(
    entries: Sequence[Entry],
    folder: Path,
    phi_values: dict[str, PhiValues],
    mapping: Pseudonyms,
    options: Options,
) -> list[Task]:
    chunks = planning.plan_chunks(entries, mapping.person)
    people = [mapping.person(chunk[0].patient_id) for chunk in chunks]
    _require_distinct(mapping.patient(person) for person in set(people))
    digests = {person: resume.phi_values_digest(mapping, phi_values[person]) for person in set(people)}
    tasks = []
    for person, chunk in zip(people, chunks, strict=True):
        record = folder / "done" / f"{resume.chunk_name(mapping, chunk, digests[person])}.json"
        tasks.append(Task(chunk, folder / "tree", mapping, options, phi_values[person], record))
    return tasks


def _write(tasks: Sequence[Task]) -> list[resume.Result]:
    """Every task's result, in order; what an earlier run finished is not done again."""
    done = {task.record: resume.load_record(task.record, task.root) for task in tasks}
    todo = [task for task in tasks if done[task.record] is None]
    if len(todo) < len(tasks):
        print(
            f"anonymize: {len(tasks) - len(todo)} of {len(tasks)} parts stand from a run that was stopped",
            file=sys.stderr,
        )
    fresh = map_processes(write_and_sweep, todo, "anonymize")
    done |= {task.record: result for task, result in zip(todo, fresh, strict=True)}
    return [result for task in tasks if (result := done[task.record]) is not None]


def _anonymize_volumes(params: Params, layout: str, root: Path, out: Path, mapping: Pseudonyms) -> None:
    from mrct.deid.layouts import VolumeTask, find_cases, write_case  # SimpleITK, which DICOM does not need

    for key in ("same_person", "reidentification_table"):
        if getattr(params, key):
            raise DataError(f'anonymize.{key} serves DICOM sources alone, not {layout}; set it to ""')
    cases, files = find_cases(root, layout)
    _require_distinct(mapping.patient(case.name) for case in cases)
    with output_folder(out) as folder:
        tasks = [VolumeTask(case, folder / "images", mapping) for case in cases]
        results = map_processes(write_case, tasks, "anonymize")
        verdicts = {row[0]: row for result in results for row in result.rows}
        missing = "not part of the layout"
        rows = [verdicts.get(index, (index, "skipped", missing, "")) for index in range(len(files))]
        _require_kept(root, rows)
        weightings = {result.weighting for result in results if result.weighting}
        weighting = weightings.pop() if len(weightings) == 1 else "any"
        write_json(folder / "manifest.json", _manifest("volumes", layout == "synthrad", weighting))
        audit.write_files(folder, rows)
        sweep = audit.swept(rows, sum(one.bytes for one in results), sum(one.values for one in results))
        summary = {"layout": layout, "sweep": sweep, **audit.counts(rows, len(cases))}
        write_json(folder / "audit" / "summary.json", summary)


def _manifest(layout: str, registered: bool, weighting: str) -> dict[str, object]:
    return {"layout": layout, "registered": registered, "mr_weighting": weighting}


def _require_kept(root: Path, rows: Sequence[resume.Row]) -> None:
    if any(row[1] == "kept" for row in rows):
        return
    counts = Counter((row[1], row[2]) for row in rows).most_common(8)
    lines = [f"  {count} {action}: {reason}" for (action, reason), count in counts]
    raise DataError(
        f"{root}: none of its {len(rows)} files can be used; expected CT and MR images in the layout "
        "named by the key `source_layout` (dicom | synthrad | rire)\n" + "\n".join(lines)
    )


def _require_distinct(patients: Iterable[str]) -> None:
    counts = Counter(patients)
    if counts and max(counts.values()) > 1:
        raise DataError(
            "two patients got the same pseudonym; use another key (MRCT_KEY or anonymize.key_file)"
        )


if __name__ == "__main__":
    run_stage("stages.anonymize", private=True)
