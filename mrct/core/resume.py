"""Continue where a stopped run left off: each job writes a folder of its own, which appears whole or not at all.

A job is a frozen dataclass with `source`, the folder that it reads, and `out`, the folder that it fills. Its name is a
hash of all that determines its result: by default the bytes below `source`, the other fields and the code of the stage
(`job_hash`); a caller may give another function. `<work>/<name>/` holds `files/`, what the job wrote, and
`result.json`, what it returned and how many bytes it wrote. One rename makes the folder appear, and nothing in it
changes afterwards.
"""

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from filelock import FileLock, Timeout
from pydantic import BaseModel

from mrct.core.errors import RunError
from mrct.core.files import read_json, write_json
from mrct.core.fingerprints import code_fingerprint, folder_hash
from mrct.core.parallel import map_processes

# the file system writes its journal once for flushes that come together: hundreds of files take a tenth of the time
_FLUSHES_AT_ONCE = 32


class Job(Protocol):
    """Frozen dataclass; its other fields are plain values or sections of parameters unless the caller names the job."""

    @property
    def source(self) -> Path: ...

    @property
    def out(self) -> Path: ...


AnyJob = TypeVar("AnyJob", bound=Job)


class _Done(NamedTuple):
    """Name of a finished job, and whether an earlier run had finished it."""

    name: str
    found: bool


@contextmanager
def work_folder(out: Path, discard_after: tuple[type[Exception], ...] = ()) -> Iterator[Path]:
    """Yield the folder beside `out` in which the jobs of one run are kept until the run succeeds.

    It holds what a stopped run has left. It is removed if the block succeeds and kept if the block fails, so that the
    next run continues. It lies on the file system of `out`. DVC empties `out` before a stage and ignores this
    folder.

    Args:
        out: Output folder of the stage; the work folder is `.<name>.work` beside it.
        discard_after: Exceptions after which the work is removed as well, because it must not be used again.

    Raises:
        RunError: Another run uses the folder.
    """
    with locked_folder(out.with_name(f".{out.name}.work")) as work:
        try:
            yield work
        except discard_after:
            shutil.rmtree(work)
            raise
        shutil.rmtree(work)


@contextmanager
def locked_folder(path: Path) -> Iterator[Path]:
    """Create the folder `path` where needed, and yield it to one run at a time.

    Raises:
        RunError: Another run uses the folder.
    """
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


def job_hash(job: Job, code: str) -> str:
    """Hash the bytes below `source`, the other fields except `out`, and the code.

    Args:
        job: A frozen dataclass of plain values and sections of parameters.
        code: Fingerprint of the code that does the job.

    Returns:
        32 hexadecimal digits.

    Raises:
        TypeError: JSON cannot represent a field completely, for instance an array.
    """
    fields = asdict(job)  # type: ignore[call-overload]
    del fields["source"], fields["out"]
    plain = json.dumps(fields, sort_keys=True, default=_plain)
    text = "\0".join([code, type(job).__qualname__, job.source.name, folder_hash(job.source), plain])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):  # a section of parameters
        return value.model_dump(mode="json")
    raise TypeError(f"a field of the job is {type(value).__name__}; expected plain values")


def map_resumable(
    function: Callable[[AnyJob], Any],
    jobs: Sequence[AnyJob],
    stage: str,
    work: Path,
    name: Callable[[AnyJob, str], str] = job_hash,
) -> list[Any]:
    """Call `function` for each job on the workers, except for the jobs that `work` already holds.

    The files of every job appear in its `out`, as hard links where the file system has them. Several jobs may share an
    `out`. Work that other code of the stage has left has another name (`code_fingerprint`) and is never used.

    Args:
        function: Function at the top of a module; it fills `job.out` and returns a value that JSON can represent.
        jobs: The jobs, in the order of the results.
        stage: Name of the stage in dvc.yaml.
        work: Folder of `work_folder`.
        name: Names a job by all that determines its result; the second argument is a fingerprint of the code. A job
            whose fields are not plain values, or must not be guessed from a hash, needs a function of its own.

    Returns:
        The results as JSON reads them, so that a new result equals one of an earlier run.

    Raises:
        OSError: A file cannot be linked or copied, for instance because two jobs wrote files of the same name.
    """
    code = f"{function.__qualname__} {code_fingerprint(stage)}"
    done = map_processes(partial(_do, function, name, work, code), jobs, stage)
    found = sum(one.found for one in done)
    if found:
        print(f"{stage}: {found} of {len(jobs)} are kept from a run that was stopped", file=sys.stderr)
    for job, one in zip(jobs, done, strict=True):
        files = work / one.name / "files"
        if files.is_dir():
            shutil.copytree(files, job.out, copy_function=_link, dirs_exist_ok=True)
    return [read_json(work / one.name / "result.json")["result"] for one in done]


def _do(
    function: Callable[[AnyJob], Any],
    name_of: Callable[[AnyJob, str], str],
    work: Path,
    code: str,
    job: AnyJob,
) -> _Done:
    """Run the job, unless `work` holds its result."""
    name = name_of(job, code)
    folder = work / name
    if folder.is_dir():
        if _is_whole(folder):
            return _Done(name, found=True)
        shutil.rmtree(folder)
    # each attempt has a folder of its own: a worker elsewhere may have outlived its killed run and do the same job
    attempt = Path(tempfile.mkdtemp(prefix=".", dir=work))
    result = function(replace(job, out=attempt / "files"))  # type: ignore[type-var]
    write_json(attempt / "result.json", {"bytes": _size(attempt / "files"), "result": result})
    _to_disk(attempt)
    try:
        attempt.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        shutil.rmtree(attempt)  # the other worker was faster, with the same bytes
    return _Done(name, found=False)


def _is_whole(folder: Path) -> bool:
    """Check whether the folder holds as many bytes as its job wrote."""
    try:
        return read_json(folder / "result.json")["bytes"] == _size(folder / "files")
    except (OSError, ValueError, TypeError, KeyError):
        return False


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _to_disk(folder: Path) -> None:
    """Flush all files: after a power cut, a folder with its final name must not hold files without content."""
    with ThreadPoolExecutor(_FLUSHES_AT_ONCE) as pool:
        list(pool.map(_flush, folder.rglob("*")))


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def _link(source: str, target: str) -> None:
    """Link the file, or copy it where the file system has no links; another job must not have written the target."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        shutil.copyfile(source, target)
