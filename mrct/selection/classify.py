"""The table of all rules in their order, and the verdict of the rules about a series.

The first rule that applies gives the verdict its name. The verdict keeps all rules that apply, so that the explanation
of an empty cohort can say which single rule rejects most series.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from mrct.core.runner import unexpected_reason
from mrct.dicom.series import Series
from mrct.dicom.stack import Stack
from mrct.selection import rules as check
from mrct.selection.parameters import Rules


@dataclass(frozen=True)
class Rule:
    """One reason to reject a series.

    Attributes:
        name: The name in `select.reject`, in `select.accept` and in the column `rule` of series.csv.
        meaning: What the rule rejects, in one line.
        limit: The parameter of `select` whose value 0 disables the rule; "" if there is none.
    """

    name: str
    meaning: str
    limit: str = field(default="", kw_only=True)


@dataclass(frozen=True)
class HeaderRule(Rule):
    """A rule about the headers of a series; `function` returns the reason, or ""."""

    function: Callable[[Series, Rules], str]


@dataclass(frozen=True)
class StackRule(Rule):
    """A rule about the even slices of a series that no header rule rejects; `function` returns the reason, or ""."""

    function: Callable[[Series, Stack, Rules], str]


@dataclass(frozen=True)
class Verdict:
    """The result of the rules. `rule` and `reason` are empty for a usable series; `matches` are all that apply."""

    rule: str = ""
    reason: str = ""
    matches: tuple[str, ...] = ()


#: The verdict on a series to which no rule applies.
ACCEPTED = Verdict()

# The order matters: first images that form no volume, then the body part, the CT technique, the plane, the contrast,
# and last the readout.
HEADER_RULES = (
    HeaderRule("modality", "neither CT nor MR", check.modality),
    HeaderRule("multiframe", "multi-frame file whose frames have no geometry of their own", check.multiframe),
    HeaderRule("mosaic", "many slices tiled into one image", check.mosaic),
    HeaderRule("localizer", "localizer: several orientations, or a few slices far apart", check.localizer),
    HeaderRule("calibration", "calibration, reference or quality scan", check.calibration),
    HeaderRule("timing", "timing scan of a contrast bolus", check.timing),
    HeaderRule("derived", "no original image: reformat, projection, map, subtraction", check.derived),
    HeaderRule("fieldmap", "field, phase or parameter map", check.fieldmap),
    HeaderRule("phase", "phase, or another part of the complex signal, without magnitude", check.phase),
    HeaderRule("geometry", "no usable geometry in the header, or slices that form no volume", check.geometry),
    HeaderRule("rescale", "rescale that is malformed or, for a CT, missing or not to HU", check.rescale),
    HeaderRule("body_part", "another part of the body, or only a part of the head", check.body_part),
    HeaderRule("cone_beam", "cone-beam CT, whose numbers are not HU", check.cone_beam),
    HeaderRule("low_dose", "low-dose CT, as for attenuation correction", check.low_dose),
    HeaderRule("tube_voltage", "CT below 100 kV or above 140 kV, where bone has other HU", check.tube_voltage),
    HeaderRule("sagittal", "sagittal slices by their orientation", check.sagittal),
    HeaderRule("coronal", "coronal slices by their orientation", check.coronal),
    HeaderRule("oblique", "slices tilted from axial by more than `select.max_angle_deg`", check.oblique),
    HeaderRule("angiography", "angiography", check.angiography),
    HeaderRule("swi", "susceptibility-weighted", check.swi),
    HeaderRule("perfusion", "perfusion, function: many scans of the same slices", check.perfusion),
    HeaderRule("dwi", "diffusion imaging, b = 0 included", check.dwi),
    HeaderRule("epi", "echo planar imaging", check.epi),
    HeaderRule("flair", "FLAIR: an inversion time that suppresses CSF, or a name that says so", check.flair),
    HeaderRule("t1", "T1-weighted by its times", check.t1),
    HeaderRule("pd", "proton-density-weighted by its times", check.pd),
    HeaderRule("fat_suppressed", "fat-suppressed, STIR included", check.fat_suppressed),
    HeaderRule("contrast", "contrast-enhanced, CT or MR", check.contrast),
    HeaderRule("sharp_kernel", "CT reconstructed with a sharp kernel, as for bone or lung", check.sharp_kernel),
    HeaderRule("tse", "turbo or fast spin echo", check.tse),
    HeaderRule("weighting", "another weighting than `select.weighting`, or an unknown one", check.other_weighting),
)  # fmt: skip
STACK_RULES = (
    StackRule("uneven", "less than four fifths of the slices form an even stack", check.uneven),
    StackRule("coverage", "less height than `select.min_coverage_mm`", check.coverage, limit="min_coverage_mm"),
    StackRule("field_of_view", "a field smaller than `select.min_field_mm`", check.field_of_view, limit="min_field_mm"),
    StackRule("spacing", "slices further apart than `select.max_spacing_mm`", check.spacing, limit="max_spacing_mm"),
)  # fmt: skip
PIXELS = Rule("pixels", "pixels that cannot be decoded, or are not finite")
HOUNSFIELD = Rule(
    "hounsfield", "CT whose values are not HU of a head: no air around it, no soft tissue, one value"
)
SIGNAL = Rule("signal", "MR whose values are HU of a CT, or one value")
FAILED = Rule("failed", "the program failed on the series: a defect to report")
NOT_CHOSEN = Rule("not_chosen", "usable, but `select.prefer` chose another series of the patient")
UNREADABLE = Rule("unreadable", "a volume file that cannot be read, in a source of volumes")
#: All rules, in the order in which they are applied.
RULES: tuple[Rule, ...] = (
    *HEADER_RULES, *STACK_RULES, PIXELS, HOUNSFIELD, SIGNAL, FAILED, NOT_CHOSEN, UNREADABLE,
)  # fmt: skip
BY_NAME = {rule.name: rule for rule in RULES}


def classify(series: Series, rules: Rules) -> Verdict:
    """Apply the rules about headers.

    Args:
        series: A series with at least one image.
        rules: The parameters of the selection.

    Returns:
        The verdict; its `rule` is empty if no rule applies.
    """
    active = [rule for rule in HEADER_RULES if rules.holds(rule.name)]
    reasons = {rule.name: reason for rule in active if (reason := rule.function(series, rules))}
    first = next(iter(reasons), "")
    return Verdict(first, reasons.get(first, ""), tuple(reasons))


def classify_stack(series: Series, stack: Stack, rules: Rules) -> Verdict:
    """Apply the rules about the stack of a series, up to the first that applies."""
    for rule in STACK_RULES:
        if rules.holds(rule.name) and (reason := rule.function(series, stack, rules)):
            return rejected(rule, reason)
    return ACCEPTED


def rejected(rule: Rule, reason: str) -> Verdict:
    """Return the verdict of a single rule."""
    return Verdict(rule.name, reason, (rule.name,))


def failed(error: Exception) -> Verdict:
    """Return the verdict of a series on which the program failed; its reason holds nothing that a file says.

    Raises:
        RunError: The error is not about the series.
    """
    return rejected(FAILED, unexpected_reason(error))
