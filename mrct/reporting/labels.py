"""Names and numbers as the page prints them: methods, directions, metrics with unit and region, loss terms."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mrct.core.contracts import Direction
from mrct.metrics.hu import WIDTH_HU
from mrct.metrics.image import BOUND_SUFFIX

MINUS = "\N{MINUS SIGN}"
METHODS = {
    "sc_cyclegan": "scCycleGAN",
    "mean_ct": "mean CT",
    "intensity_map": "intensity map",
    "unet": "U-Net",
    "pix2pix": "pix2pix",
    "context_gan3d": "context-aware GAN",
    "swin_pix2pix": "Swin pix2pix",
}
DIRECTIONS = {
    Direction.MR_TO_CT: "MR \N{RIGHTWARDS ARROW} CT",
    Direction.CT_TO_MR: "CT \N{RIGHTWARDS ARROW} MR",
}
#: Unit of the validation error of each direction (mrct/training/validation.py).
VALIDATION_UNITS = {Direction.MR_TO_CT: "MAE, HU", Direction.CT_TO_MR: "MAE, grey"}
#: Kinds of loss terms; a term is named `<kind>_<modality>`.
LOSSES = {
    "adv": "adversarial",
    "pix": "pixel",
    "str": "structure",
    "cyc": "cycle",
    "idt": "identity",
    "mae": "absolute error",
    "gdl": "gradient difference",
    "ssim": "SSIM",
    "discriminator": "discriminator",
}
#: Kinds of 8-bit metrics, in the order of the page: name, unit, whether higher is better, digits.
GREY_METRICS = {
    "mae": ("MAE, 8-bit", "grey levels", False, 2),
    "psnr": ("PSNR, 8-bit", "dB", True, 2),
    "ssim": ("SSIM, 8-bit", "", True, 3),
}
GREY_COLUMN = re.compile(r"(mae|psnr|ssim)_8bit(?:_(.+))?")
BONE_COLUMN = re.compile(r"iou_bone_(.+)hu")

#: HU windows of the 8-bit metrics by name: the HU values that become grey 0 and 255.
Windows = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Metric:
    """Label of one metric column.

    `region` says where the metric is measured. `higher_is_better` is None for an unknown column. `digits` is the
    number of decimals.
    """

    column: str
    name: str
    unit: str
    region: str
    higher_is_better: bool | None
    digits: int


FIXED = {
    label.column: label
    for label in (
        Metric("mae_hu", "MAE", "HU", "head", False, 1),
        Metric("psnr_db", "PSNR", "dB", f"head, range {WIDTH_HU:g} HU", True, 2),
        Metric("ssim", "SSIM, 3D", "", "head", True, 3),
        Metric("ssim_2d", "SSIM, 2D", "", "head", True, 3),
        Metric("iou_otsu", "IoU of the foreground", "", "Otsu threshold", True, 3),
        Metric("iou_head", "IoU of the head", "", "sanity check", True, 3),
    )
}


def method_name(method: str) -> str:
    """Name a method for the page, `mean_ct` as `mean CT`; underscores of an unknown method become spaces."""
    return METHODS.get(method, method.replace("_", " "))


def is_shown(column: str) -> bool:
    """Check whether a column is a result: not a key column, and not a PSNR bound, which only checks the numbers."""
    return column not in ("direction", "patient", "k") and not column.endswith(BOUND_SUFFIX)


def metric(column: str, windows: Windows) -> Metric:
    """Return the label of a metric column; `windows` are the HU windows of the 8-bit metrics."""
    if column in FIXED:
        return FIXED[column]
    if bone := BONE_COLUMN.fullmatch(column):
        return Metric(column, "IoU of bone", "", f"CT \N{GREATER-THAN OR EQUAL TO} {bone[1]} HU", True, 3)
    if grey := GREY_COLUMN.fullmatch(column.removesuffix("_db")):
        name, unit, higher_is_better, digits = GREY_METRICS[grey[1]]
        return Metric(column, name, unit, _grey_region(grey[2] or "", windows), higher_is_better, digits)
    return Metric(column, column.replace("_", " "), "", "", None, 3)


def _grey_region(window: str, windows: Windows) -> str:
    """Name the region of an 8-bit metric: the whole slice with its air, and for CT the window."""
    region = "whole slice"
    if window in windows:
        return f"{region}, {window} window {hu_range(windows[window])}"
    return f"{region}, {window} window" if window else region


def metric_order(column: str, windows: Windows) -> tuple[int, int, float, str]:
    """Return the sort key of the page: HU and MR metrics, overlaps, 8-bit CT metrics by window, unknown columns."""
    if bone := BONE_COLUMN.fullmatch(column):
        return 1, 0, float(bone[1]), column
    if column in FIXED:
        return int(column.startswith("iou_")), 1 + list(FIXED).index(column), 0.0, column
    if grey := GREY_COLUMN.fullmatch(column.removesuffix("_db")):
        kind = float(list(GREY_METRICS).index(grey[1]))
        if grey[2] is None:
            return 0, 1 + len(FIXED), kind, column
        names = list(windows)
        return 2, names.index(grey[2]) if grey[2] in names else len(names), kind, column
    return 3, 0, 0.0, column


def curve_name(column: str) -> str:
    """Name a curve: `pix_ct` as `pixel loss, CT`, `validation_mr_to_ct` as `validation MR → CT (MAE, HU)`."""
    kind, _, rest = column.partition("_")
    if kind == "validation" and rest in DIRECTIONS:
        direction = Direction(rest)
        return f"validation {DIRECTIONS[direction]} ({VALIDATION_UNITS[direction]})"
    if kind in LOSSES and rest in ("ct", "mr"):
        return f"{LOSSES[kind]} loss, {rest.upper()}"
    return column.replace("_", " ")


def number(value: float | None, digits: int, sign: bool = False) -> str:
    """Format a number with fixed decimals and a typographic minus sign; a dash for None and NaN, ∞ for infinity."""
    if value is None or value != value:
        return "\N{EN DASH}"
    if abs(value) == float("inf"):
        return ("" if value > 0 else MINUS) + "\N{INFINITY}"
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", MINUS)


def interval(low: float | None, high: float | None, digits: int, sign: bool = False) -> str:
    """Format an interval as `55.0 to 68.1`; empty if there is none."""
    if low is None or high is None or low != low or high != high:
        return ""
    return f"{number(low, digits, sign)} to {number(high, digits, sign)}"


def hu_range(window: Sequence[float]) -> str:
    """Format a window as `−1024 to 3000 HU`."""
    return f"{number(window[0], 0)} to {number(window[1], 0)} HU"


def thousands(value: float) -> str:
    """Format `12345` as `12,345`."""
    return f"{int(value):,}"


def counted(n: int, noun: str) -> str:
    """Format a count, as in `1 test patient` and `12 test patients`."""
    return f"{thousands(n)} {noun}{'' if n == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """Join names to `a, b and c`."""
    return " and ".join([*([", ".join(names[:-1])] if len(names) > 1 else []), *names[-1:]])
