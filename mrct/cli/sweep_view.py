"""Show the report of `mrct sweep` in a terminal: places, attributes, counts and reasons, never a value."""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table

from mrct.leaks.evidence import MAX_GAP
from mrct.leaks.project_sweep import Report

_MAX_ROWS = 200


def render(report: Report) -> Iterator[RenderableType]:
    """Yield a table of the hits and one of what was not searched, each only if it has rows, and a summary."""
    if report.hits:
        rows = [(hit.place, hit.attribute, str(hit.count)) for hit in report.hits]
        yield _table("Values of patients were found", ("file", "attribute", "times"), rows)
    if report.unsearched:
        reasons = [(unsearched.place, unsearched.reason) for unsearched in report.unsearched]
        yield _table("Not searched, or only in part", ("file", "reason"), reasons)
    for place in report.left_out:
        yield f"left out: {place}"
    if report.n_copies:
        yield f"left out: {report.n_copies} files that equal an ignored one"
    if report.unsearched:
        n_places = len({unsearched.place for unsearched in report.unsearched})
        yield (
            f"{n_places} place{'s were' if n_places > 1 else ' was'} not searched, or only in part (see above). "
            "Nothing is known about them: check them by hand."
        )
    hits = f"{len(report.hits)} hit{'s' * (len(report.hits) != 1)}"
    yield (
        f"{hits} in {report.n_files} files and objects ({report.n_bytes / 1e6:.1f} MB), searched for "
        f"{report.n_values} values (in all spellings) of {report.n_patients} patient{'s' * (report.n_patients != 1)}."
    )
    yield (
        f"{report.n_weak_values} of the values do not prove a leak alone (common or short words, dates, words of this "
        f"program's source code). They count within {MAX_GAP} characters of another value of the same patient. Most "
        "count also as a whole table cell, JSON string or part of a name."
    )


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(title=title)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows[:_MAX_ROWS]:
        # rich reads square brackets as markup.
        table.add_row(*(cell.replace("[", "\\[") for cell in row))
    if len(rows) > _MAX_ROWS:
        table.add_row(f"... and {len(rows) - _MAX_ROWS} more")
    return table
