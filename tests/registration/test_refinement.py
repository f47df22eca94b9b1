import numpy as np
import pytest

from mrct.imaging import volumes
from mrct.registration import refinement, views
from mrct.registration.head import Head
from mrct.registration.similarity import joint_information_nats

RNG = np.random.default_rng(8)


def block(array, spacing=(2.0, 2.0, 5.0), origin=(0.0, 0.0, 0.0), region=None):
    index_to_lps = np.diag([*spacing, 1.0])
    index_to_lps[:3, 3] = origin
    image = volumes.from_array(array.astype(np.float32), index_to_lps)
    return Head(image, volumes.like(np.ones(array.shape, bool) if region is None else region, image))


def test_top_of_a_quadratic_is_found_exactly():
    summit = np.array([0.3, -0.2, 0.1, 0.4, -0.1, 0.2])
    bend = np.eye(6) + 0.2 * np.ones((6, 6))
    steps = 2.0 * refinement.DESIGN
    scores = np.array([5.0 - (step - summit) @ bend @ (step - summit) for step in steps])
    assert refinement.top(steps, scores, 2.0) == pytest.approx(summit, abs=1e-9)


def test_top_goes_no_further_than_the_reach_and_uphill_on_a_slope():
    steps = 0.5 * refinement.DESIGN
    across = np.delete(steps, 3, axis=1)
    step = refinement.top(steps, steps[:, 3] * 7.0 - (across**2).sum(axis=1), 0.5)
    assert np.linalg.norm(step) == pytest.approx(0.5)
    assert step[3] == pytest.approx(0.5)


def test_design_tells_all_28_terms_of_a_quadratic_apart_and_prefers_no_direction():
    rows, columns = np.triu_indices(6)
    design = refinement.DESIGN
    terms = np.column_stack([np.ones(len(design)), design, design[:, rows] * design[:, columns]])
    assert np.linalg.matrix_rank(terms) == 28
    assert design.sum(axis=0) == pytest.approx(0.0, abs=1e-12)
    squares = design.T @ design
    assert squares == pytest.approx(squares[0, 0] * np.eye(6), abs=1e-9)


def test_rotation_step_moves_a_point_at_the_radius_by_its_length():
    center, radius_mm = np.array([5.0, -3.0, 20.0]), 60.0
    pose = refinement.moved(np.eye(4), np.array([0, 0, 0.6, 0, 0, 0]), center, radius_mm)
    here = center + np.array([radius_mm, 0, 0])
    there = volumes.transform_points(pose, here[None])[0]
    assert np.linalg.norm(there - here) == pytest.approx(0.6, rel=1e-4)
    assert volumes.transform_points(pose, center[None])[0] == pytest.approx(center)


def literal_information(one, other, region, pose, bins):
    """Voxel by voxel, trilinear by hand."""
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
    return joint_information_nats(joint), covered / np.count_nonzero(region)


def test_information_agrees_with_a_literal_sum():
    region = np.zeros((6, 9, 8), bool)
    region[1:5, 2:8, 1:7] = RNG.uniform(size=(4, 6, 6)) > 0.2
    one = block(RNG.uniform(size=region.shape), region=region)
    other = block(RNG.uniform(size=(5, 10, 9)), (1.5, 2.5, 4.0), (1.0, -2.0, 3.0))
    pose = refinement.moved(np.eye(4), np.array([0.5, -0.3, 0.8, 2.2, -1.7, 3.1]), np.zeros(3), 10.0)
    found = views.information(views.View.of(one, 5), views.View.of(other, 5), pose)
    nats, covered = literal_information(one, other, region, pose, 5)
    assert 0.2 < covered < 0.95
    assert found == (pytest.approx(nats, abs=1e-6), pytest.approx(covered))


def test_information_of_a_relabeled_copy_is_its_entropy_and_of_nothing_zero():
    labels = np.tile(np.arange(4) / 4 + 0.1, (3, 8, 2)).reshape(3, 8, 8)
    one, other = (views.View.of(block(a), 4) for a in (labels, np.abs(labels - 1.0)))
    assert views.information(one, other, np.eye(4)) == (pytest.approx(np.log(4)), 1.0)
    away = np.eye(4)
    away[0, 3] = 500.0
    assert views.information(one, other, away) == (0.0, 0.0)
