"""A row of series.csv: what a series is, and what was decided about it."""

from typing import Any

from mrct.selection.choose import Decision
from mrct.selection.classify import plane
from mrct.selection.weighting import weighting

SERIES_COLUMNS = [
    "patient",
    "series",
    "modality",
    "description",
    "manufacturer",
    "plane",
    "angle_deg",
    "weighting",
    "n_slices",
    "spacing_mm",
    "slice_spacing_mm",
    "te_ms",
    "tr_ms",
    "ti_ms",
    "echo_train_length",
    "decision",
    "rule",
    "reason",
]


def series_row(decision: Decision) -> dict[str, Any]:
    """SERIES_COLUMNS of one series; `reason` also tells what was corrected (tilt, uneven spacing).

    `spacing_mm` is "between rows x between columns"; `manufacturer` a known vendor's short name or "other".
    """
    item, first = decision.series, decision.series.first
    name, angle_deg = plane(item)
    spacing = "x".join(f"{value:g}" for value in first.pixel_spacing_mm) if first.pixel_spacing_mm else ""
    reason = "; ".join(filter(None, [decision.verdict.reason, *decision.notes]))
    values = (
        item.patient,
        item.name,
        item.modality,
        first.description,
        first.vendor,
        name,
        angle_deg,
        weighting(first),
        len(item.instances),
        spacing,
        decision.slice_spacing_mm,
        first.te_ms,
        first.tr_ms,
        first.ti_ms,
        first.echo_train_length,
        "kept" if decision.kept else "rejected",
        decision.verdict.rule,
        reason,
    )
    return dict(zip(SERIES_COLUMNS, values, strict=True))
