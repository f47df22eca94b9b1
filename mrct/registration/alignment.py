"""A CT and an MR of one head, their rigid registration, and both images on one grid.

The fixed image keeps its voxels. The other image is blurred to the resolution of the fixed one where it is finer, and
resampled.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import SimpleITK as sitk

from mrct.core.contracts import AIR_HU
from mrct.imaging import masks, volumes
from mrct.imaging.mutual_information import mattes_mutual_information
from mrct.registration.confidence import spread_mm
from mrct.registration.head import Head, ct_head, mr_head, window_ct, window_mr
from mrct.registration.residual import outline_distance_mm
from mrct.registration.rigid import register_rigid

# masks and registration need no finer pixels
WORK_SPACING_MM = 1.0
# of an interpolated slice in the value of a voxel: the tail of the blur between thin slices
NEGLIGIBLE_SHARE = 0.01
Modality = Literal["ct", "mr"]


@dataclass(frozen=True)
class Scan:
    """Volume and its head: a uint8 mask in the space of the volume, with pixels of about 1 mm.

    `filled` (uint8, on the voxels of the volume) is 1 in slices that no image shows and that were interpolated; None if
    there are none.
    """

    volume: sitk.Image
    head: sitk.Image
    filled: sitk.Image | None = None

    def head_volume_mm3(self) -> float:
        """Return the volume of the head in slices that are no interpolation, mm³."""
        return np.count_nonzero(self.seen_head()) * volumes.voxel_volume_mm3(self.head)

    def seen_head(self) -> np.ndarray:
        """Return the head in slices that are no interpolation, bool on the voxels of `head`."""
        head = volumes.to_array(self.head) > 0
        return head if self.filled is None else head & ~_mask_on(self.head, self.filled, np.eye(4))

    def filled_on(self, grid: sitk.Image, to_grid: np.ndarray) -> np.ndarray:
        """Find the voxels of a grid to whose value interpolated slices contribute, bool (D, H, W)."""
        if self.filled is None:
            return np.zeros(grid.GetSize()[::-1], bool)
        if self.volume is grid:
            return volumes.to_array(self.filled) > 0
        share = _image_on(grid, sitk.Cast(self.filled, sitk.sitkFloat32), to_grid, 0.0)
        return share > NEGLIGIBLE_SHARE


@dataclass(frozen=True)
class HeadPair:
    """CT (HU) and MR of one head, each in its own space."""

    ct: Scan
    mr: Scan


@dataclass(frozen=True)
class RigidRegistration:
    """Rigid registration: `ct_to_mr` is 4x4, points of the CT to points of the MR, LPS mm; `fixed` keeps its grid.

    `spread_mm` says how far from this registration other starts and halves of the head end
    (mrct/registration/confidence.py); NaN if nothing was registered.
    """

    ct_to_mr: np.ndarray
    fixed: Modality
    spread_mm: float = math.nan

    @classmethod
    def identity(cls, fixed: Modality) -> "RigidRegistration":
        """Make the registration of images that already lie in one space."""
        return cls(np.eye(4), fixed)

    @property
    def ct_to_grid(self) -> np.ndarray:
        """Return the 4x4 matrix from a point of the CT to the point of the grid, LPS mm."""
        return self.ct_to_mr if self.fixed == "mr" else np.eye(4)

    @property
    def mr_to_grid(self) -> np.ndarray:
        """Return the 4x4 matrix from a point of the MR to the point of the grid, LPS mm."""
        return np.eye(4) if self.fixed == "mr" else np.linalg.inv(self.ct_to_mr)

    @property
    def rotation_deg(self) -> float:
        """Return the angle of the rotation about its own axis, 0 to 180 degrees."""
        return volumes.rotation_deg(self.ct_to_mr)

    def displacement_mm(self, point_mm: np.ndarray) -> float:
        """Return how far a point (3,) of the CT moves, mm."""
        return float(np.linalg.norm(volumes.transform_points(self.ct_to_mr, point_mm[None]) - point_mm))

    def grid_of(self, pair: HeadPair) -> sitk.Image:
        """Return the fixed image of a pair."""
        return pair.mr.volume if self.fixed == "mr" else pair.ct.volume


@dataclass(frozen=True)
class AlignedPair:
    """Pair on one grid, arrays (D, H, W).

    `ct` in HU, -1024 outside the CT; `mr` 0 outside the MR; `mask` the head; `coverage` where both images have data;
    `ct_head` and `mr_head` the head as found in each image; `ct_filled` and `mr_filled` where a slice is missing and
    its neighbors were interpolated, which is no data. All but the images are bool.
    """

    grid: sitk.Image
    ct: np.ndarray
    mr: np.ndarray
    mask: np.ndarray
    coverage: np.ndarray
    ct_head: np.ndarray
    mr_head: np.ndarray
    ct_filled: np.ndarray
    mr_filled: np.ndarray


@dataclass(frozen=True)
class RegistrationQuality:
    """Quality of a registration: the columns of the same names in data/registered/patients.csv.

    `similarity`: Mattes mutual information in the head, nats. `overlap`: volume where both images show head over that
    of the smaller head. `residual_edge_mm`: distance between the skin in both images, NaN if no slice shows both.
    `spread_mm`: that of the registration, NaN if the images were registered already.
    `rotation_deg`, `translation_mm`: how the registration moves the CT and the center of its head.
    """

    similarity: float
    overlap: float
    residual_edge_mm: float
    spread_mm: float
    rotation_deg: float
    translation_mm: float


def make_pair(
    ct: sitk.Image,
    mr: sitk.Image,
    ct_filled: sitk.Image | None = None,
    mr_filled: sitk.Image | None = None,
) -> HeadPair:
    """Find the heads of a CT (HU) and an MR; padding below -1024 HU becomes air.

    Args:
        ct: The CT.
        mr: The MR.
        ct_filled: On the voxels of the CT, above 0 in slices that were interpolated.
        mr_filled: The same of the MR.

    Raises:
        MaskError: An image shows no head.
    """
    ct = sitk.Clamp(ct, sitk.sitkFloat32, AIR_HU, float(np.finfo(np.float32).max))
    small_ct, small_mr = (volumes.coarsened(volume, WORK_SPACING_MM) for volume in (ct, mr))
    in_ct = masks.head_mask_of_ct(volumes.to_array(small_ct), volumes.spacing_kji_mm(small_ct))
    in_mr = masks.head_mask_of_mr(volumes.to_array(small_mr), volumes.spacing_kji_mm(small_mr))
    return HeadPair(
        Scan(ct, volumes.like(in_ct, small_ct), ct_filled), Scan(mr, volumes.like(in_mr, small_mr), mr_filled)
    )


def register_pair(pair: HeadPair, fixed: Modality) -> RigidRegistration:
    """Register a pair by mutual information, with the named image fixed.

    Raises:
        RegistrationError: The images cannot be registered.
    """
    ct, mr = prepared_heads(pair)
    here, there = (mr, ct) if fixed == "mr" else (ct, mr)
    to_fixed = register_rigid(fixed=here, moving=there)
    to_moving = np.linalg.inv(to_fixed)
    return RigidRegistration(
        ct_to_mr=to_fixed if fixed == "mr" else to_moving,
        fixed=fixed,
        spread_mm=spread_mm(here, there, to_moving),
    )


def prepared_heads(pair: HeadPair) -> tuple[Head, Head]:
    in_ct, in_mr = (volumes.to_array(scan.head) > 0 for scan in (pair.ct, pair.mr))
    ct = ct_head(volumes.coarsened(pair.ct.volume, WORK_SPACING_MM), in_ct)
    mr = mr_head(volumes.coarsened(pair.mr.volume, WORK_SPACING_MM), in_mr)
    return _without_filled(ct, pair.ct), _without_filled(mr, pair.mr)


def _without_filled(head: Head, scan: Scan) -> Head:
    """Take the interpolated slices out of the region whose voxels count; the image keeps them and has no jump."""
    if scan.filled is None:
        return head
    seen = (volumes.to_array(head.region) > 0) & ~_mask_on(head.region, scan.filled, np.eye(4))
    return Head(head.image, volumes.like(seen, head.region))


def align(
    pair: HeadPair, registration: RigidRegistration, source_mask: sitk.Image | None = None
) -> AlignedPair:
    """Resample a pair onto the grid of its fixed image.

    Args:
        pair: The CT and the MR.
        registration: The registration of the pair.
        source_mask: The head mask that came with the source, if any. Otherwise the head is that of the CT where
            the CT has data, since it shows the skin without distortion, and that of the MR elsewhere.
    """
    grid, ct_to_grid, mr_to_grid = (
        registration.grid_of(pair),
        registration.ct_to_grid,
        registration.mr_to_grid,
    )
    ct_filled = pair.ct.filled_on(grid, ct_to_grid)
    mr_filled = pair.mr.filled_on(grid, mr_to_grid)
    has_ct = _data_on(grid, pair.ct.volume, ct_to_grid) & ~ct_filled
    has_mr = _data_on(grid, pair.mr.volume, mr_to_grid) & ~mr_filled
    in_ct = _head_on(grid, pair.ct.head, ct_to_grid)
    in_mr = _head_on(grid, pair.mr.head, mr_to_grid)
    mask = np.where(has_ct, in_ct, in_mr)
    if source_mask is not None:
        mask = _source_mask_on(source_mask, pair, registration)
    return AlignedPair(
        grid=grid,
        ct=_image_on(grid, pair.ct.volume, ct_to_grid, AIR_HU),
        mr=_image_on(grid, pair.mr.volume, mr_to_grid, 0.0),
        mask=mask,
        coverage=has_ct & has_mr,
        ct_head=in_ct,
        mr_head=in_mr,
        ct_filled=ct_filled,
        mr_filled=mr_filled,
    )


def measure(pair: HeadPair, registration: RigidRegistration, aligned: AlignedPair) -> RegistrationQuality:
    """Measure the quality of a registration from the pair before and after alignment."""
    return RegistrationQuality(
        similarity=similarity_nats(aligned),
        overlap=_overlap(aligned, pair),
        residual_edge_mm=outline_distance_mm(
            aligned.ct_head, aligned.mr_head, aligned.coverage, volumes.spacing_kji_mm(aligned.grid)[1:]
        ),
        spread_mm=registration.spread_mm,
        rotation_deg=registration.rotation_deg,
        translation_mm=registration.displacement_mm(volumes.centroid_mm(pair.ct.head)),
    )


def similarity_nats(aligned: AlignedPair) -> float:
    """Compute Mattes mutual information of CT and MR inside the head where both have data."""
    inside = aligned.mask & aligned.coverage
    if not inside.any():
        return 0.0
    return mattes_mutual_information(window_ct(aligned.ct[inside]), window_mr(aligned.mr[inside]))


def _overlap(aligned: AlignedPair, pair: HeadPair) -> float:
    """Compute the volume where both images show head over the smaller of the two heads; 0 to about 1."""
    both = np.count_nonzero(aligned.ct_head & aligned.mr_head & aligned.coverage)
    smaller_mm3 = min(pair.ct.head_volume_mm3(), pair.mr.head_volume_mm3())
    return float(both * volumes.voxel_volume_mm3(aligned.grid) / smaller_mm3)


def _image_on(grid: sitk.Image, volume: sitk.Image, to_grid: np.ndarray, outside: float) -> np.ndarray:
    if volume is grid:
        return volumes.to_array(volume)
    blurred = volumes.match_resolution(volume, volumes.spacing_kji_mm(grid))
    return volumes.to_array(volumes.resample_onto(blurred, grid, to_grid, outside))


def _head_on(grid: sitk.Image, head: sitk.Image, to_grid: np.ndarray) -> np.ndarray:
    smooth = sitk.Cast(head, sitk.sitkFloat32)
    return volumes.to_array(volumes.resample_onto(smooth, grid, to_grid, 0.0)) >= 0.5


def _data_on(grid: sitk.Image, volume: sitk.Image, to_grid: np.ndarray) -> np.ndarray:
    """Find where the volume was measured; a slice of a single value is padding."""
    array = volumes.to_array(volume)
    measured = np.zeros(array.shape, bool)
    measured[np.ptp(array, axis=(1, 2)) > 0] = True
    return _mask_on(grid, volumes.like(measured, volume), to_grid)


def _source_mask_on(mask: sitk.Image, pair: HeadPair, registration: RigidRegistration) -> np.ndarray:
    """Resample the source's mask; it moves with an image if it lies on the grid of that image alone, else it stays."""
    grid, to_grid = registration.grid_of(pair), np.eye(4)
    if not volumes.same_grid(mask, grid):
        if volumes.same_grid(mask, pair.ct.volume):
            to_grid = registration.ct_to_grid
        elif volumes.same_grid(mask, pair.mr.volume):
            to_grid = registration.mr_to_grid
    return _mask_on(grid, mask, to_grid)


def _mask_on(grid: sitk.Image, mask: sitk.Image, to_grid: np.ndarray) -> np.ndarray:
    return volumes.to_array(volumes.resample_onto(mask, grid, to_grid, 0.0, nearest=True)) > 0
