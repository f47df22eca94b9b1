"""The paper's 8-bit convention (Jeong 2024): MAE, PSNR and SSIM of a slice on the scale 0..255.

The scale is 0..255 but the arithmetic is float: nothing is rounded and nothing wraps around. Every number is
named with the window that maps to 0..255, because a wide window and much air make small errors easy.
"""

import numpy as np
from skimage.filters import threshold_otsu

from mrct.core.errors import DataError
from mrct.metrics.hu import fill_slices
from mrct.metrics.image import (
    intersection_over_union,
    mean_absolute_error,
    peak_signal_to_noise_db,
    psnr_bound_db,
    structural_similarity_mean,
)

GREY_RANGE = 255.0
#: Share of the MR scale (0.5th to 99.5th percentile) above which a pixel belongs to the head.
MR_HEAD_THRESHOLD = 0.1


def to_grey(values: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Any unit -> float grey [0, 255], saturating outside the window."""
    low, high = window
    if not high > low:
        raise DataError(f"to_grey: window {window}, expected low < high")
    return np.clip((values.astype(np.float64) - low) / (high - low), 0.0, 1.0) * GREY_RANGE


def grey_metrics(
    synthetic: np.ndarray, real: np.ndarray, window: tuple[float, float], name: str = ""
) -> dict[str, float]:
    """(H, W) slices in one unit -> mae_8bit, psnr_8bit_db, its bound and ssim_8bit over the whole slice."""
    suffix = f"_{name}" if name else ""
    grey_synthetic, grey_real = to_grey(synthetic, window), to_grey(real, window)
    mae = mean_absolute_error(grey_synthetic, grey_real)
    return {
        f"mae_8bit{suffix}": mae,
        f"psnr_8bit{suffix}_db": peak_signal_to_noise_db(grey_synthetic, grey_real, GREY_RANGE),
        f"psnr_8bit{suffix}_bound_db": psnr_bound_db(mae, GREY_RANGE),
        f"ssim_8bit{suffix}": structural_similarity_mean(grey_synthetic, grey_real, GREY_RANGE),
    }


def mr_overlap(synthetic_mr: np.ndarray, real_mr: np.ndarray) -> dict[str, float]:
    """(D, H, W) in [0, 1] -> iou_head (filled foreground) and iou_otsu (the real image's Otsu threshold on both).

    The real image's threshold serves both, so that a synthetic image too dark or too bright is punished.
    """
    heads = [fill_slices(mr > MR_HEAD_THRESHOLD) for mr in (synthetic_mr, real_mr)]
    threshold = threshold_otsu(np.asarray(real_mr)) if np.ptp(real_mr) > 0 else 0.0
    return {
        "iou_head": intersection_over_union(heads[0], heads[1]),
        "iou_otsu": intersection_over_union(synthetic_mr > threshold, real_mr > threshold),
    }
