"""The networks' grid against closed forms and SimpleITK's own point mapping."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from mrct.imaging.grid import (
    Grid,
    box_center,
    centered_grid,
    cropped_fraction,
    from_grid,
    head_center,
    make_grid,
    to_grid,
)


def image_of(
    array: np.ndarray, spacing: tuple[float, ...] = (1.0, 1.0, 3.0), turn_deg: float = 0.0
) -> sitk.Image:
    image = sitk.GetImageFromArray(array.astype(np.float32))
    image.SetSpacing(spacing)
    image.SetOrigin((-31.5, 12.25, 80.0))
    image.SetDirection(
        Rotation.from_euler("xyz", [turn_deg, 5, 3], degrees=True).as_matrix().ravel().tolist()
    )
    return image


def disc(size: int, center: tuple[float, float], radius: float, depth: int = 3) -> np.ndarray:
    """Make a soft-edged bright disc around (i, j) on 0, the same in each slice."""
    j, i = np.mgrid[:size, :size]
    distance = np.hypot(i - center[0], j - center[1])
    return np.repeat(np.clip(radius - distance, 0, 1)[None] * 500, depth, axis=0)


@given(st.integers(1, 40), st.floats(0.4, 3.0), st.floats(-30, 30), st.floats(0, 30), st.floats(0, 30))
@settings(max_examples=30)
def test_affine_maps_points_as_simpleitk_does(
    size: int, spacing: float, turn_deg: float, i: float, j: float
) -> None:
    image = image_of(np.zeros((3, 21, 34)), (0.8, 1.3, 4.0), turn_deg)
    grid = centered_grid(image, np.array([i, j]), size, spacing)
    for index in [(0, 0, 0), (size - 1, 0, 2), (0, size - 1, 1)]:
        ours = (np.asarray(grid.affine) @ [*index, 1])[:3]
        np.testing.assert_allclose(grid.reference().TransformIndexToPhysicalPoint(index), ours, atol=1e-6)
    middle = (np.asarray(grid.affine) @ [(size - 1) / 2, (size - 1) / 2, 0, 1])[:3]
    np.testing.assert_allclose(image.TransformContinuousIndexToPhysicalPoint((i, j, 0.0)), middle, atol=1e-6)


def test_grid_survives_json() -> None:
    grid = centered_grid(image_of(np.zeros((2, 9, 9)), turn_deg=12), np.array([3.3, 4.1]), 7, 1.7)
    assert Grid.from_json(json.loads(json.dumps(grid.to_json()))) == grid


def test_same_spacing_only_crops_and_pads() -> None:
    """At the MR's own spacing every voxel keeps its value bit for bit."""
    volume = disc(60, (35, 25), 15) + np.random.default_rng(0).uniform(0, 9, (3, 60, 60))
    image = image_of(volume)
    grid = make_grid(image, 72, 1.0)
    array = to_grid(image, grid, fill=-1.0)
    first = image.TransformPhysicalPointToContinuousIndex(np.asarray(grid.affine)[:3, 3].tolist())
    i, j = (round(-value) for value in first[:2])
    np.testing.assert_array_equal(array[:, j : j + 60, i : i + 60], volume.astype(np.float32))
    outside = np.ones_like(array, bool)
    outside[:, j : j + 60, i : i + 60] = False
    assert (array[outside] == -1.0).all()
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(from_grid(array, grid, image, 0.0)), volume.astype(np.float32)
    )


@pytest.mark.parametrize("target_mm", [0.7, 1.0, 2.0, 3.1])
def test_a_ramp_stays_a_ramp_in_mm(target_mm: float) -> None:
    """Linear interpolation and a symmetric blur do not change a linear function of position."""
    j, i = np.mgrid[:64, :64]
    image = image_of(np.stack([2.0 * i * 1.0 + 5.0 * j * 1.5 + 100 * k for k in range(3)]), (1.0, 1.5, 3.0))
    grid = centered_grid(image, np.array([32.0, 32.0]), 9, target_mm)
    array = to_grid(image, grid, fill=0.0)
    np.testing.assert_allclose(np.diff(array, axis=2), 2.0 * target_mm, atol=2e-3)
    np.testing.assert_allclose(np.diff(array, axis=1), 5.0 * target_mm, atol=2e-3)
    np.testing.assert_allclose(np.diff(array, axis=0), 100.0, atol=2e-3)
    assert array[0, 4, 4] == pytest.approx(2.0 * 32 + 5.0 * 32 * 1.5, abs=1e-2)


def test_a_gaussian_widens_by_the_missing_resolution() -> None:
    """Closed form: sigma^2 adds up; FWHM^2 of the blur is 2^2 - 0.5^2 mm^2."""
    j, i = np.mgrid[:161, :161]
    image = image_of(np.exp(-((i - 80) ** 2 + (j - 80) ** 2) * 0.25 / (2 * 6.0**2))[None], (0.5, 0.5, 5.0))
    grid = centered_grid(image, np.array([80.0, 80.0]), 41, 2.0)
    variance = 6.0**2 + (2.0**2 - 0.5**2) / (8 * np.log(2))
    row, column = (np.mgrid[:41, :41] - 20) * 2.0
    expected = 36.0 / variance * np.exp(-(row**2 + column**2) / (2 * variance))
    np.testing.assert_allclose(to_grid(image, grid, 0.0)[0], expected, atol=3e-3)


def test_fine_stripes_do_not_alias() -> None:
    stripes = image_of(np.tile(np.arange(96) % 2 * 1000.0, (1, 96, 1)))
    grid = centered_grid(stripes, np.array([47.0, 47.0]), 16, 4.0)
    assert np.ptp(to_grid(stripes, grid, 0.0)) < 1.0
    assert np.ptp(to_grid(stripes, grid, 0.0, nearest=True)) in (0.0, 1000.0)


@pytest.mark.parametrize("center", [(20.0, 40.0), (33.0, 30.0), (45.5, 22.5)])
def test_grid_is_centered_on_the_head(center: tuple[float, float]) -> None:
    rng = np.random.default_rng(1)
    image = image_of(disc(70, center, 14) + rng.rayleigh(8, (3, 70, 70)))
    np.testing.assert_allclose(head_center(image), center, atol=1.01)
    inverse = np.linalg.inv(np.asarray(make_grid(image, 32, 2.0).affine))
    point = image.TransformContinuousIndexToPhysicalPoint((*center, 0.0))
    np.testing.assert_allclose((inverse @ [*point, 1])[:2], 15.5, atol=1.02)


def test_round_trip_of_a_smooth_volume() -> None:
    image = image_of(disc(70, (30, 36), 20), turn_deg=20)
    grid = make_grid(image, 60, 1.0)
    back = sitk.GetArrayFromImage(from_grid(to_grid(image, grid, 0.0), grid, image, 0.0))
    np.testing.assert_allclose(back, sitk.GetArrayFromImage(image), atol=1e-3)


def test_nothing_to_center_on_takes_the_middle_of_the_image() -> None:
    np.testing.assert_array_equal(head_center(image_of(np.zeros((1, 5, 8)))), [3.5, 2.0])


def test_one_slice_of_one_pixel() -> None:
    image = image_of(np.full((1, 1, 1), 7.0))
    array = to_grid(image, make_grid(image, 3, 1.0), fill=-2.0)
    np.testing.assert_array_equal(array, [[[-2, -2, -2], [-2, 7, -2], [-2, -2, -2]]])


def test_cropped_fraction_counts_what_is_cut_off() -> None:
    mask = image_of(np.ones((2, 10, 20)))
    assert cropped_fraction(mask, centered_grid(mask, np.array([9.5, 4.5]), 20, 1.0)) == 0.0
    assert cropped_fraction(mask, centered_grid(mask, np.array([9.5, 4.5]), 10, 1.0)) == pytest.approx(0.5)
    assert cropped_fraction(mask, centered_grid(mask, np.array([9.5, 4.5]), 5, 2.0)) == pytest.approx(0.5)
    assert cropped_fraction(mask, centered_grid(mask, np.array([500.0, 4.5]), 5, 2.0)) == 1.0
    assert cropped_fraction(image_of(np.zeros((2, 4, 4))), make_grid(mask, 5, 1.0)) == 0.0


def test_an_array_of_another_shape_is_refused() -> None:
    image = image_of(np.zeros((2, 6, 6)))
    with pytest.raises(ValueError, match=r"\(2, 5, 5\)"):
        from_grid(np.zeros((2, 6, 6)), centered_grid(image, np.array([2.5, 2.5]), 5, 1.0), image, 0.0)


def test_an_empty_mask_has_no_center() -> None:
    with pytest.raises(ValueError, match="empty"):
        box_center(np.zeros((1, 3, 3), bool))
