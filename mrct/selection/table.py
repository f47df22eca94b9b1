"""Rows of series.csv: the properties of a series, and the decision about it."""

from typing import Any

from mrct.core.contracts import SelectedSeries
from mrct.dicom.stack import plane
from mrct.selection.acquisition import weighting
from mrct.selection.choose import Decision


def series_row(decision: Decision) -> SelectedSeries:
    """Return the row of a series; its `reason` also names what was left out or corrected.

    A header that cannot be shown in full leaves its cells empty.
    """
    try:
        return _full_row(decision)
    except Exception:
        item = decision.series
        bare: dict[str, Any] = dict.fromkeys(SelectedSeries.model_fields)
        bare |= {"patient": item.patient, "series": item.name, "modality": item.modality}
        bare |= {"decision": decision.outcome, "rule": decision.verdict.rule, "reason": decision.reason}
        return SelectedSeries(**bare)


def _full_row(decision: Decision) -> SelectedSeries:
    item, first = decision.series, decision.series.first
    name, angle_deg = plane(item)
    return SelectedSeries(
        patient=item.patient,
        series=item.name,
        modality=item.modality,
        description=first.description,
        manufacturer=first.vendor,
        plane=name,
        angle_deg=angle_deg,
        weighting=weighting(first),
        n_slices=len(item.instances),
        spacing_mm="x".join(f"{value:g}" for value in first.pixel_spacing_mm or ()),
        slice_spacing_mm=decision.slice_spacing_mm,
        te_ms=first.te_ms,
        tr_ms=first.tr_ms,
        ti_ms=first.ti_ms,
        echo_train_length=first.echo_train_length,
        decision=decision.outcome,
        rule=decision.verdict.rule,
        reason=decision.reason,
    )
