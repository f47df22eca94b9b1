"""Tests of rigid registration: real anatomy in known poses, the RIRE patient with its published truth, single steps."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from helpers import rire
from mrct.imaging import volumes
from mrct.imaging.mutual_information import mutual_information
from mrct.registration import alignment, rigid
from mrct.registration.head import BinnedHead, Head, RegistrationError, information

SAMPLE = Path(__file__).parents[2] / "data" / "sample" / "rire_001"
COLIN = SAMPLE.parent / "colin27" / "labels.nii.gz"
# by label: outside, white matter, grey matter, CSF, skull, scalp, air cavity
HU_OF_LABEL = np.array([-1000.0, 30.0, 38.0, 8.0, 900.0, 10.0, -990.0])
T2_OF_LABEL = np.array([0.0, 190.0, 230.0, 600.0, 25.0, 280.0, 3.0])


def motion(angles_deg, translation):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
    matrix[:3, 3] = translation
    return matrix


@cache
def anatomy(modality):
    """A real head as HU or T2-like intensity, its middle at (0, 0, 0), as blurred as 5 mm slices."""
    labels = volumes.read_volume(COLIN)
    values = HU_OF_LABEL if modality == "ct" else T2_OF_LABEL
    image = volumes.like(values[volumes.to_array(labels).astype(int)].astype(np.float32), labels)
    middle = labels.TransformContinuousIndexToPhysicalPoint([(size - 1) / 2 for size in labels.GetSize()])
    image.SetOrigin((np.asarray(labels.GetOrigin()) - middle).tolist())
    return volumes.match_resolution(image, (5.0, 2.0, 2.0))


def acquire(modality, pose, slices, bottom_mm):
    """5 mm axial slices of 2 mm pixels through the head moved by `pose`, with noise."""
    index_to_lps = np.diag([2.0, 2.0, 5.0, 1.0])
    index_to_lps[:3, 3] = (-128.0, -128.0, bottom_mm)
    grid = volumes.from_array(np.zeros((slices, 128, 128), np.uint8), index_to_lps)
    outside = -1000.0 if modality == "ct" else 0.0
    clean = volumes.to_array(volumes.resample_onto(anatomy(modality), grid, pose, outside))
    noise = np.random.default_rng(slices).normal(0, 8, (2, *clean.shape))
    noisy = clean + noise[0] if modality == "ct" else np.hypot(clean + noise[0], noise[1])
    return volumes.like(noisy.astype(np.float32), grid)


def head_errors_mm(ct_to_mr, truth):
    points = np.random.default_rng(0).uniform(-60, 60, (400, 3))
    return np.linalg.norm(
        volumes.transform_points(ct_to_mr, points) - volumes.transform_points(truth, points), axis=1
    )


def registered(pair, fixed):
    """Register without the spread: 4x4, a point of the CT to the point of the MR."""
    ct, mr = alignment.prepared_heads(pair)
    if fixed == "mr":
        return rigid.register_rigid(fixed=mr, moving=ct)
    return np.linalg.inv(rigid.register_rigid(fixed=ct, moving=mr))


WHOLE = (36, -90.0)
CASES = {
    "small motion": ("ct", (4, -3, 6), (5, -8, 10), WHOLE, WHOLE),
    "30 degrees, 60 mm": ("mr", (12, -14, 24), (30, -35, 38), WHOLE, (36, -52.0)),
    "the CT covers less": ("mr", (6, 3, -10), (8, 5, 12), (20, -50.0), (36, -78.0)),
    "the CT covers more": ("ct", (-5, 4, 8), (-10, 4, 6), WHOLE, (22, -39.0)),
    "the MR is feet first": ("mr", (2, 185, -4), (6, 2, 5), WHOLE, WHOLE),
}


@pytest.mark.parametrize("case", CASES)
def test_known_motion_of_a_head_is_found(case):
    fixed, angles, translation, ct_slices, mr_slices = CASES[case]
    truth = motion(angles, translation)
    pair = alignment.make_pair(acquire("ct", np.eye(4), *ct_slices), acquire("mr", truth, *mr_slices))
    errors = head_errors_mm(registered(pair, fixed), truth)
    assert np.median(errors) < 0.5
    assert errors.max() < 1.0


def test_too_few_slices_are_refused_with_the_way_out():
    pair = alignment.make_pair(acquire("ct", np.eye(4), *WHOLE), acquire("mr", np.eye(4), 3, -10.0))
    with pytest.raises(RegistrationError, match=r"moving volume has 3 slices.*register\.method"):
        alignment.register_pair(pair, "ct")


@pytest.fixture(scope="module")
def rire_pair():
    return alignment.make_pair(
        volumes.read_volume(SAMPLE / "ct.nii.gz"), volumes.read_volume(SAMPLE / "mr_t1.nii.gz")
    )


@pytest.fixture(scope="module")
def rire_ct_to_mr(rire_pair):
    return registered(rire_pair, "mr")


def test_rire_patient_within_the_published_ground_truth(rire_pair, rire_ct_to_mr):
    truth = rire.read_standard(SAMPLE / "ct_T1.standard")
    assert rire.corner_error_mm(np.eye(4), *truth).mean() > 40  # as delivered they are far apart
    for found in (rire_ct_to_mr, registered(rire_pair, "ct")):
        errors = rire.corner_error_mm(found, *truth)
        assert errors.mean() <= 2.5
        assert errors.max() <= 4.0


def test_any_number_of_threads_gives_the_same_matrix(rire_pair, rire_ct_to_mr):
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(3)
    try:
        again = registered(rire_pair, "mr")
        assert sitk.ProcessObject.GetGlobalDefaultNumberOfThreads() == 3
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
    assert np.array_equal(again, rire_ct_to_mr)


def test_rire_patient_from_another_start_ends_at_the_same_place(rire_pair, rire_ct_to_mr):
    start = motion((-14, 10, 20), (-15, 25, -30))
    moved = volumes.from_array(
        volumes.to_array(rire_pair.ct.volume), start @ volumes.affine(rire_pair.ct.volume)
    )
    found = registered(alignment.make_pair(moved, rire_pair.mr.volume), "mr")
    corners = rire.read_standard(SAMPLE / "ct_T1.standard")[0]
    places = volumes.transform_points(rire_ct_to_mr, corners)
    assert rire.corner_error_mm(found @ start, corners, places).max() < 0.3


def test_standard_file_gives_its_eight_corners(tmp_path):
    points, places = rire.read_standard(SAMPLE / "ct_T1.standard")
    assert points.shape == places.shape == (8, 3)
    assert points[7] == pytest.approx((333.987, 333.987, 112.0))
    assert places[0] == pytest.approx((5.0369, -17.497, -27.165))
    # the published places are a rigid image of the corners: edges keep their lengths
    assert np.linalg.norm(places[7] - places[0]) == pytest.approx(np.linalg.norm(points[7]), abs=1e-3)
    (tmp_path / "empty.standard").write_text("Point x y z\n")
    with pytest.raises(ValueError, match="0 point pairs"):
        rire.read_standard(tmp_path / "empty.standard")


def test_corner_error_of_a_pure_shift_is_the_shift():
    points = np.random.default_rng(0).normal(size=(8, 3))
    assert rire.corner_error_mm(motion((0, 0, 0), (3.0, 4.0, 0.0)), points, points) == pytest.approx(5.0)


RNG = np.random.default_rng(8)


def block(array, spacing=(2.0, 2.0, 5.0), origin=(0.0, 0.0, 0.0), region=None):
    index_to_lps = np.diag([*spacing, 1.0])
    index_to_lps[:3, 3] = origin
    image = volumes.from_array(array.astype(np.float32), index_to_lps)
    return Head(image, volumes.like(np.ones(array.shape, bool) if region is None else region, image))


def test_maximum_of_a_quadratic_is_found_exactly():
    summit = np.array([0.3, -0.2, 0.1, 0.4, -0.1, 0.2])
    bend = np.eye(6) + 0.2 * np.ones((6, 6))
    steps = 2.0 * rigid.DESIGN
    scores = np.array([5.0 - (step - summit) @ bend @ (step - summit) for step in steps])
    assert rigid.quadratic_maximum(steps, scores, 2.0) == pytest.approx(summit, abs=1e-9)


def test_maximum_goes_no_further_than_the_reach_and_uphill_on_a_slope():
    steps = 0.5 * rigid.DESIGN
    across = np.delete(steps, 3, axis=1)
    step = rigid.quadratic_maximum(steps, steps[:, 3] * 7.0 - (across**2).sum(axis=1), 0.5)
    assert np.linalg.norm(step) == pytest.approx(0.5)
    assert step[3] == pytest.approx(0.5)


def test_design_tells_all_28_terms_of_a_quadratic_apart_and_prefers_no_direction():
    rows, columns = np.triu_indices(6)
    design = rigid.DESIGN
    terms = np.column_stack([np.ones(len(design)), design, design[:, rows] * design[:, columns]])
    assert np.linalg.matrix_rank(terms) == 28
    assert design.sum(axis=0) == pytest.approx(0.0, abs=1e-12)
    squares = design.T @ design
    assert squares == pytest.approx(squares[0, 0] * np.eye(6), abs=1e-9)


def test_rotation_step_moves_a_point_at_the_radius_by_its_length():
    center, radius_mm = np.array([5.0, -3.0, 20.0]), 60.0
    pose = rigid.moved(np.eye(4), np.array([0, 0, 0.6, 0, 0, 0]), center, radius_mm)
    here = center + np.array([radius_mm, 0, 0])
    there = volumes.transform_points(pose, here[None])[0]
    assert np.linalg.norm(there - here) == pytest.approx(0.6, rel=1e-4)
    assert volumes.transform_points(pose, center[None])[0] == pytest.approx(center)


def literal_information(one, other, region, pose, bins):
    """Compute the mutual information voxel by voxel, with explicit trilinear interpolation."""
    joint, covered = np.zeros((bins, bins)), 0
    values, index_of = volumes.to_array(other.image), np.linalg.inv(volumes.affine(other.image))
    for k, j, i in np.argwhere(region):
        point = volumes.affine(one.image) @ (i, j, k, 1.0)
        place = (index_of @ pose @ point)[:3][::-1]
        # ITK reads half a voxel beyond the outermost middles, where it holds the edge
        if not all(-0.5 <= x < n - 0.5 for x, n in zip(place, values.shape, strict=True)):
            continue
        place = np.clip(place, 0, np.array(values.shape) - 1)
        low = np.minimum(place.astype(int), np.array(values.shape) - 2)
        part = place - low
        value = sum(
            values[tuple(low + corner)] * np.prod(np.where(corner, part, 1 - part))
            for corner in np.ndindex(2, 2, 2)
        )
        mine = volumes.to_array(one.image)[k, j, i]
        joint[min(int(mine * bins), bins - 1), min(int(value * bins), bins - 1)] += 1
        covered += 1
    return mutual_information(joint), covered / np.count_nonzero(region)


def test_information_agrees_with_a_literal_sum():
    region = np.zeros((6, 9, 8), bool)
    region[1:5, 2:8, 1:7] = RNG.uniform(size=(4, 6, 6)) > 0.2
    one = block(RNG.uniform(size=region.shape), region=region)
    other = block(RNG.uniform(size=(5, 10, 9)), (1.5, 2.5, 4.0), (1.0, -2.0, 3.0))
    pose = rigid.moved(np.eye(4), np.array([0.5, -0.3, 0.8, 2.2, -1.7, 3.1]), np.zeros(3), 10.0)
    found = information(BinnedHead.of(one, 5), BinnedHead.of(other, 5), pose)
    nats, covered = literal_information(one, other, region, pose, 5)
    assert 0.2 < covered < 0.95
    assert found == (pytest.approx(nats, abs=1e-6), pytest.approx(covered))


def test_information_of_a_relabeled_copy_is_its_entropy_and_of_nothing_zero():
    labels = np.tile(np.arange(4) / 4 + 0.1, (3, 8, 2)).reshape(3, 8, 8)
    one, other = (BinnedHead.of(block(a), 4) for a in (labels, np.abs(labels - 1.0)))
    assert information(one, other, np.eye(4)) == (pytest.approx(np.log(4)), 1.0)
    away = np.eye(4)
    away[0, 3] = 500.0
    assert information(one, other, away) == (0.0, 0.0)
