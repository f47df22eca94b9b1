"""Terminal tables of the dry run; they show numbers, vendors and our own vocabulary, never header text."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from mrct.selection.choose import Choice
from mrct.selection.classify import plane
from mrct.selection.weighting import weighting


def possible_pairs(choice: Choice) -> int:
    """An estimate before registration: the smaller of the two slice counts."""
    sizes = [len(item.instances) for item in (choice.ct, choice.mr) if item is not None]
    return min(sizes) if len(sizes) == 2 else 0


def series_table(choices: Sequence[Choice]) -> Table:
    """One line a series: what it is and what was decided; no header text."""
    headings = ("series", "kind", "plane", "slices", "vendor", "decision", "rule", "reason")
    table = Table(*headings, title="Series", title_justify="left")
    for choice in choices:
        for decision in choice.decisions:
            item, first = decision.series, decision.series.first
            name, angle = plane(item)
            tilt = f" {angle:.0f}°" if angle else ""
            modality = item.modality if item.modality in ("CT", "MR") else "?"
            kind = f"{modality} {weighting(first)}".strip()
            reason = "; ".join(filter(None, [decision.verdict.reason, *decision.notes]))
            said, color = ("kept", "green") if decision.kept else ("rejected", "red")
            table.add_row(
                item.name,
                kind,
                f"{name}{tilt}",
                str(len(item.instances)),
                first.vendor,
                Text(said, style=color),
                decision.verdict.rule,
                Text(reason),
            )
    return table


def patient_table(choices: Sequence[Choice]) -> Table:
    """One line a patient."""
    headings = ("patient", "status", "days between", "pairs, about", "reason")
    table = Table(*headings, title="Patients", title_justify="left")
    for choice in choices:
        days = "" if choice.days_between is None else str(choice.days_between)
        pairs = str(possible_pairs(choice)) if choice.status == "paired" else ""
        table.add_row(choice.patient, choice.status, days, pairs, choice.reason)
    return table
