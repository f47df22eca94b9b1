"""Progress bars on the terminal. Nothing here changes a result, so dvc.yaml lists it under no stage."""

import os
from collections.abc import Iterable, Iterator
from multiprocessing import parent_process
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Item = TypeVar("Item")


def progress() -> Progress:
    """Make a rich progress bar on stderr; it is silent in CI, in a log file and in a worker process."""
    console = Console(stderr=True)
    watched = console.is_terminal and not os.environ.get("CI") and parent_process() is None
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not watched,
    )


def track(items: Iterable[Item], description: str, total: int) -> Iterator[Item]:
    """Yield the items unchanged, under a progress bar."""
    with progress() as bar:
        task = bar.add_task(description, total=total)
        for item in items:
            yield item
            bar.advance(task)
