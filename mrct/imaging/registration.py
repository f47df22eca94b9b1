"""Rigid registration of a CT and an MR volume of one head by Mattes mutual information.

Convention: matrices are 4x4, LPS mm; `moving_to_fixed` maps a point of the moving volume to the fixed one's.
A level is one resolution: the volumes are blurred and resampled here, not by ITK's own pyramid, which fails
on few slices. Everything is deterministic: fixed seeds, one ITK thread for the sums.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product

import numpy as np
import SimpleITK as sitk  # noqa: N813
from scipy.spatial.transform import Rotation

from mrct.imaging.masks import dilate
from mrct.imaging.similarity import mutual_information_nats
from mrct.imaging.volumes import (
    affine,
    coarsened,
    like,
    resample_onto,
    spacing_kji_mm,
    to_array,
    to_matrix,
    transform_points,
)

CT_WINDOW_HU = (-1000.0, 1500.0)  # wider, the bins would be spent on fillings
MR_TOP_PERCENTILE = 99.5
RIM_MM = 8.0  # the air around the head takes part: skin against air aligns the outline
BINS = 32
MIN_SLICES = 4  # fewer do not tell a rotation from a tilt
SEED = 20
ORTHOGONALITY = 1e-6
SEARCH_SPACING_MM = 8.0
SEARCH_ANGLES_DEG = (-24.0, 0.0, 24.0)
SEARCH_SHIFTS_MM = (-60.0, -40.0, -20.0, 0.0, 20.0, 40.0, 60.0)
STARTS = 4
# a wrong patient position (feet first, prone) in one header turns the volume by half a turn; it is believed
# only where it explains the images clearly better, for a head looks a little like itself turned round
HALF_TURNS = [np.diag(signs) for signs in ((1.0, 1, 1), (1.0, -1, -1), (-1.0, 1, -1), (-1.0, -1, 1))]
HALF_TURN_GAIN = 1.2


class RegistrationError(ValueError):
    """These two volumes cannot be registered."""


@dataclass(frozen=True)
class Level:
    """One resolution of the optimization."""

    spacing_mm: float
    first_step_mm: float
    last_step_mm: float
    max_samples: int
    iterations: int


REFINEMENTS = (Level(4.0, 2.0, 0.02, 30_000, 100), Level(2.0, 0.5, 0.002, 120_000, 200))
SEARCH = Level(SEARCH_SPACING_MM, 4.0, 0.1, 30_000, 60)


@dataclass(frozen=True)
class Head:
    """A volume scaled to [0, 1], air and everything off the head 0, and the head with its rim as mask."""

    image: sitk.Image
    region: sitk.Image


def ct_head(ct: sitk.Image, head: np.ndarray) -> Head:
    """HU clipped to the window of tissue and bone; table and holder become air."""
    return _prepared(ct, window_ct(to_array(ct)), head)


def mr_head(mr: sitk.Image, head: np.ndarray) -> Head:
    """Intensity from 0 to a high percentile inside the head; ghosts outside become background."""
    return _prepared(mr, window_mr(to_array(mr), head), head)


def register_rigid(fixed: Head, moving: Head) -> np.ndarray:
    """moving_to_fixed, 4x4: from the heads' centroids, coarse to fine, then halfway of both directions.

    Interpolating the one volume or the other biases the optimum differently; the last level is repeated with
    the roles exchanged, and the mean of the two poses does not prefer either.
    """
    for head, name in ((fixed, "fixed"), (moving, "moving")):
        slices = head.image.GetSize()[2]
        if slices < MIN_SLICES:
            raise RegistrationError(
                f"the {name} volume has {slices} slices, rigid registration needs {MIN_SLICES} or more; "
                "set register.method to none if the source is registered already"
            )
    with _one_thread():
        pose = _search(_at_level(fixed, SEARCH_SPACING_MM), _at_level(moving, SEARCH_SPACING_MM))
        for level in REFINEMENTS:
            here, there = _at_level(fixed, level.spacing_mm), _at_level(moving, level.spacing_mm)
            pose = _optimize(here, there, pose, level)
        forward = np.linalg.inv(to_matrix(pose))
        back = to_matrix(_optimize(there, here, _rigid(forward, _centroid_mm(there)), REFINEMENTS[-1]))
    return halfway(forward, back, _centroid_mm(there))


@contextmanager
def _one_thread() -> Iterator[None]:
    """ITK's metric adds up by thread, and sums in another order are other sums; its own setting is global."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def halfway(one: np.ndarray, other: np.ndarray, center_mm: np.ndarray) -> np.ndarray:
    """The rigid 4x4 whose rotation and whose image of `center_mm` are the means of the two."""
    mean = np.eye(4)
    mean[:3, :3] = Rotation.from_matrix([one[:3, :3], other[:3, :3]]).mean().as_matrix()
    images = [transform_points(matrix, center_mm[None])[0] for matrix in (one, other)]
    mean[:3, 3] = np.mean(images, axis=0) - mean[:3, :3] @ center_mm
    return mean


def window_ct(hu: np.ndarray) -> np.ndarray:
    """HU clipped to air ... bone, scaled to [0, 1]."""
    low, high = CT_WINDOW_HU
    return (np.clip(hu, low, high) - low) / (high - low)


def window_mr(intensity: np.ndarray, head: np.ndarray | None = None) -> np.ndarray:
    """Intensity from 0 to a high percentile (of the head, where a mask is given), scaled to [0, 1]."""
    high = float(np.percentile(intensity if head is None else intensity[head], MR_TOP_PERCENTILE))
    if high <= 0:
        raise RegistrationError("the MR volume is empty inside the head; check the selected series")
    return np.clip(intensity / high, 0.0, 1.0)


def _prepared(volume: sitk.Image, scaled: np.ndarray, head: np.ndarray) -> Head:
    region = dilate(head, RIM_MM, spacing_kji_mm(volume))
    return Head(like(np.where(region, scaled, 0.0).astype(np.float32), volume), like(region, volume))


def _at_level(head: Head, spacing_mm: float) -> Head:
    """Both images with at least `spacing_mm` between the voxels of each axis."""
    image = coarsened(head.image, spacing_mm)
    return Head(image, resample_onto(head.region, image, np.eye(4), 0.0, nearest=True))


def _centroid_mm(head: Head) -> np.ndarray:
    k, j, i = np.nonzero(to_array(head.region))
    return transform_points(affine(head.image), np.array([[i.mean(), j.mean(), k.mean()]]))[0]


def _search(fixed: Head, moving: Head) -> sitk.Euler3DTransform:
    """The best pose around the one that joins the heads' centroids, the axes as stored or a half turn off."""
    best = [_search_around(fixed, moving, turn) for turn in HALF_TURNS]
    scores = [_score(fixed, moving, pose) for pose in best]
    turned = int(np.argmax(scores))
    return best[turned] if scores[turned] > HALF_TURN_GAIN * scores[0] else best[0]


def _search_around(fixed: Head, moving: Head, turn: np.ndarray) -> sitk.Euler3DTransform:
    """The best optimized of the best-scoring poses on a grid of angles and shifts along the body."""
    center, target = _centroid_mm(fixed), _centroid_mm(moving)
    poses = []
    for angles, shift in product(product(SEARCH_ANGLES_DEG, repeat=3), SEARCH_SHIFTS_MM):
        matrix = np.eye(4)
        matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ turn
        matrix[:3, 3] = target + np.array([0.0, 0.0, shift]) - matrix[:3, :3] @ center
        poses.append(_rigid(matrix, center))
    scores = np.array([_score(fixed, moving, pose) for pose in poses])
    chosen = np.argsort(-scores, kind="stable")[:STARTS]
    optimized = [_optimize(fixed, moving, poses[index], SEARCH) for index in chosen]
    return max(optimized, key=lambda pose: _score(fixed, moving, pose))


def _rigid(matrix: np.ndarray, center_mm: np.ndarray) -> sitk.Euler3DTransform:
    """The point mapping of a rigid 4x4 matrix as a transform that rotates about `center_mm`."""
    pose = sitk.Euler3DTransform()
    pose.SetCenter(center_mm.tolist())
    pose.SetMatrix(matrix[:3, :3].ravel().tolist(), ORTHOGONALITY)
    pose.SetTranslation((transform_points(matrix, center_mm[None])[0] - center_mm).tolist())
    return pose


def _score(fixed: Head, moving: Head, pose: sitk.Transform) -> float:
    """Mutual information in nats times the share of the fixed head that the moving volume covers.

    The information alone grows as the overlap shrinks to a few alike voxels.
    """
    region = to_array(fixed.region) > 0
    placed = to_array(sitk.Resample(moving.image, fixed.image, pose, sitk.sitkLinear, -1.0))[region]
    covered = placed >= 0
    information = mutual_information_nats(to_array(fixed.image)[region][covered], placed[covered])
    return information * float(covered.mean())


def _optimize(fixed: Head, moving: Head, start: sitk.Euler3DTransform, level: Level) -> sitk.Euler3DTransform:
    """Gradient descent on Mattes mutual information over jittered samples of the fixed head and its rim."""
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(BINS)
    # ITK's default gradient is blurred by the coarsest spacing, the slices', and leads beside the optimum
    method.MetricUseMovingImageGradientFilterOff()
    method.MetricUseFixedImageGradientFilterOff()
    method.SetMetricFixedMask(fixed.region)
    samples = int(np.count_nonzero(to_array(fixed.region)))
    method.SetMetricSamplingStrategy(method.REGULAR)  # and jittered: no artifacts where grids coincide
    method.SetMetricSamplingPercentage(min(1.0, level.max_samples / samples), SEED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        level.first_step_mm, level.last_step_mm, level.iterations, gradientMagnitudeTolerance=1e-9
    )
    method.SetOptimizerScales([_mean_square_radius_mm2(fixed)] * 3 + [1.0] * 3)
    pose = sitk.Euler3DTransform(start)
    method.SetInitialTransform(pose, inPlace=True)
    try:
        method.Execute(fixed.image, moving.image)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise RegistrationError(f"the images lost each other during registration ({reason})") from None
    return pose


def _mean_square_radius_mm2(head: Head) -> float:
    """Squared, how far a rotation by one radian moves the head's points: it weighs angles against mm."""
    points = np.argwhere(to_array(head.region)) * spacing_kji_mm(head.image)
    return float(np.sum(points.var(axis=0)))
