"""The same function over many patients: processes, a progress bar, results in the order of the input."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Item = TypeVar("Item")
Result = TypeVar("Result")


def worker_count() -> int:
    """MRCT_WORKERS, or the machine's cores."""
    return int(os.environ.get("MRCT_WORKERS", 0)) or os.cpu_count() or 1


def progress() -> Progress:
    """A rich progress bar on stderr; silent where no person watches (CI, a log file)."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal or bool(os.environ.get("CI")),
    )


def track(items: Iterable[Item], description: str, total: int) -> Iterator[Item]:
    """`items`, unchanged, under a progress bar."""
    with progress() as bar:
        task = bar.add_task(description, total=total)
        for item in items:
            yield item
            bar.advance(task)


def map_processes(
    function: Callable[[Item], Result], items: Sequence[Item], description: str
) -> list[Result]:
    """[function(item) for item in items] over processes; an exception of any item is raised.

    `function` must be a module-level function. It is expected to turn the failures it knows (one bad
    file, one unregistrable patient) into listed results; what it raises is a defect and stops the run.
    """
    workers = min(worker_count(), len(items))
    if workers <= 1:
        _single_thread()
        return list(track(map(function, items), description, len(items)))
    # fork would copy the threads' locks of ITK and torch; spawn starts clean
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_single_thread) as pool:
        return list(track(pool.map(function, items), description, len(items)))


def _single_thread() -> None:
    """One ITK thread a process: the same bytes for any number of workers, and no oversubscription."""
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
    try:
        import SimpleITK as sitk  # noqa: N813

        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    except ImportError:
        pass
