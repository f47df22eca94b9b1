"""A registered pair on one grid: CT, MR, head mask and coverage, and how well they agree.

The fixed image keeps its voxels. The moving one is blurred to the fixed one's resolution where it is
finer, and resampled.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import SimpleITK as sitk

from mrct.imaging import masks, volumes
from mrct.registration import residual
from mrct.registration.head import Head, ct_head, mr_head, window_ct, window_mr
from mrct.registration.registration import register_rigid
from mrct.registration.similarity import mutual_information_nats

AIR_HU = -1024.0
WORK_SPACING_MM = 1.0  # masks and registration need no finer pixels
Modality = Literal["ct", "mr"]


@dataclass(frozen=True)
class Pair:
    """CT (HU) and MR of one head; `heads` are uint8 masks in each one's own space, about 1 mm pixels."""

    ct: sitk.Image
    mr: sitk.Image
    heads: dict[Modality, sitk.Image]


@dataclass(frozen=True)
class Aligned:
    """(D, H, W) arrays on the fixed image's grid; ct in HU, mask, coverage and both_heads bool."""

    grid: sitk.Image
    ct: np.ndarray
    mr: np.ndarray
    mask: np.ndarray
    coverage: np.ndarray
    both_heads: np.ndarray


def make_pair(ct: sitk.Image, mr: sitk.Image) -> Pair:
    """The pair with its heads found, padding under -1024 HU as air; MaskError if one shows no head."""
    ct = sitk.Clamp(ct, sitk.sitkFloat32, AIR_HU, float(np.finfo(np.float32).max))
    small_ct, small_mr = (volumes.coarsened(volume, WORK_SPACING_MM) for volume in (ct, mr))
    in_ct = masks.head_mask_of_ct(volumes.to_array(small_ct), volumes.spacing_kji_mm(small_ct))
    in_mr = masks.head_mask_of_mr(volumes.to_array(small_mr), volumes.spacing_kji_mm(small_mr))
    return Pair(ct, mr, {"ct": volumes.like(in_ct, small_ct), "mr": volumes.like(in_mr, small_mr)})


def register_pair(pair: Pair, fixed: Modality) -> np.ndarray:
    """ct_to_mr, 4x4 LPS mm, with the named image fixed."""
    ct, mr = _heads_of(pair)
    if fixed == "mr":
        return register_rigid(fixed=mr, moving=ct)
    return np.linalg.inv(register_rigid(fixed=ct, moving=mr))


def _heads_of(pair: Pair) -> tuple[Head, Head]:
    ct = ct_head(volumes.coarsened(pair.ct, WORK_SPACING_MM), volumes.to_array(pair.heads["ct"]) > 0)
    mr = mr_head(volumes.coarsened(pair.mr, WORK_SPACING_MM), volumes.to_array(pair.heads["mr"]) > 0)
    return ct, mr


def align(
    pair: Pair,
    ct_to_mr: np.ndarray,
    fixed: Modality,
    drawn: sitk.Image | None = None,
) -> Aligned:
    """Everything on the grid of the fixed image.

    drawn: a head mask that came with the source; it replaces the one found here, which is the CT's where
    the CT has data (it shows the skin without distortion) and the MR's where the CT ends.
    """
    grid = pair.mr if fixed == "mr" else pair.ct
    reads = reading(ct_to_mr, fixed)
    has_ct, has_mr = (_data_on(grid, getattr(pair, name), reads[name]) for name in ("ct", "mr"))
    in_ct, in_mr = (_head_on(grid, pair.heads[name], reads[name]) for name in ("ct", "mr"))
    return Aligned(
        grid=grid,
        ct=_image_on(grid, pair.ct, reads["ct"], AIR_HU),
        mr=_image_on(grid, pair.mr, reads["mr"], 0.0),
        mask=np.where(has_ct, in_ct, in_mr) if drawn is None else _drawn_on(grid, drawn, pair, reads),
        coverage=has_ct & has_mr,
        both_heads=in_ct & in_mr & has_ct & has_mr,
    )


def similarity_nats(aligned: Aligned) -> float:
    """Mattes mutual information of CT and MR inside the head where both have data."""
    inside = aligned.mask & aligned.coverage
    if not inside.any():
        return 0.0
    return mutual_information_nats(window_ct(aligned.ct[inside]), window_mr(aligned.mr[inside]))


def overlap(aligned: Aligned, pair: Pair) -> float:
    """Volume where both images show head, over the smaller of the two heads; 0 to about 1."""
    both = np.count_nonzero(aligned.both_heads) * volumes.voxel_volume_mm3(aligned.grid)
    return float(both / min(_volume_mm3(head) for head in pair.heads.values()))


def residual_edge_mm(aligned: Aligned, pair: Pair, ct_to_mr: np.ndarray, fixed: Modality) -> float:
    """How far apart the skin lies in CT and MR; NaN where no slice shows it in both."""
    reads = reading(ct_to_mr, fixed)
    in_ct, in_mr = (_head_on(aligned.grid, pair.heads[name], reads[name]) for name in ("ct", "mr"))
    pixel_mm = volumes.spacing_kji_mm(aligned.grid)[1:]
    return residual.outline_distance_mm(in_ct, in_mr, aligned.coverage, pixel_mm)


def _volume_mm3(mask: sitk.Image) -> float:
    return np.count_nonzero(volumes.to_array(mask)) * volumes.voxel_volume_mm3(mask)


def displacement_mm(pair: Pair, ct_to_mr: np.ndarray) -> float:
    """How far the transform moves the center of the CT's head."""
    k, j, i = np.nonzero(volumes.to_array(pair.heads["ct"]))
    center = volumes.transform_points(
        volumes.affine(pair.heads["ct"]), np.array([[i.mean(), j.mean(), k.mean()]])
    )
    return float(np.linalg.norm(volumes.transform_points(ct_to_mr, center) - center))


def _moves(ct_to_mr: np.ndarray, fixed: Modality) -> dict[Modality, np.ndarray]:
    """4x4 for each image: its points to the fixed image's."""
    if fixed == "mr":
        return {"ct": ct_to_mr, "mr": np.eye(4)}
    return {"ct": np.eye(4), "mr": np.linalg.inv(ct_to_mr)}


def reading(ct_to_mr: np.ndarray, fixed: Modality) -> dict[Modality, sitk.Transform]:
    """For each image the transform of a point of the grid to the point of the image that belongs there."""
    moves = _moves(ct_to_mr, fixed)
    return {name: volumes.to_transform(np.linalg.inv(move)) for name, move in moves.items()}


def _resampled(
    volume: sitk.Image, grid: sitk.Image, read: sitk.Transform, outside: float, nearest: bool = False
) -> np.ndarray:
    """As volumes.resample_onto, through any transform."""
    how = sitk.sitkNearestNeighbor if nearest else sitk.sitkLinear
    return volumes.to_array(sitk.Resample(volume, grid, read, how, outside, volume.GetPixelID()))


def _image_on(grid: sitk.Image, volume: sitk.Image, read: sitk.Transform, outside: float) -> np.ndarray:
    if volume is grid:
        return volumes.to_array(volume)
    blurred = volumes.match_resolution(volume, volumes.spacing_kji_mm(grid))
    return _resampled(blurred, grid, read, outside)


def _head_on(grid: sitk.Image, head: sitk.Image, read: sitk.Transform) -> np.ndarray:
    smooth = sitk.Cast(head, sitk.sitkFloat32)
    return _resampled(smooth, grid, read, 0.0) >= 0.5


def _data_on(grid: sitk.Image, volume: sitk.Image, read: sitk.Transform) -> np.ndarray:
    """Where the volume was measured; a slice of one single value is padding."""
    array = volumes.to_array(volume)
    measured = np.zeros(array.shape, bool)
    measured[np.ptp(array, axis=(1, 2)) > 0] = True
    return _resampled(volumes.like(measured, volume), grid, read, 0.0, nearest=True) > 0


def _drawn_on(
    grid: sitk.Image, drawn: sitk.Image, pair: Pair, reads: dict[Modality, sitk.Transform]
) -> np.ndarray:
    """The source's mask; it moves with the image on whose grid alone it was drawn, else it stays."""
    read: sitk.Transform = volumes.to_transform(np.eye(4))
    if not volumes.same_grid(drawn, grid):
        if volumes.same_grid(drawn, pair.ct):
            read = reads["ct"]
        elif volumes.same_grid(drawn, pair.mr):
            read = reads["mr"]
    return _resampled(drawn, grid, read, 0.0, nearest=True) > 0
