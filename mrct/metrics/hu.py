"""Metrics of synthetic CT in HU, the SynthRAD convention (Thummerer 2023; Huijben 2024), and bone overlap."""

import numpy as np
from scipy import ndimage

from mrct.metrics.image import (
    SSIM_WINDOW,
    intersection_over_union,
    mean_absolute_error,
    peak_signal_to_noise_db,
    psnr_bound_db,
    structural_similarity_mean,
)

SYNTHRAD_RANGE_HU = (-1024.0, 3000.0)
WIDTH_HU = SYNTHRAD_RANGE_HU[1] - SYNTHRAD_RANGE_HU[0]
#: Halfway between air and fat; skin is above it, the table's foam below.
HEAD_THRESHOLD_HU = -300.0


def volume_metrics(synthetic_ct: np.ndarray, real_ct: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """(D, H, W) HU -> mae_hu (unclipped), psnr_db, ssim, all inside the mask.

    PSNR and SSIM: clipped to [-1024, 3000] HU, range 4024; SSIM with air outside the mask and a 7³ window,
    or `ssim_2d` with a 7² window, mean over the slices, where the volume has under 7 slices.
    `psnr_bound_db` comes from the clipped MAE of the same voxels: psnr_db can never exceed it.
    """
    clipped_synthetic, clipped_real = (np.clip(v, *SYNTHRAD_RANGE_HU) for v in (synthetic_ct, real_ct))
    clipped_mae = mean_absolute_error(clipped_synthetic, clipped_real, mask)
    metrics = {
        "mae_hu": mean_absolute_error(synthetic_ct, real_ct, mask),
        "psnr_db": peak_signal_to_noise_db(clipped_synthetic, clipped_real, WIDTH_HU, mask),
        "psnr_bound_db": psnr_bound_db(clipped_mae, WIDTH_HU),
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
    """IoU of HU >= threshold, as iou_bone_<threshold>hu; NaN where neither image has bone."""
    return {
        f"iou_bone_{threshold:g}hu": intersection_over_union(synthetic_ct >= threshold, real_ct >= threshold)
        for threshold in thresholds_hu
    }


def head_region(ct_hu: np.ndarray) -> np.ndarray:
    """(D, H, W) HU -> boolean head: HU > -300, holes (sinuses, airways) filled slice by slice."""
    return fill_slices(ct_hu > HEAD_THRESHOLD_HU)


def fill_slices(region: np.ndarray) -> np.ndarray:
    """(D, H, W) boolean -> the same with the holes of each slice filled."""
    return np.stack([ndimage.binary_fill_holes(plane) for plane in region])
