"""Survey of an export before anything is written: the kind and the patient of each file, and the plan of chunks.

Each file gets a verdict or remains a candidate; reasons hold no header value. The identifying values are collected from
all files of a person as well, because each image of the person is searched for all of them.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import TypeVar

from pydicom import Dataset
from pydicom._uid_dict import UID_dictionary
from pydicom.uid import MediaStorageDirectoryStorage

from mrct.core.contracts import FileAction
from mrct.core.parallel import map_processes
from mrct.deid.allow_list import IODS
from mrct.deid.pseudonyms import Pseudonyms, stripped
from mrct.dicom.errors import Unreadable
from mrct.dicom.identity import NO_PATIENT_ID, Person, read_patient_id, read_person, strip
from mrct.dicom.read import find_files, read_dataset
from mrct.leaks.phi_values import PhiValues

_UIDS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
_FEWEST, _MOST, _CHUNKS = 16, 256, 64
_MOST_SHOWN = 5
_SHARED = (
    "the same SOP Instance UID under two PatientIDs: it is not known whose image it is; correct the export"
)

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the export.

    The identifying fields are used for grouping in memory and are never written; `repr` hides them and the file's name.

    Attributes:
        index: Index in the sorted listing of the export.
        path: The file.
        action: The verdict; None while the file is a candidate.
        reason: Why the file is not kept.
        patient_id: PatientID (`mrct.dicom.identity`).
        person: Name and birth date.
        sop_uid: SOPInstanceUID.
    """

    index: int
    path: Path = field(repr=False)
    action: FileAction | None = None
    reason: str = ""
    patient_id: str = field(default="", repr=False)
    person: Person = field(default=Person(), repr=False)
    sop_uid: str = field(default="", repr=False)

    def excluded(self, action: FileAction, reason: str) -> "Entry":
        """Return the same file with its verdict."""
        return replace(self, action=action, reason=reason)


@dataclass
class Survey:
    """The files of an export, or of a part of it, and the identifying values by PatientID ("" where it is absent)."""

    entries: list[Entry] = field(default_factory=list)
    phi_values: dict[str, PhiValues] = field(default_factory=dict, repr=False)

    def add(self, other: "Survey") -> None:
        """Add the files and values of another part."""
        self.entries += other.entries
        for patient_id, phi_values in other.phi_values.items():
            self.phi_values.setdefault(patient_id, PhiValues()).merge(phi_values)

    def by_person(self, pseudonyms: Pseudonyms) -> dict[str, PhiValues]:
        """Merge the values of all PatientIDs of a person, by the PatientID that stands for the person."""
        people: dict[str, PhiValues] = {}
        for patient_id, phi_values in self.phi_values.items():
            people.setdefault(pseudonyms.person(patient_id), PhiValues()).merge(phi_values)
        return people


def survey_export(root: Path, pseudonyms: Pseudonyms) -> Survey:
    """Read the headers of all files below `root` and decide which of them are candidates.

    Returns:
        The files in the order of their listing, mixed patients and shared instances excluded, and the values.

    Raises:
        NotFoundError: `root` is no folder, or it is empty.
    """
    survey = Survey()
    for part in map_processes(inspect, chunked(list(enumerate(find_files(root)))), "read headers"):
        survey.add(part)
    entries = [_unless_table(entry, pseudonyms.same_person_table) for entry in survey.entries]
    survey.entries = exclude_shared_instances(exclude_mixed_patients(entries, pseudonyms), pseudonyms)
    return survey


def _unless_table(entry: Entry, table: Path | None) -> Entry:
    if table and entry.path.name == table.name and entry.path.samefile(table):
        return entry.excluded(FileAction.SKIPPED, "the table of same persons")
    return entry


def inspect(files: Iterable[tuple[int, Path]]) -> Survey:
    """Survey numbered files; only headers are read, up to the pixels."""
    survey = Survey()
    for index, path in files:
        survey.entries.append(_inspect_file(Entry(index, path), survey.phi_values))
    return survey


def _inspect_file(entry: Entry, phi_values: dict[str, PhiValues]) -> Entry:
    try:
        dataset = read_dataset(entry.path, pixels=False)
        # identity comes from the stored bytes, which are lost when the values to search for are collected
        identified = replace(entry, patient_id=read_patient_id(dataset), person=read_person(dataset))
        phi_values.setdefault(identified.patient_id, PhiValues()).add_dataset(dataset)
        identified = replace(identified, sop_uid=stripped(dataset, "SOPInstanceUID"))
        return _checked(identified, dataset)
    except Unreadable as error:
        return entry.excluded(FileAction.QUARANTINED if error.damaged else FileAction.SKIPPED, error.reason)
    except Exception:  # pydicom converts values on access, and fails in many ways on damaged values
        return entry.excluded(FileAction.QUARANTINED, "damaged DICOM: its identity cannot be parsed")


def _checked(entry: Entry, dataset: Dataset) -> Entry:
    """Return the entry as a candidate if it is a CT or MR image of a known patient without text in its pixels."""
    meta_class = dataset.file_meta.get("MediaStorageSOPClassUID", "")
    sop_class = strip(str(dataset.get("SOPClassUID", "") or meta_class))
    if sop_class == MediaStorageDirectoryStorage:
        return entry.excluded(FileAction.REJECTED, "a media directory (DICOMDIR); it is never copied")
    if sop_class not in IODS:
        kind = UID_dictionary[sop_class][0] if sop_class in UID_dictionary else "an unknown kind of object"
        return entry.excluded(FileAction.REJECTED, f"not a CT or MR image: {kind}")
    if not entry.patient_id:
        return entry.excluded(FileAction.REJECTED, NO_PATIENT_ID)
    if not all(stripped(dataset, keyword) for keyword in _UIDS):
        return entry.excluded(FileAction.REJECTED, "no study, series or instance UID")
    burned = stripped(dataset, "BurnedInAnnotation").upper()
    if burned == "YES":
        reason = "text is burned into the pixels (BurnedInAnnotation YES)"
        return entry.excluded(FileAction.QUARANTINED, reason)
    if burned != "NO" and _is_derived(dataset):
        reason = "a derived image that does not say whether text is burned in (BurnedInAnnotation)"
        return entry.excluded(FileAction.QUARANTINED, reason)
    return entry


def _is_derived(dataset: Dataset) -> bool:
    kinds = dataset.get("ImageType") or []
    kinds = [kinds] if isinstance(kinds, str) else list(kinds)
    return any(str(kind).strip().upper() in ("DERIVED", "SECONDARY") for kind in kinds[:2])


def exclude_mixed_patients(entries: Sequence[Entry], pseudonyms: Pseudonyms) -> list[Entry]:
    """Reject all files of a PatientID under which two persons appear, unless the table of same persons confirms it."""
    people: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.patient_id and entry.patient_id not in pseudonyms.same_persons.confirmed:
            people[entry.patient_id].append(entry)
    mixed = {owner: reason for owner, members in people.items() if (reason := _two_persons(members))}
    return [
        entry.excluded(FileAction.REJECTED, mixed[entry.patient_id]) if entry.patient_id in mixed else entry
        for entry in entries
    ]


def _two_persons(entries: Sequence[Entry]) -> str:
    """Return why the files of a PatientID are not of one person, by their numbers; "" if nothing says so."""
    first: dict[Person, int] = {}
    for entry in entries:
        first.setdefault(entry.person, entry.index)
    names = _disagreeing(first, Person.has_another_name)
    births = _disagreeing(first, Person.has_another_birth_date)
    sexes = _disagreeing(first, Person.has_another_sex)
    if not names and not births and not sexes:
        return ""
    name = (
        "the names differ"
        if names
        else "the names agree"
        if any(p.name for p in first)
        else "no name is known"
    )
    birth = (
        "the birth dates differ"
        if births
        else "the birth dates agree"
        if any(p.birth_date for p in first)
        else "no birth date is known"
    )
    sex = ", the sexes differ" if sexes else ""
    files = " and ".join(f"file {index}" for index in sorted({*names, *births, *sexes})[:_MOST_SHOWN])
    return (
        f"two different persons under one PatientID, or two spellings of one: {name}, {birth}{sex} (see {files} of the "
        "sorted listing): the patient is stopped; correct the export, or confirm the PatientID as one person in the "
        "table anonymize.same_person"
    )


def _disagreeing(first: dict[Person, int], differ: Callable[[Person, Person], bool]) -> list[int]:
    """Return the files of persons that all disagree with each other: at least two, or none."""
    pair = next((pair for pair in combinations(first, 2) if differ(*pair)), ())
    found = list(pair)
    for one in first if pair else ():
        if all(differ(one, other) for other in found):
            found.append(one)
    return [first[one] for one in found]


def exclude_shared_instances(entries: Sequence[Entry], pseudonyms: Pseudonyms) -> list[Entry]:
    """Reject the candidates that share their SOP Instance UID with a file of another person."""
    owners: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        if entry.patient_id and entry.sop_uid:
            owners[entry.sop_uid].add(pseudonyms.person(entry.patient_id))
    return [
        entry.excluded(FileAction.REJECTED, _SHARED)
        if entry.action is None and len(owners[entry.sop_uid]) > 1
        else entry
        for entry in entries
    ]


def chunk_size(n_files: int) -> int:
    """Return the number of files per chunk: about 64 chunks, of 16 to 256 files.

    With many chunks the workers finish at about the same time, and the bounds limit overhead and memory. The size does
    not depend on the number of workers: a stopped run may continue with more or fewer of them.
    """
    return min(max(n_files // _CHUNKS, _FEWEST), _MOST)


def chunked(items: Sequence[Item]) -> list[Sequence[Item]]:
    """Split items into runs of at most `chunk_size`, in order."""
    size = chunk_size(len(items))
    return [items[start : start + size] for start in range(0, len(items), size)]


def plan_chunks(entries: Sequence[Entry], pseudonyms: Pseudonyms) -> list[tuple[Entry, ...]]:
    """Group the candidates: each chunk belongs to one person and has `chunk_size` files, ordered by person and index.

    All copies of an instance share a chunk, because they are compared there; a chunk grows beyond its size only if one
    instance has more copies than that.
    """
    people: dict[str, dict[str, list[Entry]]] = defaultdict(lambda: defaultdict(list))
    for entry in entries:
        if entry.action is None:
            people[pseudonyms.person(entry.patient_id)][entry.sop_uid].append(entry)
    size = chunk_size(sum(entry.action is None for entry in entries))
    return [chunk for person in sorted(people) for chunk in _filled(people[person].values(), size)]


def _filled(groups: Iterable[list[Entry]], size: int) -> Iterator[tuple[Entry, ...]]:
    chunk: list[Entry] = []
    for group in groups:
        if chunk and len(chunk) + len(group) > size:
            yield tuple(chunk)
            chunk = []
        chunk = chunk + group
    yield tuple(chunk)
