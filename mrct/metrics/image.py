"""MAE, PSNR, SSIM and IoU of images, in float arithmetic, with the scale always stated by the caller.

Arrays are (H, W) slices or (D, H, W) volumes of equal shape; `mask` is boolean of that shape, None means
everywhere. `data_range` is the width of the scale (4024 for HU in [-1024, 3000], 255 for grey): it is never
guessed from dtype or content. The SynthRAD convention (clip, mask, 7-voxel window) is in `hu.py`.
"""

import numpy as np
from skimage.metrics import structural_similarity

from mrct.core.errors import DataError

SSIM_WINDOW = 7


def mean_absolute_error(predicted: np.ndarray, real: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Mean of |predicted - real| inside the mask, in the arrays' unit; >= 0."""
    return float(np.abs(_difference(predicted, real, mask)).mean())


def peak_signal_to_noise_db(
    predicted: np.ndarray, real: np.ndarray, data_range: float, mask: np.ndarray | None = None
) -> float:
    """10 log10(data_range² / MSE) inside the mask, in dB; inf for equal images."""
    mean_square = float(np.square(_difference(predicted, real, mask)).mean())
    if mean_square == 0.0:
        return float("inf")
    return float(10.0 * np.log10(_positive(data_range) ** 2 / mean_square))


def psnr_bound_db(mae: float, data_range: float) -> float:
    """The highest PSNR that an image of this MAE can have: RMSE >= MAE, so PSNR <= 20 log10(range / MAE)."""
    return float("inf") if mae == 0.0 else float(20.0 * np.log10(_positive(data_range) / mae))


def structural_similarity_mean(
    predicted: np.ndarray, real: np.ndarray, data_range: float, mask: np.ndarray | None = None
) -> float:
    """Mean SSIM (Wang 2004; uniform window of 7 pixels in each axis) in [-1, 1].

    The border of half a window, where the window leaves the image, is not counted. NaN where an axis is
    shorter than the window (SSIM is undefined there) or the mask leaves no pixel.
    """
    _check(predicted, real, mask)
    if min(predicted.shape) < SSIM_WINDOW:
        return float("nan")
    _, similarity = structural_similarity(
        real.astype(np.float64),
        predicted.astype(np.float64),
        win_size=SSIM_WINDOW,
        data_range=_positive(data_range),
        full=True,
    )
    inner = (slice(SSIM_WINDOW // 2, -(SSIM_WINDOW // 2)),) * predicted.ndim
    counted = similarity[inner] if mask is None else similarity[inner][mask[inner]]
    return float(counted.mean()) if counted.size else float("nan")


def intersection_over_union(a: np.ndarray, b: np.ndarray) -> float:
    """|a and b| / |a or b| of two boolean arrays, in [0, 1]; NaN where both are empty."""
    if a.shape != b.shape:
        raise DataError(f"intersection_over_union: got shapes {a.shape} and {b.shape}, expected equal")
    union = np.logical_or(a, b).sum()
    return float(np.logical_and(a, b).sum() / union) if union else float("nan")


def _difference(predicted: np.ndarray, real: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    _check(predicted, real, mask)
    # float before the subtraction: unsigned integers would wrap around
    difference = predicted.astype(np.float64) - real.astype(np.float64)
    return difference if mask is None else difference[mask]


def _check(predicted: np.ndarray, real: np.ndarray, mask: np.ndarray | None) -> None:
    if predicted.shape != real.shape or (mask is not None and mask.shape != real.shape):
        shapes = (predicted.shape, real.shape, None if mask is None else mask.shape)
        raise DataError(f"metric: got shapes {shapes} of prediction, real and mask, expected equal shapes")
    if mask is not None and (mask.dtype != bool or not mask.any()):
        raise DataError(
            f"metric: mask of {mask.dtype} with {int(mask.sum())} pixels, expected a boolean mask "
            "that is not empty; leave the slice out instead"
        )


def _positive(data_range: float) -> float:
    if not data_range > 0:
        raise DataError(f"metric: data_range {data_range}, expected > 0")
    return float(data_range)
