"""Functions for worker processes, which cannot import test modules; they are loaded by name from this folder."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from mrct.core.params import Section, parse
from mrct.deid.pseudonyms import Pseudonyms


class Width(Section):
    width: int


def work(number: int) -> tuple[int, str]:
    """Return the square; 13 raises an error, 99 kills the process."""
    if number == 13:
        raise ValueError("13 is unlucky")
    if number == 99:
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2, os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"]


def process_id(_: int) -> int:
    return os.getpid()


def leave_a_mark(path: Path) -> None:
    """Fail at once without a folder; with one, take some time."""
    if not path.parent.exists():
        raise ValueError("no folder")
    time.sleep(0.3)
    path.write_text("done")


def tell_and_wait(folder: Path) -> None:
    """Write a file named after the process id, and never return."""
    (folder / str(os.getpid())).touch()
    time.sleep(600)


def refuse(_: int) -> None:
    """Raise an error as this program does on purpose."""
    parse(Width, {"wide": 2}, "params.yaml")


def quote(_: int) -> None:
    """Raise an error as a defect does."""
    Pseudonyms(b"").patient(17)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Shout:
    """A job of mrct.core.resume: `source`/text.txt in capitals, `times` times; `marks` counts the running jobs."""

    source: Path
    out: Path
    times: int
    marks: str


def whisper(job: Shout) -> dict[str, float]:
    """Process the same jobs in another way."""
    job.out.mkdir(parents=True)
    (job.out / "first.txt").write_text("psst")
    return {}


def mumble(job: Shout) -> None:
    """Write one file, named after the patient."""
    job.out.mkdir(parents=True)
    (job.out / f"{job.source.name}.txt").write_bytes((job.source / "text.txt").read_bytes())


def shout(job: Shout) -> dict[str, float]:
    """Kill the process halfway through the patient that MRCT_TEST_KILL names."""
    text = (job.source / "text.txt").read_text().upper()
    with (Path(job.marks) / job.source.name).open("a") as mark:
        mark.write("x")
    job.out.mkdir(parents=True)
    (job.out / "first.txt").write_text(text[: len(text) // 2])
    if os.environ.get("MRCT_TEST_KILL") == job.source.name:
        os.kill(os.getpid(), signal.SIGKILL)
    (job.out / "deeper").mkdir()
    (job.out / "deeper" / "all.txt").write_text(text * job.times)
    return {"share": job.times / 3}
