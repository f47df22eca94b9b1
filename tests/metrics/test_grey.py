"""The paper's 8-bit convention in float arithmetic."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.filters import threshold_otsu

from mrct.metrics.grey import grey_metrics, mr_overlap, to_grey


def test_window_maps_linearly_and_saturates():
    assert to_grey(np.array([-2000.0, -1024.0, 988.0, 3000.0, 4000.0]), (-1024, 3000)).tolist() == [
        0.0,
        0.0,
        127.5,
        255.0,
        255.0,
    ]


@given(st.floats(-1024, 2999), st.floats(0, 1))
def test_grey_error_is_the_hu_error_in_units_of_the_window(hu, error):
    real, synthetic = np.full((8, 8), hu), np.full((8, 8), hu + error)
    expected = error * 255 / 4024
    assert grey_metrics(synthetic, real, (-1024, 3000), "full")["mae_8bit_full"] == pytest.approx(
        expected, abs=1e-9
    )


def test_air_makes_errors_small():
    """The same error in the head: the more air around it, the smaller the paper's MAE."""
    real = np.full((32, 32), -1024.0)
    synthetic = real.copy()
    real[8:16, 8:16], synthetic[8:16, 8:16] = 40.0, 540.0
    tight = grey_metrics(synthetic[8:16, 8:16], real[8:16, 8:16], (-1024, 3000))["mae_8bit"]
    assert grey_metrics(synthetic, real, (-1024, 3000))["mae_8bit"] == pytest.approx(tight / 16)


def test_overlap_uses_the_real_images_otsu_threshold():
    rng = np.random.default_rng(0)
    real = np.clip(rng.normal(0.2, 0.05, (1, 20, 20)), 0, 1)
    real[0, 5:15, 5:15] += 0.5
    darker = real * 0.5
    threshold = threshold_otsu(real)
    expected = ((darker > threshold) & (real > threshold)).sum() / (
        (darker > threshold) | (real > threshold)
    ).sum()
    overlap = mr_overlap(darker, real)
    assert overlap["iou_otsu"] == pytest.approx(expected)
    assert mr_overlap(real, real) == {"iou_head": 1.0, "iou_otsu": 1.0}


def test_a_constant_image_has_no_overlap_to_speak_of():
    assert np.isnan(mr_overlap(np.zeros((1, 8, 8)), np.zeros((1, 8, 8)))["iou_otsu"])
