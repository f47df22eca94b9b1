"""One patient's images, de-identified to disk and swept: the unit of work of the anonymize stage."""

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import Dataset

from mrct.dicom.deidentify import CODES, METHOD, Change, Options, deidentify
from mrct.dicom.intake import Entry
from mrct.dicom.pseudonyms import Pseudonyms
from mrct.dicom.read import Unreadable, read_dataset
from mrct.dicom.save import IMPLEMENTATION_NAME, IMPLEMENTATION_UID, save_dataset
from mrct.dicom.sweep import LeakError, Needles, find_leak, words_of

_OUR_WORDS = words_of((METHOD, IMPLEMENTATION_NAME, *CODES.values(), "DCM DICM YES MODIFIED images dcm"))
_OUR_WORDS |= {IMPLEMENTATION_UID}


@dataclass(frozen=True)
class Task:
    """The candidate files of one PatientID, and where they go: `root`/images/<patient>/..."""

    entries: tuple[Entry, ...]
    root: Path
    pseudonyms: Pseudonyms
    options: Options


@dataclass
class Result:
    """Verdicts (source index, action, reason, output), what happened to the attributes, and counts."""

    patient: str
    rows: list[tuple[int, str, str, str]] = field(default_factory=list)
    changes: Counter[Change] = field(default_factory=Counter)
    already_deidentified: int = 0


def write_patient(task: Task) -> Result:
    """Writes the patient's images, then sweeps them; raises LeakError if any holds one of his header values.

    A damaged file is quarantined, a repeated one listed; neither stops the run. Memory holds one file.
    """
    result = Result(task.pseudonyms.patient(task.entries[0].patient_id))
    needles, ours, written = Needles(), set(_OUR_WORDS), []
    for entry, verdict in _without_duplicates(task.entries, result):
        try:
            dataset = read_dataset(entry.path, pixels=True)
            needles.add_dataset(dataset)
            path, n_pixel_bytes, own = _write_file(dataset, task, result)
        except Unreadable as error:
            _list(result, entry, "quarantined" if error.damaged else "rejected", error.reason)
            continue
        except Exception:  # values are converted when asked for; a file that cannot be is damaged
            _list(result, entry, "quarantined", "damaged DICOM: it cannot be rewritten")
            continue
        ours |= own
        written.append((path, n_pixel_bytes))
        result.rows.append((entry.index, "kept", verdict, str(path.relative_to(task.root))))
    _sweep(written, needles, frozenset(ours), task.root)
    return result


def _write_file(dataset: Dataset, task: Task, result: Result) -> tuple[Path, int, set[str]]:
    """The output file, the length of its pixels at its end, and the words that we made for it."""
    clean = deidentify(dataset, task.pseudonyms, task.options)
    path = task.root / "images" / result.patient / _relative_path(dataset, task.pseudonyms)
    save_dataset(clean.dataset, path)
    result.changes.update(clean.changes)
    result.already_deidentified += clean.already_deidentified
    dates = {str(element.value) for element in clean.dataset if element.VR in ("DA", "DT")}
    own = {result.patient.lower(), *path.relative_to(task.root).with_suffix("").parts, *dates}
    return path, len(clean.dataset.PixelData), own


def _relative_path(dataset: Dataset, pseudonyms: Pseudonyms) -> Path:
    study = pseudonyms.short("study", str(dataset.StudyInstanceUID))
    series = pseudonyms.short("series", str(dataset.SeriesInstanceUID))
    instance = pseudonyms.short("instance", str(dataset.SOPInstanceUID), 16)
    return Path(study, series, f"{instance}.dcm")


def _without_duplicates(entries: tuple[Entry, ...], result: Result) -> list[tuple[Entry, str]]:
    """Entries with a unique SOPInstanceUID; of equal copies the first, of unequal ones none."""
    groups: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.sop_uid].append(entry)
    unique = []
    for members in groups.values():
        usable = members if len(members) == 1 else _readable(members, result)
        if len({_pixel_digest(entry) for entry in usable} if len(usable) > 1 else usable) > 1:
            for entry in usable:
                _list(
                    result, entry, "rejected", "the same SOP Instance UID as another file with other pixels"
                )
            continue
        unique += [(entry, "") for entry in usable[:1]]
        for entry in usable[1:]:
            _list(result, entry, "duplicate", f"the same image as file {usable[0].index}")
    return unique


def _readable(entries: list[Entry], result: Result) -> list[Entry]:
    usable = []
    for entry in entries:
        try:
            _pixel_digest(entry)
        except Unreadable as error:
            _list(result, entry, "quarantined", error.reason)
        else:
            usable.append(entry)
    return usable


def _pixel_digest(entry: Entry) -> bytes:
    return hashlib.sha256(read_dataset(entry.path, pixels=True).get("PixelData", b"")).digest()


def _list(result: Result, entry: Entry, action: str, reason: str) -> None:
    result.rows.append((entry.index, action, reason, ""))


def _sweep(written: list[tuple[Path, int]], needles: Needles, ours: frozenset[str], root: Path) -> None:
    """Reads back what lies on the disk, names of files and folders included."""
    for path, n_pixel_bytes in written:
        content = path.read_bytes()
        end = len(content) - n_pixel_bytes
        relative = str(path.relative_to(root))
        keyword = find_leak(relative.encode() + b"\0" + content[:end], content[end:], needles, ours)
        if keyword is not None:
            raise LeakError(
                f"{relative}: the output holds the patient's {keyword}; nothing was published. Report the "
                "file's place; to go on, take the source file out of the export"
            )
