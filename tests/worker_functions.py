"""Functions for worker processes, which cannot import a test module; loaded by name from this folder."""

import os
import signal
import time
from pathlib import Path

from mrct.deid.pseudonyms import Pseudonyms
from mrct.params import Section, parse


class Width(Section):
    width: int


def work(number: int) -> tuple[int, str]:
    """Squares; 13 is unlucky, 99 kills its process."""
    if number == 13:
        raise ValueError("13 is unlucky")
    if number == 99:
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2, os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"]


def process_id(_: int) -> int:
    return os.getpid()


def leave_a_mark(path: Path) -> None:
    """Fails at once without a folder; takes its time with one."""
    if not path.parent.exists():
        raise ValueError("no folder")
    time.sleep(0.3)
    path.write_text("done")


def tell_and_wait(folder: Path) -> None:
    """Leaves the process's id as a file's name, and never ends."""
    (folder / str(os.getpid())).touch()
    time.sleep(600)


def refuse(_: int) -> None:
    """An error that our code raises."""
    parse(Width, {"wide": 2}, "params.yaml")


def quote(_: int) -> None:
    """A defect."""
    Pseudonyms(b"").patient(17)  # type: ignore[arg-type]
