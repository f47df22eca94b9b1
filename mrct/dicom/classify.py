"""Is a series wanted? Ordered rules, each with a reason that a radiographer understands.

The first rule that matches names the verdict; all that match are kept, so that an empty cohort can say
which single rule, relaxed, would bring series back. Reasons quote numbers and our own vocabulary, never
a header's free text.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mrct.dicom import weighting as kinds
from mrct.dicom.series import Series
from mrct.dicom.stack import MAIN_SHARE, GeometryError, axes, orientations

REJECTABLE = (
    "coronal",
    "sagittal",
    "oblique",
    "localizer",
    "derived",
    "tse",
    "flair",
    "t1",
    "pd",
    "dwi",
    "contrast",
)

_DERIVED_TYPES = {
    "DERIVED": "derived",
    "SECONDARY": "secondary",
    "MPR": "a reformat (MPR)",
    "REFORMATTED": "a reformat",
    "MIP": "a projection (MIP)",
    "MINIP": "a projection (MinIP)",
    "MNIP": "a projection (MinIP)",
    "PROJECTION IMAGE": "a projection",
    "ADC": "an ADC map",
    "FA": "an anisotropy map",
    "TRACEW": "a trace image",
    "PHASE MAP": "a phase map",
    "SUBTRACT": "a subtraction",
    "SCREEN SAVE": "a screen shot",
}
# classic CT and MR image storage (PS3.4 B.5); conversions of them to multi-frame are refused by a rule
CLASSIC_CLASSES = {"1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"}
ENHANCED_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT Image Storage
    "1.2.840.10008.5.1.4.1.1.2.2",  # Legacy Converted Enhanced CT
    "1.2.840.10008.5.1.4.1.1.4.1",  # Enhanced MR Image Storage
    "1.2.840.10008.5.1.4.1.1.4.3",  # Enhanced MR Color
    "1.2.840.10008.5.1.4.1.1.4.4",  # Legacy Converted Enhanced MR
}


@dataclass(frozen=True)
class Rules:
    """The params section `select`: what is wanted and what is refused.

    `reject` names rules of REJECTABLE. The weighting that is asked for is not refused by its own name, so
    that `weighting: t1` works beside a list that holds t1. `max_days_between` 0 means any distance.
    """

    weighting: str = "t2"
    reject: tuple[str, ...] = REJECTABLE
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


def _multiframe(series: Series, rules: Rules) -> str:
    if series.first.sop_class_uid in ENHANCED_CLASSES or series.first.frames > 1:
        return "enhanced multi-frame file; export the series as classic single-frame images"
    return ""


def _mosaic(series: Series, rules: Rules) -> str:
    return "mosaic: many slices tiled into one image" if "MOSAIC" in series.first.image_type else ""


def _geometry(series: Series, rules: Rules) -> str:
    if plane(series)[0] == "unknown":
        return "no usable image position, orientation and pixel spacing in the header"
    return ""


def _rescale(series: Series, rules: Rules) -> str:
    if series.modality != "CT" or all(instance.has_rescale for instance in series.instances):
        return ""
    return "CT without rescale slope and intercept: its numbers are not HU"


def _localizer(series: Series, rules: Rules) -> str:
    labelled = sum(bool({"LOCALIZER", "SCOUT"} & set(item.image_type)) for item in series.instances)
    if labelled > (1 - MAIN_SHARE) * len(series.instances):
        return "localizer by its image type"
    groups = orientations(series)
    if len(groups) > 1 and len(groups[0]) < MAIN_SHARE * len(series.instances) and _turned(groups):
        return f"localizer: {len(groups)} orientations in one series"
    return ""


def _turned(groups: list) -> bool:
    return len({group[0].orientation for group in groups}) > 1


def _derived(series: Series, rules: Rules) -> str:
    found = next((text for word, text in _DERIVED_TYPES.items() if word in series.first.image_type), "")
    return f"not an original image: {found} by its image type" if found else ""


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


def _dwi(series: Series, rules: Rules) -> str:
    if series.modality == "MR" and kinds.is_diffusion_or_epi(series.first):
        return "diffusion or echo planar imaging, by its sequence"
    return ""


def _flair(series: Series, rules: Rules) -> str:
    first = series.first
    if kinds.weighting(first) == "flair":
        return f"FLAIR: inversion time {first.ti_ms:.0f} ms suppresses CSF"
    if first.modality == "MR" and not first.ti_ms and kinds.is_named_flair(first):
        return "FLAIR by its name; the header holds no inversion time"
    return ""


def _weighted(kind: str, text: str) -> Rule:
    def rule(series: Series, rules: Rules) -> str:
        if kinds.weighting(series.first) != kind:
            return ""
        return f"{text} (TE {series.first.te_ms:g} ms, TR {series.first.tr_ms:g} ms)"

    return rule


def _contrast(series: Series, rules: Rules) -> str:
    found = kinds.contrast_agent(series.first)
    return f"contrast-enhanced: {found}" if found else ""


def _tse(series: Series, rules: Rules) -> str:
    found = kinds.turbo_spin_echo(series.first) if series.modality == "MR" else ""
    return f"turbo or fast spin echo: {found}" if found else ""


def _weighting(series: Series, rules: Rules) -> str:
    got = kinds.weighting(series.first)
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
    "multiframe": _multiframe,
    "mosaic": _mosaic,
    "localizer": _localizer,
    "derived": _derived,
    "geometry": _geometry,
    "rescale": _rescale,
    "sagittal": _in_plane("sagittal"),
    "coronal": _in_plane("coronal"),
    "oblique": _oblique,
    "dwi": _dwi,
    "flair": _flair,
    "t1": _weighted("t1", "T1-weighted"),
    "pd": _weighted("pd", "proton density"),
    "contrast": _contrast,
    "tse": _tse,
    "weighting": _weighting,
}
