"""How many mm are left between a registered CT and MR, region by region.

The head is cut into eight blocks. Each is moved by itself, without turning, to where the images explain each
other best nearby; how far it moves is what registration left over there (block matching: Ourselin et al.,
Image Vis. Comput. 19:25, 2001, with mutual information in place of correlation). A rigid registration that
went astray ends where the whole head fits best, but its parts do not.
"""

from dataclasses import replace
from itertools import product

import numpy as np

from mrct.imaging.head import Head
from mrct.imaging.refinement import SPACING_MM, Samples, information, sample, top
from mrct.imaging.volumes import affine, transform_points

STEP_MM = 3.0
SHIFTS_MM = STEP_MM * np.array(list(product(range(-3, 4), repeat=3)), float)
MIN_SAMPLES = 1000  # a block with fewer is only a corner
MIN_COVERED = 0.5  # share of a block's samples that the other image must have, at every shift


def residual_mm(fixed: Head, moving: Head, pose: np.ndarray) -> float:
    """Median of the blocks' shifts, 0 to about 16; NaN where no block is covered by both images.

    pose: 4x4, a point of `fixed` to the point of `moving`, LPS mm.
    """
    here, there = sample(fixed.at(SPACING_MM)), sample(moving.at(SPACING_MM))
    lengths = [_shift_mm(block, there, pose) for block in blocks(here, fixed)]
    return float(np.nanmedian(lengths)) if np.isfinite(lengths).any() else float("nan")


def blocks(samples: Samples, head: Head) -> list[Samples]:
    """The samples by octant around the head's middle, along its image's axes; the well filled ones."""
    axes = np.linalg.inv(affine(head.image))
    upper = transform_points(axes, samples.points_mm) > transform_points(axes, head.centroid_mm()[None])
    octant = upper @ (1, 2, 4)
    groups = [octant == number for number in range(8)]
    return [
        replace(samples, points_mm=samples.points_mm[group], values=samples.values[group])
        for group in groups
        if np.count_nonzero(group) >= MIN_SAMPLES
    ]


def _shift_mm(block: Samples, other: Samples, pose: np.ndarray) -> float:
    """Length of the shift that serves the block best, on the grid and then between; NaN if not covered."""
    if covered(block, other, pose) < MIN_COVERED:
        return float("nan")
    scores = np.array([_information_at(block, other, pose, shift) for shift in SHIFTS_MM])
    best = SHIFTS_MM[int(scores.argmax())]
    near = np.abs(SHIFTS_MM - best).max(axis=1) <= STEP_MM
    if np.count_nonzero(near) < 27:
        return float(np.linalg.norm(best))
    return float(np.linalg.norm(best + top(SHIFTS_MM[near] - best, scores[near], STEP_MM / 2)))


def _information_at(block: Samples, other: Samples, pose: np.ndarray, shift_mm: np.ndarray) -> float:
    shifted = np.eye(4)
    shifted[:3, 3] = shift_mm
    return information(block, other, pose @ shifted) * covered(block, other, pose @ shifted)


def covered(one: Samples, other: Samples, pose: np.ndarray) -> float:
    """Share of the points of `one` that `pose` brings into the other image."""
    index = transform_points(other.to_index @ pose, one.points_mm)[:, ::-1]
    return float(((index >= 0) & (index <= np.array(other.array.shape) - 1)).all(axis=1).mean())
