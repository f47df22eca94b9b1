"""A chunk of one patient's images, de-identified to disk and swept: the unit of work of the anonymize stage."""

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import Dataset

from mrct.deid import resume
from mrct.deid.deidentify import CODES, METHOD, Change, Options, deidentify
from mrct.deid.intake import Entry
from mrct.deid.pseudonyms import Pseudonyms
from mrct.dicom.read import Unreadable, read_dataset
from mrct.dicom.uids import IMPLEMENTATION_NAME, IMPLEMENTATION_UID
from mrct.dicom.write import save_dataset
from mrct.leaks.output_sweep import LeakError, find_leak, words_of
from mrct.leaks.phi_values import PhiValues

_OUR_WORDS = words_of((METHOD, IMPLEMENTATION_NAME, *CODES.values(), "DCM DICM YES MODIFIED images dcm"))
_OUR_WORDS |= {IMPLEMENTATION_UID}
_TWO_IMAGES = "the same SOP Instance UID as another file with other pixels"


@dataclass(frozen=True)
class Task:
    """Candidate files of one person, and where they go: `root`/images/<patient>/..., then the record of it.

    `phi_values`: the values of all files of the person; they travel in memory and are never written.
    """

    entries: tuple[Entry, ...]
    root: Path
    pseudonyms: Pseudonyms
    options: Options
    phi_values: PhiValues = field(repr=False)
    record: Path


@dataclass(frozen=True)
class File:
    """An image on the disk, with the length of its pixels at its end and what happened to its attributes."""

    index: int
    path: Path
    n_pixel_bytes: int
    changes: Counter[Change]


@dataclass
class Written:
    """What stands on the disk: verdicts and counts, the files, words of our making."""

    result: resume.Result
    files: list[File] = field(default_factory=list)
    ours: set[str] = field(default_factory=lambda: set(_OUR_WORDS))


def write_and_sweep(task: Task) -> resume.Result:
    """Writes the chunk's images, sweeps them, and records that it is done; LeakError if a header holds a value."""
    written = write_images(task)
    sweep_images(written, task.phi_values, task.root)
    resume.save_record(task.record, written.result)
    return written.result


def write_images(task: Task) -> Written:
    """The images without their person. A damaged file is quarantined, a repeated one listed; neither stops the
    run. Memory holds one file."""
    written = Written(resume.Result(task.pseudonyms.patient(task.entries[0].patient_id)))
    result = written.result
    for entry in _without_duplicates(task.entries, result):
        try:
            path = _write_file(entry, read_dataset(entry.path, pixels=True), task, written)
        except Unreadable as error:
            _list(result, entry, "quarantined" if error.damaged else "rejected", error.reason)
        except OSError:  # of the output: the disk is full
            raise
        except Exception:  # values are converted when asked for; a file that cannot be is damaged
            _list(result, entry, "quarantined", "damaged DICOM: it cannot be rewritten")
        else:
            result.rows.append((entry.index, "kept", "", path.relative_to(task.root).as_posix()))
    return written


def _write_file(entry: Entry, dataset: Dataset, task: Task, written: Written) -> Path:
    result = written.result
    clean = deidentify(dataset, task.pseudonyms, task.options)
    path = task.root / "images" / result.patient / _relative_path(dataset, task.pseudonyms)
    save_dataset(clean.dataset, path)
    result.changes.update(clean.changes)
    result.already_deidentified += clean.already_deidentified
    result.bytes += path.stat().st_size
    written.files.append(File(entry.index, path, len(clean.dataset.PixelData), clean.changes))
    names = path.relative_to(task.root).with_suffix("").parts
    written.ours |= {result.patient.lower(), *names, *_dates(clean.dataset)}
    return path


def _dates(dataset: Dataset) -> set[str]:
    """The dates that we wrote; the other elements are spared the conversion, which is slow."""
    dates = (tag for tag in dataset.keys() if dataset.get_item(tag).VR in ("DA", "DT"))  # noqa: SIM118
    return {str(dataset[tag].value) for tag in dates}


def _relative_path(dataset: Dataset, pseudonyms: Pseudonyms) -> Path:
    study = pseudonyms.short("study", str(dataset.StudyInstanceUID))
    series = pseudonyms.short("series", str(dataset.SeriesInstanceUID))
    instance = pseudonyms.short("instance", str(dataset.SOPInstanceUID), 16)
    return Path(study, series, f"{instance}.dcm")


def _without_duplicates(entries: tuple[Entry, ...], result: resume.Result) -> list[Entry]:
    """Entries with a unique SOPInstanceUID; of equal copies the first, of unequal ones none."""
    groups: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.sop_uid].append(entry)
    unique = []
    for members in groups.values():
        usable = members if len(members) == 1 else _equal_copies(members, result)
        unique += usable[:1]
        for entry in usable[1:]:
            _list(result, entry, "duplicate", f"the same image as file {usable[0].index}")
    return unique


def _equal_copies(entries: list[Entry], result: resume.Result) -> list[Entry]:
    """The readable ones, if they hold the same pixels; otherwise none, and all are listed."""
    digests = {}
    for entry in entries:
        try:
            digests[entry] = _pixel_digest(entry)
        except Unreadable as error:
            _list(result, entry, "quarantined" if error.damaged else "rejected", error.reason)
    if len(set(digests.values())) <= 1:
        return list(digests)
    for entry in digests:
        _list(result, entry, "rejected", _TWO_IMAGES)
    return []


def _pixel_digest(entry: Entry) -> bytes:
    return hashlib.sha256(read_dataset(entry.path, pixels=True).get("PixelData", b"")).digest()


def _list(result: resume.Result, entry: Entry, action: str, reason: str) -> None:
    result.rows.append((entry.index, action, reason, ""))


def sweep_images(written: Written, phi_values: PhiValues, root: Path) -> None:
    """Reads back what lies on the disk, names of files and folders included; LeakError at the first find.

    A find among the pixels is no fault of ours: a damaged file, in which header text slid into the image, or one
    that hides it there. It is quarantined like every file whose pixels are not to be trusted.
    """
    ours = frozenset(written.ours)
    for file in written.files:
        content = file.path.read_bytes()
        end = len(content) - file.n_pixel_bytes
        relative = file.path.relative_to(root).as_posix()
        keyword = find_leak(relative.encode() + b"\0" + content[:end], b"", phi_values, ours)
        if keyword is not None:
            raise LeakError(
                f"{relative}: the output holds the patient's {keyword}; nothing was published. It is made from "
                f"file {file.index} of the source's sorted listing, counted from 0: report it, and to go on, take "
                "it out of the export"
            )
        if find_leak(b"", content[end:], phi_values, ours) is not None:
            _withdraw(file, written.result, len(content))


def _withdraw(file: File, result: resume.Result, n_bytes: int) -> None:
    """Takes the image away again, and all that was counted of it."""
    file.path.unlink()
    result.bytes -= n_bytes
    result.changes -= file.changes
    verdict = (file.index, "quarantined", "text of the patient's header lies among the pixels", "")
    result.rows = [verdict if row[0] == file.index else row for row in result.rows]
