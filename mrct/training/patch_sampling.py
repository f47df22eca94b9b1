"""Sampling of patches from a volume: their places, their rotations, and their voxels interpolated from the slices.

Convention: points are indices (k, j, i) of a volume (D, H, W). The voxels of a patch lie a pixel apart along j and i.
Along k their distance is as near to `resample_slices_mm` as whole numbers allow (mrct/networks/whole_volume.py).
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mrct.core.errors import DataError
from mrct.networks.whole_volume import slice_ratio
from mrct.training.dataset import Patient
from mrct.training.settings import Augmentation

#: Random numbers of a patch's place and motion: its first voxel, three angles, scale, flip.
PLACE_DRAWS = 8


@dataclass(frozen=True)
class Places:
    """Places where the patches of a volume may begin: `count` along each axis, `apart` indices apart, from `first` on.

    `step`: indices from voxel to voxel of a patch; `spacing_mm`: of the volume. All by axis.
    """

    first: Tensor
    count: Tensor
    apart: Tensor
    step: Tensor
    spacing_mm: Tensor


def find_places(
    patient: Patient, side: int, slice_spacing_mm: float, pixel_spacing_mm: float, resample_slices_mm: float
) -> Places:
    """Find the cubes of `side` voxels in the longest stretch of complete slices, with centers in the head's box.

    The stretch begins and ends at paired slices, or at an incomplete slice between them.

    Raises:
        DataError: None fits; the text names the patient's pseudonym and what to change.
    """
    parts, every = slice_ratio(slice_spacing_mm, resample_slices_mm)
    begin, end = _longest_stretch(patient)
    n_slices = end - begin + 1
    require_fit(patient, n_slices, (n_slices - 1) * parts // every + 1, side, slice_spacing_mm)
    apart = np.array([1 / parts, 1, 1])
    step = np.array([every / parts, 1, 1])
    low = np.array([begin, 0, 0])
    high = np.array([end, *(length - 1 for length in patient.mask.shape[1:])]) - (side - 1) * step
    head = [np.flatnonzero(np.asarray(patient.mask).any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    box = np.array([(inside[0], inside[-1]) if inside.size else (0, np.inf) for inside in head]).T
    first, last = (np.clip(edge - (side - 1) / 2 * step, low, high) for edge in box)
    first = low + np.ceil((first - low) / apart - 1e-6) * apart  # onto the slices and the steps between them
    count = np.maximum(np.floor((last - first) / apart + 1e-6) + 1, 1)
    spacing_mm = np.array([slice_spacing_mm, pixel_spacing_mm, pixel_spacing_mm])
    return Places(*(torch.from_numpy(values) for values in (first, count, apart, step, spacing_mm)))


def _longest_stretch(patient: Patient) -> tuple[int, int]:
    """Return the first and last slice of the longest stretch without an incomplete one; the first of equal ones."""
    valid = np.flatnonzero(patient.valid)
    ends = [int(valid[0]) - 1, *patient.incomplete, int(valid[-1]) + 1]
    before, after = max(pairwise(ends), key=lambda pair: pair[1] - pair[0])
    return before + 1, after - 1


def require_fit(patient: Patient, n_slices: int, n_steps: int, side: int, slice_spacing_mm: float) -> None:
    """Raise DataError unless a volume of `n_slices`, resampled to `n_steps`, holds a cube of `side` voxels."""
    height, width = patient.mask.shape[1:]
    if min(n_steps, height, width) < side:
        raise DataError(
            f"{patient.name}: {n_slices} slices {slice_spacing_mm:g} mm apart, resampled to {n_steps}, of {height} x "
            f"{width} pixels; a patch has {side} voxels per side: take a smaller patch, a smaller resample_slices_mm, "
            "or a method that works by slices (unet, pix2pix)"
        )


def patch_points(places: Places, made: int, seen: int, draws: Tensor, settings: Augmentation) -> Tensor:
    """Turn draws (8,) in [-1, 1) into points (3, seen, seen, seen), float64, around a random cube of `made` voxels."""
    draws = draws.double()
    begin = places.first + ((draws[:3] + 1) / 2 * places.count).floor() * places.apart
    center = begin + (made - 1) / 2 * places.step
    offset = torch.arange(seen, dtype=torch.float64) - (seen - 1) / 2
    offsets_mm = torch.stack(torch.meshgrid(offset, offset, offset, indexing="ij"), -1) * (
        places.step * places.spacing_mm
    )
    moved_mm = offsets_mm @ motion(draws[3:], settings).T
    return (center + moved_mm / places.spacing_mm).movedim(-1, 0)


def motion(draws: Tensor, settings: Augmentation) -> Tensor:
    """Turn draws (5,) into a matrix (3, 3) in (k, j, i): a rotation about each axis, a scale, perhaps a flip."""
    matrix = torch.eye(3, dtype=torch.float64) * (1 + draws[3] * settings.scale)
    for axis in range(3):
        angle = torch.deg2rad(draws[axis] * settings.rotation_deg)
        a, b = (other for other in range(3) if other != axis)
        turn = torch.eye(3, dtype=torch.float64)
        turn[a, a] = turn[b, b] = torch.cos(angle)
        turn[a, b], turn[b, a] = -torch.sin(angle), torch.sin(angle)
        matrix = turn @ matrix
    if settings.flip and draws[4] < 0:
        matrix[:, 2] *= -1
    return matrix


def sample(volume: np.ndarray, points: Tensor) -> Tensor:
    """Interpolate (D, H, W) linearly at points (3, d, h, w): (d, h, w) float32.

    Points outside are reflected at the first and last voxel. Only the box around the points is read.
    """
    inside = torch.stack([_reflect(axis, length) for axis, length in zip(points, volume.shape, strict=True)])
    low, high = inside.amin((1, 2, 3)).floor(), inside.amax((1, 2, 3)).ceil()
    box = tuple(slice(int(a), int(b) + 1) for a, b in zip(low, high, strict=True))
    read = torch.from_numpy(np.array(volume[box], np.float32))
    last = torch.tensor(read.shape, dtype=torch.float64).sub(1).clamp(min=1).view(3, 1, 1, 1)
    grid = ((inside - low.view(3, 1, 1, 1)) * 2 / last - 1).float()
    grid = grid.flip(0).movedim(0, -1)  # grid_sample's points are (i, j, k)
    return functional.grid_sample(read[None, None], grid[None], padding_mode="border", align_corners=True)[
        0, 0
    ]


def _reflect(index: Tensor, length: int) -> Tensor:
    if length == 1:
        return torch.zeros_like(index)
    folded = index.remainder(2 * (length - 1))
    return torch.minimum(folded, 2 * (length - 1) - folded)
