"""The last millimeter of a rigid registration: the top of a paraboloid through the similarity around it.

Mutual information of thick slices is flat and bumpy: 0.5 mm beside its top it has lost a thousandth, and a
descent ends on the nearest bump, another one from each start. A quadratic fitted to values around it (a response
surface: Box and Wilson, J. R. Stat. Soc. B 13:1, 1951) has one top, whatever the start.

Convention: a pose is 4x4, a point of `fixed` to the point of `moving`, LPS mm. A step is six numbers in mm:
rotations about x, y, z through the fixed head's centroid times the head's radius, then shifts.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from mrct.imaging.head import Head
from mrct.imaging.similarity import mutual_information_nats
from mrct.imaging.volumes import affine, to_array, transform_points

SPACING_MM = 2.0
SAMPLES = 60_000
BINS = 64
SEED = 20
# wide enough to look over the bumps, and at the end so narrow that the hill's two sides are alike
FIRST_REACH_MM, LAST_REACH_MM = 2.0, 0.5
CONVERGED_MM = 0.04
ROUNDS = 16


@dataclass(frozen=True)
class Samples:
    """Jittered points of a head's region with its values there, and what reads the values of another."""

    points_mm: np.ndarray
    values: np.ndarray
    array: np.ndarray
    to_index: np.ndarray


def refine(fixed: Head, moving: Head, pose: np.ndarray) -> np.ndarray:
    """The pose, at most a few mm away, where both images explain each other best."""
    here, there = (sample(head.at(SPACING_MM)) for head in (fixed, moving))
    center, radius_mm = fixed.centroid_mm(), np.sqrt(fixed.mean_square_radius_mm2())
    reach_mm = FIRST_REACH_MM
    for _ in range(ROUNDS):
        steps = reach_mm * _design()
        scores = [similarity(here, there, moved(pose, step, center, radius_mm)) for step in steps]
        step = top(steps, np.array(scores), reach_mm)
        pose = moved(pose, step, center, radius_mm)
        length_mm = float(np.linalg.norm(step))
        if length_mm < CONVERGED_MM:
            break
        if length_mm < reach_mm / 2:
            reach_mm = max(reach_mm / 2, LAST_REACH_MM)
    return pose


def sample(head: Head) -> Samples:
    """About SAMPLES voxels of the region, evenly spread, each at a random place within itself.

    The jitter keeps the sum from favoring poses that bring grid points onto grid points. It is drawn for
    the whole grid, so that a voxel more or less at the region's edge leaves all other samples as they are.
    """
    array, region, to_mm = to_array(head.image), to_array(head.region) > 0, affine(head.image)
    rng = np.random.default_rng(SEED)
    jitter = rng.uniform(-0.5, 0.5, (*region.shape, 3))
    chosen = region & (rng.uniform(size=region.shape) < SAMPLES / max(1, int(np.count_nonzero(region))))
    places = np.argwhere(chosen) + jitter[chosen]
    values = ndimage.map_coordinates(array, places.T, order=1, mode="nearest")
    return Samples(transform_points(to_mm, places[:, ::-1]), values, array, np.linalg.inv(to_mm))


def similarity(fixed: Samples, moving: Samples, pose: np.ndarray) -> float:
    """Mean of the mutual information in nats seen from either image: interpolating one of them biases it."""
    return (information(fixed, moving, pose) + information(moving, fixed, np.linalg.inv(pose))) / 2


def information(one: Samples, other: Samples, pose: np.ndarray) -> float:
    """Mutual information in nats of the points of `one` that `pose` brings into `other`."""
    index = transform_points(other.to_index @ pose, one.points_mm)[:, ::-1].T
    last = np.array(other.array.shape)[:, None] - 1
    inside = ((index >= 0) & (index <= last)).all(axis=0)
    values = ndimage.map_coordinates(other.array, index[:, inside], order=1, mode="nearest")
    return mutual_information_nats(one.values[inside], values, BINS)


def moved(pose: np.ndarray, step: np.ndarray, center_mm: np.ndarray, radius_mm: float) -> np.ndarray:
    """The pose after a step of the fixed head about its center."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(step[:3] / radius_mm).as_matrix()
    matrix[:3, 3] = center_mm + step[3:] - matrix[:3, :3] @ center_mm
    return pose @ matrix


def top(steps: np.ndarray, scores: np.ndarray, reach: float) -> np.ndarray:
    """(n,) maximum within `reach` of the quadratic fitted to scores at steps (m, n)."""
    n = steps.shape[1]
    rows, columns = np.triu_indices(n)
    terms = np.column_stack([np.ones(len(steps)), steps, steps[:, rows] * steps[:, columns]])
    fit = np.linalg.lstsq(terms, scores, rcond=None)[0]
    upper = np.zeros((n, n))
    upper[rows, columns] = fit[n + 1 :]
    curvature, axes = np.linalg.eigh(upper + upper.T)
    slope = axes.T @ fit[1 : n + 1]
    # along an axis on which the fit is no hill, uphill as far as allowed
    along = np.where(curvature < 0, -slope / np.minimum(curvature, -1e-12), np.sign(slope) * reach)
    step = axes @ np.clip(along, -reach, reach)
    return step * min(1.0, reach / max(float(np.linalg.norm(step)), 1e-12))


def _design() -> np.ndarray:
    """(72, 6) steps: each axis both ways, and each pair of axes all four ways; opposites cancel bumps."""
    axes = np.eye(6)
    pairs = [axes[i] + sign * axes[j] for i in range(6) for j in range(i) for sign in (1, -1)]
    half = np.concatenate([axes, pairs])
    return np.concatenate([half, -half])
