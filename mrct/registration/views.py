"""Two heads in one pose: the mutual information of what lies on each other, at thousands of poses a second."""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from mrct.imaging.volumes import to_array, to_transform
from mrct.registration.head import Head
from mrct.registration.similarity import joint_information_nats

OUTSIDE = -1.0


@dataclass(frozen=True)
class View:
    """A head as one of the two axes of a joint histogram: the box around its region, the bins of its voxels.

    Voxels are counted where they are: samples between the slices would read thick slices interpolated,
    whose blur pulls the similarity's top by tenths of a millimeter.
    """

    image: sitk.Image
    region: np.ndarray
    codes: np.ndarray
    bins: int

    @classmethod
    def of(cls, head: Head, bins: int) -> "View":
        """The head's region at its own resolution, values 0 to 1 in `bins` equal bins."""
        region = to_array(head.region) > 0
        spans = [np.flatnonzero(region.any(axis=others)) for others in ((0, 1), (0, 2), (1, 2))]  # i, j, k
        first = [int(span[0]) for span in spans]
        size = [int(span[-1] - span[0]) + 1 for span in spans]
        image = sitk.RegionOfInterest(head.image, size, first)
        region = region[tuple(slice(f, f + n) for f, n in zip(first[::-1], size[::-1], strict=True))]
        return cls(image, region, _binned(to_array(image)[region], bins), bins)


def information(one: View, other: View, pose: np.ndarray) -> tuple[float, float]:
    """Mutual information in nats of `one`'s voxels and what `pose` brings over them, and their share it covers.

    pose: 4x4, a point of `one` to the point of `other`. Plain bins, whole voxels: what is rough in this is
    left to who fits it (`refinement`).
    """
    placed = sitk.Resample(other.image, one.image, to_transform(pose), sitk.sitkLinear, OUTSIDE)
    values = to_array(placed)[one.region]
    inside = values >= 0.0
    codes = one.codes[inside] * np.int32(other.bins) + _binned(values[inside], other.bins)
    joint = np.bincount(codes, minlength=one.bins * other.bins).reshape(one.bins, other.bins)
    return joint_information_nats(joint), float(inside.mean())


def _binned(values: np.ndarray, bins: int) -> np.ndarray:
    return np.minimum(values * np.float32(bins), bins - 1).astype(np.int32)
