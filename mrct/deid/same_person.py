"""One person under several PatientIDs, joined by a table that the hospital writes; nothing is ever guessed.

CSV (UTF-8) with the columns patient_id and same_as. Errors name the row (the header is row 1), never
an id.
"""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from mrct.core.errors import DataError
from mrct.deid.pseudonyms import strip

COLUMNS = ["patient_id", "same_as"]
REASON = "the table of same persons"


class SamePersonError(DataError):
    """The table is missing, or a row of it has no single meaning."""


def locate(root: Path, name: str) -> Path:
    """The table's path; it lies inside the source, where DVC sees its changes and its ids are among their like."""
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()):
        raise SamePersonError(f"anonymize.same_person: {name} is not inside the source {root}; put it there")
    if not path.is_file():
        raise SamePersonError(f"anonymize.same_person: the source {root} holds no file {name}")
    return root / name


def read_same_person(path: Path) -> dict[str, str]:
    """Each joined PatientID with the one at the end of its chain, padding stripped; SamePersonError."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            found, rows = reader.fieldnames or [], [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error):
        raise SamePersonError(
            "anonymize.same_person: the table is no CSV in UTF-8; save it as such"
        ) from None
    if sorted(found) != sorted(COLUMNS):
        unknown = len(set(found) - set(COLUMNS))
        raise SamePersonError(
            f"anonymize.same_person, row 1: expected the columns {','.join(COLUMNS)} alone, got {len(found)}, "
            f"{unknown} of them unknown; correct the table's first row"
        )
    targets: dict[str, tuple[str, int]] = {}
    for number, row in rows:
        _add(targets, row, number)
    return {patient_id: _end_of_chain(patient_id, targets) for patient_id in targets}


def _add(targets: dict[str, tuple[str, int]], row: Mapping[str | None, object], number: int) -> None:
    values = [strip(str(row[column] or "")) for column in COLUMNS]
    if None in row or not all(values):
        raise SamePersonError(f"anonymize.same_person, row {number}: expected two ids")
    patient_id, target = values
    if targets.setdefault(patient_id, (target, number))[0] != target:
        first = targets[patient_id][1]
        raise SamePersonError(
            f"anonymize.same_person, row {number}: its patient_id is joined to another id in row {first}; "
            "keep one of them"
        )


def _end_of_chain(patient_id: str, targets: Mapping[str, tuple[str, int]]) -> str:
    rows: list[int] = []
    while patient_id in targets:
        patient_id, number = targets[patient_id]
        if number in rows:
            cycle = sorted(rows[rows.index(number) :])
            raise SamePersonError(
                f"anonymize.same_person, rows {', '.join(map(str, cycle))}: the ids lead back to themselves; "
                "remove one of the rows"
            )
        rows.append(number)
    return patient_id


def absent(same_person: Mapping[str, str], present: Iterable[str]) -> int:
    """How many ids of the table do not occur in the export."""
    return len({*same_person, *same_person.values()} - set(present))
