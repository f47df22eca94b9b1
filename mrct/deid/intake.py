"""First look at every file of an export: which are CT or MR images, whose are they, and what is turned away.

Every file gets a row with an action and a reason that holds no header value. What must not be found in the output is
collected here as well, from all files of a patient, so that each of his images is searched for the values of all.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydicom import Dataset
from pydicom._uid_dict import UID_dictionary
from pydicom.uid import MediaStorageDirectoryStorage

from mrct.deid.allow_list import IODS
from mrct.deid.pseudonyms import strip
from mrct.dicom.read import Unreadable, read_dataset
from mrct.leaks.phi_values import PhiValues

_UIDS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")


@dataclass(frozen=True, slots=True)
class Entry:
    """One source file. `action` is empty while it is a candidate; `index` is its place in the sorted listing.

    The patient fields are for grouping in memory and are never written; `repr` hides them and the file's name.
    """

    index: int
    path: Path = field(repr=False)
    action: str = ""
    reason: str = ""
    patient_id: str = field(default="", repr=False)
    name: tuple[str, ...] = field(default=(), repr=False)
    birth_date: str = field(default="", repr=False)
    sop_uid: str = field(default="", repr=False)

    def turned_away(self, action: str, reason: str) -> "Entry":
        """The same file with its verdict."""
        return replace(self, action=action, reason=reason)


@dataclass
class Inspected:
    """What a chunk of files is, and the values of its patients by PatientID ("" where there is none)."""

    entries: list[Entry] = field(default_factory=list)
    phi_values: dict[str, PhiValues] = field(default_factory=dict, repr=False)


def inspect(files: Iterable[tuple[int, Path]]) -> Inspected:
    """Entries of numbered files, and their phi_values; only headers are read (to the pixels, where they end)."""
    found = Inspected()
    for index, path in files:
        found.entries.append(_inspect_file(Entry(index, path), found.phi_values))
    return found


def _inspect_file(entry: Entry, phi_values: dict[str, PhiValues]) -> Entry:
    try:
        dataset = read_dataset(entry.path, pixels=False)
        patient_id = strip(str(dataset.get("PatientID", "") or ""))
        phi_values.setdefault(patient_id, PhiValues()).add_dataset(dataset)
        return _judge(_identified(entry, patient_id, dataset), dataset)
    except Unreadable as error:
        return entry.turned_away("quarantined" if error.damaged else "skipped", error.reason)
    except Exception:  # pydicom converts values when asked, and fails in many ways on damaged ones
        return entry.turned_away("quarantined", "damaged DICOM: its identity cannot be parsed")


def _identified(entry: Entry, patient_id: str, dataset: Dataset) -> Entry:
    alphabetic = str(dataset.get("PatientName", "") or "").split("=")[0]
    name = unicodedata.normalize("NFKC", alphabetic).casefold().replace("^", " ").split()
    return replace(
        entry,
        patient_id=patient_id,
        name=tuple(name),
        birth_date=strip(str(dataset.get("PatientBirthDate", "") or "")),
        sop_uid=strip(str(dataset.get("SOPInstanceUID", "") or "")),
    )


def _judge(entry: Entry, dataset: Dataset) -> Entry:
    sop_class = strip(str(dataset.get("SOPClassUID", "") or _meta_class(dataset)))
    if sop_class == MediaStorageDirectoryStorage:
        return entry.turned_away("rejected", "a media directory (DICOMDIR); it is never copied")
    if sop_class not in IODS:
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
