"""Confidence of a rigid registration: where other starts and parts of the head lead.

The head is cut in two at its middle, once across each axis. Each of the six halves is registered alone by the coarse
level of the refinement (`rigid.climb`), from a start of its own that lies `START_MM` from the result. Where the images
determine one alignment, the six ends meet at the result. Where they do not (noise, few landmarks, a symmetric object),
or where the search ended beside the alignment, they lie apart from it. docs/decisions/registration.md has the error
rates.
"""

from itertools import product

import numpy as np

from mrct.imaging.volumes import affine, to_array, transform_points
from mrct.registration.head import BinnedHead, Head, sampled
from mrct.registration.rigid import LEVELS, REFINEMENT_BINS, Pivot, climb, moved

LEVEL = LEVELS[0]
# 3.3 mm along each of the six axes of a pose, outside the first paraboloid and less than a search is off
START_MM = 8.0
# six corners of a cube (rotations, then shifts) in different directions
STARTS = (
    START_MM
    / np.sqrt(6)
    * np.array(
        [
            (1, 1, 1, 1, 1, 1),
            (-1, -1, 1, -1, 1, -1),
            (1, -1, -1, 1, -1, 1),
            (-1, 1, -1, -1, -1, 1),
            (1, -1, 1, -1, 1, -1),
            (-1, 1, 1, 1, -1, -1),
        ]
    )
)
# a half ends within a few steps of 4 mm, or it has no clear end
ROUNDS = 8


def spread_mm(fixed: Head, moving: Head, pose: np.ndarray) -> float:
    """Compute how far the ends of the six halves lie from the result.

    Args:
        fixed: The head whose grid is kept.
        moving: The other head.
        pose: 4x4, a point of `fixed` to the point of `moving`, LPS mm; the result of the registration.

    Returns:
        The median over the halves of the mean distance between the place that a half and the place that the result
        gives a voxel, over the voxels of the whole head; mm.
    """
    return float(np.median(half_distances_mm(fixed, moving, pose)))


def half_distances_mm(fixed: Head, moving: Head, pose: np.ndarray) -> np.ndarray:
    """Compute the mean distance over the head of the end of each half from a pose: (6,), mm, two per axis x, y, z.

    A half that holds no voxel of one of the two heads stays at its start.
    """
    here, there, pivot = fixed.at(LEVEL.spacing_mm), moving.at(LEVEL.spacing_mm), Pivot.of(fixed)
    back, whole = np.linalg.inv(pose), _binned(here)
    places, others = _places_mm(here), transform_points(back, _places_mm(there))
    voxels = places[to_array(here.region) > 0]
    covered = sampled(whole, _binned(there), pose)[0]
    middle = np.median(voxels[covered] if covered.any() else voxels, axis=0)
    distances = []
    for start, (axis, upper) in zip(STARTS, product(range(3), (False, True)), strict=True):
        end = moved(pose, start, *pivot)
        one, other = (
            head.part((points[..., axis] > middle[axis]) == upper)
            for head, points in ((here, places), (there, others))
        )
        if one.n_voxels() and other.n_voxels():
            end = climb(_binned(one), _binned(other), end, pivot, LEVEL, ROUNDS)
        distances.append(np.linalg.norm(transform_points(back @ end, voxels) - voxels, axis=1).mean())
    return np.array(distances)


def _binned(head: Head) -> BinnedHead:
    return BinnedHead.of(head, REFINEMENT_BINS)


def _places_mm(head: Head) -> np.ndarray:
    """Return the places (D, H, W, 3) of all voxels, LPS mm."""
    size = head.image.GetSize()[::-1]
    index = np.moveaxis(np.indices(size), 0, -1)[..., ::-1].astype(float)
    return transform_points(affine(head.image), index.reshape(-1, 3)).reshape(*size, 3)
