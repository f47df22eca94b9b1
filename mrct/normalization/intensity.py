"""Intensities of MR volumes: the bias field of the coil, and the scale to [-1, 1].

MR intensity has no unit, so that each volume has its own scale, computed from its own voxels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import SimpleITK as sitk

from mrct.core.errors import DataError
from mrct.imaging.masks import MaskError, head_mask_of_mr
from mrct.imaging.volumes import like, spacing_kji_mm, to_array

MrMethod = Literal["percentile", "minmax", "max", "zscore", "nyul"]

#: A voxel above this share of the bright end of the signal is tissue, below it air.
FOREGROUND_SHARE = 0.1
BRIGHT_PERCENTILE = 99.0
#: Standard deviations of the foreground on each side of its mean that the z-score scale spans.
ZSCORE_RANGE = 3.0
#: The bias field is smooth: in the plane it is estimated on voxels of about this size and applied to all.
BIAS_SPACING_MM = 4.0
BIAS_ITERATIONS = (50, 50, 30)
#: N4's cubic B-splines need as many slices; the field of fewer is estimated slice by slice.
BIAS_MIN_DEPTH = 4


@dataclass(frozen=True)
class MrScale:
    """Scale of one MR volume: MR values become levels in [-1, 1], linearly in between.

    Attributes:
        values: MR values in the volume's arbitrary unit, rising. Two are an affine scale, more are landmarks.
        levels: The level that each value becomes, rising.

    Raises:
        DataError: The values or the levels do not rise, or are not as many.
    """

    values: tuple[float, ...]
    levels: tuple[float, ...] = (-1.0, 1.0)

    def __post_init__(self) -> None:
        require_window(self.low, self.high)
        if len(self.values) != len(self.levels) or min(*np.diff(self.values), *np.diff(self.levels)) <= 0:
            raise DataError(f"MR landmarks {self.values} at {self.levels}: expected as many, both rising")

    @property
    def low(self) -> float:
        """Return the MR value that becomes -1."""
        return self.values[0]

    @property
    def high(self) -> float:
        """Return the MR value that becomes 1."""
        return self.values[-1]

    def transform(self, mr: np.ndarray) -> np.ndarray:
        """Convert MR values of any shape to float32 in [-1, 1]; values outside [low, high] saturate."""
        return np.interp(np.asarray(mr, np.float64), self.values, self.levels).astype(np.float32)

    def inverse_transform(self, signed: np.ndarray) -> np.ndarray:
        """Convert [-1, 1] of any shape to MR values, float32; exact to rounding inside [low, high]."""
        return np.interp(np.asarray(signed, np.float64), self.levels, self.values).astype(np.float32)


@dataclass(frozen=True)
class MrScaling:
    """Rule that determines the scale of each MR volume.

    Attributes:
        method: One of

            - minmax: from the smallest to the largest voxel;
            - max: from 0 to the largest voxel, I / max (Karimzadeh);
            - percentile: from the lower percentile of the voxels above the minimum to the upper percentile of the
              foreground (`foreground_threshold`). Padding and zeroed air say nothing about the noise, and the upper
              percentile of all voxels would depend on how much air the field of view holds;
            - zscore: `ZSCORE_RANGE` standard deviations of the foreground on each side of its mean;
            - nyul: the volume's landmarks become the mean ones of the training volumes (Nyul, Udupa and Zhang 2000,
              IEEE TMI 19:143).
        percentiles: Lower and upper percentile, for percentile and nyul.
        landmarks: (12,) levels in [-1, 1], from `fit_landmarks`; for nyul alone.
        n4: Whether the bias field is removed first (`fit_bias_field`).
    """

    method: MrMethod
    percentiles: tuple[float, float] = (0.5, 99.5)
    landmarks: tuple[float, ...] = ()
    n4: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a manifest or the header of a model file."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> "MrScaling":
        """Read what `to_json` returned.

        Raises:
            DataError: The method is unknown.
        """
        if content["method"] not in get_args(MrMethod):
            raise DataError(f"MR scaling: got an unknown method, expected {', '.join(get_args(MrMethod))}")
        low, high = content["percentiles"]
        return MrScaling(content["method"], (low, high), tuple(content["landmarks"]), content["n4"])

    def fit(self, volume: np.ndarray) -> MrScale:
        """Compute the scale of one whole MR volume from its voxels alone.

        Args:
            volume: (D, H, W), any unit.

        Returns:
            The scale; that of minmax where the ends of another one coincide, as in a binary image.

        Raises:
            DataError: The volume is constant, empty or not finite.
        """
        lowest, highest = _finite_range(volume)
        if self.method == "minmax":
            return MrScale((lowest, highest))
        if self.method == "max":
            return MrScale((0.0, highest))
        if self.method == "nyul":
            return self._scale_by_landmarks(volume)
        signal = volume[volume > lowest]
        tissue = signal[signal > foreground_threshold(volume)].astype(np.float64)
        if self.method == "zscore":
            spread = ZSCORE_RANGE * float(tissue.std())
            low, high = float(tissue.mean()) - spread, float(tissue.mean()) + spread
        else:
            low = float(np.percentile(signal, self.percentiles[0]))
            high = float(np.percentile(tissue, self.percentiles[1]))
        return MrScale((low, high)) if high > low else MrScale((lowest, highest))

    def find_landmarks(self, volume: np.ndarray) -> np.ndarray:
        """Find the landmarks of one MR volume (D, H, W).

        Returns:
            (12,) in the volume's unit: its lowest value, and of its foreground the values at `percentiles` and at the
            deciles between them.

        Raises:
            DataError: The volume is constant, empty or not finite.
        """
        lowest, _ = _finite_range(volume)
        tissue = volume[volume > foreground_threshold(volume)]
        inner = np.percentile(tissue, [self.percentiles[0], *range(10, 100, 10), self.percentiles[1]])
        return np.concatenate([[lowest], inner])

    def fit_landmarks(self, found: Sequence[np.ndarray]) -> "MrScaling":
        """Learn the standard scale of nyul from the landmarks (12,) of each training volume.

        Departure from Nyul et al.: the standard scale begins at the volume's lowest value, air, not at its lowest
        landmark, so that air and dark tissue stay apart.

        Returns:
            This rule with `landmarks`: the mean over the volumes, each stretched to [-1, 1] first.
        """
        unit = np.mean([(one - one[0]) / (one[-1] - one[0]) for one in found], axis=0)
        return replace(self, landmarks=tuple(float(level) for level in 2.0 * unit - 1.0))

    def _scale_by_landmarks(self, volume: np.ndarray) -> MrScale:
        """Map the volume's landmarks to the learned levels; landmarks that coincide (few gray levels) count once."""
        values: list[float] = []
        levels: list[float] = []
        for value, level in zip(self.find_landmarks(volume), self.landmarks, strict=True):
            if not values or (value > values[-1] and level > levels[-1]):
                values.append(float(value))
                levels.append(float(level))
        return MrScale(tuple(values), (-1.0, *levels[1:-1], 1.0))


def foreground_threshold(volume: np.ndarray) -> float:
    """Return the MR value that separates tissue from air: `FOREGROUND_SHARE` of the way up to the bright end.

    The bright end is the 99th percentile of the voxels above the minimum. A share of it is more stable than Otsu's
    threshold, which falls between fat and brain where the field of view holds little air.
    """
    low, _ = _finite_range(volume)
    bright = float(np.percentile(volume[volume > low], BRIGHT_PERCENTILE))
    return low + FOREGROUND_SHARE * (bright - low)


def require_window(low: float, high: float) -> None:
    """Raise DataError unless both ends are finite and low < high."""
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise DataError(f"intensity window [{low:g}, {high:g}]: expected two finite values, low < high")


@dataclass(frozen=True)
class BiasField:
    """Smooth shading of one MR volume; made by `fit_bias_field`.

    Attributes:
        log_field: Logarithm of the field, on the grid of the MR.
        low: The lowest value of the MR; the field multiplies what lies above it.
        gain: Factor that restores the mean of the head.
    """

    log_field: sitk.Image
    low: float
    gain: float

    def correct(self, mr: sitk.Image) -> sitk.Image:
        """Divide the MR by its field: float32, same grid, same mean in the head, nothing below its lowest value."""
        flat = _without_field(to_array(mr), self.low, self.log_field)
        return like((self.low + (flat - self.low) * self.gain).astype(np.float32), mr)


def fit_bias_field(mr: sitk.Image) -> BiasField | None:
    """Estimate the bias field of an MR volume in its head; None where the MR shows no head.

    N4 (Tustison et al. 2010, IEEE TMI 29:1310) as SimpleITK implements it, on a coarser grid in the plane. The head
    comes from the MR alone, so that inference repeats the estimate.
    """
    array = to_array(mr)
    try:
        head = head_mask_of_mr(array, spacing_kji_mm(mr))
    except MaskError:
        return None
    log_field = _log_field(mr, head)
    low = float(array.min())
    flat = _without_field(array, low, log_field)
    above = array[head].astype(np.float64) - low
    gain = above.mean() / max((flat[head] - low).mean(), np.finfo(float).tiny)
    return BiasField(log_field, low, gain)


def _without_field(array: np.ndarray, low: float, log_field: sitk.Image) -> np.ndarray:
    field = np.exp(to_array(log_field).astype(np.float64))
    return low + (array.astype(np.float64) - low) / field


def _log_field(mr: sitk.Image, head: np.ndarray) -> sitk.Image:
    """Estimate the log field in 3D, or slice by slice where there are few; 0 in a slice without a head."""
    depth = mr.GetSize()[2]
    if depth >= BIAS_MIN_DEPTH:
        return _n4(mr, like(head, mr))
    slices = []
    for k in range(depth):
        plane = sitk.Extract(mr, (*mr.GetSize()[:2], 0), (0, 0, k))
        empty = sitk.Image(plane.GetSize(), sitk.sitkFloat32)
        slices.append(to_array(_n4(plane, like(head[k], plane)) if head[k].any() else empty))
    return like(np.stack(slices), mr)


def _n4(mr: sitk.Image, head: sitk.Image) -> sitk.Image:
    """Estimate the log of the bias field on the grid of `mr` (2D or 3D)."""
    steps = [max(1, round(BIAS_SPACING_MM / spacing)) for spacing in mr.GetSpacing()]
    steps = [min(step, size // BIAS_MIN_DEPTH or 1) for step, size in zip(steps, mr.GetSize(), strict=True)]
    steps[2:] = [1] * len(steps[2:])  # slices are thick already
    lifted = sitk.Cast(mr, sitk.sitkFloat32)
    lifted = sitk.ShiftScale(lifted, shift=1.0 - float(np.min(to_array(mr))))  # N4 takes logarithms
    correct = sitk.N4BiasFieldCorrectionImageFilter()
    correct.SetMaximumNumberOfIterations(BIAS_ITERATIONS)
    correct.SetNumberOfThreads(1)  # the same bytes on every machine
    correct.Execute(sitk.Shrink(lifted, steps), sitk.Shrink(head, steps))
    return correct.GetLogBiasFieldAsImage(lifted)


def _finite_range(volume: np.ndarray) -> tuple[float, float]:
    """Return the lowest and the highest value; DataError if they are equal, missing or not finite."""
    if volume.size == 0 or not np.isfinite(volume).all():
        raise DataError(
            f"MR volume {volume.shape}: it has no voxels, or values that are not finite; rerun register"
        )
    low, high = float(volume.min()), float(volume.max())
    if not low < high:
        raise DataError(f"MR volume {volume.shape}: every voxel is {low:g}; an image needs contrast")
    return low, high
