"""The rigid pose of two heads from any start, to a few mm: a grid of poses, then gradient descent.

Convention: a pose is 4x4, a point of `fixed` to the point of `moving`, LPS mm. The volumes are blurred and
resampled here, not by ITK's own pyramid, which fails on few slices.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from mrct.imaging.volumes import to_matrix, transform_points
from mrct.registration.head import Head, RegistrationError
from mrct.registration.views import View, information

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


SPACING_MM = 8.0
FIRST_STEP_MM, LAST_STEP_MM, ITERATIONS = 4.0, 0.1, 60
MAX_SAMPLES = 30_000


class Scored(NamedTuple):
    """A pose and how well it explains the images."""

    score: float
    pose: np.ndarray


def search(fixed: Head, moving: Head) -> np.ndarray:
    """The pose that explains the images best, the axes as stored or a half turn off."""
    with _one_thread():
        here, there = fixed.at(SPACING_MM), moving.at(SPACING_MM)
        views = View.of(here, BINS), View.of(there, BINS)
        center, target = fixed.centroid_mm(), moving.centroid_mm()
        as_stored, *turned = (_grid(*views, turn, center, target) for turn in HALF_TURNS)
        best = _descended(here, there, views, as_stored[:STARTS])
        for starts in turned:
            # a true half turn shows on the grid already; the descents are what costs
            if starts[0].score >= as_stored[0].score:
                other = _descended(here, there, views, starts[:STARTS])
                best = other if other.score > HALF_TURN_GAIN * best.score else best
        return best.pose


@contextmanager
def _one_thread() -> Iterator[None]:
    """ITK's metric adds up by thread, and sums in another order are other sums; its own setting is global."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def _grid(
    fixed: View, moving: View, turn: np.ndarray, center: np.ndarray, target: np.ndarray
) -> list[Scored]:
    """The rotations of a grid, each with its best shift along the body, best first.

    One start a rotation: the best poses of the whole grid are often one rotation with neighboring shifts.
    """
    starts = []
    for angles in product(GRID_ANGLES_DEG, repeat=3):
        rotation = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ turn
        poses = [_about(rotation, center, target + np.array([0.0, 0.0, shift])) for shift in GRID_SHIFTS_MM]
        starts.append(_best([Scored(_score(fixed, moving, pose), pose) for pose in poses]))
    return sorted(starts, key=lambda start: -start.score)


def _descended(fixed: Head, moving: Head, views: tuple[View, View], starts: list[Scored]) -> Scored:
    poses = [_descend(fixed, moving, start.pose) for start in starts]
    return _best([Scored(_score(*views, pose), pose) for pose in poses])


def _best(found: list[Scored]) -> Scored:
    return max(found, key=lambda one: one.score)


def _about(rotation: np.ndarray, center_mm: np.ndarray, image_mm: np.ndarray) -> np.ndarray:
    """The 4x4 with this rotation that brings `center_mm` to `image_mm`."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = image_mm - rotation @ center_mm
    return matrix


def _score(fixed: View, moving: View, pose: np.ndarray) -> float:
    """Mutual information in nats times the share of the fixed head that the moving volume covers.

    The information alone grows as the overlap shrinks to a few alike voxels.
    """
    nats, covered = information(fixed, moving, pose)
    return nats * covered


def _descend(fixed: Head, moving: Head, start: np.ndarray) -> np.ndarray:
    """Gradient descent on Mattes mutual information over jittered samples of the fixed head and its rim."""
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(BINS)
    # ITK's default gradient is blurred by the coarsest spacing, the slices', and leads beside the optimum
    method.MetricUseMovingImageGradientFilterOff()
    method.MetricUseFixedImageGradientFilterOff()
    method.SetMetricFixedMask(fixed.region)
    method.SetMetricSamplingStrategy(method.REGULAR)  # and jittered: no artifacts where grids coincide
    method.SetMetricSamplingPercentage(min(1.0, MAX_SAMPLES / len(fixed.indices())), SEED)
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
        raise RegistrationError(f"the images lost each other during registration ({reason})") from None
    return to_matrix(pose)


def _euler(matrix: np.ndarray, center_mm: np.ndarray) -> sitk.Euler3DTransform:
    """The point mapping of a rigid 4x4 matrix as a transform that rotates about `center_mm`."""
    pose = sitk.Euler3DTransform()
    pose.SetCenter(center_mm.tolist())
    pose.SetMatrix(matrix[:3, :3].ravel().tolist(), ORTHOGONALITY)
    pose.SetTranslation((transform_points(matrix, center_mm[None])[0] - center_mm).tolist())
    return pose
