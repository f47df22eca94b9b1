"""Rigid registration of two heads of different modality by mutual information.

1. `_search`: a grid of poses from the centroids of the heads, then gradient descent on Mattes mutual information from
   the best ones. It ends within a few mm, from any start.
2. `_refine`: paraboloids fitted to the mutual information around the pose (a response surface: Box and Wilson,
   J. R. Stat. Soc. B 13:1, 1951), until their maxima no longer move. The mutual information of thick slices has many
   small local maxima, in which a descent would end; a fitted paraboloid has one maximum
   (docs/decisions/registration.md).

Conventions: a pose is 4x4, a point of `fixed` to the point of `moving`, LPS mm. A step is six numbers in mm: rotations
about x, y, z through the centroid of the fixed head times the radius of the head, then shifts. The result is
deterministic: fixed seeds, one ITK thread for the sums. Volumes are blurred and resampled here, as ITK's own pyramid
fails on few slices.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from mrct.imaging.volumes import to_matrix, transform_points
from mrct.registration.head import BinnedHead, Head, RegistrationError, information

# with fewer slices a rotation and a tilt look alike
MIN_SLICES = 4

SEARCH_SPACING_MM = 8.0
SEARCH_BINS = 32
GRID_ANGLES_DEG = (-24.0, 0.0, 24.0)
GRID_SHIFTS_MM = (-60.0, -40.0, -20.0, 0.0, 20.0, 40.0, 60.0)
# poses of the grid from which a descent starts
STARTS = 6
# A wrong patient position (feet first, prone) in one header turns the volume by half a turn. A half turn is accepted
# only if its score is clearly higher, since a head is roughly symmetric.
HALF_TURNS = [np.diag(signs) for signs in ((1.0, 1, 1), (1.0, -1, -1), (-1.0, 1, -1), (-1.0, -1, 1))]
HALF_TURN_GAIN = 1.2
FIRST_STEP_MM, LAST_STEP_MM, ITERATIONS = 4.0, 0.1, 60
MAX_SAMPLES = 30_000
SEED = 20
ORTHOGONALITY = 1e-6

# many narrow bins: values that share a wide bin cannot be told apart, which shifts the optimum
REFINEMENT_BINS = 96
# a head that lacks a part starts up to 40 mm off; most end after less than 12
ROUNDS = 40


@dataclass(frozen=True)
class Level:
    """Resolution of the refinement: reach of the first and the last paraboloid, and the step that ends it."""

    spacing_mm: float
    first_reach_mm: float
    last_reach_mm: float
    converged_mm: float


# wide enough to average over local maxima, at the end so narrow that the peak is symmetric
LEVELS = (Level(4.0, 4.0, 1.0, 0.4), Level(3.0, 0.5, 0.5, 0.1))


def register_rigid(fixed: Head, moving: Head) -> np.ndarray:
    """Find the pose of two heads; both are treated alike, whichever is fixed.

    Returns:
        4x4, a point of the moving volume to the point of the fixed one, LPS mm.

    Raises:
        RegistrationError: A volume has too few slices, or the images cease to overlap during the search.
    """
    for head, name in ((fixed, "fixed"), (moving, "moving")):
        slices = head.image.GetSize()[2]
        if slices < MIN_SLICES:
            raise RegistrationError(
                f"the {name} volume has {slices} slices, rigid registration needs {MIN_SLICES} or more; "
                "set register.method to none if the source is registered already"
            )
    return np.linalg.inv(_refine(fixed, moving, _search(fixed, moving)))


class _Scored(NamedTuple):
    """Pose with its score (`_score`)."""

    score: float
    pose: np.ndarray


def _search(fixed: Head, moving: Head) -> np.ndarray:
    """Find the pose with the highest score, with the axes as stored or half a turn off."""
    with _one_thread():
        here, there = fixed.at(SEARCH_SPACING_MM), moving.at(SEARCH_SPACING_MM)
        binned = BinnedHead.of(here, SEARCH_BINS), BinnedHead.of(there, SEARCH_BINS)
        center, target = fixed.centroid_mm(), moving.centroid_mm()
        as_stored, *turned = (_grid(*binned, turn, center, target) for turn in HALF_TURNS)
        best = _descended(here, there, binned, as_stored[:STARTS])
        for starts in turned:
            # a true half turn already has the higher score on the grid, and descents take most of the time
            if starts[0].score >= as_stored[0].score:
                other = _descended(here, there, binned, starts[:STARTS])
                best = other if other.score > HALF_TURN_GAIN * best.score else best
        return best.pose


@contextmanager
def _one_thread() -> Iterator[None]:
    """Set ITK's global number of threads to one: its metric sums per thread, and rounds differently with more."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def _grid(
    fixed: BinnedHead, moving: BinnedHead, turn: np.ndarray, center: np.ndarray, target: np.ndarray
) -> list[_Scored]:
    """Score the rotations of a grid, each with its best shift along the body; best first.

    There is one start per rotation, since the best poses of the whole grid are often one rotation with neighboring
    shifts.
    """
    starts = []
    for angles in product(GRID_ANGLES_DEG, repeat=3):
        rotation = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ turn
        poses = [_about(rotation, center, target + np.array([0.0, 0.0, shift])) for shift in GRID_SHIFTS_MM]
        starts.append(_best([_Scored(_score(fixed, moving, pose), pose) for pose in poses]))
    return sorted(starts, key=lambda start: -start.score)


def _descended(
    fixed: Head, moving: Head, binned: tuple[BinnedHead, BinnedHead], starts: list[_Scored]
) -> _Scored:
    poses = [_descend(fixed, moving, start.pose) for start in starts]
    return _best([_Scored(_score(*binned, pose), pose) for pose in poses])


def _best(found: list[_Scored]) -> _Scored:
    return max(found, key=lambda one: one.score)


def _about(rotation: np.ndarray, center_mm: np.ndarray, image_mm: np.ndarray) -> np.ndarray:
    """Return the 4x4 matrix with this rotation that maps `center_mm` to `image_mm`."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = image_mm - rotation @ center_mm
    return matrix


def _score(fixed: BinnedHead, moving: BinnedHead, pose: np.ndarray) -> float:
    """Compute mutual information in nats times the share of the fixed head that the moving volume covers.

    Mutual information alone grows as the overlap shrinks to a few similar voxels.
    """
    nats, covered = information(fixed, moving, pose)
    return nats * covered


def _descend(fixed: Head, moving: Head, start: np.ndarray) -> np.ndarray:
    """Descend on Mattes mutual information over jittered samples of the fixed head and its rim."""
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(SEARCH_BINS)
    # ITK's default gradient is blurred by the coarsest spacing, that of the slices, and misses the optimum
    method.MetricUseMovingImageGradientFilterOff()
    method.MetricUseFixedImageGradientFilterOff()
    method.SetMetricFixedMask(fixed.region)
    # regular samples are jittered by ITK, which avoids artifacts where the grids coincide
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(min(1.0, MAX_SAMPLES / fixed.n_voxels()), SEED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        FIRST_STEP_MM, LAST_STEP_MM, ITERATIONS, gradientMagnitudeTolerance=1e-9
    )
    method.SetOptimizerScales([fixed.mean_square_radius_mm2()] * 3 + [1.0] * 3)
    pose = _euler(start, fixed.centroid_mm())
    method.SetInitialTransform(pose, inPlace=True)
    try:
        method.Execute(fixed.image, moving.image)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise RegistrationError(f"the images ceased to overlap during registration ({reason})") from None
    return to_matrix(pose)


def _euler(matrix: np.ndarray, center_mm: np.ndarray) -> sitk.Euler3DTransform:
    """Return the point mapping of a rigid 4x4 matrix as a transform that rotates about `center_mm`."""
    pose = sitk.Euler3DTransform()
    pose.SetCenter(center_mm.tolist())
    pose.SetMatrix(matrix[:3, :3].ravel().tolist(), ORTHOGONALITY)
    pose.SetTranslation((transform_points(matrix, center_mm[None])[0] - center_mm).tolist())
    return pose


def _refine(fixed: Head, moving: Head, pose: np.ndarray) -> np.ndarray:
    """Find the pose with the highest mutual information within a few mm."""
    for level in LEVELS:
        here, there = (BinnedHead.of(head.at(level.spacing_mm), REFINEMENT_BINS) for head in (fixed, moving))
        pose = climb(here, there, pose, Pivot.of(fixed), level)
    return pose


class Pivot(NamedTuple):
    """Center about which a head is rotated, (3,) LPS mm, and the radius that converts angles to mm."""

    center_mm: np.ndarray
    radius_mm: float

    @classmethod
    def of(cls, head: Head) -> "Pivot":
        """Take the centroid and the radius of a head."""
        return cls(head.centroid_mm(), float(np.sqrt(head.mean_square_radius_mm2())))


def climb(
    fixed: BinnedHead, moving: BinnedHead, pose: np.ndarray, pivot: Pivot, level: Level, rounds: int = ROUNDS
) -> np.ndarray:
    """Find the pose with the highest mutual information by paraboloids, as far as `rounds` of them lead."""
    reach_mm = level.first_reach_mm
    for _ in range(rounds):
        steps = reach_mm * DESIGN
        scores = [similarity(fixed, moving, moved(pose, step, *pivot)) for step in steps]
        step = quadratic_maximum(steps, np.array(scores), reach_mm)
        pose = moved(pose, step, *pivot)
        length_mm = float(np.linalg.norm(step))
        if length_mm < level.converged_mm:
            break
        if length_mm < reach_mm / 2:
            reach_mm = max(reach_mm / 2, level.last_reach_mm)
    return pose


def similarity(fixed: BinnedHead, moving: BinnedHead, pose: np.ndarray) -> float:
    """Average the mutual information in nats with either image interpolated; interpolating only one is biased."""
    return (information(fixed, moving, pose)[0] + information(moving, fixed, np.linalg.inv(pose))[0]) / 2


def moved(pose: np.ndarray, step: np.ndarray, center_mm: np.ndarray, radius_mm: float) -> np.ndarray:
    """Return the pose after a step (6,) of the fixed head about its center."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(step[:3] / radius_mm).as_matrix()
    matrix[:3, 3] = center_mm + step[3:] - matrix[:3, :3] @ center_mm
    return pose @ matrix


def quadratic_maximum(steps: np.ndarray, scores: np.ndarray, reach: float) -> np.ndarray:
    """Find the maximum (n,) within `reach` of the quadratic that is fitted to the scores (m,) at the steps (m, n)."""
    n = steps.shape[1]
    rows, columns = np.triu_indices(n)
    terms = np.column_stack([np.ones(len(steps)), steps, steps[:, rows] * steps[:, columns]])
    fit = np.linalg.lstsq(terms, scores, rcond=None)[0]
    upper = np.zeros((n, n))
    upper[rows, columns] = fit[n + 1 :]
    curvature, axes = np.linalg.eigh(upper + upper.T)
    slope = axes.T @ fit[1 : n + 1]
    # where the fit has no maximum: up the steepest axis as far as `reach` allows
    uphill = slope * (reach / max(float(np.abs(slope).max()), 1e-12))
    along = np.where(curvature < 0, -slope / np.minimum(curvature, -1e-12), uphill)
    step = axes @ np.clip(along, -reach, reach)
    return step * min(1.0, reach / max(float(np.linalg.norm(step)), 1e-12))


def _central_composite_design() -> np.ndarray:
    """Return (44, 6) steps: each axis both ways, and half of the corners of a cube (Box and Wilson 1951).

    Among the corners each pair of axes meets four ways equally often. They lie at 1.4 times the length of the axes.
    """
    corners = np.array([(*signs, np.prod(signs)) for signs in product((-1.0, 1.0), repeat=5)])
    return np.concatenate([np.eye(6), -np.eye(6), corners * 1.4 / np.sqrt(6)])


DESIGN = _central_composite_design()
