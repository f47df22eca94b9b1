"""Tests of a registration as a value: where it maps points, and how far."""

import numpy as np
import pytest

from helpers.stage_inputs import head_pair
from mrct.imaging import volumes
from mrct.registration.alignment import NEGLIGIBLE_SHARE, RigidRegistration, align, make_pair, measure

CT_TO_MR = np.array(
    [[0.0, -1.0, 0.0, 4.0], [1.0, 0.0, 0.0, -2.0], [0.0, 0.0, 1.0, 7.0], [0.0, 0.0, 0.0, 1.0]]
)
POINT = np.array([3.0, 5.0, -1.0])


@pytest.mark.parametrize("fixed", ["ct", "mr"])
def test_a_point_of_the_ct_and_its_place_in_the_mr_meet_on_the_grid(fixed):
    found = RigidRegistration(CT_TO_MR, fixed)
    in_mr = volumes.transform_points(CT_TO_MR, POINT[None])
    from_ct = volumes.transform_points(found.ct_to_grid, POINT[None])
    assert volumes.transform_points(found.mr_to_grid, in_mr) == pytest.approx(from_ct)
    assert from_ct == pytest.approx(POINT[None] if fixed == "ct" else in_mr)


def test_identity_moves_nothing():
    found = RigidRegistration.identity("mr")
    assert found.rotation_deg == 0.0
    assert found.displacement_mm(POINT) == 0.0


def test_rotation_and_displacement_are_those_of_the_matrix():
    found = RigidRegistration(CT_TO_MR, "mr")
    assert found.rotation_deg == pytest.approx(90.0)
    assert found.displacement_mm(POINT) == pytest.approx(np.linalg.norm([-1 - 3, 1 - 5, 6 + 1]))


def filled_at(image, *slices):
    mask = np.zeros(image.GetSize()[::-1], np.uint8)
    mask[list(slices)] = 1
    return volumes.like(mask, image)


def turned(degrees, shift_mm=0.0):
    angle = np.radians(degrees)
    matrix = np.eye(4)
    matrix[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[2, 3] = shift_mm
    return matrix


@pytest.mark.parametrize("ct_to_mr", [np.eye(4), turned(0, 2.0), turned(8), turned(-20, 3.0)], ids=str)
@pytest.mark.parametrize("fixed", ["mr", "ct"])
def test_coverage_ends_where_an_image_has_values_of_a_filled_slice(ct_to_mr, fixed):
    """Truth: the voxel moved into the other image lies less than a slice from the filled one."""
    ct, mr = head_pair(slices=12)
    registration = RigidRegistration(ct_to_mr, fixed)
    pair = make_pair(ct, mr, ct_filled=filled_at(ct, 5), mr_filled=filled_at(mr, 8))
    plain = align(make_pair(ct, mr), registration)
    found = align(pair, registration)
    to_grid = {"ct": registration.ct_to_grid, "mr": registration.mr_to_grid}
    k, j, i = np.indices(found.coverage.shape)
    points = np.stack([i, j, k], -1).reshape(-1, 3) * (2.0, 2.0, 5.0)
    expected, near = plain.coverage.copy(), np.zeros(plain.coverage.shape, bool)
    for name, lost in (("ct", 5), ("mr", 8)):
        away = np.abs(volumes.transform_points(np.linalg.inv(to_grid[name]), points)[:, 2] / 5.0 - lost)
        away = away.reshape(expected.shape)
        expected &= away >= 1 - NEGLIGIBLE_SHARE
        near |= np.abs(away - (1 - NEGLIGIBLE_SHARE)) < 1e-6
    assert (found.coverage == expected)[~near].all()
    assert not found.coverage[8 if fixed == "mr" else 5].any()


def test_a_missing_thin_slice_costs_little_of_a_thick_grid_and_never_its_own_level():
    _, mr = head_pair(slices=6)
    thin, _ = head_pair(slices=60)
    thin.SetSpacing((2.0, 2.0, 0.5))
    found = align(make_pair(thin, mr, ct_filled=filled_at(thin, 30)), RigidRegistration.identity("mr"))
    lost = np.flatnonzero(~found.coverage.any(axis=(1, 2))).tolist()
    assert 3 in lost  # the MR slice at 15 mm, where the thin one is missing
    assert len(lost) <= 3


def test_the_overlap_counts_only_what_both_images_show():
    """Half of the CT is missing: the half that is there lies wholly in the MR."""
    ct, mr = head_pair(slices=12)
    registration = RigidRegistration.identity("mr")
    pair = make_pair(ct, mr, ct_filled=filled_at(ct, *range(3, 9)))
    assert measure(pair, registration, align(pair, registration)).overlap == pytest.approx(1.0, abs=0.02)
