"""HU and MR signals compared with closed forms; geometry tested on volumes that hold coordinates."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from virtual_hospital import ct, mr
from virtual_hospital.examination import TILT_DEG, ct_grid, inside_ct
from virtual_hospital.geometry import (
    CORONAL,
    SAGITTAL,
    Poses,
    pose,
    rotation_matrix,
    sample,
    scanner_to_head_index,
    stack,
)
from virtual_hospital.mr import Sequence, spin_echo_signal
from virtual_hospital.tissues import PROPERTIES, Tissue

STILL = np.eye(4)
SMALL = stack(np.eye(3), np.zeros(3), (9, 60, 60), 4.0, 5.0, 5.0)


def _signal(tr_ms, te_ms, ti_ms=None, t1=1000.0, t2=100.0, pd=0.8):
    sequence = Sequence(tr_ms, te_ms, 1, ti_ms)
    return float(spin_echo_signal(np.array(pd), np.array(t1), np.array(t2), sequence))


def test_spin_echo_closed_forms():
    assert _signal(1e9, 0.0) == pytest.approx(0.8)
    assert _signal(1e9, 100.0) == pytest.approx(0.8 / np.e)
    assert _signal(1000.0 * np.log(2), 0.0) == pytest.approx(0.4)
    assert _signal(1e9, 0.0, ti_ms=1000.0 * np.log(2)) == pytest.approx(0.0, abs=1e-12)  # the null point
    assert _signal(3000.0, 50.0, ti_ms=500.0) == pytest.approx(
        0.8 * abs(1 - 2 * np.exp(-0.5) + np.exp(-3.0)) * np.exp(-0.5)
    )


def test_grey_levels_are_those_a_radiographer_expects():
    def order(sequence, *tissues):
        signals = [
            float(spin_echo_signal(*(np.array(v) for v in PROPERTIES[t][2:]), sequence)) for t in tissues
        ]
        assert signals == sorted(signals, reverse=True), (sequence, signals)

    white, grey, csf, bone = (
        Tissue.WHITE_MATTER, Tissue.GREY_MATTER, Tissue.CSF, Tissue.COMPACT_BONE,
    )  # fmt: skip
    order(Sequence(4000, 95), csf, Tissue.INFARCT, grey, white, Tissue.MUSCLE, bone)
    order(Sequence(560, 12), Tissue.FAT, white, grey, csf, bone)
    order(Sequence(9500, 120, 24, 2600), Tissue.EDEMA, grey, white, csf)


def test_uniform_head_gives_the_closed_form_in_the_picture(water_ball):
    sequence = Sequence(4000.0, 95.0)
    picture = sample(mr.head_signal(water_ball, sequence), SMALL, _to_index(), 0.0)
    expected = (1 - np.exp(-4000 / 4000)) * np.exp(-95 / 1500)
    assert picture[4, 25:35, 25:35] == pytest.approx(expected, rel=1e-3)
    assert picture[0, 0, 0] == 0.0


def test_rician_noise_floor_and_high_signal():
    rng = np.random.default_rng(0)
    floor = mr.rician(np.zeros((50, 50, 50), np.float32), 2.0, rng)
    assert floor.mean() == pytest.approx(2.0 * np.sqrt(np.pi / 2), rel=0.01)
    high = mr.rician(np.full((50, 50, 50), 100.0, np.float32), 2.0, rng)
    assert high.std() == pytest.approx(2.0, rel=0.02)


def test_bias_field_is_positive_smooth_and_bounded():
    field = mr.bias_field((20, 64, 64), np.random.default_rng(1))
    assert 0.7 < field.min() < field.max() < 1.45
    assert np.abs(np.diff(field, axis=2)).max() < 0.05


def test_hu_of_water_air_and_corners(water_ball):
    rng = np.random.default_rng(0)
    hu = ct.acquire(water_ball, SMALL, STILL, 4.0, rng)
    water = hu[2:7, 22:38, 22:38]
    assert water.mean() == pytest.approx(PROPERTIES[Tissue.CSF].hu, abs=0.5)
    assert water.std() == pytest.approx(4.0 * 0.85, rel=0.1)
    assert hu[:, 5:8, 25:35].mean() == pytest.approx(-1000.0, abs=1.0)
    assert (hu[:, 0, 0] == -1024.0).all()
    assert hu.min() == -1024.0


def test_headholder_is_an_arc_under_the_head():
    points = np.array([[0.0, y, 0.0] for y in (0.0, 100.0, 110.0, 113.0, 118.0)])
    hu = ct.headholder_hu(points)
    assert hu.tolist() == pytest.approx([-1000.0, -1000.0, -940.0, -200.0, -1000.0])
    assert ct.headholder_hu(np.array([0.0, -113.0, 0.0])) == -1000.0


def test_bone_brightens_its_surroundings():
    hu = np.full((1, 64, 64), 30.0, np.float32)
    assert ct.beam_hardening_hu(hu, 3.0).max() == 0.0
    hu[0, 20:24] = 1400.0
    assert ct.beam_hardening_hu(hu, 3.0)[0, 25, 32] > 1.0


def _to_index(offset=(0.0, 0.0, 0.0)):
    return scanner_to_head_index(pose((0, 0, 0), offset))


angle, shift = st.floats(-20, 20), st.floats(-10, 10)


@settings(max_examples=15, deadline=None)
@given(st.tuples(angle, angle, angle), st.tuples(shift, shift, shift), st.sampled_from([0.0, 12.0]))
def test_sampling_a_ramp_returns_its_coordinates(degrees, shift_mm, tilt):
    """A volume that holds x, y or z is linear, so that any grid samples its own positions, sheared or not."""
    matrix = pose(degrees, shift_mm)
    grid = stack(
        rotation_matrix((tilt, 0, 0)), np.zeros(3), (3, 6, 5), 2.0, 4.0, 4.0, np.array([0.0, 0.0, 1.0])
    )
    to_index = np.linalg.inv(matrix)
    to_index[:3, 3] += 40.0
    k, j, i = np.indices(grid.shape).reshape(3, -1)
    points = grid.index_to_mm @ np.stack([i, j, k, np.ones_like(i)])
    expected = (to_index @ points)[:3]
    for axis, ramp in enumerate(np.indices((80, 80, 80))[::-1].astype(np.float32)):
        seen = sample(np.ascontiguousarray(ramp), grid, to_index, -1.0)
        np.testing.assert_allclose(seen.ravel(), expected[axis], atol=1e-3)


def test_tilted_stack_is_sheared_like_a_real_gantry():
    grid = ct_grid(STILL, 64, TILT_DEG, np.random.default_rng(2))
    steps = np.diff([grid.position(k) for k in range(grid.shape[0])], axis=0)
    np.testing.assert_allclose(steps[:, :2], 0.0, atol=1e-9)  # the table moves along z only
    assert grid.normal[2] == pytest.approx(np.cos(np.deg2rad(TILT_DEG)))
    np.testing.assert_allclose(steps @ grid.normal, grid.spacing_mm)
    assert grid.spacing_mm == pytest.approx(grid.thickness_mm)


@pytest.mark.parametrize("plane", [np.eye(3), CORONAL, SAGITTAL])
def test_planes_are_right_handed_and_centered(plane):
    grid = stack(plane, np.array([3.0, -4.0, 5.0]), (5, 8, 6), 1.5, 7.0, 5.0)
    assert np.linalg.det(plane) == pytest.approx(1.0)
    np.testing.assert_allclose(grid.normal, plane[:, 2])
    np.testing.assert_allclose(grid.index_to_mm @ (2.5, 3.5, 2.0, 1.0), (3.0, -4.0, 5.0, 1.0))


def test_truth_maps_ct_points_to_mr_points():
    poses = Poses(pose((3, -2, 5), (4, 20, -30)), pose((-4, 1, 2), (0, 5, 9)))
    landmark = np.array([10.0, -20.0, 30.0, 1.0])
    np.testing.assert_allclose(poses.ct_to_mr @ (poses.head_to_ct @ landmark), poses.head_to_mr @ landmark)


def test_inside_ct_follows_the_ct_extent(water_ball):
    poses = Poses(STILL, STILL)
    slices = stack(np.eye(3), np.zeros(3), (13, 60, 60), 4.0, 5.0, 5.0)  # -30 .. 30 mm
    half = stack(np.eye(3), np.array([0.0, 0.0, -30.0]), (12, 60, 60), 4.0, 5.0, 5.0)  # -60 .. 0 mm
    assert inside_ct(water_ball, poses, replace(half, shape=(40, 60, 60)), slices) == [True] * 13
    assert inside_ct(water_ball, poses, half, slices) == [True] * 7 + [False] * 6
    narrow = stack(np.eye(3), np.zeros(3), (30, 60, 60), 1.0, 5.0, 5.0)
    assert not any(inside_ct(water_ball, poses, narrow, slices))
