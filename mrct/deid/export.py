"""De-identification of a whole DICOM export: survey, planning, writing with a search of every byte, audit."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mrct.core.files import output_folder
from mrct.core.resume import map_resumable, work_folder
from mrct.deid import audit
from mrct.deid.audit import Record, Verdict
from mrct.deid.deidentify import Options
from mrct.deid.pseudonyms import Pseudonyms
from mrct.deid.survey import Entry, Survey, plan_chunks, survey_export
from mrct.deid.writing import Chunk, chunk_name, write_and_sweep
from mrct.leaks.output_sweep import LeakError
from mrct.leaks.phi_values import PhiValues

# the result depends on the code that the stage's deps in dvc.yaml name
_STAGE = "anonymize"


def anonymize_export(source: Path, out: Path, pseudonyms: Pseudonyms, options: Options) -> frozenset[str]:
    """Write the CT and MR images of an export without data that identify a person.

    `out` gets images/<patient>/<study>/<series>/<instance>.dcm, audit/ and manifest.json, and appears only when it is
    complete. Each image is searched for the identifying values of its person, and the audit for those of all persons. A
    patient with a value in an image is rejected, and none of the patient's images is published.

    A stopped run leaves its finished chunks next to `out`, under keyed names and without header values. The next run
    with the same code, options, key, source and values continues from them.

    Args:
        source: Folder of the export; any depth, any file names.
        out: Output folder; it lies outside `source`.
        pseudonyms: The mapping of identities.
        options: The user's choices.

    Returns:
        The PatientIDs of the published images. They must not be written to disk.

    Raises:
        DataError: No file can be used, or two patients got the same pseudonym.
        LeakError: The audit holds an identifying value. Nothing is published, and the finished chunks are removed.
        NotFoundError: `source` is no folder, or it is empty.
        RunError: Another run is writing the same output.
    """
    with work_folder(out, discard_after=(LeakError,)) as work, output_folder(out) as folder:
        survey = survey_export(source, pseudonyms)
        joined_patient_ids = _count_joined(survey, pseudonyms)
        people = survey.by_person(pseudonyms)
        chunks = _chunks(source, folder, survey.entries, people, pseudonyms, options)
        record = _excluded(survey.entries)
        results = map_resumable(write_and_sweep, chunks, _STAGE, work, chunk_name)
        for patient, written in _by_patient(chunks, results).items():
            record.add(_publishable(written, folder / "images" / patient))
        audit.require_kept(source, record)
        audit.write_manifest(folder, "dicom", registered=False, mr_weighting="unknown")
        n_values = sum(map(len, people.values()))
        audit.write_export_audit(folder, record, options, joined_patient_ids, n_values)
        audit.sweep_audit(folder, list(people.values()))
    kept = {verdict.source_index for verdict in record.kept}
    return frozenset(entry.patient_id for entry in survey.entries if entry.index in kept)


def _count_joined(survey: Survey, pseudonyms: Pseudonyms) -> int:
    """Count the PatientIDs of the export that are joined to another one; warn about ids that only the table holds."""
    persons = pseudonyms.same_persons
    joins = persons.joined
    present = {entry.patient_id for entry in survey.entries}
    absent = {*joins, *joins.values(), *persons.confirmed} - present
    if absent:
        print(f"anonymize.same_person: {len(absent)} of its ids do not occur in the source", file=sys.stderr)
    return len(present & joins.keys())


def _excluded(entries: list[Entry]) -> Record:
    return Record([Verdict(one.index, one.action, one.reason) for one in entries if one.action is not None])


def _by_patient(chunks: Sequence[Chunk], results: Sequence[dict[str, Any]]) -> dict[str, Record]:
    """Join the records of each patient's chunks, by pseudonym; the first leak stands for all."""
    records: dict[str, Record] = {}
    for chunk, result in zip(chunks, results, strict=True):
        patient = chunk.pseudonyms.patient(chunk.entries[0].patient_id)
        records.setdefault(patient, Record()).add(Record.from_json(result))
    return records


def _publishable(record: Record, images: Path) -> Record:
    """Return the record of a patient's files; if one of them leaks, remove all images of the patient."""
    if not record.leak:
        return record
    shutil.rmtree(images, ignore_errors=True)
    print(f"anonymize: {record.leak}; this patient is left out", file=sys.stderr)
    return record.withdrawn()


def _chunks(
    source: Path,
    out: Path,
    entries: list[Entry],
    people: dict[str, PhiValues],
    pseudonyms: Pseudonyms,
    options: Options,
) -> list[Chunk]:
    planned = [(pseudonyms.person(chunk[0].patient_id), chunk) for chunk in plan_chunks(entries, pseudonyms)]
    audit.require_distinct(pseudonyms.patient(person) for person in {person for person, _ in planned})
    return [Chunk(source, out, chunk, pseudonyms, options, people[person]) for person, chunk in planned]
