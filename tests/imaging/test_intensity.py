"""Intensity maps against closed forms, scikit-image and their own inverses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.exposure import rescale_intensity

from mrct.imaging.intensity import MrScale, fit_mr_scale, foreground_threshold, hu_to_signed, signed_to_hu

WINDOW = (-1024.0, 3000.0)


def head_like(air_share: float, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """(2, 100, 100): air of 0 or Rayleigh noise, tissue uniform in 200..1000."""
    rng = np.random.default_rng(seed)
    volume = rng.rayleigh(noise, 20000) if noise else np.zeros(20000)
    tissue = int(20000 * (1 - air_share))
    volume[:tissue] = rng.uniform(200, 1000, tissue)
    return volume.reshape(2, 100, 100).astype(np.float32)


def test_hu_window_ends_and_middle_are_minus_one_zero_one() -> None:
    hu = np.array([-3024.0, -1024.0, 988.0, 3000.0, 9000.0])
    np.testing.assert_allclose(hu_to_signed(hu, WINDOW), [-1, -1, 0, 1, 1], atol=1e-7)


def test_hu_map_agrees_with_scikit_image() -> None:
    hu = np.random.default_rng(0).uniform(-2000, 4000, (3, 8, 9))
    oracle = rescale_intensity(hu, in_range=WINDOW, out_range=(-1.0, 1.0))
    np.testing.assert_allclose(hu_to_signed(hu, WINDOW), oracle, atol=1e-6)


@given(hnp.arrays(np.float32, (2, 3, 4), elements=st.floats(-1024, 3000, width=32)))
def test_hu_round_trip_inside_the_window(hu: np.ndarray) -> None:
    back = signed_to_hu(hu_to_signed(hu, WINDOW), WINDOW)
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, hu, atol=5e-4)


@given(st.floats(-1e4, 1e4), st.floats(1e-2, 1e4), st.floats(0, 1))
def test_mr_scale_round_trip(low: float, extent: float, share: float) -> None:
    scale = MrScale(low, low + extent)
    value = np.array([low + share * extent])
    np.testing.assert_allclose(
        scale.from_signed(scale.to_signed(value)), value, atol=1e-6 * (abs(low) + extent)
    )


def test_mr_scale_saturates() -> None:
    np.testing.assert_array_equal(MrScale(10, 20).to_signed(np.array([-5, 10, 20, 99])), [-1, -1, 1, 1])


@pytest.mark.parametrize("window", [(3.0, 3.0), (4.0, 3.0), (0.0, np.nan), (-np.inf, 0.0)])
def test_a_window_without_extent_is_refused(window: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="low < high"):
        hu_to_signed(np.zeros(3), window)
    with pytest.raises(ValueError, match="low < high"):
        MrScale(*window)


def test_minmax_is_the_range() -> None:
    assert fit_mr_scale(head_like(0.5), "minmax", (0.5, 99.5)) == MrScale(0.0, float(head_like(0.5).max()))


@pytest.mark.parametrize("air_share", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("noise", [0.0, 15.0])
def test_upper_end_does_not_move_with_the_share_of_air(air_share: float, noise: float) -> None:
    """Tissue is uniform in 200..1000: its 99.5th percentile is 996, whatever surrounds it."""
    scale = fit_mr_scale(head_like(air_share, noise), "percentile", (0.5, 99.5))
    assert scale.high == pytest.approx(996, abs=6)
    assert scale.low < 210


def test_percentiles_without_air_are_those_of_the_voxels() -> None:
    volume = np.arange(1000.0, 2001.0).reshape(1, 7, 143)
    scale = fit_mr_scale(volume, "percentile", (10.0, 90.0))
    assert scale.low == pytest.approx(np.percentile(volume[volume > 1000], 10))
    foreground = volume[volume > foreground_threshold(volume)]
    assert scale.high == pytest.approx(np.percentile(foreground, 90))
    assert foreground_threshold(volume) == pytest.approx(1000 + 0.1 * 990, abs=1)


def test_eight_bit_one_slice_and_integers() -> None:
    volume = np.rint(head_like(0.5)[:1] / 4).astype(np.int16)
    scale = fit_mr_scale(volume, "percentile", (0.5, 99.5))
    assert 0 < scale.low < 60
    assert 240 <= scale.high <= 250


def test_binary_volume_falls_back_to_its_range() -> None:
    volume = np.zeros((1, 4, 4))
    volume[0, :2] = 7
    assert fit_mr_scale(volume, "percentile", (0.5, 99.5)) == MrScale(0.0, 7.0)


@given(st.floats(0.01, 1e4))
def test_scale_follows_the_arbitrary_unit(gain: float) -> None:
    """MR has no unit: a volume stored twice as bright must give the same signed volume."""
    volume = head_like(0.5, noise=10.0).astype(np.float64)
    ours = fit_mr_scale(volume, "percentile", (0.5, 99.5)).to_signed(volume)
    gained = fit_mr_scale(volume * gain, "percentile", (0.5, 99.5)).to_signed(volume * gain)
    np.testing.assert_allclose(gained, ours, atol=1e-5)


@pytest.mark.parametrize(
    "volume", [np.full((2, 3, 3), 5.0), np.zeros((0, 3, 3)), np.array([[[1.0, np.nan]]])]
)
def test_a_volume_without_contrast_or_with_nan_is_an_error(volume: np.ndarray) -> None:
    with pytest.raises(ValueError, match="MR volume"):
        fit_mr_scale(volume, "percentile", (0.5, 99.5))
