"""What a series is instead of a plain stack of slices: each function gives the reason, or "".

Geometry decides where it can, then the tags of the acquisition, and last the names (mrct/selection/naming).
"""

from collections import Counter
from collections.abc import Callable

import numpy as np

from mrct.dicom.scans import TIME_POINTS
from mrct.dicom.series import Instance, Series
from mrct.dicom.stack import MAIN_SHARE, SAME_LEVEL_MM, GeometryError, axes, orientations
from mrct.selection.naming import named, other_body_part
from mrct.selection.weighting import diffusion, echo_planar

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
# a localizer's few slices lie far apart; no diagnostic series of a head does
_LOCALIZER_SLICES = 9
_LOCALIZER_GAP_MM = 15.0
# slices of a CT are reconstructed, of an MR interpolated, to overlap by half or two thirds; sliding slabs by more
_SLAB_OVERLAP = 4.0


def mosaic(series: Series) -> str:
    return "mosaic: many slices tiled into one image" if _typed(series, {"MOSAIC"}) else ""


def multiframe(series: Series) -> str:
    if series.first.frames > 1 and series.first.frame is None:
        return "multi-frame file whose frames have no own geometry; export single-frame or enhanced images"
    return ""


def rescale(series: Series) -> str:
    if series.modality != "CT" or all(instance.has_rescale for instance in series.instances):
        return ""
    return "CT without rescale slope and intercept: its numbers are not HU"


def localizer(series: Series) -> str:
    if _typed(series, {"LOCALIZER", "SCOUT"}):
        return "localizer by its image type"
    groups = orientations(series)
    turned = len({group[0].orientation for group in groups}) > 1
    if turned and len(groups[0]) < MAIN_SHARE * len(series.instances):
        return f"localizer: {len(groups)} orientations in one series"
    gap_mm, count = slice_gap_mm(series), len(series.instances)
    if gap_mm >= _LOCALIZER_GAP_MM and count <= _LOCALIZER_SLICES:
        return f"localizer: {count} slices {gap_mm:.0f} mm apart"
    return _by_name("localizer", series, "localizer")


def calibration(series: Series) -> str:
    return _by_name("calibration, reference or quality scan", series, "calibration")


def derived(series: Series) -> str:
    found = next((text for word, text in _DERIVED_TYPES.items() if _typed(series, {word})), "")
    if found:
        return f"not an original image: {found} by its image type"
    if series.first.from_images:
        return "not an original image: its header names the images it was computed from"
    gap_mm, thickness_mm = slice_gap_mm(series), _thickness_mm(series)
    if gap_mm and thickness_mm >= _SLAB_OVERLAP * gap_mm:
        return (
            f"not an original image: slabs of {thickness_mm:g} mm every {gap_mm:.3g} mm, as projections are"
        )
    return _by_name("not an original image", series, "derived")


def timing(series: Series) -> str:
    return _by_name("timing scan of a contrast bolus", series, "timing")


def fieldmap(series: Series) -> str:
    if _typed(series, _FIELD_MAP_TYPES):
        return "field map by its image type"
    return _by_name("field, phase or parameter map", series, "fieldmap")


def phase(series: Series) -> str:
    if series.modality == "MR" and _share(series, _is_no_magnitude):
        return "phase or a part of the complex signal, no magnitude, by its image type"
    return ""


def _is_no_magnitude(instance: Instance) -> bool:
    words = set(instance.image_type[2:])
    return bool(words & _NO_MAGNITUDE) and not words & {"M", "MAGNITUDE"}


def body_part(series: Series) -> str:
    return other_body_part(series.first)


def angiography(series: Series) -> str:
    if series.first.angiography:
        return "angiography by its tag"
    if _typed(series, _ANGIOGRAPHY_TYPES):
        return "angiography by its image type"
    return _by_name("angiography", series, "angiography")


def swi(series: Series) -> str:
    if _typed(series, _SWI_TYPES):
        return "susceptibility weighted by its image type"
    return _by_name("susceptibility weighted", series, "swi")


def perfusion(series: Series) -> str:
    """Perfusion and function: many scans of the same slices."""
    if series.first.time_points > 1:
        return f"time series: {series.first.time_points} time points"
    visits = Counter(item.position for item in series.instances if item.position is not None)
    scans = sorted(visits.values())[len(visits) // 2] if visits else 1
    if scans >= TIME_POINTS:
        return f"time series: every slice was imaged {scans} times"
    if _typed(series, _PERFUSION_TYPES):
        return "perfusion or function by its image type"
    return _by_name("perfusion or function", series, "perfusion")


def dwi(series: Series) -> str:
    found = diffusion(series.first)
    return f"diffusion imaging: {found}" if found else ""


def epi(series: Series) -> str:
    found = echo_planar(series.first)
    return f"echo planar imaging: {found}" if found else ""


def slice_gap_mm(series: Series) -> float:
    """Median distance between neighboring slices of the main orientation; 0 if there is none."""
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
    """Median over the slices that tell theirs: a series may be thin at the skull base and thick above."""
    known = [item.thickness_mm for item in series.instances if item.thickness_mm]
    return float(np.median(known)) if known else 0.0


def _by_name(what: str, series: Series, kind: str) -> str:
    found = named(series.first, kind)
    return f"{what}: {found}" if found else ""


def _typed(series: Series, words: set[str]) -> bool:
    return _share(series, lambda item: bool(words & set(item.image_type)))


def _share(series: Series, holds: Callable[[Instance], bool]) -> bool:
    """True if it holds for more slices than may be strays."""
    return sum(map(holds, series.instances)) > (1 - MAIN_SHARE) * len(series.instances)
