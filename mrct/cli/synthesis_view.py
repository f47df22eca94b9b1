"""The list of series that `mrct synthesize` shows in the terminal.

It names folders, which the user has on disk and must find again. Nothing of it is logged.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from mrct.inference.source import FoundSeries


def render(series: Sequence[FoundSeries]) -> Table:
    """Lay out name, kind, count, folder and verdict of each series."""
    table = Table("series", "kind", "images", "folder", "used, or why not", box=None, pad_edge=False)
    for one in series:
        verdict = Text(one.reason, style="red") if one.reason else Text("used", style="green")
        table.add_row(one.name, Text(one.kind), str(one.n_images), Text(shown_path(one.folder)), verdict)
    return table


def shown_path(path: Path) -> str:
    """Return a path as text that any terminal can print; bytes that are not UTF-8 become escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
