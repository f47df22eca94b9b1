"""MAE, PSNR, SSIM and IoU of two images, in float arithmetic.

Arrays are (H, W) slices or (D, H, W) volumes of equal shape; `mask` is boolean of that shape, None means everywhere.
`data_range` is the width of the scale (4024 for HU in [-1024, 3000], 255 for 8-bit grey). The caller states it; it is
not derived from the data type or the values.
"""

import numpy as np
from skimage.metrics import structural_similarity

from mrct.core.errors import DataError

SSIM_WINDOW = 7
#: Suffix of a column that bounds a PSNR: `psnr_bound_db` bounds `psnr_db`.
BOUND_SUFFIX = "_bound_db"


def mean_absolute_error(predicted: np.ndarray, real: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Average |predicted - real| inside the mask, in the unit of the arrays.

    Raises:
        DataError: The shapes differ, or the mask is empty or not boolean. This holds for all metrics here.
    """
    return float(np.abs(_difference(predicted, real, mask)).mean())


def peak_signal_to_noise_db(
    predicted: np.ndarray, real: np.ndarray, data_range: float, mask: np.ndarray | None = None
) -> float:
    """Compute the PSNR 10 log10(data_range² / MSE) inside the mask, in dB; inf for equal images."""
    mean_square = float(np.square(_difference(predicted, real, mask)).mean())
    if mean_square == 0.0:
        return float("inf")
    return float(10.0 * np.log10(_positive(data_range) ** 2 / mean_square))


def psnr_bound_db(mae: float, data_range: float) -> float:
    """Return the highest possible PSNR at this MAE, in dB: RMSE >= MAE, so PSNR <= 20 log10(data_range / MAE)."""
    return float("inf") if mae == 0.0 else float(20.0 * np.log10(_positive(data_range) / mae))


def structural_similarity_mean(
    predicted: np.ndarray, real: np.ndarray, data_range: float, mask: np.ndarray | None = None
) -> float:
    """Compute the mean SSIM (Wang et al. 2004) in [-1, 1], with a uniform window of 7 pixels per axis.

    A border of half a window is left out, because the window reaches beyond the image there. The result is NaN if an
    axis is shorter than the window, or if no pixel of the mask is left.
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
    """Compute the intersection over union of two boolean arrays, in [0, 1]; NaN if both are empty."""
    if a.shape != b.shape:
        raise DataError(f"intersection_over_union: got shapes {a.shape} and {b.shape}, expected equal shapes")
    union = np.logical_or(a, b).sum()
    return float(np.logical_and(a, b).sum() / union) if union else float("nan")


def _difference(predicted: np.ndarray, real: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    _check(predicted, real, mask)
    # converted before the subtraction, because unsigned integers wrap around
    difference = predicted.astype(np.float64) - real.astype(np.float64)
    return difference if mask is None else difference[mask]


def _check(predicted: np.ndarray, real: np.ndarray, mask: np.ndarray | None) -> None:
    if predicted.shape != real.shape or (mask is not None and mask.shape != real.shape):
        shapes = (predicted.shape, real.shape, None if mask is None else mask.shape)
        raise DataError(f"metric: got shapes {shapes} of prediction, real and mask, expected equal shapes")
    if mask is not None and (mask.dtype != bool or not mask.any()):
        raise DataError(
            f"metric: got a mask of {mask.dtype} with {int(mask.sum())} pixels, expected a boolean mask that is "
            "not empty; leave out slices without a head"
        )


def _positive(data_range: float) -> float:
    if not data_range > 0:
        raise DataError(f"metric: got data_range {data_range}, expected a number above 0")
    return float(data_range)
