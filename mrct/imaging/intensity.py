"""Intensities to the networks' [-1, 1] and back: CT by a fixed HU window, MR by a scale of its own volume.

Both maps are affine inside their window and saturate outside it, so the inverse is exact (to float32
rounding) for every value that was inside.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

MrMethod = Literal["percentile", "minmax"]

# the share of the bright end of the signal under which a voxel counts as air
FOREGROUND_SHARE = 0.1
BRIGHT_PERCENTILE = 99.0


def hu_to_signed(hu: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """HU, any shape -> float32 in [-1, 1]; window[0] becomes -1, window[1] 1; saturates outside."""
    return _to_signed(hu, *window)


def signed_to_hu(x: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """[-1, 1], any shape -> HU float32; the inverse of `hu_to_signed` inside the window."""
    return _from_signed(x, *window)


@dataclass(frozen=True)
class MrScale:
    """The two MR values (arbitrary units) that become -1 and 1; one scale per volume."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _require_window(self.low, self.high)

    def to_signed(self, mr: np.ndarray) -> np.ndarray:
        """MR, any shape -> float32 in [-1, 1]; saturates outside [low, high]."""
        return _to_signed(mr, self.low, self.high)

    def from_signed(self, x: np.ndarray) -> np.ndarray:
        """[-1, 1], any shape -> MR units float32; the inverse of `to_signed` inside [low, high]."""
        return _from_signed(x, self.low, self.high)


def fit_mr_scale(volume: np.ndarray, method: MrMethod, percentiles: tuple[float, float]) -> MrScale:
    """The scale of one whole MR volume (D, H, W), from the MR alone, so that inference can repeat it.

    minmax: the smallest and the largest voxel; `percentiles` plays no part.
    percentile: the lower one over the voxels above the minimum (padding and zeroed air say nothing about
    the noise floor); the upper one over the foreground (`foreground_threshold`), because over all voxels
    it would move with the share of air in the field of view. Where the two coincide (a binary image) the
    scale is minmax. ValueError for a constant volume and for values that are not finite.
    """
    low, high = _finite_range(volume)
    if method == "minmax":
        return MrScale(low, high)
    signal = volume[volume > low]
    floor = float(np.percentile(signal, percentiles[0]))
    ceiling = float(np.percentile(signal[signal > foreground_threshold(volume)], percentiles[1]))
    return MrScale(floor, ceiling) if ceiling > floor else MrScale(low, high)


def foreground_threshold(volume: np.ndarray) -> float:
    """MR value above which a voxel is tissue rather than air: a tenth of the way up to the bright end.

    The bright end is the 99th percentile of the voxels above the minimum. A fraction of it is steadier
    than Otsu's threshold, which falls between fat and brain where the field of view holds little air.
    """
    low, _ = _finite_range(volume)
    bright = float(np.percentile(volume[volume > low], BRIGHT_PERCENTILE))
    return low + FOREGROUND_SHARE * (bright - low)


def _finite_range(volume: np.ndarray) -> tuple[float, float]:
    if volume.size == 0 or not np.isfinite(volume).all():
        raise ValueError(
            f"MR volume {volume.shape}: it has no voxels, or values that are not finite; rerun register"
        )
    low, high = float(volume.min()), float(volume.max())
    if not low < high:
        raise ValueError(f"MR volume {volume.shape}: every voxel is {low:g}; an image needs contrast")
    return low, high


def _to_signed(values: np.ndarray, low: float, high: float) -> np.ndarray:
    _require_window(low, high)
    unit = (np.asarray(values, np.float64) - low) / (high - low)
    return (np.clip(unit, 0.0, 1.0) * 2.0 - 1.0).astype(np.float32)


def _from_signed(x: np.ndarray, low: float, high: float) -> np.ndarray:
    _require_window(low, high)
    return ((np.asarray(x, np.float64) + 1.0) / 2.0 * (high - low) + low).astype(np.float32)


def _require_window(low: float, high: float) -> None:
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ValueError(f"intensity window [{low:g}, {high:g}]: expected two finite values, low < high")
