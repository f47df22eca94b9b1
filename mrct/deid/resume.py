"""Going on where a killed run stopped: a work folder for equal runs, and a record of every chunk that is done.

Names in it are keyed hashes, records hold verdicts and counts, images are de-identified: no header value of a patient
is in the folder. Two runs with the same fingerprint write the same bytes, so that a chunk need not be written again.
"""

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path

from mrct.core.files import atomic_file, read_json, write_json
from mrct.core.fingerprints import code_fingerprint
from mrct.core.resume import locked_folder
from mrct.deid.deidentify import Change, Options
from mrct.deid.intake import Entry
from mrct.deid.pseudonyms import Pseudonyms
from mrct.leaks.output_sweep import LeakError
from mrct.leaks.phi_values import PhiValues

Row = tuple[int, str, str, str]


@dataclass
class Result:
    """Of a chunk: verdicts (source index, action, reason, output), what happened to the attributes, counts."""

    patient: str
    rows: list[Row] = field(default_factory=list)
    changes: Counter[Change] = field(default_factory=Counter)
    already_deidentified: int = 0
    bytes: int = 0


def fingerprint(mapping: Pseudonyms, options: Options, root: Path) -> str:
    """16 hex digits over all that decides the output: options, key, joins, source folder, code, tables, libraries."""
    joins = [f"{one}\0{other}" for one, other in sorted(mapping.same_person.items())]
    text = "\n".join([repr(options), str(root.resolve()), *joins, code_fingerprint("anonymize")])
    return mapping.digest("work", text).hex()[:16]


@contextmanager
def work_folder(work: Path, name: str) -> Iterator[Path]:
    """`work`/`name`, as an earlier run of the same name left it; it stays when the run is killed or fails.

    It is removed after LeakError, since it holds the leak; and when the run ends well, together with what runs of
    other options or older code left, since nothing there was published. One run at a time.
    """
    with locked_folder(work):
        folder = work / name
        folder.mkdir(exist_ok=True)
        try:
            yield folder
        except LeakError:
            shutil.rmtree(folder)
            raise
        for left in work.iterdir():
            if left.is_dir():
                shutil.rmtree(left)


def is_new_key(work: Path, mapping: Pseudonyms, root: Path) -> bool:
    """Whether an earlier run on the same source folder used another key; remembers this one, by a keyed hash."""
    place = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]
    record, mark = work / f"key-{place}", mapping.digest("key", "").hex()
    before = record.read_text() if record.is_file() else mark
    with atomic_file(record) as partial:
        partial.write_text(mark)
    return before != mark


def phi_values_digest(mapping: Pseudonyms, phi_values: PhiValues) -> str:
    """Changes when a value is added that an earlier run did not search for."""
    kinds = [sorted(map(repr, getattr(phi_values, kind.name))) for kind in fields(phi_values)]
    return mapping.digest("phi_values", repr(kinds)).hex()


def chunk_name(mapping: Pseudonyms, entries: Iterable[Entry], phi_values: str) -> str:
    """A keyed hash over the files' places, paths, sizes and times, and over the values to search for."""
    files = []
    for entry in entries:
        status = entry.path.stat()
        files.append(f"{entry.index}\0{entry.path}\0{status.st_size}\0{status.st_mtime_ns}")
    return mapping.digest("chunk", "\n".join([phi_values, *files])).hex()[:32]


def save_record(path: Path, result: Result) -> None:
    """The chunk is done: all or nothing, without a header value."""
    changes = [[*change, count] for change, count in sorted(result.changes.items())]
    write_json(path, vars(result) | {"changes": changes})


def load_record(path: Path, root: Path) -> Result | None:
    """What an earlier run recorded, if its images are there as long as they were; else None."""
    try:
        content = read_json(path)
        result = Result(**content)
        result.rows = [(int(index), action, reason, output) for index, action, reason, output in result.rows]
        result.changes = Counter({Change(*change[:-1]): change[-1] for change in content["changes"]})
        size = sum((root / output).stat().st_size for *_, output in result.rows if output)
    except (OSError, ValueError, TypeError):  # none, or torn by a power cut: the chunk is done again
        return None
    return result if size == result.bytes else None


def remove_unlisted(images: Path, listed: Iterable[str]) -> None:
    """Takes away what a killed run wrote for files that are gone or changed; `listed` is relative to the parent."""
    wanted = {str(images.parent / output) for output in listed}
    for folder, _, names in os.walk(images, topdown=False):
        for name in names:
            path = os.path.join(folder, name)
            if path not in wanted:
                os.unlink(path)
        if not os.listdir(folder):
            os.rmdir(folder)
