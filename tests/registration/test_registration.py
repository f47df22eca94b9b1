from functools import cache
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from mrct.imaging import rire, volumes
from mrct.registration import alignment, registration
from mrct.registration.similarity import mutual_information_nats

SAMPLE = Path(__file__).parents[2] / "data" / "sample" / "rire_001"


COLIN = SAMPLE.parent / "colin27" / "labels.nii.gz"
# by label: outside, white matter, grey matter, CSF, skull, scalp, air cavity
HU_OF_LABEL = np.array([-1000.0, 30.0, 38.0, 8.0, 900.0, 10.0, -990.0])
T2_OF_LABEL = np.array([0.0, 190.0, 230.0, 600.0, 25.0, 280.0, 3.0])


def rigid(angles_deg, translation):
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
    truth = rigid(angles, translation)
    pair = alignment.make_pair(acquire("ct", np.eye(4), *ct_slices), acquire("mr", truth, *mr_slices))
    errors = head_errors_mm(alignment.register_pair(pair, fixed), truth)
    assert np.median(errors) < 0.5
    assert errors.max() < 1.0


def test_too_few_slices_are_refused_with_the_way_out():
    pair = alignment.make_pair(acquire("ct", np.eye(4), *WHOLE), acquire("mr", np.eye(4), 3, -10.0))
    with pytest.raises(registration.RegistrationError, match=r"moving volume has 3 slices.*register\.method"):
        alignment.register_pair(pair, "ct")


@pytest.fixture(scope="module")
def rire_pair():
    return alignment.make_pair(
        volumes.read_volume(SAMPLE / "ct.nii.gz"), volumes.read_volume(SAMPLE / "mr_t1.nii.gz")
    )


@pytest.fixture(scope="module")
def rire_ct_to_mr(rire_pair):
    return alignment.register_pair(rire_pair, "mr")


def test_rire_patient_within_the_published_ground_truth(rire_pair, rire_ct_to_mr):
    truth = rire.read_standard(SAMPLE / "ct_T1.standard")
    assert rire.corner_error_mm(np.eye(4), *truth).mean() > 40  # as delivered they are far apart
    for found in (rire_ct_to_mr, alignment.register_pair(rire_pair, "ct")):
        errors = rire.corner_error_mm(found, *truth)
        assert errors.mean() <= 2.5
        assert errors.max() <= 4.0


def test_any_number_of_threads_gives_the_same_matrix(rire_pair, rire_ct_to_mr):
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(3)
    try:
        again = alignment.register_pair(rire_pair, "mr")
        assert sitk.ProcessObject.GetGlobalDefaultNumberOfThreads() == 3
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
    assert np.array_equal(again, rire_ct_to_mr)


def test_rire_patient_from_another_start_ends_at_the_same_place(rire_pair, rire_ct_to_mr):
    start = rigid((-14, 10, 20), (-15, 25, -30))
    moved = volumes.from_array(volumes.to_array(rire_pair.ct), start @ volumes.affine(rire_pair.ct))
    found = alignment.register_pair(alignment.make_pair(moved, rire_pair.mr), "mr")
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
    assert rire.corner_error_mm(rigid((0, 0, 0), (3.0, 4.0, 0.0)), points, points) == pytest.approx(5.0)


def test_mutual_information_agrees_with_itk():
    rng = np.random.default_rng(4)
    one = rng.normal(size=(12, 30, 30))
    other = one**2 + 0.3 * rng.normal(size=one.shape)
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetInterpolator(sitk.sitkNearestNeighbor)
    method.SetInitialTransform(sitk.TranslationTransform(3))
    images = [sitk.GetImageFromArray(array.astype(np.float32)) for array in (one, other)]
    expected = -method.MetricEvaluate(*images)
    # ITK keeps two of its bins free on each side
    assert mutual_information_nats(one.astype(np.float32), other.astype(np.float32), 28) == pytest.approx(
        expected, abs=2e-3
    )


def test_mutual_information_of_a_relabelled_image_is_its_entropy():
    labels = np.repeat(np.arange(4), 50)
    permuted = np.array([2.0, 0.0, 3.0, 1.0])[labels]
    assert mutual_information_nats(labels, permuted) == pytest.approx(np.log(4))


def test_mutual_information_of_independent_or_constant_images_vanishes():
    rng = np.random.default_rng(5)
    assert mutual_information_nats(rng.uniform(size=200_000), rng.uniform(size=200_000)) < 0.01
    assert mutual_information_nats(np.ones(10), np.arange(10.0)) == 0.0
    assert mutual_information_nats(np.array([]), np.array([])) == 0.0
