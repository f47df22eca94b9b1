"""Tests of a registration as a value: where it maps points, and how far."""

import numpy as np
import pytest

from mrct.imaging import volumes
from mrct.registration.alignment import RigidRegistration

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
