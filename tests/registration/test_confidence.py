"""Tests of the confidence of a registration: where halves of the head end, with and without one alignment."""

import numpy as np
import pytest
import SimpleITK as sitk

from mrct.imaging import volumes
from mrct.registration.confidence import START_MM, STARTS, half_distances_mm, spread_mm
from mrct.registration.head import Head
from mrct.registration.rigid import moved

SPACING_MM = (5.0, 5.0, 5.0)
SHAPE = (18, 22, 20)


def as_ct(field):
    return 0.2 + 0.7 * field


def as_mr(field):
    return 0.9 - 0.7 * field**2


def places_mm(corner_mm):
    """Return (n, 3), the place of each voxel of a grid about 0; `corner_mm` moves the grid."""
    kji = np.moveaxis(np.indices(SHAPE), 0, -1) - (np.array(SHAPE) - 1) / 2
    return (kji[..., ::-1] * SPACING_MM + corner_mm).reshape(-1, 3)


def head(values, places):
    index_to_lps = np.diag([*SPACING_MM, 1.0])
    index_to_lps[:3, 3] = places[0]
    image = volumes.from_array(values.reshape(SHAPE).astype(np.float32), index_to_lps)
    return Head(image, volumes.like(np.ones(SHAPE, bool), image))


def phantom(scanner, pose, corner_mm=(0.0, 0.0, 0.0), radii_mm=(42.0, 48.0, 38.0), waves=6):
    """Make an ellipsoid filled with waves of 25 to 50 mm, moved by `pose`, scanned on a grid moved by `corner_mm`."""
    places = places_mm(corner_mm)
    there = volumes.transform_points(np.linalg.inv(pose), places)
    rng, field = np.random.default_rng(4), np.full(len(there), 0.5)
    for _ in range(waves):
        direction = rng.normal(size=3)
        length_mm, phase = rng.uniform(25, 50), rng.uniform(0, 6.28)
        along = there @ direction / np.linalg.norm(direction)
        field += np.sin(2 * np.pi * along / length_mm + phase) / (2 * waves)
    inside = np.sum((there / radii_mm) ** 2, axis=1) < 1
    return head(np.where(inside, scanner(field), 0.0), places)


TRUTH = moved(np.eye(4), np.array([2.0, -1.0, 3.0, 5.0, -4.0, 2.0]), np.zeros(3), 50.0)
ELSEWHERE_MM = (1.3, -0.9, 1.7)


def test_halves_of_a_phantom_with_one_alignment_end_there():
    ct, mr = phantom(as_ct, np.eye(4)), phantom(as_mr, TRUTH, ELSEWHERE_MM)
    assert spread_mm(ct, mr, TRUTH) < 1.5


def test_a_result_beside_the_alignment_lies_about_as_far_from_the_ends_of_the_halves():
    ct, mr = phantom(as_ct, np.eye(4)), phantom(as_mr, TRUTH, ELSEWHERE_MM)
    beside = TRUTH.copy()
    beside[:3, 3] += (0.0, 8.0, 0.0)
    assert spread_mm(mr, ct, np.linalg.inv(beside)) == pytest.approx(8.0, abs=1.5)


def test_a_sphere_that_can_be_turned_has_a_large_spread():
    ct, mr = (
        phantom(scanner, np.eye(4), corner, radii_mm=(42.0, 42.0, 42.0), waves=0)
        for scanner, corner in ((as_ct, (0.0, 0.0, 0.0)), (as_mr, ELSEWHERE_MM))
    )
    assert spread_mm(ct, mr, np.eye(4)) > 5.0


def test_images_that_share_nothing_have_a_large_spread_and_the_same_with_any_number_of_threads():
    rng = np.random.default_rng(3)
    one, other = (
        head(rng.uniform(0.1, 1.0, np.prod(SHAPE)), places_mm(corner)) for corner in ((0, 0, 0), ELSEWHERE_MM)
    )
    found = spread_mm(one, other, np.eye(4))
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(3)
    try:
        assert spread_mm(one, other, np.eye(4)) == found > 5.0
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def test_halves_without_voxels_of_both_heads_stay_at_their_starts():
    one, other = phantom(as_ct, np.eye(4)), phantom(as_mr, np.eye(4))
    away = np.eye(4)
    away[:3, 3] = 500.0
    assert half_distances_mm(one, other, away)[[1, 3, 5]] == pytest.approx([START_MM] * 3, rel=0.5)


def test_starts_lie_equally_far_in_six_directions():
    assert np.linalg.norm(STARTS, axis=1) == pytest.approx([START_MM] * 6)
    assert np.linalg.matrix_rank(STARTS) == 6
