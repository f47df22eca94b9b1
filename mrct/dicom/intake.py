"""First look at every file of an export: which are CT or MR images, whose are they, and what is turned away.

Every file gets a row with an action and a reason that holds no header value.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydicom import Dataset
from pydicom._uid_dict import UID_dictionary
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    MediaStorageDirectoryStorage,
    MRImageStorage,
)

from mrct.dicom.pseudonyms import strip
from mrct.dicom.read import Unreadable, read_dataset

IMAGES = frozenset(
    {
        CTImageStorage,
        MRImageStorage,
        EnhancedCTImageStorage,
        EnhancedMRImageStorage,
        LegacyConvertedEnhancedCTImageStorage,
        LegacyConvertedEnhancedMRImageStorage,
    }
)
_UIDS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")


@dataclass(frozen=True)
class Entry:
    """One source file. `action` is empty while it is a candidate; `index` is its place in the sorted listing.

    The patient fields are for grouping in memory and are never written.
    """

    index: int
    path: Path
    action: str = ""
    reason: str = ""
    patient_id: str = ""
    name: tuple[str, ...] = ()
    birth_date: str = ""
    sop_uid: str = ""

    def turned_away(self, action: str, reason: str) -> "Entry":
        """The same file with its verdict."""
        return replace(self, action=action, reason=reason)


def inspect(files: Iterable[tuple[int, Path]]) -> list[Entry]:
    """Entries of numbered files; only headers are read."""
    return [_inspect_file(index, path) for index, path in files]


def _inspect_file(index: int, path: Path) -> Entry:
    entry = Entry(index, path)
    try:
        dataset = read_dataset(path, pixels=False)
        return _judge(_identified(entry, dataset), dataset)
    except Unreadable as error:
        return entry.turned_away("quarantined" if error.damaged else "skipped", error.reason)
    except Exception:  # pydicom converts values when asked, and fails in many ways on damaged ones
        return entry.turned_away("quarantined", "damaged DICOM: its identity cannot be parsed")


def _identified(entry: Entry, dataset: Dataset) -> Entry:
    alphabetic = str(dataset.get("PatientName", "") or "").split("=")[0]
    name = unicodedata.normalize("NFKC", alphabetic).casefold().replace("^", " ").split()
    return replace(
        entry,
        patient_id=strip(str(dataset.get("PatientID", "") or "")),
        name=tuple(name),
        birth_date=strip(str(dataset.get("PatientBirthDate", "") or "")),
        sop_uid=strip(str(dataset.get("SOPInstanceUID", "") or "")),
    )


def _judge(entry: Entry, dataset: Dataset) -> Entry:
    sop_class = strip(str(dataset.get("SOPClassUID", "") or _meta_class(dataset)))
    if sop_class == MediaStorageDirectoryStorage:
        return entry.turned_away("rejected", "a media directory (DICOMDIR); it is never copied")
    if sop_class not in IMAGES:
        kind = UID_dictionary[sop_class][0] if sop_class in UID_dictionary else "an unknown kind of object"
        return entry.turned_away("rejected", f"not a CT or MR image: {kind}")
    if not entry.patient_id:
        return entry.turned_away("rejected", "no PatientID: CT and MR cannot be assigned to a patient")
    if any(not strip(str(dataset.get(keyword, "") or "")) for keyword in _UIDS):
        return entry.turned_away("rejected", "no study, series or instance UID")
    burned = strip(str(dataset.get("BurnedInAnnotation", "") or "")).upper()
    if burned == "YES":
        return entry.turned_away("quarantined", "text is burned into the pixels (BurnedInAnnotation YES)")
    if burned != "NO" and _is_derived(dataset):
        return entry.turned_away(
            "quarantined", "a derived image that does not say whether text is burned in (BurnedInAnnotation)"
        )
    return entry


def _meta_class(dataset: Dataset) -> str:
    meta = getattr(dataset, "file_meta", None)
    return str(meta.get("MediaStorageSOPClassUID", "")) if meta else ""


def _is_derived(dataset: Dataset) -> bool:
    kinds = dataset.get("ImageType") or []
    kinds = [kinds] if isinstance(kinds, str) else list(kinds)
    return any(str(kind).strip().upper() in ("DERIVED", "SECONDARY") for kind in kinds[:2])


def stop_mixed_patients(entries: Sequence[Entry]) -> list[Entry]:
    """Entries, in order; all files of a PatientID under which two persons appear are turned away."""
    people: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.patient_id:
            people[entry.patient_id].append(entry)
    mixed = {patient_id for patient_id, members in people.items() if _are_two_persons(members)}
    reason = (
        "two different persons under one PatientID (names or birth dates differ): the patient is stopped; "
        "correct the export"
    )
    return [
        entry.turned_away("rejected", reason) if entry.patient_id in mixed else entry for entry in entries
    ]


def _are_two_persons(entries: Iterable[Entry]) -> bool:
    members = list(entries)
    names = {entry.name for entry in members if entry.name}
    births = {entry.birth_date for entry in members if entry.birth_date}
    return len(names) > 1 or len(births) > 1
