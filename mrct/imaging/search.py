"""The rigid pose of two heads from any start, to about 1 mm: a grid of poses, then gradient descent.

Convention: a pose is 4x4, a point of `fixed` to the point of `moving`, LPS mm. The volumes are blurred and
resampled here, not by ITK's own pyramid, which fails on few slices.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product

import numpy as np
import SimpleITK as sitk  # noqa: N813
from scipy.spatial.transform import Rotation

from mrct.imaging.head import Head, RegistrationError
from mrct.imaging.similarity import mutual_information_nats
from mrct.imaging.volumes import to_array, to_matrix, to_transform, transform_points

BINS = 32
SEED = 20
ORTHOGONALITY = 1e-6
GRID_ANGLES_DEG = (-24.0, 0.0, 24.0)
GRID_SHIFTS_MM = (-60.0, -40.0, -20.0, 0.0, 20.0, 40.0, 60.0)
STARTS = 6
# a wrong patient position (feet first, prone) in one header turns the volume by half a turn; it is believed
# only where it explains the images clearly better, for a head looks a little like itself turned round
HALF_TURNS = [np.diag(signs) for signs in ((1.0, 1, 1), (1.0, -1, -1), (-1.0, 1, -1), (-1.0, -1, 1))]
HALF_TURN_GAIN = 1.2


@dataclass(frozen=True)
class Level:
    """One resolution of the descent."""

    spacing_mm: float
    first_step_mm: float
    last_step_mm: float
    max_samples: int
    iterations: int


COARSE = Level(8.0, 4.0, 0.1, 30_000, 60)
FINE = Level(4.0, 2.0, 0.02, 30_000, 100)


def search(fixed: Head, moving: Head) -> np.ndarray:
    """The pose that explains the images best, the axes as stored or a half turn off."""
    with _one_thread():
        here, there = fixed.at(COARSE.spacing_mm), moving.at(COARSE.spacing_mm)
        best = [_search_around(here, there, turn) for turn in HALF_TURNS]
        scores = [_score(here, there, pose) for pose in best]
        turned = int(np.argmax(scores))
        pose = best[turned] if scores[turned] > HALF_TURN_GAIN * scores[0] else best[0]
        return _descend(fixed.at(FINE.spacing_mm), moving.at(FINE.spacing_mm), pose, FINE)


@contextmanager
def _one_thread() -> Iterator[None]:
    """ITK's metric adds up by thread, and sums in another order are other sums; its own setting is global."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def _search_around(fixed: Head, moving: Head, turn: np.ndarray) -> np.ndarray:
    """The best descent from the best rotations of a grid, each with its best shift along the body.

    One start a rotation: the best poses of the whole grid are often one rotation with neighboring shifts.
    """
    center, target = fixed.centroid_mm(), moving.centroid_mm()
    candidates = []
    for angles in product(GRID_ANGLES_DEG, repeat=3):
        rotation = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ turn
        poses = [_about(rotation, center, target + np.array([0.0, 0.0, shift])) for shift in GRID_SHIFTS_MM]
        candidates.append(
            max(((_score(fixed, moving, pose), pose) for pose in poses), key=lambda pair: pair[0])
        )
    candidates.sort(key=lambda pair: -pair[0])
    optimized = [_descend(fixed, moving, pose, COARSE) for _, pose in candidates[:STARTS]]
    return max(optimized, key=lambda pose: _score(fixed, moving, pose))


def _about(rotation: np.ndarray, center_mm: np.ndarray, image_mm: np.ndarray) -> np.ndarray:
    """The 4x4 with this rotation that brings `center_mm` to `image_mm`."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = image_mm - rotation @ center_mm
    return matrix


def _score(fixed: Head, moving: Head, pose: np.ndarray) -> float:
    """Mutual information in nats times the share of the fixed head that the moving volume covers.

    The information alone grows as the overlap shrinks to a few alike voxels.
    """
    region = to_array(fixed.region) > 0
    transform = to_transform(pose)
    placed = to_array(sitk.Resample(moving.image, fixed.image, transform, sitk.sitkLinear, -1.0))[region]
    covered = placed >= 0
    information = mutual_information_nats(to_array(fixed.image)[region][covered], placed[covered], BINS)
    return information * float(covered.mean())


def _descend(fixed: Head, moving: Head, start: np.ndarray, level: Level) -> np.ndarray:
    """Gradient descent on Mattes mutual information over jittered samples of the fixed head and its rim."""
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(BINS)
    # ITK's default gradient is blurred by the coarsest spacing, the slices', and leads beside the optimum
    method.MetricUseMovingImageGradientFilterOff()
    method.MetricUseFixedImageGradientFilterOff()
    method.SetMetricFixedMask(fixed.region)
    method.SetMetricSamplingStrategy(method.REGULAR)  # and jittered: no artifacts where grids coincide
    method.SetMetricSamplingPercentage(min(1.0, level.max_samples / len(fixed.indices())), SEED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        level.first_step_mm, level.last_step_mm, level.iterations, gradientMagnitudeTolerance=1e-9
    )
    method.SetOptimizerScales([fixed.mean_square_radius_mm2()] * 3 + [1.0] * 3)
    pose = _euler(start, fixed.centroid_mm())
    method.SetInitialTransform(pose, inPlace=True)
    try:
        method.Execute(fixed.image, moving.image)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise RegistrationError(f"the images lost each other during registration ({reason})") from None
    return to_matrix(pose)


def _euler(matrix: np.ndarray, center_mm: np.ndarray) -> sitk.Euler3DTransform:
    """The point mapping of a rigid 4x4 matrix as a transform that rotates about `center_mm`."""
    pose = sitk.Euler3DTransform()
    pose.SetCenter(center_mm.tolist())
    pose.SetMatrix(matrix[:3, :3].ravel().tolist(), ORTHOGONALITY)
    pose.SetTranslation((transform_points(matrix, center_mm[None])[0] - center_mm).tolist())
    return pose
