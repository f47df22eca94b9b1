"""The first pass over a whole export: what every file is, and which values of whom must not be found again."""

from collections.abc import Mapping
from pathlib import Path

from mrct.core.parallel import map_processes
from mrct.deid import planning, same_person
from mrct.deid.intake import Entry, inspect
from mrct.deid.pseudonyms import Pseudonyms
from mrct.dicom.read import find_files
from mrct.leaks.phi_values import PhiValues


def survey(root: Path, joins: Path | None) -> tuple[list[Entry], dict[str, PhiValues]]:
    """All files in the order of their listing, and the values of each PatientID, in memory only.

    `joins`: the table of same persons, which is listed as such.
    """
    chunks = planning.chunked(list(enumerate(find_files(root))))
    entries: list[Entry] = []
    values: dict[str, PhiValues] = {}
    for found in map_processes(inspect, chunks, "read headers"):
        entries += found.entries
        for patient_id, phi_values in found.phi_values.items():
            values.setdefault(patient_id, PhiValues()).merge(phi_values)
    return [_unless_table(entry, joins) for entry in entries], values


def _unless_table(entry: Entry, joins: Path | None) -> Entry:
    if joins and entry.path.name == joins.name and entry.path.samefile(joins):
        return entry.turned_away("skipped", same_person.REASON)
    return entry


def by_person(values: Mapping[str, PhiValues], mapping: Pseudonyms) -> dict[str, PhiValues]:
    """The values of all PatientIDs of a person together."""
    people: dict[str, PhiValues] = {}
    for patient_id, phi_values in values.items():
        people.setdefault(mapping.person(patient_id), PhiValues()).merge(phi_values)
    return people
