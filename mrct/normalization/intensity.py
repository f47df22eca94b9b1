"""Intensities to the networks' [-1, 1] and back: CT by a fixed HU window, MR by a scale of its own volume.

Both maps rise inside their window and saturate outside it (affine, or linear between landmarks), so the
inverse is exact (to float32 rounding) for every value that was inside.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from mrct.core.errors import DataError

MrMethod = Literal["percentile", "minmax", "max", "zscore", "nyul"]

# the share of the bright end of the signal under which a voxel counts as air
FOREGROUND_SHARE = 0.1
BRIGHT_PERCENTILE = 99.0
# standard deviations of the foreground on each side of its mean that the z-score scale spans
ZSCORE_RANGE = 3.0


def hu_to_signed(hu: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """HU, any shape -> float32 in [-1, 1]; window[0] becomes -1, window[1] 1; saturates outside."""
    return _to_signed(hu, *window)


def signed_to_hu(x: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """[-1, 1], any shape -> HU float32; the inverse of `hu_to_signed` inside the window."""
    return _from_signed(x, *window)


@dataclass(frozen=True)
class MrScale:
    """MR values (arbitrary units, rising) and the levels in [-1, 1] that they become; linear in between.

    Two values are an affine scale; more are landmarks. One scale per volume.
    """

    values: tuple[float, ...]
    levels: tuple[float, ...] = (-1.0, 1.0)

    def __post_init__(self) -> None:
        _require_window(self.low, self.high)
        if len(self.values) != len(self.levels) or min(*np.diff(self.values), *np.diff(self.levels)) <= 0:
            raise DataError(f"MR landmarks {self.values} at {self.levels}: expected as many, both rising")

    @property
    def low(self) -> float:
        """The MR value that becomes -1."""
        return self.values[0]

    @property
    def high(self) -> float:
        """The MR value that becomes 1."""
        return self.values[-1]

    def to_signed(self, mr: np.ndarray) -> np.ndarray:
        """MR, any shape -> float32 in [-1, 1]; saturates outside [low, high]."""
        return np.interp(np.asarray(mr, np.float64), self.values, self.levels).astype(np.float32)

    def from_signed(self, x: np.ndarray) -> np.ndarray:
        """[-1, 1], any shape -> MR units float32; the inverse of `to_signed` inside [low, high]."""
        return np.interp(np.asarray(x, np.float64), self.levels, self.values).astype(np.float32)


@dataclass(frozen=True)
class MrScaling:
    """How a volume gets its scale; `to_json` is what a model file carries, so that inference repeats it.

    minmax: the smallest and the largest voxel. max: 0 and the largest voxel (Karimzadeh: I/max).
    percentile: `percentiles`, the lower one over the voxels above the minimum (padding and zeroed air say
    nothing about the noise floor), the upper one over the foreground (`foreground_threshold`), because over
    all voxels it would move with the share of air in the field of view. zscore: mean -+ ZSCORE_RANGE standard
    deviations of the foreground. nyul: `landmarks` of the volume go to the mean ones of the training volumes
    (Nyul, Udupa and Zhang 2000, IEEE TMI 19:143).
    `n4` says that the bias field is removed first (mrct.normalization.bias).
    """

    method: MrMethod
    percentiles: tuple[float, float] = (0.5, 99.5)
    landmarks: tuple[float, ...] = ()
    n4: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain values for a manifest."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> "MrScaling":
        """The inverse of `to_json`."""
        low, high = content["percentiles"]
        return MrScaling(content["method"], (low, high), tuple(content["landmarks"]), content["n4"])

    def fit(self, volume: np.ndarray) -> MrScale:
        """The scale of one whole MR volume (D, H, W), from the MR alone.

        Where the ends coincide (a binary image) the scale is minmax. ValueError for a constant volume and for
        values that are not finite.
        """
        lowest, highest = _finite_range(volume)
        if self.method == "minmax":
            return MrScale((lowest, highest))
        if self.method == "max":
            return MrScale((0.0, highest))
        if self.method == "nyul":
            return self._fit_landmarks(volume)
        signal = volume[volume > lowest]
        tissue = signal[signal > foreground_threshold(volume)].astype(np.float64)
        if self.method == "zscore":
            spread = ZSCORE_RANGE * float(tissue.std())
            low, high = float(tissue.mean()) - spread, float(tissue.mean()) + spread
        else:
            low = float(np.percentile(signal, self.percentiles[0]))
            high = float(np.percentile(tissue, self.percentiles[1]))
        return MrScale((low, high)) if high > low else MrScale((lowest, highest))

    def _fit_landmarks(self, volume: np.ndarray) -> MrScale:
        """The volume's landmarks at the levels of the training volumes'; equal ones (few grey levels) once."""
        values: list[float] = []
        levels: list[float] = []
        for value, level in zip(landmarks(volume, self.percentiles), self.landmarks, strict=True):
            if not values or (value > values[-1] and level > levels[-1]):
                values.append(float(value))
                levels.append(float(level))
        return MrScale(tuple(values), (-1.0, *levels[1:-1], 1.0))


def landmarks(volume: np.ndarray, percentiles: tuple[float, float]) -> np.ndarray:
    """(12,) the volume's lowest value, and its foreground's values at `percentiles` and the deciles between."""
    lowest, _ = _finite_range(volume)
    tissue = volume[volume > foreground_threshold(volume)]
    inner = np.percentile(tissue, [percentiles[0], *range(10, 100, 10), percentiles[1]])
    return np.concatenate([[lowest], inner])


def learn_landmarks(found: Sequence[np.ndarray]) -> tuple[float, ...]:
    """Training volumes' `landmarks` -> (12,) levels from -1 to 1: their mean, each stretched to one range.

    Departure from Nyul: the standard scale begins at the volume's lowest value, air, not at its lowest
    landmark, so that air and dark tissue keep apart.
    """
    unit = np.mean([(one - one[0]) / (one[-1] - one[0]) for one in found], axis=0)
    return tuple(float(level) for level in 2.0 * unit - 1.0)


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
        raise DataError(
            f"MR volume {volume.shape}: it has no voxels, or values that are not finite; rerun register"
        )
    low, high = float(volume.min()), float(volume.max())
    if not low < high:
        raise DataError(f"MR volume {volume.shape}: every voxel is {low:g}; an image needs contrast")
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
        raise DataError(f"intensity window [{low:g}, {high:g}]: expected two finite values, low < high")
