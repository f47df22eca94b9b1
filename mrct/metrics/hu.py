"""Metrics of synthetic CT in HU: the SynthRAD convention (Thummerer 2023; Huijben 2024), and the overlap of bone."""

import numpy as np
from scipy import ndimage

from mrct.metrics.image import (
    BOUND_SUFFIX,
    SSIM_WINDOW,
    intersection_over_union,
    mean_absolute_error,
    peak_signal_to_noise_db,
    psnr_bound_db,
    structural_similarity_mean,
)

SYNTHRAD_RANGE_HU = (-1024.0, 3000.0)
WIDTH_HU = SYNTHRAD_RANGE_HU[1] - SYNTHRAD_RANGE_HU[0]
#: Threshold between air and fat: skin is above it, the foam of the table is below it.
HEAD_THRESHOLD_HU = -300.0


def volume_metrics(synthetic_ct: np.ndarray, real_ct: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Compute MAE, PSNR and SSIM inside the mask.

    Args:
        synthetic_ct: Synthetic CT (D, H, W), HU.
        real_ct: Real CT (D, H, W), HU.
        mask: Boolean mask (D, H, W) of the head.

    Returns:
        `mae_hu` without clipping; `psnr_db` and its bound after clipping to [-1024, 3000] HU, so that the range is
        4024 HU; `ssim` after clipping, with air outside the mask and a window of 7³ voxels. A volume of fewer than 7
        slices has `ssim_2d` instead: a window of 7² pixels, mean over the slices.
    """
    clipped_synthetic, clipped_real = (np.clip(v, *SYNTHRAD_RANGE_HU) for v in (synthetic_ct, real_ct))
    clipped_mae = mean_absolute_error(clipped_synthetic, clipped_real, mask)
    metrics = {
        "mae_hu": mean_absolute_error(synthetic_ct, real_ct, mask),
        "psnr_db": peak_signal_to_noise_db(clipped_synthetic, clipped_real, WIDTH_HU, mask),
        f"psnr{BOUND_SUFFIX}": psnr_bound_db(clipped_mae, WIDTH_HU),
    }
    shifted = [
        np.where(mask, v, SYNTHRAD_RANGE_HU[0]) - SYNTHRAD_RANGE_HU[0]
        for v in (clipped_synthetic, clipped_real)
    ]
    if len(mask) >= SSIM_WINDOW:
        metrics["ssim"] = structural_similarity_mean(shifted[0], shifted[1], WIDTH_HU, mask)
    else:
        per_slice = [
            structural_similarity_mean(s, r, WIDTH_HU, m)
            for s, r, m in zip(*shifted, mask, strict=True)
            if m.any()
        ]
        metrics["ssim_2d"] = float(np.nanmean(per_slice))
    return metrics


def bone_iou(
    synthetic_ct: np.ndarray, real_ct: np.ndarray, thresholds_hu: tuple[float, ...]
) -> dict[str, float]:
    """Compute the IoU of HU >= threshold, as `iou_bone_<threshold>hu`; NaN if neither image has bone."""
    return {
        f"iou_bone_{threshold:g}hu": intersection_over_union(synthetic_ct >= threshold, real_ct >= threshold)
        for threshold in thresholds_hu
    }


def head_region(ct_hu: np.ndarray) -> np.ndarray:
    """Find the head in a CT (D, H, W) in HU: HU > -300, with sinuses and airways filled slice by slice; boolean."""
    return fill_slices(ct_hu > HEAD_THRESHOLD_HU)


def fill_slices(region: np.ndarray) -> np.ndarray:
    """Fill the holes in each slice of a boolean (D, H, W)."""
    return np.stack([ndimage.binary_fill_holes(plane) for plane in region])
