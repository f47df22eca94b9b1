"""What registration sees of a CT or an MR: the head with a rim of air, on a scale of 0 to 1.

Convention: arrays (k, j, i); points (x, y, z) in mm, LPS.
"""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from mrct.core.errors import DataError
from mrct.imaging.masks import dilate
from mrct.imaging.volumes import (
    affine,
    coarsened,
    like,
    resample_onto,
    spacing_kji_mm,
    to_array,
    transform_points,
)

# Bone saturates: a thick slice that holds bone with the bright CSF inside it or the dark scalp outside it has
# one HU for two MR intensities. Mutual information then pushes the CT outward where CSF is bright (T2) and
# inward where scalp is (T1); of the head only the upper end is seen, so the result lay 0.3 mm high in T2.
CT_WINDOW_HU = (-1000.0, 300.0)
MR_TOP_PERCENTILE = 99.5
RIM_MM = 8.0  # the air around the head takes part: skin against air aligns the outline


class RegistrationError(DataError):
    """These two volumes cannot be registered."""


@dataclass(frozen=True)
class Head:
    """A volume scaled to [0, 1], air and everything off the head 0, and the head with its rim as mask."""

    image: sitk.Image
    region: sitk.Image

    def at(self, spacing_mm: float) -> "Head":
        """Both images with at least `spacing_mm` between the voxels of each axis."""
        image = coarsened(self.image, spacing_mm)
        return Head(image, resample_onto(self.region, image, np.eye(4), 0.0, nearest=True))

    def indices(self) -> np.ndarray:
        """(n, 3) voxels (k, j, i) of the region."""
        return np.argwhere(to_array(self.region))

    def centroid_mm(self) -> np.ndarray:
        """Middle of the region, LPS."""
        return transform_points(affine(self.image), self.indices().mean(axis=0)[None, ::-1])[0]

    def mean_square_radius_mm2(self) -> float:
        """Squared, how far a rotation by one radian moves the head's points: it weighs angles against mm."""
        return float(np.sum((self.indices() * spacing_kji_mm(self.image)).var(axis=0)))


def ct_head(ct: sitk.Image, head: np.ndarray) -> Head:
    """HU clipped to the window of tissue; table and holder become air."""
    return _prepared(ct, window_ct(to_array(ct)), head)


def mr_head(mr: sitk.Image, head: np.ndarray) -> Head:
    """Intensity from 0 to a high percentile inside the head; ghosts outside become background."""
    return _prepared(mr, window_mr(to_array(mr), head), head)


def window_ct(hu: np.ndarray) -> np.ndarray:
    """HU clipped to air ... bone, scaled to [0, 1]."""
    low, high = CT_WINDOW_HU
    return (np.clip(hu, low, high) - low) / (high - low)


def window_mr(intensity: np.ndarray, head: np.ndarray | None = None) -> np.ndarray:
    """Intensity from 0 to a high percentile (of the head, where a mask is given), scaled to [0, 1]."""
    high = float(np.percentile(intensity if head is None else intensity[head], MR_TOP_PERCENTILE))
    if high <= 0:
        raise RegistrationError("the MR volume is empty inside the head; check the selected series")
    return np.clip(intensity / high, 0.0, 1.0)


def _prepared(volume: sitk.Image, scaled: np.ndarray, head: np.ndarray) -> Head:
    region = dilate(head, RIM_MM, spacing_kji_mm(volume))
    return Head(like(np.where(region, scaled, 0.0).astype(np.float32), volume), like(region, volume))
