"""De-identify a chunk of one person's images, write it to disk, read it back and search it for the person's values."""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

from pydicom import Dataset

from mrct.core.contracts import FileAction
from mrct.deid.audit import Record, Verdict
from mrct.deid.cleaner import Change
from mrct.deid.deidentify import CODES, METHOD, Options, deidentify
from mrct.deid.pseudonyms import Pseudonyms
from mrct.deid.survey import Entry
from mrct.dicom.errors import Unreadable
from mrct.dicom.read import read_dataset
from mrct.dicom.uids import IMPLEMENTATION_NAME, IMPLEMENTATION_UID
from mrct.dicom.write import save_dataset
from mrct.leaks.output_sweep import LeakError, find_leak, words_of
from mrct.leaks.phi_values import PhiValues

_OUR_WORDS = words_of((METHOD, IMPLEMENTATION_NAME, *CODES.values(), "DCM DICM YES MODIFIED images dcm"))
_OUR_WORDS |= {IMPLEMENTATION_UID}
_TWO_IMAGES = "the same SOP Instance UID as another file with other pixels"


@dataclass(frozen=True)
class Chunk:
    """Candidates of one person that are written together: a job of mrct.core.resume.

    Attributes:
        source: Folder of the export.
        out: Folder that gets images/<patient>/<study>/<series>/<instance>.dcm.
        entries: The candidates; all copies of an instance are in one chunk.
        pseudonyms: The mapping of identities.
        options: The user's choices.
        phi_values: The values of all files of the person. They are kept in memory and are never written.
    """

    source: Path
    out: Path
    entries: tuple[Entry, ...] = field(repr=False)
    pseudonyms: Pseudonyms
    options: Options
    phi_values: PhiValues = field(repr=False)


def chunk_name(chunk: Chunk, code: str) -> str:
    """Name a chunk by everything that its result depends on: 32 hexadecimal digits of a keyed hash.

    The hash covers the code, the options, the key, the joined PatientIDs, the folder of the export, the files with
    their indices, sizes and times, and the values to search for. Without the key, a guess of what was hashed cannot be
    tested.
    """
    joins = [f"{one}\0{other}" for one, other in sorted(chunk.pseudonyms.same_persons.joined.items())]
    values = [sorted(map(repr, kind)) for kind in astuple(chunk.phi_values)]
    files = []
    for entry in chunk.entries:
        status = entry.path.stat()
        files.append(f"{entry.index}\0{entry.path}\0{status.st_size}\0{status.st_mtime_ns}")
    parts = [code, repr(chunk.options), str(chunk.source.resolve()), repr(joins), repr(values), *files]
    return chunk.pseudonyms.digest("chunk", "\n".join(parts)).hex()[:32]


@dataclass(frozen=True)
class Image:
    """An image on disk, the length of the pixels at its end, and what happened to its attributes."""

    index: int
    path: Path
    n_pixel_bytes: int
    changes: Counter[Change]


@dataclass
class Written:
    """The result for a chunk so far.

    Attributes:
        record: What happened to the files.
        images: The images on disk.
        ours: Words and numbers that this program wrote itself, in lower case.
    """

    record: Record = field(default_factory=Record)
    images: list[Image] = field(default_factory=list)
    ours: set[str] = field(default_factory=lambda: set(_OUR_WORDS))


def write_and_sweep(chunk: Chunk) -> dict[str, Any]:
    """Write the images of a chunk, search them, and return the result as `Record.to_json` does.

    If a header still holds a value of the person, no image of the chunk stays, and `leak` says why.
    """
    written = write_images(chunk)
    try:
        sweep_images(written, chunk)
    except LeakError as error:
        for image in written.images:
            image.path.unlink(missing_ok=True)
        written.record.leak = str(error)
    _remove_empty_folders(chunk.out)
    return written.record.to_json()


def write_images(chunk: Chunk) -> Written:
    """Write the de-identified images; only one file at a time is in memory.

    A damaged file is quarantined and a repeated one is listed; neither stops the run.
    """
    written = Written()
    record = written.record
    for entry in _without_duplicates(chunk.entries, record):
        try:
            path = _write_image(entry, read_dataset(entry.path, pixels=True), chunk, written)
        except Unreadable as error:
            record.verdicts.append(_unreadable(entry, error))
        except OSError:  # the output cannot be written, for instance because the disk is full
            raise
        except Exception:  # pydicom converts values on access; one that it cannot convert is damaged
            reason = "damaged DICOM: it cannot be rewritten"
            record.verdicts.append(Verdict(entry.index, FileAction.QUARANTINED, reason))
        else:
            output = path.relative_to(chunk.out).as_posix()
            record.verdicts.append(Verdict(entry.index, FileAction.KEPT, output=output))
    return written


def _write_image(entry: Entry, dataset: Dataset, chunk: Chunk, written: Written) -> Path:
    clean = deidentify(dataset, chunk.pseudonyms, chunk.options)
    place = _relative_path(entry, dataset, chunk.pseudonyms)
    path = chunk.out / place
    save_dataset(clean.dataset, path)
    written.record.changes.update(clean.changes)
    written.record.already_deidentified += clean.already_deidentified
    written.record.bytes += path.stat().st_size
    written.images.append(Image(entry.index, path, len(clean.dataset.PixelData), clean.changes))
    names = place.with_suffix("").parts
    written.ours |= {*names, *(name.lower() for name in names), *_dates(clean.dataset)}
    return path


def _dates(dataset: Dataset) -> set[str]:
    """Return the dates that this program wrote. Other elements are not accessed, because their conversion is slow."""
    dates = (tag for tag in dataset.keys() if dataset.get_item(tag).VR in ("DA", "DT"))  # noqa: SIM118
    return {str(dataset[tag].value) for tag in dates}


def _relative_path(entry: Entry, dataset: Dataset, pseudonyms: Pseudonyms) -> Path:
    patient = pseudonyms.patient(entry.patient_id)
    study = pseudonyms.short("study", str(dataset.StudyInstanceUID))
    series = pseudonyms.short("series", str(dataset.SeriesInstanceUID))
    instance = pseudonyms.short("instance", str(dataset.SOPInstanceUID), 16)
    return Path("images", patient, study, series, f"{instance}.dcm")


def _without_duplicates(entries: Sequence[Entry], record: Record) -> list[Entry]:
    """Return one entry per SOPInstanceUID: the first of equal copies, none of different images."""
    groups: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.sop_uid].append(entry)
    unique = []
    for members in groups.values():
        usable = members if len(members) == 1 else _equal_copies(members, record)
        unique += usable[:1]
        for entry in usable[1:]:
            reason = f"the same image as file {usable[0].index}"
            record.verdicts.append(Verdict(entry.index, FileAction.DUPLICATE, reason))
    return unique


def _equal_copies(entries: Sequence[Entry], record: Record) -> list[Entry]:
    """Return the readable entries if all hold the same pixels, else none; the others are recorded."""
    digests = {}
    for entry in entries:
        try:
            pixels = read_dataset(entry.path, pixels=True).get("PixelData", b"")
            digests[entry] = hashlib.sha256(pixels).digest()
        except Unreadable as error:
            record.verdicts.append(_unreadable(entry, error))
    if len(set(digests.values())) <= 1:
        return list(digests)
    record.verdicts += [Verdict(entry.index, FileAction.REJECTED, _TWO_IMAGES) for entry in digests]
    return []


def _unreadable(entry: Entry, error: Unreadable) -> Verdict:
    action = FileAction.QUARANTINED if error.damaged else FileAction.REJECTED
    return Verdict(entry.index, action, error.reason)


def sweep_images(written: Written, chunk: Chunk) -> None:
    """Read back the bytes and the names on disk, and search them for the values of the person.

    A value among the pixels means that the file is damaged, so that header text moved into the image, or that text is
    hidden there. The file is quarantined, like all files whose pixels cannot be trusted, and its image is removed.

    Raises:
        LeakError: A header or a name holds a value. The message names the file and the attribute only.
    """
    ours = frozenset(written.ours)
    for image in written.images:
        content = image.path.read_bytes()
        end = len(content) - image.n_pixel_bytes
        name = image.path.relative_to(chunk.out).as_posix()
        keyword = find_leak(name.encode() + b"\0" + content[:end], b"", chunk.phi_values, ours)
        if keyword is not None:
            raise LeakError(f"the output of file {image.index} would hold the patient's {keyword}")
        if find_leak(b"", content[end:], chunk.phi_values, ours) is not None:
            _withdraw(image, written.record, len(content))


def _withdraw(image: Image, record: Record, n_bytes: int) -> None:
    """Remove the image and subtract it from all counts."""
    image.path.unlink()
    record.bytes -= n_bytes
    record.changes -= image.changes
    reason = "text of the patient's header lies among the pixels"
    verdict = Verdict(image.index, FileAction.QUARANTINED, reason)
    record.verdicts = [verdict if one.source_index == image.index else one for one in record.verdicts]


def _remove_empty_folders(root: Path) -> None:
    """Remove the empty folders of images that could not be written or were withdrawn."""
    for folder, _, _ in os.walk(root, topdown=False):
        if not os.listdir(folder):
            os.rmdir(folder)
