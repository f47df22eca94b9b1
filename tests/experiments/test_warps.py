"""Warps against closed forms and a spline summed by hand; RMS exact, no fold, invertible."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from mrct.experiments import warps
from mrct.experiments.warps import draw_displacement_mm, jacobian_determinant, root_mean_square, warp
from mrct.imaging.similarity import cubic_b_spline

SPACING_MM = 2.0


def ellipse(height: int = 48, width: int = 40) -> np.ndarray:
    """Three slices' heads above each other: counts of 0 to 3."""
    y, x = np.mgrid[:height, :width]
    inside = [((y - 22) / (18 - n)) ** 2 + ((x - 19) / (13 + n)) ** 2 < 1 for n in range(3)]
    return np.sum(inside, axis=0)


def draw(seed: int = 0, rms_mm: float = 4.0) -> np.ndarray:
    return draw_displacement_mm(np.random.default_rng(seed), ellipse(), rms_mm, SPACING_MM)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.floats(0.1, 4.0))
def test_rms_is_exact_and_nothing_folds(seed, rms_mm):
    field, head = draw(seed, rms_mm), ellipse()
    squares = [head[j, i] * (field[0, j, i] ** 2 + field[1, j, i] ** 2) for j in range(48) for i in range(40)]
    assert np.sqrt(sum(squares) / head.sum()) == pytest.approx(rms_mm, rel=1e-12)
    assert root_mean_square(field, head) == pytest.approx(rms_mm, rel=1e-12)
    assert jacobian_determinant(field, SPACING_MM).min() > 0


def test_the_field_is_a_cubic_b_spline_with_coefficients_30_mm_apart():
    step = warps.CONTROL_MM / SPACING_MM
    field = warps._smooth_field(np.random.default_rng(3), (33, 47), step)
    counts = (int(32 / step + 1) + 3, int(46 / step + 1) + 3)
    coefficients = np.random.default_rng(3).standard_normal((2, *counts))
    rows = cubic_b_spline(np.arange(33)[:, None] / step + 1 - np.arange(counts[0]))
    columns = cubic_b_spline(np.arange(47)[:, None] / step + 1 - np.arange(counts[1]))
    assert np.allclose(rows.sum(1), 1)  # every pixel lies between four coefficients
    assert np.allclose(columns.sum(1), 1)
    for part, expected in zip(field, coefficients, strict=True):
        assert np.allclose(part, rows @ expected @ columns.T, atol=1e-12)


def test_jacobian_of_a_linear_field_is_its_determinant():
    y, x = np.mgrid[:9, :11] * SPACING_MM
    field = np.stack([0.2 * y - 0.1 * x, 0.3 * y + 0.5 * x])
    assert np.allclose(jacobian_determinant(field, SPACING_MM), 1.2 * 1.5 + 0.1 * 0.3)
    mirrored = np.stack([np.zeros_like(x), -2.0 * x])
    assert np.allclose(jacobian_determinant(mirrored, SPACING_MM), -1.0)


def test_a_warped_ramp_is_the_ramp_at_the_displaced_place():
    """Linear interpolation is exact on a ramp, wherever the place lies in the image."""
    field = draw()
    places = np.indices(field.shape[1:]) + field / SPACING_MM
    ramps = [lambda at: 0.01 * at[0] - 0.02 * at[1], lambda at: 0.3 - 0.01 * at[1]]
    volume = np.stack([ramp(np.indices(field.shape[1:])) for ramp in ramps])
    warped = warp(volume, field, SPACING_MM, outside=-7.0)
    limits = np.array(field.shape[1:])[:, None, None] - 1
    inside = ((places >= 0) & (places <= limits)).all(0)
    assert 0.5 < inside.mean() < 1
    for plane, ramp in zip(warped, ramps, strict=True):
        assert np.allclose(plane[inside], ramp(places)[inside], atol=1e-6)
        assert np.all(plane[(places < -1).any(0) | (places > limits + 1).any(0)] == -7.0)


def test_a_whole_pixel_to_the_right_shows_what_lies_to_the_right():
    image = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    to_the_right = np.stack([np.zeros((3, 4)), np.full((3, 4), SPACING_MM)])
    expected = np.concatenate([image[:, :, 1:], np.full((1, 3, 1), -1.0)], axis=2)
    assert np.array_equal(warp(image, to_the_right, SPACING_MM, -1.0), expected)


def test_the_inverse_brings_every_point_back():
    field = draw(1)
    at = np.indices(field.shape[1:]).astype(float)
    inner = (slice(None), slice(8, -8), slice(8, -8))
    source = at.copy()
    for _ in range(60):  # fixed point of x = y - u(x)
        moved = np.stack([map_coordinates(part, source, order=3, mode="nearest") for part in field])
        source = at - moved / SPACING_MM
    moved = np.stack([map_coordinates(part, source, order=3, mode="nearest") for part in field])
    assert np.abs(source + moved / SPACING_MM - at)[inner].max() < 1e-3


def test_zero_is_the_identity_and_a_seed_is_a_warp():
    volume = np.random.default_rng(0).uniform(-1, 1, (2, 48, 40)).astype(np.float32)
    assert np.array_equal(warp(volume, draw(rms_mm=0.0), SPACING_MM, -1.0), volume)
    assert np.array_equal(draw(5), draw(5))
    assert not np.allclose(draw(5), draw(6))
    assert np.allclose(draw(5, 4.0), 2 * draw(5, 2.0))


def test_what_must_fold_and_a_missing_head_are_refused():
    with pytest.raises(ValueError, match="choose a smaller displacement"):
        draw(rms_mm=60.0)
    with pytest.raises(ValueError, match="without head"):
        draw_displacement_mm(np.random.default_rng(0), np.zeros((8, 8)), 2.0, SPACING_MM)
