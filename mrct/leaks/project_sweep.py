"""`mrct sweep`: whether anything in a folder tells a patient's own values, whatever kind of file it is in.

Every file at any depth, its name, what links point to, and every object of a git repository; what proves a leak is
said in evidence.py, what is opened in haystacks.py. The source itself, if it lies inside, is skipped, and so is what
`ignore` names together with byte-equal copies of its files (DVC's cache holds a copy of every output). Equal copies of
the source elsewhere are leaks. Values are held in memory and never shown.
"""

import os
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from mrct.core.errors import DataError, NotFoundError
from mrct.core.parallel import map_processes
from mrct.dicom.read import find_files
from mrct.leaks.against import phi_values_of
from mrct.leaks.blocks import Budget
from mrct.leaks.evidence import Index
from mrct.leaks.layers import haystacks
from mrct.leaks.strength import build_index
from mrct.leaks.walk import Entry, Found, Report, Walk, contents_of

_BYTES_AT_ONCE = 64 << 20
_FILES_AT_ONCE = 500
_LARGEST_OBJECT = 128 << 20


@dataclass(frozen=True)
class _Task:
    entries: tuple[Entry, ...]
    index: Index


def sweep_project(paths: Sequence[Path], against: Path, ignore: Sequence[Path] = ()) -> Report:
    """Searches `paths` for the values of the patients in `against`; ValueError when that holds none."""
    for path in (*paths, against, *ignore):
        if not path.exists():
            raise NotFoundError(f"{path}: no such file or folder")
    patients = phi_values_of([against] if against.is_file() else find_files(against), "read the values")
    if not patients:
        raise DataError(
            f"{against}: no patient's value was found; expected the source: a folder of DICOM, of volumes, "
            "or of CSV tables"
        )
    index = build_index(patients)
    report = Report(patients=len(patients), values=len(index), weak=index.weak)
    walk = Walk(index, report, (against, *ignore), contents_of(ignore))
    entries = [entry for path in paths for entry in walk.entries(path)]
    for found in map_processes(_sweep_task, list(_tasks(entries, index)), "sweep"):
        report.add(found)
    report.hits.sort()
    return report


def _tasks(entries: Sequence[Entry], index: Index) -> Iterator[_Task]:
    """Of about equal size, the largest files first."""
    waiting: list[Entry] = []
    for entry in sorted(entries, key=lambda entry: (entry.kind != "repository", -entry.size, entry.place)):
        waiting.append(entry)
        if sum(one.size for one in waiting) >= _BYTES_AT_ONCE or len(waiting) >= _FILES_AT_ONCE:
            yield _Task(tuple(waiting), index)
            waiting = []
    if waiting:
        yield _Task(tuple(waiting), index)


def _sweep_task(task: _Task) -> Found:
    found = Found()
    for entry in task.entries:
        if entry.kind == "repository":
            _sweep_repository(entry, task.index, found)
        elif entry.kind == "link":
            target = os.fsencode(os.readlink(entry.path)).replace(b"/", b"\n")
            counts = task.index.find(target, cells=True)
            _record(counts, f"{entry.place} (where the link points)", 0, Budget(), found)
        else:
            _sweep_file(entry, task.index, found)
    return found


def _sweep_file(entry: Entry, index: Index, found: Found) -> None:
    budget = Budget()
    try:
        with entry.path.open("rb") as stream:
            counts = _search(stream, index, budget)
    except OSError as error:
        counts = Counter()
        budget.notes.append(os.strerror(error.errno) if error.errno else "it cannot be read")
    _record(counts, entry.place, entry.size, budget, found)


def _search(stream: BinaryIO, index: Index, budget: Budget) -> Counter[str]:
    """Attribute -> times; what a parser shows a second time is counted once."""
    plain: Counter[str] = Counter()
    parsed: Counter[str] = Counter()
    for block in haystacks(stream, budget):
        counts = parsed if block.repeats else plain
        counts.update(index.find(block.content, block.start, block.end, block.cells))
    return plain | parsed


def _record(counts: Counter[str], place: str, size: int, budget: Budget, found: Found) -> None:
    found.files += 1
    found.bytes += size
    found.hits += [(place, keyword, times) for keyword, times in counts.items()]
    found.unreadable += [(place, note) for note in dict.fromkeys(budget.notes)]


def _sweep_repository(entry: Entry, index: Index, found: Found) -> None:
    """Every object of a git repository, reachable or not, as git itself unpacks it."""
    command = ["git", "-c", "safe.directory=*", "--git-dir", str(entry.path), "cat-file"]
    command += ["--batch-all-objects", "--batch", "--buffer", "--unordered"]
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError:
        found.unreadable.append((entry.place, "a git repository, and the program git is not installed"))
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
            git.stdout.read(1)  # the line feed after each object
            _record(counts, f"{entry.place} (git {kind} {name[:12]})", size, budget, found)
    if process.returncode:
        found.unreadable.append((entry.place, "a git repository that git cannot read"))
