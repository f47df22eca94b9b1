"""Preparation of a CT or an MR for registration, and the mutual information of two heads in a pose.

Conventions: arrays (k, j, i), points (x, y, z) in mm, LPS.
"""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from mrct.core.errors import DataError
from mrct.imaging.masks import dilate
from mrct.imaging.mutual_information import binned_histogram, mutual_information
from mrct.imaging.volumes import (
    centroid_mm,
    coarsened,
    like,
    resample_onto,
    spacing_kji_mm,
    to_array,
    to_transform,
)

# Bone saturates at 300 HU: a thick slice that mixes bone with CSF or scalp has one HU for two MR intensities, which
# moves the optimum (docs/decisions/registration.md).
CT_WINDOW_HU = (-1000.0, 300.0)
MR_TOP_PERCENTILE = 99.5
# the air around the head takes part, since skin against air aligns the outline
RIM_MM = 8.0
OUTSIDE = -1.0


class RegistrationError(DataError):
    """Error for two volumes that cannot be registered."""


@dataclass(frozen=True)
class Head:
    """Volume scaled to [0, 1], 0 outside the head, and `region`, the uint8 mask of the head with a rim of air."""

    image: sitk.Image
    region: sitk.Image

    def at(self, spacing_mm: float) -> "Head":
        """Resample both images to at least `spacing_mm` between the voxels of each axis."""
        image = coarsened(self.image, spacing_mm)
        return Head(image, resample_onto(self.region, image, np.eye(4), 0.0, nearest=True))

    def part(self, side: np.ndarray) -> "Head":
        """Keep the voxels of the region where `side` (D, H, W) holds; the image stays."""
        return Head(self.image, like((to_array(self.region) > 0) & side, self.image))

    def n_voxels(self) -> int:
        """Count the voxels of the region."""
        return int(np.count_nonzero(to_array(self.region)))

    def centroid_mm(self) -> np.ndarray:
        """Return the centroid (3,) of the region, LPS mm."""
        return centroid_mm(self.region)

    def mean_square_radius_mm2(self) -> float:
        """Return the mean squared distance of the region's voxels from its centroid.

        Its root is the distance that a rotation by one radian moves the head's points; it converts angles to mm.
        """
        indices = np.argwhere(to_array(self.region))
        return float(np.sum((indices * spacing_kji_mm(self.image)).var(axis=0)))


def ct_head(ct: sitk.Image, head: np.ndarray) -> Head:
    """Prepare a CT in HU with its head mask (D, H, W); table and holder become air."""
    return _prepared(ct, window_ct(to_array(ct)), head)


def mr_head(mr: sitk.Image, head: np.ndarray) -> Head:
    """Prepare an MR with its head mask (D, H, W); ghosts outside the head become background.

    Raises:
        RegistrationError: The MR has no signal inside the head.
    """
    return _prepared(mr, window_mr(to_array(mr), head), head)


def window_ct(hu: np.ndarray) -> np.ndarray:
    """Clip HU to `CT_WINDOW_HU` and scale to [0, 1]."""
    low, high = CT_WINDOW_HU
    return (np.clip(hu, low, high) - low) / (high - low)


def window_mr(intensity: np.ndarray, head: np.ndarray | None = None) -> np.ndarray:
    """Scale intensities from 0 to a high percentile (of the head if a mask is given) to [0, 1], and clip."""
    high = float(np.percentile(intensity if head is None else intensity[head], MR_TOP_PERCENTILE))
    if high <= 0:
        raise RegistrationError("the MR volume is empty inside the head; check the selected series")
    return np.clip(intensity / high, 0.0, 1.0)


def _prepared(volume: sitk.Image, scaled: np.ndarray, head: np.ndarray) -> Head:
    region = dilate(head, RIM_MM, spacing_kji_mm(volume))
    return Head(like(np.where(region, scaled, 0.0).astype(np.float32), volume), like(region, volume))


@dataclass(frozen=True)
class BinnedHead:
    """Head as one axis of a joint histogram: the box around its region, and the bins of the region's voxels.

    Only whole voxels are counted. Samples between thick slices would be blurred by interpolation, which shifts the
    optimum (docs/decisions/registration.md).
    """

    image: sitk.Image
    region: np.ndarray
    codes: np.ndarray
    bins: int

    @classmethod
    def of(cls, head: Head, bins: int) -> "BinnedHead":
        """Bin the head's region at its own resolution, values 0 to 1 in `bins` equal bins."""
        region = to_array(head.region) > 0
        spans = [np.flatnonzero(region.any(axis=others)) for others in ((0, 1), (0, 2), (1, 2))]  # i, j, k
        first = [int(span[0]) for span in spans]
        size = [int(span[-1] - span[0]) + 1 for span in spans]
        image = sitk.RegionOfInterest(head.image, size, first)
        region = region[tuple(slice(f, f + n) for f, n in zip(first[::-1], size[::-1], strict=True))]
        return cls(image, region, _binned(to_array(image)[region], bins), bins)


def information(one: BinnedHead, other: BinnedHead, pose: np.ndarray) -> tuple[float, float]:
    """Compute the mutual information of one head and another one in a pose.

    Args:
        one: The head whose voxels are counted.
        other: The head that is interpolated there.
        pose: 4x4, a point of `one` to the point of `other`, LPS mm.

    Returns:
        The mutual information in nats, and the share (0..1) of the region that `other` covers.
    """
    inside, met = sampled(one, other, pose)
    joint = binned_histogram(one.codes[inside], met, (one.bins, other.bins))
    return mutual_information(joint), float(inside.mean())


def sampled(one: BinnedHead, other: BinnedHead, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find which voxels (n,) of the region of `one` lie in `other`, and the bins of `other` there."""
    placed = sitk.Resample(other.image, one.image, to_transform(pose), sitk.sitkLinear, OUTSIDE)
    values = to_array(placed)[one.region]
    inside = values >= 0.0
    return inside, _binned(values[inside], other.bins)


def _binned(values: np.ndarray, bins: int) -> np.ndarray:
    return np.minimum(values * np.float32(bins), bins - 1).astype(np.int32)
