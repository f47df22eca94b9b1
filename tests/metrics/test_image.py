"""Tests of image metrics against scikit-image and closed forms, in float arithmetic with a stated scale."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import metrics as reference

from mrct.metrics.image import (
    intersection_over_union,
    mean_absolute_error,
    peak_signal_to_noise_db,
    psnr_bound_db,
    structural_similarity_mean,
)


@pytest.fixture
def images() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    real = rng.normal(100, 30, (24, 31))
    return real + rng.normal(0, 5, real.shape), real


def test_psnr_equals_scikit_image(images):
    assert peak_signal_to_noise_db(*images, 255.0) == pytest.approx(
        reference.peak_signal_noise_ratio(images[1], images[0], data_range=255.0)
    )


@pytest.mark.parametrize("shape", [(24, 31), (9, 12, 15)])
def test_ssim_equals_scikit_image(shape):
    rng = np.random.default_rng(2)
    real = rng.normal(0, 1, shape)
    predicted = real + rng.normal(0, 0.3, shape)
    assert structural_similarity_mean(predicted, real, 4.0) == pytest.approx(
        reference.structural_similarity(real, predicted, data_range=4.0, win_size=7)
    )


def test_masked_ssim_is_the_map_inside_the_mask_without_the_border(images):
    mask = np.zeros(images[0].shape, bool)
    mask[:, :10] = True
    _, full = reference.structural_similarity(images[1], images[0], data_range=255.0, win_size=7, full=True)
    assert structural_similarity_mean(*images, 255.0, mask) == pytest.approx(full[3:-3, 3:10].mean())


def test_unsigned_integers_do_not_wrap_around():
    assert mean_absolute_error(np.array([[0]], np.uint8), np.array([[255]], np.uint8)) == 255.0


def test_a_constant_error_has_the_psnr_of_its_bound():
    real = np.zeros((8, 8))
    assert peak_signal_to_noise_db(real + 16.4027, real, 255.0) == pytest.approx(
        psnr_bound_db(16.4027, 255.0)
    )
    # the mean MAE that Jeong 2024 reports
    assert psnr_bound_db(16.4027, 255.0) == pytest.approx(23.83, abs=0.01)


@given(seed=st.integers(0, 10_000), scale=st.floats(0.01, 1e3))
@settings(max_examples=50, deadline=None)
def test_psnr_never_exceeds_its_bound(seed, scale):
    rng = np.random.default_rng(seed)
    real, predicted = rng.normal(0, scale, (2, 6, 6))
    mae = mean_absolute_error(predicted, real)
    assert peak_signal_to_noise_db(predicted, real, scale) <= psnr_bound_db(mae, scale) + 1e-9


def test_equal_images(images):
    assert mean_absolute_error(images[0], images[0]) == 0.0
    assert peak_signal_to_noise_db(images[0], images[0], 255.0) == float("inf")
    assert structural_similarity_mean(images[0], images[0], 255.0) == pytest.approx(1.0)


def test_iou_counts_by_hand():
    a, b = np.array([1, 1, 0, 0], bool), np.array([1, 0, 1, 0], bool)
    assert intersection_over_union(a, b) == pytest.approx(1 / 3)
    assert np.isnan(intersection_over_union(~a & a, ~a & a))


def test_nasty_shapes(images):
    assert np.isnan(structural_similarity_mean(images[0][:6], images[1][:6], 255.0))
    with pytest.raises(ValueError, match="not empty"):
        mean_absolute_error(*images, np.zeros(images[0].shape, bool))
    with pytest.raises(ValueError, match="equal shapes"):
        mean_absolute_error(images[0], images[1][:-1])
    with pytest.raises(ValueError, match="data_range"):
        peak_signal_to_noise_db(*images, 0.0)
