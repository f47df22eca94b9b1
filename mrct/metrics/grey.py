"""8-bit metrics of the paper (Jeong 2024): MAE, PSNR and SSIM of a slice on the scale 0 to 255.

The arithmetic is float, without rounding. The name of each metric states the window that maps to 0 to 255, because a
wide window and much air around the head make the errors small.
"""

import numpy as np
from skimage.filters import threshold_otsu

from mrct.core.errors import DataError
from mrct.metrics.hu import fill_slices
from mrct.metrics.image import (
    BOUND_SUFFIX,
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
    """Map a window of values to float grey [0, 255]; values outside the window saturate."""
    low, high = window
    if not high > low:
        raise DataError(f"to_grey: got the window {window}, expected low < high")
    return np.clip((values.astype(np.float64) - low) / (high - low), 0.0, 1.0) * GREY_RANGE


def grey_metrics(
    synthetic: np.ndarray, real: np.ndarray, window: tuple[float, float], name: str = ""
) -> dict[str, float]:
    """Compute the 8-bit metrics of one slice over all of its pixels.

    Args:
        synthetic: Synthetic slice (H, W).
        real: Real slice (H, W) in the same unit.
        window: The values that become 0 and 255.
        name: Name of the window, which becomes part of each metric's name; may be empty.

    Returns:
        `mae_8bit`, `psnr_8bit_db` with its bound, and `ssim_8bit`.
    """
    suffix = f"_{name}" if name else ""
    grey_synthetic, grey_real = to_grey(synthetic, window), to_grey(real, window)
    mae = mean_absolute_error(grey_synthetic, grey_real)
    return {
        f"mae_8bit{suffix}": mae,
        f"psnr_8bit{suffix}_db": peak_signal_to_noise_db(grey_synthetic, grey_real, GREY_RANGE),
        f"psnr_8bit{suffix}{BOUND_SUFFIX}": psnr_bound_db(mae, GREY_RANGE),
        f"ssim_8bit{suffix}": structural_similarity_mean(grey_synthetic, grey_real, GREY_RANGE),
    }


def mr_overlap(synthetic_mr: np.ndarray, real_mr: np.ndarray) -> dict[str, float]:
    """Compute the overlap of the foreground of two MR volumes (D, H, W) in [0, 1].

    `iou_head` compares the heads with holes filled. `iou_otsu` compares the voxels above the Otsu threshold of the real
    image. Both images have the same threshold, so that a synthetic image that is too dark or too bright scores lower.
    """
    heads = [fill_slices(mr > MR_HEAD_THRESHOLD) for mr in (synthetic_mr, real_mr)]
    threshold = threshold_otsu(np.asarray(real_mr)) if np.ptp(real_mr) > 0 else 0.0
    return {
        "iou_head": intersection_over_union(heads[0], heads[1]),
        "iou_otsu": intersection_over_union(synthetic_mr > threshold, real_mr > threshold),
    }
