"""Tests of volumes to [-1, 1] and back: closed forms, scikit-image, inverses; manifests and model files."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.exposure import rescale_intensity

from mrct.core.errors import DataError
from mrct.imaging.grid import make_grid
from mrct.imaging.volumes import affine, to_array
from mrct.normalization.intensity import MrScaling, fit_bias_field
from mrct.normalization.normalization import Normalization

WINDOW = (-1024.0, 3000.0)
NORMALIZATION = Normalization(48, 2.0, WINDOW, MrScaling("percentile"))
#: Content that the stage normalize and model files had before `Normalization` existed.
OLD_MANIFEST = """{
  "hu_window": [-1024.0, 3000.0],
  "image_size": 128,
  "mr": {"landmarks": [], "method": "percentile", "n4": false, "percentiles": [0.5, 99.5]},
  "patients": {"P0000000001": {"split": "train", "depth": 3}},
  "pixel_spacing_mm": 2.0
}"""

rules = st.builds(
    MrScaling,
    st.sampled_from(["percentile", "minmax", "max", "zscore", "nyul"]),
    st.tuples(st.floats(0, 40), st.floats(60, 100)),
    st.lists(st.floats(-1, 1), max_size=12).map(tuple),
    st.booleans(),
)
normalizations = st.builds(
    Normalization,
    st.integers(1, 1024),
    st.floats(0.1, 5),
    st.tuples(st.floats(-1024, 0), st.floats(100, 4000)),
    rules,
)


def head(depth: int = 3, low: float = 0.0, noise: float = 10.0) -> sitk.Image:
    """A disc of 60 mm at 500 on `low`, off center in slices of 1.5 mm pixels, 5 mm apart."""
    j, i = np.mgrid[:50, :60]
    disc = np.hypot(i - 27, j - 24) < 20
    rng = np.random.default_rng(depth)
    array = low + np.where(disc, 500.0, 0.0) + rng.uniform(0, noise, (depth, *disc.shape))
    image = sitk.GetImageFromArray(array.astype(np.float32))
    image.SetSpacing((1.5, 1.5, 5.0))
    image.SetOrigin((-40.0, -30.0, 12.0))
    return image


def test_window_ends_and_middle_are_minus_one_zero_one() -> None:
    hu = np.array([-3024.0, -1024.0, 988.0, 3000.0, 9000.0])
    np.testing.assert_allclose(NORMALIZATION.transform_ct(hu), [-1, -1, 0, 1, 1], atol=1e-7)


def test_the_ct_map_agrees_with_scikit_image() -> None:
    hu = np.random.default_rng(0).uniform(-2000, 4000, (3, 8, 9))
    oracle = rescale_intensity(hu, in_range=WINDOW, out_range=(-1.0, 1.0))
    np.testing.assert_allclose(NORMALIZATION.transform_ct(hu), oracle, atol=1e-6)


@given(hnp.arrays(np.float32, (2, 3, 4), elements=st.floats(-1024, 3000, width=32)))
def test_ct_round_trip_inside_the_window(hu: np.ndarray) -> None:
    back = NORMALIZATION.inverse_transform(NORMALIZATION.transform_ct(hu), "CT")
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, hu, atol=5e-4)


@given(normalizations, hnp.arrays(np.float32, 5, elements=st.floats(-1, 1, width=32)))
def test_a_difference_of_one_is_so_many_hu(normalization: Normalization, signed: np.ndarray) -> None:
    hu = normalization.inverse_transform_ct(signed).astype(np.float64)
    expected = np.subtract.outer(signed, signed) * normalization.hu_per_unit
    np.testing.assert_allclose(np.subtract.outer(hu, hu), expected, atol=2e-3)


@given(hnp.arrays(np.float32, (2, 3), elements=st.floats(-1, 1, width=32)))
def test_mr_becomes_a_share_of_its_range(signed: np.ndarray) -> None:
    share = NORMALIZATION.inverse_transform(signed, "MR")
    assert share.dtype == np.float32
    assert ((share >= 0) & (share <= 1)).all()
    np.testing.assert_allclose(share * 2 - 1, signed, atol=1e-6)


@pytest.mark.parametrize("window", [(3.0, 3.0), (4.0, 3.0), (0.0, np.nan), (-np.inf, 0.0)])
def test_a_window_without_extent_is_refused(window: tuple[float, float]) -> None:
    with pytest.raises(DataError, match="low < high"):
        Normalization(48, 2.0, window, MrScaling("percentile"))


@given(normalizations)
def test_json_keeps_everything(normalization: Normalization) -> None:
    assert Normalization.from_json(json.loads(json.dumps(normalization.to_json()))) == normalization


def test_an_old_manifest_is_read_and_written_as_it_was() -> None:
    manifest = json.loads(OLD_MANIFEST)
    normalization = Normalization.from_json(manifest)
    assert normalization == Normalization(128, 2.0, WINDOW, MrScaling("percentile", (0.5, 99.5)))
    again = normalization.to_json() | {"patients": manifest["patients"]}
    assert json.dumps(again, sort_keys=True) == json.dumps(manifest, sort_keys=True)


@pytest.mark.parametrize(
    "change",
    [
        {"hu_window": None},
        {"hu_window": [1.0, 2.0, 3.0]},
        {"image_size": "wide"},
        {"mr": {"method": "percentile"}},
        {"mr": {"method": "histogram", "percentiles": [0, 1], "landmarks": [], "n4": False}},
    ],
)
def test_a_manifest_that_is_none_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(DataError, match=r"normalization: .*run the stage normalize again"):
        Normalization.from_json(json.loads(OLD_MANIFEST) | change)


def test_the_window_learnt_from_training_cts_spans_them_down_to_air() -> None:
    learnt = NORMALIZATION.fit_hu_window([(-900.0, 1500.0), (-3024.0, 1200.0)])
    assert learnt.hu_window == (-1024.0, 1500.0)
    assert NORMALIZATION.fit_hu_window([(-900.0, 1500.0)]).hu_window == (-900.0, 1500.0)


@pytest.mark.parametrize("n4", [False, True])
def test_the_mr_on_the_grid_is_that_of_its_own_scale(n4: bool) -> None:
    """Pixels as fine as the MR's own: nothing is interpolated, and the grid's middle is the MR."""
    mr = head(5, low=-40.0)
    fitted = Normalization(64, 1.5, WINDOW, MrScaling("percentile", n4=n4)).fit(mr)
    field = fit_bias_field(mr)
    assert field is not None
    values = to_array(field.correct(mr) if n4 else mr)
    scale = MrScaling("percentile").fit(values)
    assert fitted.mr_range == (scale.low, scale.high)
    signed = fitted.transform(mr, "MR")
    back = to_array(fitted.restore(signed, "MR", mr))
    np.testing.assert_allclose(back, scale.transform(values), atol=1e-5)
    assert (signed[:, 0] == -1).all()  # padding, although the MR's 0 is not its lowest value


@settings(max_examples=20, deadline=None)
@given(hnp.arrays(np.float32, (2, 12, 14), elements=st.floats(-1024, 3000, width=32)))
def test_a_ct_survives_grid_and_window(hu: np.ndarray) -> None:
    ct = sitk.GetImageFromArray(hu)
    ct.SetSpacing((1.5, 1.5, 5.0))
    fitted = Normalization(64, 1.5, WINDOW, MrScaling("percentile")).fit(ct, "CT")
    signed = fitted.transform(ct, "CT")
    assert signed.shape == (2, 64, 64)
    assert (signed[:, 0] == -1).all()
    back = fitted.restore(fitted.normalization.inverse_transform(signed, "CT"), "CT", ct)
    np.testing.assert_allclose(to_array(back), hu, atol=1e-3)
    np.testing.assert_array_equal(affine(back), affine(ct))


def test_what_lies_outside_the_grid_is_air_and_black() -> None:
    mr = head()
    fitted = Normalization(8, 1.5, WINDOW, MrScaling("percentile")).fit(mr)
    filled = np.ones((3, 8, 8), np.float32)
    assert to_array(fitted.restore(filled, "CT", mr))[0, 0, 0] == -1024
    assert to_array(fitted.restore(filled, "MR", mr))[0, 0, 0] == 0


def test_the_grid_comes_from_the_volume_and_its_slices_stay() -> None:
    fitted = NORMALIZATION.fit(head(4))
    assert fitted.grid == make_grid(head(4), 48, 2.0)
    assert fitted.grid.depth == 4
    assert fitted.slice_spacing_mm == pytest.approx(5.0)


def test_a_ct_on_the_grid_is_not_clipped() -> None:
    ct = head(3, low=-3024.0)
    assert NORMALIZATION.fit(ct, "CT").resample_ct(ct).min() < -3000


def test_what_is_fitted_to_a_ct_does_not_scale_an_mr() -> None:
    fitted = NORMALIZATION.fit(head(), "CT")
    with pytest.raises(DataError, match="fit it to the MR"):
        fitted.transform(head(), "MR")


@pytest.mark.parametrize("n4", [False, True])
def test_landmarks_are_learnt_from_volumes_after_n4_where_it_is_asked_for(n4: bool) -> None:
    mr, rule = head(5), MrScaling("nyul", n4=n4)
    field = fit_bias_field(mr)
    assert field is not None
    normalization = Normalization(48, 2.0, WINDOW, rule)
    found = normalization.find_landmarks(mr)
    np.testing.assert_array_equal(found, rule.find_landmarks(to_array(field.correct(mr) if n4 else mr)))
    assert normalization.fit_landmarks([found]).mr_scaling == rule.fit_landmarks([found])
