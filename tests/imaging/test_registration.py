from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy.spatial.transform import Rotation

from mrct.imaging import alignment, registration, rire, volumes
from mrct.imaging.similarity import mutual_information_nats

SAMPLE = Path(__file__).parents[2] / "data" / "sample" / "rire_001"


def inside(points, center, radii):
    return (((points - center) / radii) ** 2).sum(axis=-1) <= 1


def phantom(points):
    """(HU, T2-like intensity) at (..., 3) points in mm: a head of ellipsoids, unlike itself under any turn."""
    hu, mr = np.full(points.shape[:-1], -1000.0), np.zeros(points.shape[:-1])
    for center, radii, tissue_hu, tissue_mr in (
        ((0, 0, 0), (75, 95, 80), 20, 300),  # scalp
        ((0, -95, -30), (10, 18, 14), 20, 300),  # nose
        ((0, 0, 0), (69, 89, 74), 900, 30),  # skull
        ((0, 0, 0), (62, 82, 66), 35, 180),  # brain
        ((0, 45, -35), (40, 28, 24), 45, 140),  # cerebellum
        ((12, -15, 15), (7, 30, 10), 5, 500),  # ventricles
        ((-14, -10, 12), (8, 32, 11), 5, 500),
        ((30, 20, 30), (12, 10, 14), 60, 420),  # lesion
        ((-20, -60, -45), (14, 10, 12), -1000, 5),  # sinus
    ):
        where = inside(points, np.array(center, float), np.array(radii, float))
        hu[where], mr[where] = tissue_hu, tissue_mr
    return hu, mr


def acquire(which, pose, slices, spacing_mm, bottom_mm, seed):
    """The phantom moved by `pose` (phantom point to scanner point), sampled on axial slices, with noise."""
    pixel = 3.0
    index_to_lps = np.diag([pixel, pixel, spacing_mm, 1.0])
    index_to_lps[:3, 3] = (-40 * pixel, -40 * pixel, bottom_mm)
    rng = np.random.default_rng(seed)
    total = np.zeros((slices, 80, 80))
    for part in (-0.25, 0.25):  # each slice averages over its thickness
        k, j, i = np.indices(total.shape).astype(float)
        points = volumes.transform_points(index_to_lps, np.stack([i, j, k + part], axis=-1))
        total += phantom(volumes.transform_points(np.linalg.inv(pose), points))[which] / 2
    noisy = total + rng.normal(0, 8, total.shape)
    return volumes.from_array((np.abs(noisy) if which else noisy).astype(np.float32), index_to_lps)


def rigid(angles_deg, translation):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
    matrix[:3, 3] = translation
    return matrix


def head_errors_mm(ct_to_mr, truth):
    points = np.random.default_rng(0).uniform(-70, 70, (500, 3))
    return np.linalg.norm(
        volumes.transform_points(ct_to_mr, points) - volumes.transform_points(truth, points), axis=1
    )


WHOLE = (36, 5.0, -90.0)
CASES = {
    "small motion": ((4, -3, 6), (5, -8, 10), WHOLE, WHOLE),
    "30 degrees, 60 mm": ((12, -14, 24), (30, -35, 38), WHOLE, WHOLE),
    "the CT covers less": ((6, 3, -10), (8, 5, 12), (20, 5.0, -55.0), WHOLE),
    "the CT covers more": ((-5, 4, 8), (-10, 4, 6), WHOLE, (22, 5.0, -45.0)),
    "the MR is feet first": ((2, 185, -4), (6, 2, 5), WHOLE, WHOLE),
}


@pytest.mark.parametrize("fixed", ["mr", "ct"])
@pytest.mark.parametrize("case", CASES)
def test_known_motion_of_a_phantom_is_found(case, fixed):
    angles, translation, ct_slices, mr_slices = CASES[case]
    truth = rigid(angles, translation)
    ct = acquire(0, np.eye(4), *ct_slices, seed=1)
    bottom = mr_slices[2] + translation[2]  # the MR slices follow the head
    mr = acquire(1, truth, *mr_slices[:2], bottom, seed=2)
    errors = head_errors_mm(alignment.register_pair(alignment.make_pair(ct, mr), fixed), truth)
    assert np.median(errors) < 0.8
    assert errors.max() < 2.5


def test_same_inputs_give_the_same_matrix():
    ct = acquire(0, np.eye(4), 24, 7.0, -84.0, seed=1)
    mr = acquire(1, rigid((3, 2, 5), (4, 5, 6)), 24, 7.0, -80.0, seed=2)
    pair = alignment.make_pair(ct, mr)
    assert np.array_equal(alignment.register_pair(pair, "mr"), alignment.register_pair(pair, "mr"))


def test_too_few_slices_are_refused_with_the_way_out():
    ct = acquire(0, np.eye(4), 36, 5.0, -90.0, seed=1)
    mr = acquire(1, np.eye(4), 3, 5.0, -10.0, seed=2)
    with pytest.raises(registration.RegistrationError, match=r"moving volume has 3 slices.*register\.method"):
        alignment.register_pair(alignment.make_pair(ct, mr), "ct")


@pytest.fixture(scope="module")
def rire_pair():
    return alignment.make_pair(
        volumes.read_volume(SAMPLE / "ct.nii.gz"), volumes.read_volume(SAMPLE / "mr_t1.nii.gz")
    )


def test_rire_patient_within_the_published_ground_truth(rire_pair):
    truth = rire.read_standard(SAMPLE / "ct_T1.standard")
    assert rire.corner_error_mm(np.eye(4), *truth).mean() > 40  # as delivered they are far apart
    for fixed in ("mr", "ct"):
        errors = rire.corner_error_mm(alignment.register_pair(rire_pair, fixed), *truth)
        assert errors.mean() <= 2.5
        assert errors.max() <= 4.0


def test_rire_patient_from_another_start(rire_pair):
    start = rigid((-14, 10, 20), (-15, 25, -30))
    moved = volumes.from_array(volumes.to_array(rire_pair.ct), start @ volumes.affine(rire_pair.ct))
    found = alignment.register_pair(alignment.make_pair(moved, rire_pair.mr), "mr")
    assert rire.corner_error_mm(found @ start, *rire.read_standard(SAMPLE / "ct_T1.standard")).mean() <= 2.5


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


def test_halfway_lies_between():
    center = np.array([10.0, 20.0, 30.0])
    one, other = rigid((0, 0, 10), (0, 0, 0)), rigid((0, 0, 20), (4, 0, 0))
    mean = registration.halfway(one, other, center)
    assert volumes.rotation_deg(mean) == pytest.approx(15.0)
    images = [volumes.transform_points(matrix, center[None])[0] for matrix in (one, other, mean)]
    assert images[2] == pytest.approx((images[0] + images[1]) / 2)
    assert np.allclose(registration.halfway(one, one, center), one)
