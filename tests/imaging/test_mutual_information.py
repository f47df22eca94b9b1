"""Mutual information against ITK, scikit-image and closed forms."""

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import normalized_mutual_information as studholme

from mrct.imaging.mutual_information import (
    binned_histogram,
    mattes_mutual_information,
    mutual_information,
    normalized_mutual_information,
)


def test_binned_histogram_counts_pairs():
    joint = binned_histogram(np.array([0, 1, 1], np.int32), np.array([2, 0, 0], np.int32), (2, 3))
    assert joint.tolist() == [[0, 0, 1], [2, 0, 0]]


def test_mutual_information_of_an_empty_histogram_is_zero():
    assert mutual_information(np.zeros((3, 4), int)) == 0.0


def test_mutual_information_agrees_with_itk():
    rng = np.random.default_rng(4)
    one = rng.normal(size=(12, 30, 30))
    other = one**2 + 0.3 * rng.normal(size=one.shape)
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetInterpolator(sitk.sitkNearestNeighbor)
    method.SetInitialTransform(sitk.TranslationTransform(3))
    images = [sitk.GetImageFromArray(array.astype(np.float32)) for array in (one, other)]
    expected = -method.MetricEvaluate(*images)
    # ITK keeps two of its bins free on each side
    assert mattes_mutual_information(one.astype(np.float32), other.astype(np.float32), 28) == pytest.approx(
        expected, abs=2e-3
    )


def test_mutual_information_of_a_relabelled_image_is_its_entropy():
    labels = np.repeat(np.arange(4), 50)
    permuted = np.array([2.0, 0.0, 3.0, 1.0])[labels]
    assert mattes_mutual_information(labels, permuted) == pytest.approx(np.log(4))


def test_mutual_information_of_independent_or_constant_images_vanishes():
    rng = np.random.default_rng(5)
    assert mattes_mutual_information(rng.uniform(size=200_000), rng.uniform(size=200_000)) < 0.01
    assert mattes_mutual_information(np.ones(10), np.arange(10.0)) == 0.0
    assert mattes_mutual_information(np.array([]), np.array([])) == 0.0


@given(st.integers(0, 10**6), st.integers(2, 40))
def test_normalized_mutual_information_against_scikit_image(seed: int, bins: int) -> None:
    """Studholme's (H(a) + H(b)) / H(a, b) and ours are equivalent: ours = 2 - 2 / Studholme's."""
    rng = np.random.default_rng(seed)
    one = rng.normal(size=500)
    other = one + rng.normal(size=500)
    ours = normalized_mutual_information(one, other, bins)
    assert ours == pytest.approx(2 - 2 / studholme(one, other, bins=bins), abs=1e-9)


def test_normalized_mutual_information_is_one_for_a_copy_and_zero_for_a_constant() -> None:
    values = np.arange(1000.0)
    assert normalized_mutual_information(values, -3 * values) == pytest.approx(1)
    assert normalized_mutual_information(values, np.zeros(1000)) == 0
    assert normalized_mutual_information(np.ones(9), np.zeros(9)) == 0
