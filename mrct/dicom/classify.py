"""Is a series wanted? Ordered rules, each with a reason that a radiographer understands.

The first rule that matches names the verdict; all that match are kept, so that an empty cohort can say
which single rule, relaxed, would bring series back. Reasons quote numbers and our own vocabulary, never
a header's free text.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from mrct.dicom import kinds
from mrct.dicom.naming import named
from mrct.dicom.series import Series
from mrct.dicom.stack import GeometryError, axes, orientations
from mrct.dicom.weighting import contrast_agent, kernel_class, turbo_spin_echo, weighting

RejectRule = Literal[
    "localizer",
    "calibration",
    "derived",
    "fieldmap",
    "body_part",
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
    "contrast",
    "sharp_kernel",
    "tse",
]
REJECTABLE: tuple[str, ...] = get_args(RejectRule)
# a CT of a sharp kernel is used where there is no other
DEFAULT_REJECT = tuple(name for name in REJECTABLE if name != "sharp_kernel")
Preference = Literal[
    "soft_kernel", "nearest_date", "more_coverage", "more_slices", "finer_pixels", "first", "last"
]
DEFAULT_PREFER: tuple[str, ...] = get_args(Preference)[:-1]


@dataclass(frozen=True)
class Rules:
    """The params section `select`: what is wanted and what is refused.

    `reject` names rules of REJECTABLE. The weighting that is asked for is not refused by its own name, so
    that `weighting: t1` works beside a list that holds t1. `max_days_between` 0 means any distance.
    """

    weighting: str = "t2"
    reject: tuple[str, ...] = DEFAULT_REJECT
    prefer: tuple[str, ...] = DEFAULT_PREFER
    max_angle_deg: float = 20.0
    max_days_between: int = 0


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


def _flair(series: Series, rules: Rules) -> str:
    first = series.first
    if weighting(first) == "flair":
        return f"FLAIR: inversion time {first.ti_ms:.0f} ms suppresses CSF"
    if "FLUID ATTENUATED" in first.image_type:
        return "FLAIR by its acquisition contrast"
    found = "" if first.modality != "MR" or first.ti_ms else named(first, "flair")
    return f"FLAIR: {found}; the header holds no inversion time" if found else ""


def _weighted(kind: str, text: str) -> Rule:
    def rule(series: Series, rules: Rules) -> str:
        if weighting(series.first) != kind:
            return ""
        return f"{text} (TE {series.first.te_ms:g} ms, TR {series.first.tr_ms:g} ms)"

    return rule


def _contrast(series: Series, rules: Rules) -> str:
    found = contrast_agent(series.first)
    return f"contrast-enhanced: {found}" if found else ""


def _sharp_kernel(series: Series, rules: Rules) -> str:
    if series.modality == "CT" and kernel_class(series.first) == "sharp":
        return "reconstructed with a sharp kernel, as for bone or lung"
    return ""


def _tse(series: Series, rules: Rules) -> str:
    found = turbo_spin_echo(series.first) if series.modality == "MR" else ""
    return f"turbo or fast spin echo: {found}" if found else ""


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
    "derived": _is(kinds.derived),
    "fieldmap": _is(kinds.fieldmap),
    "geometry": _geometry,
    "rescale": _is(kinds.rescale),
    "body_part": _is(kinds.body_part),
    "sagittal": _in_plane("sagittal"),
    "coronal": _in_plane("coronal"),
    "oblique": _oblique,
    "angiography": _is(kinds.angiography),
    "swi": _is(kinds.swi),
    "perfusion": _is(kinds.perfusion),
    "dwi": _is(kinds.dwi),
    "epi": _is(kinds.epi),
    "flair": _flair,
    "t1": _weighted("t1", "T1-weighted"),
    "pd": _weighted("pd", "proton density"),
    "contrast": _contrast,
    "sharp_kernel": _sharp_kernel,
    "tse": _tse,
    "weighting": _weighting,
}
