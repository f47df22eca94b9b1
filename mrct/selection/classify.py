"""Is a series wanted? Ordered rules, each with a reason that a radiographer understands.

The first rule that matches names the verdict; all that match are kept, so that an empty cohort can say
which single rule, relaxed, would bring series back. Reasons quote numbers and our own vocabulary, never
a header's free text.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from mrct.dicom.series import Series
from mrct.dicom.stack import GeometryError, axes, orientations
from mrct.selection import kinds, technique
from mrct.selection.weighting import weighting

RejectRule = Literal[
    "localizer",
    "calibration",
    "timing",
    "derived",
    "fieldmap",
    "phase",
    "body_part",
    "cone_beam",
    "low_dose",
    "tube_voltage",
    "sagittal",
    "coronal",
    "oblique",
    "angiography",
    "swi",
    "perfusion",
    "dwi",
    "epi",
    "flair",
    "t1",
    "pd",
    "fat_suppressed",
    "contrast",
    "sharp_kernel",
    "tse",
    "uneven",
]
REJECTABLE: tuple[str, ...] = get_args(RejectRule)
Preference = Literal[
    "soft_kernel", "nearest_date", "more_coverage", "finer_pixels", "more_slices", "first", "last"
]
DEFAULT_PREFER: tuple[str, ...] = get_args(Preference)[:-1]


@dataclass(frozen=True)
class Rules:
    """The params section `select`: what is wanted and what is refused.

    `reject` names rules of REJECTABLE. The weighting that is asked for is not refused by its own name, so
    that `weighting: t1` works beside a list that holds t1. A limit of 0 is none, except of `max_angle_deg`; the
    last three are asked of the stack (mrct/selection/extent), and "uneven" of `reject` is as well.
    """

    weighting: str = "t2"
    reject: tuple[str, ...] = REJECTABLE
    prefer: tuple[str, ...] = DEFAULT_PREFER
    max_angle_deg: float = 20.0
    max_days_between: int = 0
    min_coverage_mm: float = 0.0
    min_field_mm: float = 0.0
    max_spacing_mm: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """`rule` is empty for a series that may be used; `matches` are all rules against it, in order."""

    rule: str
    reason: str
    matches: tuple[str, ...]


Rule = Callable[[Series, Rules], str]


def classify(series: Series, rules: Rules) -> Verdict:
    """The verdict of the ordered rules; a series without any match may be used."""
    active = {
        name: rule
        for name, rule in RULES.items()
        if name not in REJECTABLE or (name in rules.reject and name != rules.weighting)
    }
    reasons = {name: reason for name, rule in active.items() if (reason := rule(series, rules))}
    rule = next(iter(reasons), "")
    return Verdict(rule, reasons.get(rule, ""), tuple(reasons))


def plane(series: Series) -> tuple[str, float | None]:
    """(axial | coronal | sagittal | unknown, degrees between the slices and the axial plane)."""
    groups = orientations(series)
    if not groups:
        return "unknown", None
    try:
        normal = np.abs(axes(groups[0][0].orientation or ())[2])
    except GeometryError:
        return "unknown", None
    name = ("sagittal", "coronal", "axial")[int(normal.argmax())]
    return name, round(float(np.degrees(np.arccos(min(1.0, normal[2])))), 2)


def _modality(series: Series, rules: Rules) -> str:
    return "" if series.modality in ("CT", "MR") else "neither CT nor MR"


def _geometry(series: Series, rules: Rules) -> str:
    if plane(series)[0] == "unknown":
        return "no usable image position, orientation and pixel spacing in the header"
    return ""


def _is(kind: Callable[[Series], str]) -> Rule:
    return lambda series, rules: kind(series)


def _in_plane(wanted: str) -> Rule:
    def rule(series: Series, rules: Rules) -> str:
        name, angle = plane(series)
        return f"{wanted} slices, {angle:.0f}° from axial by their orientation" if name == wanted else ""

    return rule


def _oblique(series: Series, rules: Rules) -> str:
    name, angle = plane(series)
    if name != "axial" or angle is None or angle <= rules.max_angle_deg:
        return ""
    return f"oblique: {angle:.1f}° from axial, more than select.max_angle_deg = {rules.max_angle_deg:g}"


def _weighted(kind: str, text: str) -> Rule:
    def rule(series: Series, rules: Rules) -> str:
        if weighting(series.first) != kind:
            return ""
        return f"{text} (TE {series.first.te_ms:g} ms, TR {series.first.tr_ms:g} ms)"

    return rule


def _weighting(series: Series, rules: Rules) -> str:
    got = weighting(series.first)
    if series.modality != "MR" or rules.weighting in ("any", got):
        return ""
    if got == "unknown":
        return (
            f"weighting unknown, {rules.weighting.upper()} wanted: the header's echo, repetition and "
            "inversion times do not tell it"
        )
    return f"{got} by its times, {rules.weighting.upper()} wanted (select.weighting)"


# order matters: what is no volume at all, then the plane, then the contrast, the readout last
RULES: dict[str, Rule] = {
    "modality": _modality,
    "multiframe": _is(kinds.multiframe),
    "mosaic": _is(kinds.mosaic),
    "localizer": _is(kinds.localizer),
    "calibration": _is(kinds.calibration),
    "timing": _is(kinds.timing),
    "derived": _is(kinds.derived),
    "fieldmap": _is(kinds.fieldmap),
    "phase": _is(kinds.phase),
    "geometry": _geometry,
    "rescale": _is(kinds.rescale),
    "body_part": _is(kinds.body_part),
    "cone_beam": _is(technique.cone_beam),
    "low_dose": _is(technique.low_dose),
    "tube_voltage": _is(technique.tube_voltage),
    "sagittal": _in_plane("sagittal"),
    "coronal": _in_plane("coronal"),
    "oblique": _oblique,
    "angiography": _is(kinds.angiography),
    "swi": _is(kinds.swi),
    "perfusion": _is(kinds.perfusion),
    "dwi": _is(kinds.dwi),
    "epi": _is(kinds.epi),
    "flair": _is(technique.flair),
    "t1": _weighted("t1", "T1-weighted"),
    "pd": _weighted("pd", "proton density"),
    "fat_suppressed": _is(technique.fat_suppressed),
    "contrast": _is(technique.contrast),
    "sharp_kernel": _is(technique.sharp_kernel),
    "tse": _is(technique.tse),
    "weighting": _weighting,
}
