"""One function per rule that can reject a series.

A function gets the series and the parameters of the selection; a rule of the stack also gets the even slices of the
series. It returns the reason, or "" if the rule does not apply. It asks the header of every image, and applies if more
of them than may be strays (1 - MAIN_SHARE) say so. It checks the geometry first, then the attributes of the
acquisition, and the names last (mrct/selection/acquisition.py). Reasons quote numbers and words of this program, never
the free text of a header.

`mrct.selection.classify.RULES` lists the rules in their order and says what each of them rejects. A new rule needs a
function here, its name in `RejectRule` (mrct/selection/parameters.py), a row in HEADER_RULES or STACK_RULES, its words
in series_words.txt and in mrct/leaks/vocabulary.txt, and a case in tests/selection/vendor_headers.csv.
"""

from collections import Counter
from collections.abc import Callable

import numpy as np

from mrct.dicom.errors import GeometryError
from mrct.dicom.even_slices import MAIN_SHARE
from mrct.dicom.series import TIME_POINTS, Instance, Series
from mrct.dicom.stack import SAME_LEVEL_MM, Stack, axes, orientations, plane
from mrct.selection.acquisition import (
    contrast_agent,
    diffusion,
    echo_planar,
    fluid_attenuated,
    kernel_class,
    named,
    named_device,
    other_body_part,
    turbo_spin_echo,
    weighting,
    without_fat,
)
from mrct.selection.parameters import Rules

# words of ImageType (PS3.3 C.7.6.1.1.2)
_DERIVED_TYPES = {
    "DERIVED": "derived",
    "SECONDARY": "secondary",
    "MPR": "a reformat (MPR)",
    "REFORMATTED": "a reformat",
    "MIP": "a projection (MIP)",
    "MAXIP": "a projection (MIP)",
    "MINIP": "a projection (MinIP)",
    "MNIP": "a projection (MinIP)",
    "PROJECTION IMAGE": "a projection",
    "ADC": "an ADC map",
    "FA": "an anisotropy map",
    "PHASE MAP": "a phase map",
    "T1MAP": "a T1 map",
    "T2MAP": "a T2 map",
    "SUBTRACT": "a subtraction",
    "SUBTRACTION": "a subtraction",
    "VRT": "a volume rendering",
    "SCREEN SAVE": "a screen shot",
}
_NO_MAGNITUDE = {"P", "PHASE", "R", "REAL", "I", "IMAGINARY", "VELOCITY"}
_FIELD_MAP_TYPES = {"B0 MAP", "B1 MAP", "FIELD MAP"}
_PERFUSION_TYPES = {"PERFUSION", "ASL", "CBF", "CBV", "RCBF", "RCBV", "MTT", "TTP", "FMRI", "TMAX"}
_ANGIOGRAPHY_TYPES = {"ANGIO", "TOF", "TIME OF FLIGHT", "FLOW ENCODED", "PHASE CONTRAST"}
_SWI_TYPES = {"SWI", "SUSCEPTIBILITY", "MSUM"}
_GEOMETRY: dict[str, Callable[[Instance], object]] = {
    "image position": lambda item: item.position,
    "image orientation": lambda item: item.orientation,
    "pixel spacing": lambda item: item.pixel_spacing_mm,
}
# a localizer has few slices far apart; a diagnostic series of a head has not
_LOCALIZER_SLICES = 9
_LOCALIZER_GAP_MM = 15.0
# slices that are reconstructed (CT) or interpolated (MR) overlap by half or two thirds, sliding slabs by more
_SLAB_OVERLAP = 4.0
# the range of head protocols of adults; the lower the voltage, the higher the HU of bone
_TUBE_KV = (100.0, 140.0)


# --- images that form no volume ---------------------------------------------------------------


def modality(series: Series, rules: Rules) -> str:
    return "" if series.modality in ("CT", "MR") else "neither CT nor MR"


def multiframe(series: Series, rules: Rules) -> str:
    if any(image.frames > 1 and image.frame is None for image in series.instances):
        return "multi-frame file whose frames have no own geometry; export single-frame or enhanced images"
    return ""


def mosaic(series: Series, rules: Rules) -> str:
    return "mosaic: many slices tiled into one image" if _typed(series, {"MOSAIC"}) else ""


def localizer(series: Series, rules: Rules) -> str:
    if _typed(series, {"LOCALIZER", "SCOUT"}):
        return "localizer by its image type"
    groups = orientations(series)
    turned = len({group[0].orientation for group in groups}) > 1
    if turned and len(groups[0]) < MAIN_SHARE * len(series.instances):
        return f"localizer: {len(groups)} orientations in one series"
    gap_mm, count = _slice_gap_mm(series), len(series.instances)
    if gap_mm >= _LOCALIZER_GAP_MM and count <= _LOCALIZER_SLICES:
        return f"localizer: {count} slices {gap_mm:.0f} mm apart"
    return _by_name("localizer", series, "localizer")


def calibration(series: Series, rules: Rules) -> str:
    return _by_name("calibration, reference or quality scan", series, "calibration")


def timing(series: Series, rules: Rules) -> str:
    return _by_name("timing scan of a contrast bolus", series, "timing")


def derived(series: Series, rules: Rules) -> str:
    found = next((text for word, text in _DERIVED_TYPES.items() if _typed(series, {word})), "")
    if found:
        return f"not an original image: {found} by its image type"
    if _share(series, lambda image: image.from_images):
        return "not an original image: its header names the images it was computed from"
    gap_mm, thickness_mm = _slice_gap_mm(series), _thickness_mm(series)
    if gap_mm and thickness_mm >= _SLAB_OVERLAP * gap_mm:
        slabs = f"slabs of {thickness_mm:g} mm every {gap_mm:.3g} mm"
        return f"not an original image: {slabs}, as projections are"
    return _by_name("not an original image", series, "derived")


def fieldmap(series: Series, rules: Rules) -> str:
    if _typed(series, _FIELD_MAP_TYPES):
        return "field map by its image type"
    return _by_name("field, phase or parameter map", series, "fieldmap")


def phase(series: Series, rules: Rules) -> str:
    if series.modality == "MR" and _share(series, _is_no_magnitude):
        return "phase or a part of the complex signal, no magnitude, by its image type"
    return ""


def _is_no_magnitude(instance: Instance) -> bool:
    words = set(instance.image_type[2:])
    return bool(words & _NO_MAGNITUDE) and not words & {"M", "MAGNITUDE"}


def geometry(series: Series, rules: Rules) -> str:
    if plane(series)[0] != "unknown":
        return ""
    if orientations(series):
        return "its image orientation is no pair of perpendicular unit vectors"
    lacking = [name for name, get in _GEOMETRY.items() if all(get(item) is None for item in series.instances)]
    return f"no usable {' and '.join(lacking or _GEOMETRY)} in the header: absent, empty or no numbers"


# --- body part, and CT technique ----------------------------------------------------------


def rescale(series: Series, rules: Rules) -> str:
    """Reject a series unless the header of every slice says how to turn stored values into HU, or into one signal."""
    total = len(series.instances)
    faults = Counter(item.rescale_fault for item in series.instances if item.rescale_fault)
    if faults:
        fault, count = faults.most_common(1)[0]
        return fault if count == total else f"{count} of {total} slices: {fault}"
    if series.modality == "CT" and _share(series, lambda image: image.undefined_unit):
        return "its rescale type is no defined term: it may not be HU"
    told = sum(item.has_rescale for item in series.instances)
    if told == total or (series.modality != "CT" and told == 0):
        return ""
    return f"a rescale slope in only {told} of {total} slices"


def body_part(series: Series, rules: Rules) -> str:
    return _evidence(series, other_body_part)


def cone_beam(series: Series, rules: Rules) -> str:
    found = (
        _evidence(series, lambda image: named_device(image, "cone_beam")) if series.modality == "CT" else ""
    )
    return f"cone-beam CT, whose numbers are no HU: {found}" if found else ""


def low_dose(series: Series, rules: Rules) -> str:
    found = _evidence(series, lambda image: named(image, "low_dose")) if series.modality == "CT" else ""
    return f"low-dose CT, as for attenuation correction: {found}" if found else ""


def tube_voltage(series: Series, rules: Rules) -> str:
    return _evidence(series, _other_voltage) if series.modality == "CT" else ""


def _other_voltage(image: Instance) -> str:
    kv = image.tube_kv
    if not kv or _TUBE_KV[0] <= kv <= _TUBE_KV[1]:
        return ""
    return f"taken at {kv:g} kV: bone has other HU than at 120 kV"


# --- plane --------------------------------------------------------------------------------


def sagittal(series: Series, rules: Rules) -> str:
    return _in_plane(series, "sagittal")


def coronal(series: Series, rules: Rules) -> str:
    return _in_plane(series, "coronal")


def oblique(series: Series, rules: Rules) -> str:
    name, angle = plane(series)
    if name != "axial" or angle is None or angle <= rules.max_angle_deg:
        return ""
    return f"oblique: {angle:.1f}° from axial, more than select.max_angle_deg = {rules.max_angle_deg:g}"


def _in_plane(series: Series, unwanted: str) -> str:
    name, angle = plane(series)
    return f"{unwanted} slices, {angle:.0f}° from axial by their orientation" if name == unwanted else ""


# --- contrast and readout -----------------------------------------------------------------


def angiography(series: Series, rules: Rules) -> str:
    if _share(series, lambda image: image.angiography):
        return "angiography by its tag"
    if _typed(series, _ANGIOGRAPHY_TYPES):
        return "angiography by its image type"
    return _by_name("angiography", series, "angiography")


def swi(series: Series, rules: Rules) -> str:
    if _typed(series, _SWI_TYPES):
        return "susceptibility weighted by its image type"
    return _by_name("susceptibility weighted", series, "swi")


def perfusion(series: Series, rules: Rules) -> str:
    points = max(image.time_points for image in series.instances)
    if points > 1:
        return f"time series: {points} time points"
    visits = Counter(item.position for item in series.instances if item.position is not None)
    scans = sorted(visits.values())[len(visits) // 2] if visits else 1
    if scans >= TIME_POINTS:
        return f"time series: every slice was imaged {scans} times"
    if _typed(series, _PERFUSION_TYPES):
        return "perfusion or function by its image type"
    return _by_name("perfusion or function", series, "perfusion")


def dwi(series: Series, rules: Rules) -> str:
    found = _evidence(series, diffusion)
    return f"diffusion imaging: {found}" if found else ""


def epi(series: Series, rules: Rules) -> str:
    found = _evidence(series, echo_planar)
    return f"echo planar imaging: {found}" if found else ""


def flair(series: Series, rules: Rules) -> str:
    return _evidence(series, fluid_attenuated)


def t1(series: Series, rules: Rules) -> str:
    return _weighted(series, "t1", "T1-weighted")


def pd(series: Series, rules: Rules) -> str:
    return _weighted(series, "pd", "proton density")


def _weighted(series: Series, unwanted: str, words: str) -> str:
    def found(image: Instance) -> str:
        if weighting(image) != unwanted:
            return ""
        return f"{words} (TE {image.te_ms:g} ms, TR {image.tr_ms:g} ms)"

    return _evidence(series, found)


def fat_suppressed(series: Series, rules: Rules) -> str:
    return _evidence(series, without_fat) if series.modality == "MR" else ""


def contrast(series: Series, rules: Rules) -> str:
    found = _evidence(series, contrast_agent)
    return f"contrast-enhanced: {found}" if found else ""


def sharp_kernel(series: Series, rules: Rules) -> str:
    return _evidence(series, _sharp) if series.modality == "CT" else ""


def _sharp(image: Instance) -> str:
    kind = kernel_class(image)
    if kind == "sharp":
        return "reconstructed with a sharp kernel, as for bone or lung"
    found = named(image, "bone_kernel") if kind == "unknown" else ""
    return f"reconstructed for bone: {found}; the header tells no kernel" if found else ""


def tse(series: Series, rules: Rules) -> str:
    found = _evidence(series, turbo_spin_echo) if series.modality == "MR" else ""
    return f"turbo or fast spin echo: {found}" if found else ""


def other_weighting(series: Series, rules: Rules) -> str:
    wanted = rules.weighting
    if series.modality != "MR" or wanted == "any":
        return ""

    def found(image: Instance) -> str:
        got = weighting(image)
        if got == wanted:
            return ""
        if got == "unknown":
            missing = "the header's echo, repetition and inversion times do not tell it"
            return f"weighting unknown, {wanted.upper()} wanted: {missing}"
        return f"{got} by its times, {wanted.upper()} wanted (select.weighting)"

    return _evidence(series, found)


# --- the stack: its extent and its resolution -----------------------------


def uneven(series: Series, stack: Stack, rules: Rules) -> str:
    """Reject a series of which too few slices form one stack; missing ones do not count, their rest is used."""
    places = {item.position for item in orientations(series)[0]}
    used = len(stack.instances)
    if used >= MAIN_SHARE * len(places):
        return ""
    return f"only {used} of {len(places)} slices form an even stack"


def coverage(series: Series, stack: Stack, rules: Rules) -> str:
    if stack.height_mm >= rules.min_coverage_mm:
        return ""
    limit = f"less than select.min_coverage_mm = {rules.min_coverage_mm:g}"
    return f"its even slices cover {stack.height_mm:.0f} mm of the head, {limit}"


def field_of_view(series: Series, stack: Stack, rules: Rules) -> str:
    """Reject a series whose field of view, the longer side of a slice, is too small."""
    first = stack.instances[0]
    rows_mm, columns_mm = first.pixel_spacing_mm or (0.0, 0.0)
    return small_field(max(first.rows * rows_mm, first.columns * columns_mm), rules)


def small_field(field_mm: float, rules: Rules) -> str:
    """Return why a field of view, the longer side of a slice, is too small, or ""."""
    if field_mm >= rules.min_field_mm:
        return ""
    limit = f"less than select.min_field_mm = {rules.min_field_mm:g}"
    return f"a field of view of {field_mm:.0f} mm cuts the head, {limit}"


def spacing(series: Series, stack: Stack, rules: Rules) -> str:
    if not rules.max_spacing_mm or stack.slice_spacing_mm <= rules.max_spacing_mm:
        return ""
    limit = f"more than select.max_spacing_mm = {rules.max_spacing_mm:g}"
    return f"slices {stack.slice_spacing_mm:.3g} mm apart, {limit}"


# --- shared functions -------------------------------------------------------------


def _slice_gap_mm(series: Series) -> float:
    """Return the median distance between adjacent slices of the main orientation, 0 if there is none."""
    groups = orientations(series)
    if not groups:
        return 0.0
    try:
        normal = axes(groups[0][0].orientation or ())[2]
    except GeometryError:
        return 0.0
    gaps = np.diff(np.sort([float(np.dot(item.position or (), normal)) for item in groups[0]]))
    gaps = gaps[gaps > SAME_LEVEL_MM]
    return float(np.median(gaps)) if len(gaps) else 0.0


def _thickness_mm(series: Series) -> float:
    """Return the median of the known slice thicknesses: a series may be thin at the skull base and thick above it."""
    known = [item.thickness_mm for item in series.instances if item.thickness_mm]
    return float(np.median(known)) if known else 0.0


def _by_name(what: str, series: Series, kind: str) -> str:
    found = _evidence(series, lambda image: named(image, kind))
    return f"{what}: {found}" if found else ""


def _typed(series: Series, words: set[str]) -> bool:
    return _share(series, lambda item: bool(words & set(item.image_type)))


def _evidence(series: Series, find: Callable[[Instance], str]) -> str:
    """Return the most common finding if `find` finds something in more images than may be strays, else ""."""
    found = Counter(filter(None, map(find, series.instances)))
    if found.total() <= (1 - MAIN_SHARE) * len(series.instances):
        return ""
    return min(found, key=lambda text: (-found[text], text))


def _share(series: Series, holds: Callable[[Instance], bool]) -> bool:
    """Return whether the condition holds for more images than may be strays."""
    return bool(_evidence(series, lambda image: "yes" if holds(image) else ""))
