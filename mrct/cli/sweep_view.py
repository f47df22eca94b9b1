"""The sweep's report for a terminal: places, attributes, counts and reasons, never a value."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table

from mrct.leaks.evidence import NEAR
from mrct.leaks.walk import Report

_MOST_ROWS = 200


def render(report: Report) -> Iterator[RenderableType]:
    """Tables of finds and of what could not be read, where there are any, and a summary."""
    if report.hits:
        yield _table("Values of patients were found", ("file", "attribute", "times"), report.hits)
    if report.unreadable:
        yield _table("Not readable", ("file", "reason"), report.unreadable)
    for place in report.left_out:
        yield f"left out: {place}"
    if report.copies:
        yield f"left out: {report.copies} files that equal an ignored one"
    yield (
        f"{len(report.hits)} finds in {report.files} files and objects ({report.bytes / 1e6:.1f} MB), searched for "
        f"{report.values} values (in all spellings) of {report.patients} patient{'s' * (report.patients != 1)}."
    )
    yield (
        f"{report.weak} of the values are too weak to prove alone (common or short words, dates, this program's own "
        f"words): they count within {NEAR} characters of another value of the same patient, most also as a whole table "
        "cell, JSON string or part of a name."
    )


def _table(title: str, columns: tuple[str, ...], rows: list[tuple]) -> Table:
    table = Table(title=title)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows[:_MOST_ROWS]:
        table.add_row(*(str(cell).replace("[", "\\[") for cell in row))
    if len(rows) > _MOST_ROWS:
        table.add_row(f"... and {len(rows) - _MOST_ROWS} more")
    return table
