"""Search whole folders for the values of the patients in a source.

Every file at any depth is searched, and so are its name, the targets of links, and every object of a git repository.
The search leaves out the source itself, the paths in `ignore`, all files that equal an ignored file byte by byte (the
cache of DVC holds a copy of every output), and virtual environments. A copy of the source elsewhere is a leak. Values
are kept in memory and never shown.

The module `evidence` defines what proves a leak, and the module `containers` which containers are opened.
"""

import hashlib
import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from io import BytesIO
from pathlib import Path
from typing import IO

from mrct.core.errors import DataError, NotFoundError
from mrct.core.parallel import map_processes
from mrct.dicom.read import find_files
from mrct.leaks.blocks import Budget
from mrct.leaks.containers import unpack
from mrct.leaks.evidence import Index, build_index
from mrct.leaks.value_sources import read_patients

_BYTES_PER_TASK = 64 << 20
_FILES_PER_TASK = 500
_LARGEST_OBJECT = 128 << 20
# Separators of the parts of a name.
_NAME_SEPARATORS = (b"_", b"-", b".", b" ")


@dataclass(frozen=True, order=True)
class Hit:
    """Values of one attribute in one place. `place` contains no value and may be shown."""

    place: str
    attribute: str
    count: int


@dataclass(frozen=True)
class Unsearched:
    """A place that could not be searched, or only in part."""

    place: str
    reason: str


@dataclass
class Findings:
    """The hits in some files, and how much was searched."""

    hits: list[Hit] = field(default_factory=list)
    unsearched: list[Unsearched] = field(default_factory=list)
    n_files: int = 0
    n_bytes: int = 0

    def add(self, other: "Findings") -> None:
        """Add the findings of another process."""
        self.hits += other.hits
        self.unsearched += other.unsearched
        self.n_files += other.n_files
        self.n_bytes += other.n_bytes


@dataclass
class Report(Findings):
    """The findings in all files, and the number of values that were searched for.

    Attributes:
        n_patients: Number of patients in the source.
        n_values: Number of values of all patients.
        n_weak_values: Number of values that do not prove a leak alone.
        left_out: Folders that were not searched, with the reason.
        n_copies: Number of files that were not searched because they equal an ignored one.
    """

    n_patients: int = 0
    n_values: int = 0
    n_weak_values: int = 0
    left_out: list[str] = field(default_factory=list)
    n_copies: int = 0


def sweep_project(paths: Sequence[Path], against: Path, ignore: Sequence[Path] = ()) -> Report:
    """Search files and folders for the values of the patients in a source.

    Args:
        paths: Files and folders to search.
        against: The source: a folder of DICOM, of volumes or of CSV tables, or one such file.
        ignore: Files and folders to leave out, together with equal copies of their files.

    Returns:
        The report, with its hits in order of place and attribute.

    Raises:
        NotFoundError: A path does not exist.
        DataError: The source holds no value.
    """
    for path in (*paths, against, *ignore):
        if not path.exists():
            raise NotFoundError(f"{path}: no such file or folder")
    patients = read_patients([against] if against.is_file() else find_files(against), "read the values")
    if not patients:
        raise DataError(
            f"{against}: no patient's value was found; expected the source: a folder of DICOM, of volumes, "
            "or of CSV tables"
        )
    index = build_index(patients)
    report = Report(n_patients=len(patients), n_values=len(index), n_weak_values=index.n_weak)
    walk = _Walk(index, report, (against, *ignore), _read_ignored(ignore))
    entries = [entry for path in paths for entry in walk.entries(path)]
    for findings in map_processes(_sweep_task, list(_tasks(entries, index)), "sweep"):
        report.add(findings)
    report.hits.sort()
    return report


class _Kind(Enum):
    FILE = "file"
    LINK = "link"
    REPOSITORY = "repository"


@dataclass(frozen=True)
class _Entry:
    """One file, link or git repository. `place` is its path, without the names that contain a value."""

    path: Path
    place: str
    kind: _Kind
    size: int = 0


@dataclass(frozen=True)
class _IgnoredFiles:
    """The ignored files: SHA-256 digests by size, and for each ignored path the relative paths of its files."""

    digests: dict[int, frozenset[bytes]]
    listings: tuple[frozenset[str], ...]


def _read_ignored(ignored: Sequence[Path]) -> _IgnoredFiles:
    digests: dict[int, set[bytes]] = {}
    listings = []
    for root in ignored:
        files = [path for path in root.rglob("*") if path.is_file()] if root.is_dir() else [root]
        listings.append(frozenset(path.relative_to(root).as_posix() for path in files))
        for path in files:
            digests.setdefault(path.stat().st_size, set()).add(_digest(path))
    return _IgnoredFiles({size: frozenset(found) for size, found in digests.items()}, tuple(listings))


def _digest(path: Path) -> bytes:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


class _Walk:
    """Lists the files to search, and searches their names. Hard links count once. Links are not followed."""

    def __init__(self, index: Index, report: Report, skipped: Sequence[Path], ignored: _IgnoredFiles) -> None:
        self._index, self._report, self._ignored = index, report, ignored
        self._skipped = {path.resolve() for path in skipped}
        self._seen: set[tuple[int, int]] = set()

    def entries(self, root: Path) -> Iterator[_Entry]:
        """Yield everything at and below `root`. Names that contain a value become hits of the report."""
        if root.resolve() in self._skipped:
            self._leave_out(str(root), "it is the source, or was to be ignored")
        elif root.is_dir() and not root.is_symlink():
            yield from self._folder(root.resolve(), str(root))
        else:
            yield from self._entry(root, root.parent / self._shown_name(root, str(root.parent), 0))

    def _folder(self, folder: Path, place: str) -> Iterator[_Entry]:
        try:
            names = sorted(os.listdir(folder))
        except OSError as error:
            self._report.unsearched.append(Unsearched(place, os.strerror(error.errno or 0)))
            return
        is_repository = {"HEAD", "objects", "refs"} <= set(names)
        if is_repository:
            yield _Entry(folder, place, _Kind.REPOSITORY)
        for number, name in enumerate(names, start=1):
            path = folder / name
            if path.resolve() in self._skipped and not path.is_symlink():
                shown = _numbered(number) if self._name_leaks(Path(name)) else name
                self._leave_out(f"{place}/{shown}", "it is the source, or was to be ignored")
            elif not (is_repository and name == "objects"):
                yield from self._entry(path, Path(place) / self._shown_name(path, place, number))

    def _entry(self, path: Path, place: Path) -> Iterator[_Entry]:
        try:
            if path.is_symlink():
                yield _Entry(path, str(place), _Kind.LINK)
            elif path.is_dir():
                if (path / "pyvenv.cfg").is_file():
                    self._leave_out(str(place), "a virtual environment")
                else:
                    yield from self._folder(path, str(place))
            elif not path.is_file():
                self._report.unsearched.append(Unsearched(str(place), "neither a file nor a folder"))
            else:
                yield from self._file(path, place)
        except OSError as error:
            self._report.unsearched.append(Unsearched(str(place), os.strerror(error.errno or 0)))

    def _file(self, path: Path, place: Path) -> Iterator[_Entry]:
        status = path.stat()
        inode = (status.st_dev, status.st_ino)
        if status.st_nlink > 1 and inode in self._seen:
            return
        self._seen.add(inode)
        if self._is_copy(path, status.st_size):
            self._report.n_copies += 1
        else:
            yield _Entry(path, str(place), _Kind.FILE, status.st_size)

    def _leave_out(self, place: str, reason: str) -> None:
        self._report.left_out.append(f"{place}: {reason}")

    def _is_copy(self, path: Path, size: int) -> bool:
        """Return whether a file equals an ignored file, or is DVC's listing of an ignored folder."""
        if size in self._ignored.digests and _digest(path) in self._ignored.digests[size]:
            return True
        if path.suffix != ".dir" or not self._ignored.listings:
            return False
        try:
            listed = frozenset(str(row["relpath"]) for row in json.loads(path.read_bytes()))
        except (ValueError, TypeError, KeyError):
            return False
        return listed in self._ignored.listings

    def _shown_name(self, path: Path, place: str, number: int) -> str:
        """Return the entry's name, or its number in the folder if the name contains a value, which is a hit."""
        counts = self._name_leaks(path)
        if not counts:
            return path.name
        shown = _numbered(number)
        self._report.hits += [
            Hit(f"{place}/{shown} (its name)", attribute, count) for attribute, count in counts.items()
        ]
        return shown

    def _name_leaks(self, path: Path) -> Counter[str]:
        """Count the values in a name, which is searched with the name of its folder before it."""
        folder, name = os.fsencode(path.parent.name), os.fsencode(path.name)
        parts = name
        for separator in _NAME_SEPARATORS:
            parts = parts.replace(separator, b"\n")
        start = len(folder) + 1
        content = folder + b"/\n" + name + b"\n" + parts
        in_whole_name = self._index.find(content, start, start + len(name) + 1, cells=True)
        return in_whole_name or self._index.find(b"\n" + parts, cells=True)


def _numbered(number: int) -> str:
    return f"<entry {number} of the folder>"


@dataclass(frozen=True)
class _Task:
    entries: tuple[_Entry, ...]
    index: Index


def _tasks(entries: Sequence[_Entry], index: Index) -> Iterator[_Task]:
    """Yield tasks of about equal size, repositories and the largest files first."""
    waiting: list[_Entry] = []
    for entry in sorted(
        entries, key=lambda entry: (entry.kind != _Kind.REPOSITORY, -entry.size, entry.place)
    ):
        waiting.append(entry)
        if sum(one.size for one in waiting) >= _BYTES_PER_TASK or len(waiting) >= _FILES_PER_TASK:
            yield _Task(tuple(waiting), index)
            waiting = []
    if waiting:
        yield _Task(tuple(waiting), index)


def _sweep_task(task: _Task) -> Findings:
    findings = Findings()
    for entry in task.entries:
        if entry.kind == _Kind.REPOSITORY:
            _sweep_repository(entry, task.index, findings)
        elif entry.kind == _Kind.LINK:
            target = os.fsencode(os.readlink(entry.path)).replace(b"/", b"\n")
            counts = task.index.find(target, cells=True)
            _record(counts, f"{entry.place} (where the link points)", 0, Budget(), findings)
        else:
            _sweep_file(entry, task.index, findings)
    return findings


def _sweep_file(entry: _Entry, index: Index, findings: Findings) -> None:
    budget = Budget()
    try:
        with entry.path.open("rb") as stream:
            counts = _search(stream, index, budget)
    except OSError as error:
        counts = Counter()
        budget.notes.append(os.strerror(error.errno) if error.errno else "it cannot be read")
    _record(counts, entry.place, entry.size, budget, findings)


def _sweep_repository(entry: _Entry, index: Index, findings: Findings) -> None:
    """Search every object of a git repository, reachable or not, as git unpacks it."""
    command = ["git", "-c", "safe.directory=*", "--git-dir", str(entry.path), "cat-file"]
    command += ["--batch-all-objects", "--batch", "--buffer", "--unordered"]
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError:
        reason = "a git repository, and the program git is not installed"
        findings.unsearched.append(Unsearched(entry.place, reason))
        return
    with process as git:
        assert git.stdout is not None
        while header := git.stdout.readline().split():
            name, kind, size = header[0].decode(), header[1].decode(), int(header[2])
            budget = Budget()
            content = git.stdout.read(min(size, _LARGEST_OBJECT))
            counts = _search(BytesIO(content), index, budget)
            for position in range(len(content), size, _LARGEST_OBJECT):
                budget.notes = ["a very large object: only its beginning was searched"]
                git.stdout.read(min(_LARGEST_OBJECT, size - position))
            # A line feed follows each object.
            git.stdout.read(1)
            _record(counts, f"{entry.place} (git {kind} {name[:12]})", size, budget, findings)
    if process.returncode:
        findings.unsearched.append(Unsearched(entry.place, "a git repository that git cannot read"))


def _search(stream: IO[bytes], index: Index, budget: Budget) -> Counter[str]:
    """Count the values in a stream by attribute. A value in both plain bytes and parsed content counts once."""
    plain: Counter[str] = Counter()
    parsed: Counter[str] = Counter()
    for block in unpack(stream, budget):
        counts = parsed if block.repeats else plain
        counts.update(index.find(block.content, block.start, block.end, block.cells))
    return plain | parsed


def _record(counts: Counter[str], place: str, size: int, budget: Budget, findings: Findings) -> None:
    findings.n_files += 1
    findings.n_bytes += size
    findings.hits += [Hit(place, attribute, count) for attribute, count in counts.items()]
    findings.unsearched += [Unsearched(place, note) for note in dict.fromkeys(budget.notes)]
