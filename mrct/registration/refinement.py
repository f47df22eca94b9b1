"""The last millimeters of a rigid registration: the top of a paraboloid through the similarity around it.

Mutual information of thick slices is flat and bumpy: 0.5 mm beside its top it has lost a thousandth, and a
descent ends on the nearest bump, another one from each start. A quadratic fitted to values around it (a response
surface: Box and Wilson, J. R. Stat. Soc. B 13:1, 1951) has one top, whatever the start.

Convention: a pose is 4x4, a point of `fixed` to the point of `moving`, LPS mm. A step is six numbers in mm:
rotations about x, y, z through the fixed head's centroid times the head's radius, then shifts.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.spatial.transform import Rotation

from mrct.registration.head import Head
from mrct.registration.views import View, information

BINS = 96  # many narrow ones: what lies together in a wide bin cannot be told apart, and pulls the top aside
ROUNDS = 12


@dataclass(frozen=True)
class Level:
    """One resolution: how far the first and the last paraboloid reach, and the step that ends it."""

    spacing_mm: float
    first_reach_mm: float
    last_reach_mm: float
    converged_mm: float


# wide enough to look over the bumps, and at the end so narrow that the hill's two sides are alike
LEVELS = (Level(4.0, 4.0, 1.0, 0.4), Level(3.0, 0.5, 0.5, 0.1))


def refine(fixed: Head, moving: Head, pose: np.ndarray) -> np.ndarray:
    """The pose, a few mm away, where both images explain each other best."""
    for level in LEVELS:
        pose = _climb(fixed, moving, pose, level)
    return pose


def _climb(fixed: Head, moving: Head, pose: np.ndarray, level: Level) -> np.ndarray:
    here, there = (View.of(head.at(level.spacing_mm), BINS) for head in (fixed, moving))
    center, radius_mm = fixed.centroid_mm(), np.sqrt(fixed.mean_square_radius_mm2())
    reach_mm = level.first_reach_mm
    for _ in range(ROUNDS):
        steps = reach_mm * DESIGN
        scores = [similarity(here, there, moved(pose, step, center, radius_mm)) for step in steps]
        step = top(steps, np.array(scores), reach_mm)
        pose = moved(pose, step, center, radius_mm)
        length_mm = float(np.linalg.norm(step))
        if length_mm < level.converged_mm:
            break
        if length_mm < reach_mm / 2:
            reach_mm = max(reach_mm / 2, level.last_reach_mm)
    return pose


def similarity(fixed: View, moving: View, pose: np.ndarray) -> float:
    """Mean of the mutual information in nats seen from either image: interpolating one of them biases it."""
    return (information(fixed, moving, pose)[0] + information(moving, fixed, np.linalg.inv(pose))[0]) / 2


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
    # along axes on which the fit is no hill, up the steepest as far as allowed
    uphill = slope * (reach / max(float(np.abs(slope).max()), 1e-12))
    along = np.where(curvature < 0, -slope / np.minimum(curvature, -1e-12), uphill)
    step = axes @ np.clip(along, -reach, reach)
    return step * min(1.0, reach / max(float(np.linalg.norm(step)), 1e-12))


def _design() -> np.ndarray:
    """(44, 6) steps: each axis both ways, and half of a cube's corners (central composite design, ibid.).

    Every pair of axes meets four ways alike among the corners; they are drawn in to 1.4 times the axes' length.
    """
    corners = np.array([(*signs, np.prod(signs)) for signs in product((-1.0, 1.0), repeat=5)])
    return np.concatenate([np.eye(6), -np.eye(6), corners * 1.4 / np.sqrt(6)])


DESIGN = _design()
