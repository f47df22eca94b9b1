"""Names that people read: methods, directions, metric columns with unit and region, loss terms."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

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
DIRECTIONS = {"mr_to_ct": "MR \N{RIGHTWARDS ARROW} CT", "ct_to_mr": "CT \N{RIGHTWARDS ARROW} MR"}

Windows = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Metric:
    """One metric column as people read it; `higher_is_better` is None where we do not know the column."""

    column: str
    name: str
    unit: str
    region: str
    higher_is_better: bool | None
    digits: int


def method_name(method: str) -> str:
    """`mean_ct` -> `mean CT`; an unknown method with spaces for underscores."""
    return METHODS.get(method, method.replace("_", " "))


def is_shown(column: str) -> bool:
    """False for identities and for the PSNR bounds, which are a check on the numbers and no result."""
    return column not in ("direction", "patient", "k") and not column.endswith("_bound_db")


def metric(column: str, windows: Windows) -> Metric:
    """The column's label; `windows` are the HU windows of the 8-bit metrics."""
    fixed = {
        "mae_hu": ("MAE", "HU", "head", False, 1),
        "psnr_db": ("PSNR", "dB", "head, range 4024 HU", True, 2),
        "ssim": ("SSIM, 3D", "", "head", True, 3),
        "ssim_2d": ("SSIM, 2D", "", "head", True, 3),
        "iou_head": ("IoU of the head", "", "sanity check", True, 3),
        "iou_otsu": ("IoU of the foreground", "", "Otsu threshold", True, 3),
    }
    if column in fixed:
        return Metric(column, *fixed[column])
    if bone := re.fullmatch(r"iou_bone_(.+)hu", column):
        return Metric(column, "IoU of bone", "", f"CT \N{GREATER-THAN OR EQUAL TO} {bone[1]} HU", True, 3)
    if grey := re.fullmatch(r"(mae|psnr|ssim)_8bit(?:_(.+))?", column.removesuffix("_db")):
        return _grey_metric(column, grey[1], grey[2] or "", windows)
    return Metric(column, column.replace("_", " "), "", "", None, 3)


def _grey_metric(column: str, kind: str, window: str, windows: Windows) -> Metric:
    """The paper's metrics: scale 0 to 255, the whole slice with its air, and which HU become 0 and 255."""
    region = "whole slice"
    if window in windows:
        low, high = windows[window]
        region += f", {window} window {number(low, 0)} to {number(high, 0)} HU"
    elif window:
        region += f", {window} window"
    name = {"mae": "MAE, 8-bit", "psnr": "PSNR, 8-bit", "ssim": "SSIM, 8-bit"}[kind]
    unit = {"mae": "grey levels", "psnr": "dB", "ssim": ""}[kind]
    return Metric(column, name, unit, region, kind != "mae", 3 if kind == "ssim" else 2)


def metric_order(column: str, windows: Windows) -> tuple[int, int, float, str]:
    """Sort key: HU and MR metrics, overlaps, the paper's CT metrics window by window, then the unknown."""
    first = ("mae_hu", "psnr_db", "ssim", "ssim_2d")
    if column in first:
        return 0, first.index(column), 0.0, column
    if bone := re.fullmatch(r"iou_bone_(.+)hu", column):
        return 1, 0, float(bone[1]), column
    if column.startswith("iou_"):
        return 1, 1 if column != "iou_head" else 2, 0.0, column
    if grey := re.fullmatch(r"(mae|psnr|ssim)_8bit(?:_(.+))?", column.removesuffix("_db")):
        kind = float(("mae", "psnr", "ssim").index(grey[1]))
        if grey[2] is None:
            return 0, len(first), kind, column
        names = list(windows)
        place = names.index(grey[2]) if grey[2] in names else len(names)
        return 2, place, kind, column
    return 3, 0, 0.0, column


def curve_name(column: str) -> str:
    """`pix_ct` -> `pixel loss, CT`; `validation_mr_to_ct` -> `validation MR → CT (MAE, HU)`."""
    units = {"mr_to_ct": "MAE, HU", "ct_to_mr": "MAE, grey"}
    kind, _, rest = column.partition("_")
    if kind == "validation" and rest in DIRECTIONS:
        return f"validation {DIRECTIONS[rest]} ({units[rest]})"
    kinds = {
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
    if kind in kinds and rest in ("ct", "mr"):
        return f"{kinds[kind]} loss, {rest.upper()}"
    return column.replace("_", " ")


def number(value: float | None, digits: int, sign: bool = False) -> str:
    """Fixed digits and a real minus sign; a dash for None and NaN, the infinity sign for infinity."""
    if value is None or value != value:
        return "\N{EN DASH}"
    if abs(value) == float("inf"):
        return ("" if value > 0 else MINUS) + "\N{INFINITY}"
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", MINUS)


def interval(low: float | None, high: float | None, digits: int, sign: bool = False) -> str:
    """`55.0 to 68.1`; empty where there is no interval."""
    if low is None or high is None or low != low or high != high:
        return ""
    return f"{number(low, digits, sign)} to {number(high, digits, sign)}"
