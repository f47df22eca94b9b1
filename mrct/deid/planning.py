"""Between the look at every file and the writing: whose files are mixed up, and which are written together."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from mrct.deid.intake import Entry

_FEWEST, _MOST, _PARTS = 16, 256, 64
_MIXED = (
    "two different persons under one PatientID (names or birth dates differ): the patient is stopped; "
    "correct the export"
)
_SHARED = (
    "the same SOP Instance UID under two PatientIDs: it is not known whose image it is; correct the export"
)

Item = TypeVar("Item")


def chunk_size(n_files: int) -> int:
    """About 64 chunks, so that workers end together; of 16 to 256 files, which bounds overhead and memory.

    It does not depend on the workers: a stopped run may go on with more or fewer of them.
    """
    return min(max(n_files // _PARTS, _FEWEST), _MOST)


def chunked(items: Sequence[Item]) -> list[Sequence[Item]]:
    """Runs of at most `chunk_size` items, in order."""
    size = chunk_size(len(items))
    return [items[start : start + size] for start in range(0, len(items), size)]


def stop_mixed_patients(entries: Sequence[Entry]) -> list[Entry]:
    """Entries, in order; all files of a PatientID under which two persons appear are turned away."""
    people: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.patient_id:
            people[entry.patient_id].append(entry)
    mixed = {patient_id for patient_id, members in people.items() if _are_two_persons(members)}
    return [
        entry.turned_away("rejected", _MIXED) if entry.patient_id in mixed else entry for entry in entries
    ]


def _are_two_persons(entries: Iterable[Entry]) -> bool:
    members = list(entries)
    names = {entry.name for entry in members if entry.name}
    births = {entry.birth_date for entry in members if entry.birth_date}
    return len(names) > 1 or len(births) > 1


def stop_shared_instances(entries: Sequence[Entry], person: Callable[[str], str]) -> list[Entry]:
    """Entries, in order; candidates whose SOP Instance UID another person's file has too are turned away."""
    owners: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        if entry.patient_id and entry.sop_uid:
            owners[entry.sop_uid].add(person(entry.patient_id))
    return [
        entry.turned_away("rejected", _SHARED)
        if not entry.action and len(owners[entry.sop_uid]) > 1
        else entry
        for entry in entries
    ]


def plan_chunks(entries: Sequence[Entry], person: Callable[[str], str]) -> list[tuple[Entry, ...]]:
    """Candidates of one person each, `chunk_size` together, except for more copies of one instance than that.

    All copies of an instance share a chunk, since only there they are compared. Ordered by person and place.
    """
    people: dict[str, dict[str, list[Entry]]] = defaultdict(lambda: defaultdict(list))
    for entry in entries:
        if not entry.action:
            people[person(entry.patient_id)][entry.sop_uid].append(entry)
    size = chunk_size(sum(not entry.action for entry in entries))
    return [chunk for name in sorted(people) for chunk in _filled(people[name].values(), size)]


def _filled(groups: Iterable[list[Entry]], size: int) -> list[tuple[Entry, ...]]:
    chunks: list[list[Entry]] = [[]]
    for group in groups:
        if chunks[-1] and len(chunks[-1]) + len(group) > size:
            chunks.append([])
        chunks[-1] += group
    return [tuple(chunk) for chunk in chunks]
