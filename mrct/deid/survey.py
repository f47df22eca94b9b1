"""Survey of an export before anything is written: the kind and the patient of each file, and the plan of chunks.

Each file gets a verdict or remains a candidate; reasons hold no header value. The identifying values are collected from
all files of a person as well, because each image of the person is searched for all of them.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from pydicom import Dataset
from pydicom._uid_dict import UID_dictionary
from pydicom.uid import MediaStorageDirectoryStorage

from mrct.core.contracts import FileAction
from mrct.core.parallel import map_processes
from mrct.deid.allow_list import IODS
from mrct.deid.pseudonyms import Pseudonyms, strip, stripped
from mrct.dicom.errors import Unreadable
from mrct.dicom.read import find_files, read_dataset
from mrct.leaks.phi_values import PhiValues

_UIDS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
_FEWEST, _MOST, _CHUNKS = 16, 256, 64
_MIXED = (
    "two different persons under one PatientID (names or birth dates differ): the patient is stopped; "
    "correct the export"
)
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
        patient_id: PatientID without padding.
        name: Words of PatientName in its alphabetic form, case folded.
        birth_date: PatientBirthDate.
        sop_uid: SOPInstanceUID.
    """

    index: int
    path: Path = field(repr=False)
    action: FileAction | None = None
    reason: str = ""
    patient_id: str = field(default="", repr=False)
    name: tuple[str, ...] = field(default=(), repr=False)
    birth_date: str = field(default="", repr=False)
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
    survey.entries = exclude_shared_instances(exclude_mixed_patients(entries), pseudonyms)
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
        patient_id = stripped(dataset, "PatientID")
        phi_values.setdefault(patient_id, PhiValues()).add_dataset(dataset)
        return _checked(_identified(entry, patient_id, dataset), dataset)
    except Unreadable as error:
        return entry.excluded(FileAction.QUARANTINED if error.damaged else FileAction.SKIPPED, error.reason)
    except Exception:  # pydicom converts values on access, and fails in many ways on damaged values
        return entry.excluded(FileAction.QUARANTINED, "damaged DICOM: its identity cannot be parsed")


def _identified(entry: Entry, patient_id: str, dataset: Dataset) -> Entry:
    alphabetic = str(dataset.get("PatientName", "") or "").split("=")[0]
    name = unicodedata.normalize("NFKC", alphabetic).casefold().replace("^", " ").split()
    return replace(
        entry,
        patient_id=patient_id,
        name=tuple(name),
        birth_date=stripped(dataset, "PatientBirthDate"),
        sop_uid=stripped(dataset, "SOPInstanceUID"),
    )


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
        return entry.excluded(FileAction.REJECTED, "no PatientID: CT and MR cannot be assigned to a patient")
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


def exclude_mixed_patients(entries: Sequence[Entry]) -> list[Entry]:
    """Reject all files of a PatientID under which two different persons appear."""
    people: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.patient_id:
            people[entry.patient_id].append(entry)
    mixed = {patient_id for patient_id, members in people.items() if _are_two_persons(members)}
    return [
        entry.excluded(FileAction.REJECTED, _MIXED) if entry.patient_id in mixed else entry
        for entry in entries
    ]


def _are_two_persons(entries: Sequence[Entry]) -> bool:
    names = {entry.name for entry in entries if entry.name}
    births = {entry.birth_date for entry in entries if entry.birth_date}
    return len(names) > 1 or len(births) > 1


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
