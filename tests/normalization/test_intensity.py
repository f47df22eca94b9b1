"""MR scales against closed forms and their own inverses."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mrct.normalization.intensity import MrScale, MrScaling, foreground_threshold


def head_like(air_share: float, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """(2, 100, 100): air of 0 or Rayleigh noise, tissue uniform in 200..1000."""
    rng = np.random.default_rng(seed)
    volume = rng.rayleigh(noise, 20000) if noise else np.zeros(20000)
    tissue = int(20000 * (1 - air_share))
    volume[:tissue] = rng.uniform(200, 1000, tissue)
    return volume.reshape(2, 100, 100).astype(np.float32)


@given(st.floats(-1e4, 1e4), st.floats(1e-2, 1e4), st.floats(0, 1))
def test_mr_scale_round_trip(low: float, extent: float, share: float) -> None:
    scale = MrScale((low, low + extent))
    value = np.array([low + share * extent])
    np.testing.assert_allclose(
        scale.inverse_transform(scale.transform(value)), value, atol=1e-6 * (abs(low) + extent)
    )


def test_mr_scale_saturates() -> None:
    np.testing.assert_array_equal(MrScale((10, 20)).transform(np.array([-5, 10, 20, 99])), [-1, -1, 1, 1])


@pytest.mark.parametrize("window", [(3.0, 3.0), (4.0, 3.0), (0.0, np.nan), (-np.inf, 0.0)])
def test_a_window_without_extent_is_refused(window: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="low < high"):
        MrScale(window)


def test_minmax_is_the_range() -> None:
    assert MrScaling("minmax", (0.5, 99.5)).fit(head_like(0.5)) == MrScale((0.0, float(head_like(0.5).max())))


@pytest.mark.parametrize("air_share", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("noise", [0.0, 15.0])
def test_upper_end_does_not_move_with_the_share_of_air(air_share: float, noise: float) -> None:
    """Tissue is uniform in 200..1000: its 99.5th percentile is 996, whatever surrounds it."""
    scale = MrScaling("percentile", (0.5, 99.5)).fit(head_like(air_share, noise))
    assert scale.high == pytest.approx(996, abs=6)
    assert scale.low < 210


def test_percentiles_without_air_are_those_of_the_voxels() -> None:
    volume = np.arange(1000.0, 2001.0).reshape(1, 7, 143)
    scale = MrScaling("percentile", (10.0, 90.0)).fit(volume)
    assert scale.low == pytest.approx(np.percentile(volume[volume > 1000], 10))
    foreground = volume[volume > foreground_threshold(volume)]
    assert scale.high == pytest.approx(np.percentile(foreground, 90))
    assert foreground_threshold(volume) == pytest.approx(1000 + 0.1 * 990, abs=1)


def test_eight_bit_one_slice_and_integers() -> None:
    volume = np.rint(head_like(0.5)[:1] / 4).astype(np.int16)
    scale = MrScaling("percentile", (0.5, 99.5)).fit(volume)
    assert 0 < scale.low < 60
    assert 240 <= scale.high <= 250


def test_binary_volume_falls_back_to_its_range() -> None:
    volume = np.zeros((1, 4, 4))
    volume[0, :2] = 7
    assert MrScaling("percentile", (0.5, 99.5)).fit(volume) == MrScale((0.0, 7.0))


@given(st.floats(0.01, 1e4))
def test_scale_follows_the_arbitrary_unit(gain: float) -> None:
    """MR has no unit: a volume stored twice as bright must give the same signed volume."""
    volume = head_like(0.5, noise=10.0).astype(np.float64)
    ours = MrScaling("percentile", (0.5, 99.5)).fit(volume).transform(volume)
    gained = MrScaling("percentile", (0.5, 99.5)).fit(volume * gain).transform(volume * gain)
    np.testing.assert_allclose(gained, ours, atol=1e-5)


@pytest.mark.parametrize(
    "volume", [np.full((2, 3, 3), 5.0), np.zeros((0, 3, 3)), np.array([[[1.0, np.nan]]])]
)
def test_a_volume_without_contrast_or_with_nan_is_an_error(volume: np.ndarray) -> None:
    with pytest.raises(ValueError, match="MR volume"):
        MrScaling("percentile", (0.5, 99.5)).fit(volume)


def test_zscore_spans_three_standard_deviations_about_the_mean_of_tissue() -> None:
    """Tissue uniform in 200..1000: mean 600, standard deviation 800 / sqrt(12)."""
    scale = MrScaling("zscore").fit(head_like(0.5, noise=10.0))
    assert scale.low == pytest.approx(600 - 3 * 800 / np.sqrt(12), abs=12)
    assert scale.high == pytest.approx(600 + 3 * 800 / np.sqrt(12), abs=12)
    assert scale.transform(np.array([600.0]))[0] == pytest.approx(0, abs=0.01)


def test_max_is_the_formula_of_karimzadeh() -> None:
    volume = head_like(0.5, noise=10.0)
    signed = MrScaling("max").fit(volume).transform(volume)
    np.testing.assert_allclose(signed, volume / volume.max() * 2 - 1, atol=1e-6)


def learnt(volumes: list[np.ndarray]) -> MrScaling:
    rule = MrScaling("nyul", (0.5, 99.5))
    return rule.fit_landmarks([rule.find_landmarks(volume) for volume in volumes])


def test_nyul_undoes_another_scanners_contrast_where_percentiles_cannot() -> None:
    """The same heads under a monotone curve (a gamma of 0.6) come out nearly equal."""
    heads = [head_like(0.5, seed=seed).astype(np.float64) for seed in range(4)]
    curved = 1500 * (heads[0] / heads[0].max()) ** 0.6
    tissue = heads[0] > 200
    apart = {}
    for scaling in (learnt(heads), MrScaling("percentile")):
        one, other = (scaling.fit(volume).transform(volume) for volume in (heads[0], curved))
        apart[scaling.method] = np.abs(one - other)[tissue].mean()
    assert apart["nyul"] < 0.02
    assert apart["percentile"] > 5 * apart["nyul"]


def test_nyul_of_one_volume_learnt_from_itself_is_affine() -> None:
    volume = head_like(0.5, noise=10.0)
    scale = learnt([volume]).fit(volume)
    inside = np.linspace(scale.low, scale.high, 50)
    expected = 2 * (inside - scale.low) / (scale.high - scale.low) - 1
    np.testing.assert_allclose(scale.transform(inside), expected, atol=1e-6)


@given(hnp.arrays(np.int16, (2, 6, 6), elements=st.integers(0, 40)))
def test_nyul_rises_and_its_inverse_is_exact_even_with_few_grey_levels(volume: np.ndarray) -> None:
    scaling = learnt([head_like(0.5, noise=10.0)])
    if volume.min() == volume.max():
        return
    scale = scaling.fit(volume.astype(np.float64))
    inside = np.linspace(scale.low, scale.high, 40)
    signed = scale.transform(inside)
    assert (np.diff(signed) > 0).all()
    assert signed[0] == -1
    assert signed[-1] == 1
    np.testing.assert_allclose(scale.inverse_transform(signed), inside, atol=1e-3)


@pytest.mark.parametrize("method", ["percentile", "minmax", "max", "zscore", "nyul"])
def test_a_model_file_carries_all_that_repeats_the_scale(method: str) -> None:
    volume = head_like(0.5, noise=10.0, seed=3)
    scaling = learnt([head_like(0.5, noise=10.0)]) if method == "nyul" else MrScaling(method, n4=True)  # type: ignore[arg-type]
    again = MrScaling.from_json(json.loads(json.dumps(scaling.to_json())))
    assert again == scaling
    assert again.fit(volume) == scaling.fit(volume)
