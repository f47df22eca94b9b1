import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy import ndimage

from mrct.imaging import deformable, volumes
from mrct.imaging.head import Head, RegistrationError
from mrct.imaging.similarity import mutual_information_nats

AXES = np.diag([3.0, 3.0, 4.0, 1.0])


def blobs(seed=0, slices=24, move_mm=None):
    """A ball of smooth texture, 0 to 1; `move_mm`: (3,) amplitude of a sine wave that warps it."""
    rng = np.random.default_rng(seed)
    texture = ndimage.gaussian_filter(rng.normal(size=(slices, 48, 48)), 2.0)
    k, j, i = np.indices(texture.shape).astype(float)
    ball = np.hypot(np.hypot((k - slices / 2) * 4, (j - 24) * 3), (i - 24) * 3) < min(60, 2 * slices)
    image = np.where(ball, 0.5 + 0.25 * texture / texture.std(), 0.0).clip(0, 1)
    if move_mm is not None:
        wave = np.sin(2 * np.pi * j * 3 / 90.0)
        image = ndimage.map_coordinates(image, [k, j, i + move_mm * wave / 3.0], order=1)
    volume = volumes.from_array(image.astype(np.float32), AXES)
    return Head(volume, volumes.like(ndimage.binary_dilation(ball, iterations=2), volume))


def random_warp(bound_mm=2.0):
    transform = deformable._control_grid(blobs().image)
    rng = np.random.default_rng(3)
    transform.SetParameters(rng.uniform(-bound_mm, bound_mm, transform.GetNumberOfParameters()).tolist())
    return transform, rng


def test_spline_weights_are_those_of_itk():
    transform, rng = random_warp()
    points = rng.uniform(5, 85, (50, 3))
    coefficients = np.reshape(transform.GetParameters(), (3, -1))
    expected = [transform.TransformPoint(point) for point in points.tolist()]
    found = points + deformable.spline_weights(transform, points) @ coefficients.T
    assert np.allclose(found, expected, atol=1e-9)


def test_mutual_information_and_its_derivative():
    rng = np.random.default_rng(0)
    bins = rng.integers(0, deformable.BINS, 3000)
    bins[:2] = 0, deformable.BINS - 1
    values = np.clip(bins / deformable.BINS + rng.normal(0, 0.1, 3000), 0.01, 0.99)
    values[:2] = 0.0, 1.0
    nats, slope = deformable.mutual_information(bins, values)
    assert nats == pytest.approx(mutual_information_nats(bins, values, deformable.BINS), rel=1e-6)
    direction = rng.normal(size=3000)
    direction[:2] = 0.0
    step = 1e-5
    up, down = (deformable.mutual_information(bins, values + s * direction)[0] for s in (step, -step))
    assert (up - down) / (2 * step) == pytest.approx(float(slope @ direction), rel=1e-3)


def test_extent_of_a_known_field():
    """A stretch by 10 % along x: coefficients linear in x give a linear displacement."""
    transform = deformable._control_grid(blobs().image)
    grid = transform.GetCoefficientImages()[0]
    x = grid.GetOrigin()[0] + grid.GetSpacing()[0] * np.arange(grid.GetSize()[0])
    along = np.broadcast_to(0.1 * (x - 72.0), grid.GetSize()[::-1]).ravel()
    transform.SetParameters([*along.tolist(), *([0.0] * (2 * along.size))])
    largest, jacobian = deformable._extent(transform, blobs())
    assert jacobian == pytest.approx(1.1, abs=1e-6)
    assert 5.0 < largest < 7.3


def test_a_known_wave_is_undone_and_nothing_is_done_where_nothing_is_wrong(monkeypatch):
    monkeypatch.setattr(deformable, "SAMPLES", 10_000)  # a ball needs no more
    monkeypatch.setattr(deformable, "ITERATIONS", 25)
    fixed = blobs()
    inverted = Head(volumes.like(1.0 - volumes.to_array(fixed.image), fixed.image), fixed.region)
    still = deformable.refine_bspline(fixed, inverted, np.eye(4))
    assert still.largest_mm < 0.6
    warp = deformable.refine_bspline(fixed, blobs(move_mm=3.0), np.eye(4))
    points = np.random.default_rng(1).uniform(45, 100, (200, 3)) * (1, 1, 0.7)
    found = np.array([warp.transform.TransformPoint(p) for p in points.tolist()]) - points
    truth = -3.0 * np.sin(2 * np.pi * points[:, 1] / 90.0)
    assert np.median(np.abs(found[:, 0] - truth)) < 0.4 * np.median(np.abs(truth))
    assert warp.smallest_jacobian > 0
    again = deformable.refine_bspline(fixed, blobs(move_mm=3.0), np.eye(4))
    assert again.transform.GetParameters() == warp.transform.GetParameters()


def test_no_coefficient_folds_space():
    assert deformable.BOUND_MM < deformable.CONTROL_MM / 1.5 / 2.48  # rounding may narrow the mesh by a third
    transform, _ = random_warp(deformable.BOUND_MM)
    assert deformable._extent(transform, blobs())[1] > 0


def test_the_warp_is_before_the_rigid_pose():
    transform, _ = random_warp()
    pose = np.eye(4)
    pose[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    pose[:3, 3] = 10, 20, 30
    both = deformable.fixed_to_moving(deformable.Warp(transform, 0.0, 1.0), np.linalg.inv(pose))
    point = (40.0, 50.0, 60.0)
    warped = np.array(transform.TransformPoint(point))
    assert both.TransformPoint(point) == pytest.approx(pose[:3, :3] @ warped + pose[:3, 3])


def test_few_slices_are_refused_with_the_way_out():
    thin = blobs(slices=24)
    thin = Head(thin.image[:, :, 10:13], thin.region[:, :, 10:13])
    with pytest.raises(RegistrationError, match=r"register\.deformable to none"):
        deformable.refine_bspline(thin, blobs(), np.eye(4))


def test_brain_contrast_is_monotone_and_keeps_air_at_zero():
    hu = np.linspace(-1000, 300, 64).reshape(4, 4, 4).astype(np.float32)
    scaled = (hu + 1000) / 1300
    volume = volumes.from_array(scaled, np.eye(4))
    level = volumes.to_array(deformable.with_brain_contrast(Head(volume, volume)).image).ravel()
    assert level[0] == 0.0
    assert level[-1] == pytest.approx(1.0)
    assert (np.diff(level) > 0).all()
    brain = (hu.ravel() >= 0) & (hu.ravel() <= 60)
    assert np.ptp(level[brain]) > 4 * np.ptp(scaled.ravel()[brain])


def test_the_written_transform_reads_back_the_same(tmp_path):
    transform, _ = random_warp()
    both = deformable.fixed_to_moving(deformable.Warp(transform, 0.0, 1.0), np.eye(4))
    for name in ("one", "two"):
        sitk.WriteTransform(both, str(tmp_path / f"{name}.tfm"))
    assert (tmp_path / "one.tfm").read_bytes() == (tmp_path / "two.tfm").read_bytes()
    read = sitk.ReadTransform(str(tmp_path / "one.tfm"))
    assert read.TransformPoint((40.0, 50.0, 60.0)) == pytest.approx(both.TransformPoint((40.0, 50.0, 60.0)))
