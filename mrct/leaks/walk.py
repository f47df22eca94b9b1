"""What a project sweep looks at: every entry below a folder, with a place for it that is fit to be shown."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from json import loads
from pathlib import Path

from mrct.leaks.evidence import Index

_BLOCK = 1 << 20


@dataclass
class Found:
    """Where values were found: (place, attribute, times); what could not be read: (place, reason); and counts."""

    hits: list[tuple[str, str, int]] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    files: int = 0
    bytes: int = 0

    def add(self, other: "Found") -> None:
        """Takes over what another process found."""
        self.hits += other.hits
        self.unreadable += other.unreadable
        self.files += other.files
        self.bytes += other.bytes


@dataclass
class Report(Found):
    """The whole sweep; `left_out`: virtual environments and what was skipped on request; `copies`: equal files."""

    patients: int = 0
    values: int = 0
    weak: int = 0
    left_out: list[str] = field(default_factory=list)
    copies: int = 0


@dataclass(frozen=True)
class Entry:
    """One thing to search. In `place`, parts of the path that tell a value are numbered instead."""

    path: Path
    place: str
    kind: str  # file | link | repository
    size: int = 0


@dataclass(frozen=True)
class Contents:
    """Files whose equal copies are left out, by size and SHA-256, and their names below their folders."""

    digests: dict[int, frozenset[bytes]]
    listings: tuple[frozenset[str], ...]


def contents_of(ignored: Sequence[Path]) -> Contents:
    """Of all files below `ignored`."""
    digests: dict[int, set[bytes]] = {}
    listings = []
    for root in ignored:
        files = [path for path in root.rglob("*") if path.is_file()] if root.is_dir() else [root]
        listings.append(frozenset(path.relative_to(root).as_posix() for path in files))
        for path in files:
            digests.setdefault(path.stat().st_size, set()).add(_digest(path))
    return Contents({size: frozenset(found) for size, found in digests.items()}, tuple(listings))


def _digest(path: Path) -> bytes:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


class Walk:
    """Goes through folders once; hard links to a file count as one, links are not followed."""

    def __init__(self, index: Index, report: Report, skipped: Sequence[Path], copies: Contents) -> None:
        self._index, self._report, self._copies = index, report, copies
        self._skipped = {path.resolve() for path in skipped}
        self._seen: set[tuple[int, int]] = set()

    def entries(self, root: Path) -> Iterator[Entry]:
        """Everything at and below `root`; names that tell a value become hits of the report at once."""
        if root.resolve() in self._skipped:
            self._report.left_out.append(f"{root}: it is the source, or was to be ignored")
        elif root.is_dir() and not root.is_symlink():
            yield from self._folder(root.resolve(), str(root))
        else:
            yield from self._entry(root, root.parent / self._shown(root, str(root.parent), 0))

    def _folder(self, folder: Path, place: str) -> Iterator[Entry]:
        try:
            names = sorted(os.listdir(folder))
        except OSError as error:
            self._report.unreadable.append((place, os.strerror(error.errno or 0)))
            return
        is_repository = {"HEAD", "objects", "refs"} <= set(names)
        if is_repository:
            yield Entry(folder, place, "repository")
        for number, name in enumerate(names, start=1):
            path = folder / name
            if path.resolve() in self._skipped and not path.is_symlink():
                self._report.left_out.append(
                    f"{place}/{self._hide(name, number)}: it is the source, or was to be ignored"
                )
            elif not (is_repository and name == "objects"):
                yield from self._entry(path, Path(place) / self._shown(path, place, number))

    def _entry(self, path: Path, place: Path) -> Iterator[Entry]:
        try:
            if path.is_symlink():
                yield Entry(path, str(place), "link")
            elif path.is_dir():
                if (path / "pyvenv.cfg").is_file():
                    self._report.left_out.append(f"{place}: a virtual environment")
                else:
                    yield from self._folder(path, str(place))
            elif not path.is_file():
                self._report.unreadable.append((str(place), "neither a file nor a folder"))
            else:
                yield from self._file(path, place)
        except OSError as error:
            self._report.unreadable.append((str(place), os.strerror(error.errno or 0)))

    def _file(self, path: Path, place: Path) -> Iterator[Entry]:
        status = path.stat()
        inode = (status.st_dev, status.st_ino)
        if status.st_nlink > 1 and inode in self._seen:
            return
        self._seen.add(inode)
        if self._is_copy(path, status.st_size):
            self._report.copies += 1
        else:
            yield Entry(path, str(place), "file", status.st_size)

    def _is_copy(self, path: Path, size: int) -> bool:
        """Of an ignored file, or DVC's listing of an ignored folder."""
        if size in self._copies.digests and _digest(path) in self._copies.digests[size]:
            return True
        if path.suffix != ".dir" or not self._copies.listings:
            return False
        try:
            listed = frozenset(str(row["relpath"]) for row in loads(path.read_bytes()))
        except (ValueError, TypeError, KeyError):
            return False
        return listed in self._copies.listings

    def _shown(self, path: Path, place: str, number: int) -> str:
        """The entry's own name, searched beside its folder's; a name that tells a value is a hit."""
        counts = self._name_leaks(path)
        if counts:
            shown = f"<entry {number} of the folder>"
            self._report.hits += [
                (f"{place}/{shown} (its name)", keyword, n) for keyword, n in counts.items()
            ]
            return shown
        return path.name

    def _hide(self, name: str, number: int) -> str:
        return f"<entry {number} of the folder>" if self._name_leaks(Path(name)) else name

    def _name_leaks(self, path: Path) -> dict[str, int]:
        before = os.fsencode(path.parent.name)
        name = os.fsencode(path.name)
        parts = name.replace(b"_", b"\n").replace(b"-", b"\n").replace(b".", b"\n").replace(b" ", b"\n")
        content = before + b"/\n" + name + b"\n" + parts
        start = len(before) + 1
        return dict(self._index.find(content, start, start + len(name) + 1, cells=True)) or dict(
            self._index.find(b"\n" + parts, cells=True)
        )
