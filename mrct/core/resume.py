"""Going on where a killed run stopped: what a job makes is a folder of its own, which appears whole or not at all.

A job is a frozen dataclass of plain values with `source`, the folder that it reads, and `out`, the folder that it
fills. It is known by a hash over all that decides its result: the bytes below `source`, its other fields, and the code
(`code_fingerprint`). `<work>/<hash>/` holds `files/`, what the job wrote, and `result.json`, what it returned;
one rename makes it appear, and nothing in it changes afterwards. So whatever is found there may be used.
"""

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from filelock import FileLock, Timeout

from mrct.core.errors import RunError
from mrct.core.files import read_json, write_json
from mrct.core.fingerprints import code_fingerprint, folder_hash
from mrct.core.parallel import map_processes


class Job(Protocol):
    """A frozen dataclass; its other fields are plain values or sections of parameters."""

    @property
    def source(self) -> Path: ...

    @property
    def out(self) -> Path: ...


AnyJob = TypeVar("AnyJob", bound=Job)


@contextmanager
def work_folder(out: Path) -> Iterator[Path]:
    """The folder beside `out` as a stopped run left it; it goes when the block ends well, and stays otherwise.

    There it is on the file system of `out`, and DVC, which empties `out` before a stage, does not know it.
    """
    with locked_folder(out.with_name(f".{out.name}.work")) as work:
        yield work
        shutil.rmtree(work)


@contextmanager
def locked_folder(path: Path) -> Iterator[Path]:
    """The folder `path`, for one run at a time; a second one gets a RuntimeError."""
    path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(
            f"another run is at work in {path}; wait until it has ended, or stop it first"
        ) from None
    try:
        yield path
    finally:
        lock.release()


def map_resumable(
    function: Callable[[AnyJob], Any], jobs: Sequence[AnyJob], stage: str, work: Path
) -> list[Any]:
    """`map_processes`, but jobs that stand in `work` are not done again; the files of every job appear in its `out`.

    Work that other code of the `stage` has left (`code_fingerprint`) is never taken up.

    Results are plain values as JSON knows them, fresh or found: both are read from the file, so that they are equal.
    """
    code = f"{function.__qualname__} {code_fingerprint(stage)}"
    done = map_processes(partial(_do, function, work, code), jobs, stage)
    found = sum(stood for _, stood in done)
    if found:
        print(f"{stage}: {found} of {len(jobs)} stand from a run that was stopped", file=sys.stderr)
    for job, (name, _) in zip(jobs, done, strict=True):
        files = work / name / "files"
        if files.is_dir():
            shutil.copytree(files, job.out, copy_function=_link, dirs_exist_ok=True)
    return [read_json(work / name / "result.json") for name, _ in done]


def job_hash(job: Job, code: str) -> str:
    """32 hex digits; TypeError for a field of which JSON does not tell everything, as an array."""
    fields = asdict(job)  # type: ignore[call-overload]
    del fields["source"], fields["out"]
    plain = json.dumps(fields, sort_keys=True, default=_plain)
    text = "\0".join([code, type(job).__qualname__, job.source.name, folder_hash(job.source), plain])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _plain(value: Any) -> Any:
    if hasattr(value, "model_dump"):  # a section of parameters
        return value.model_dump(mode="json")
    raise TypeError(f"a field of the job is {type(value).__name__}; expected plain values")


def _do(function: Callable[[AnyJob], Any], work: Path, code: str, job: AnyJob) -> tuple[str, bool]:
    """The job's name in `work`, and whether it stood there."""
    name = job_hash(job, code)
    if (work / name).is_dir():
        return name, True
    # a name of its own: a worker elsewhere that outlived its killed run may be at the same job
    attempt = Path(tempfile.mkdtemp(prefix=".", dir=work))
    result = function(replace(job, out=attempt / "files"))  # type: ignore[type-var]
    write_json(attempt / "result.json", result)
    _to_disk(attempt)
    try:
        attempt.rename(work / name)
    except OSError:
        if not (work / name).is_dir():
            raise
        shutil.rmtree(attempt)  # the other worker was faster, with the same bytes
    return name, False


def _to_disk(folder: Path) -> None:
    """After a power cut a folder with its last name must not hold files that were never written."""
    for path in folder.rglob("*"):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def _link(source: str, target: str) -> None:
    """No second copy on the disk, where the file system has links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
