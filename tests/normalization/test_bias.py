"""N4 against a bias field that is known."""

import numpy as np
import pytest
import SimpleITK as sitk

from mrct.normalization.intensity import fit_bias_field


def shaded(depth: int) -> tuple[sitk.Image, np.ndarray, np.ndarray]:
    """A head of two tissues under a smooth field of 0.6 to 1.4; also its mask and its true image."""
    _, j, i = np.mgrid[:depth, :80, :70].astype(float)
    head = np.hypot(i - 35, j - 40) < 28
    truth = np.where(head, np.where(np.hypot(i - 28, j - 46) < 12, 700.0, 400.0), 0.0)
    field = 1 + 0.4 * np.sin((i + j - 75) / 45)
    noise = np.random.default_rng(0).normal(0, 4, truth.shape)
    image = sitk.GetImageFromArray(np.abs(truth * field + noise).astype(np.float32))
    image.SetSpacing((2.5, 2.5, 5.0))
    return image, head, truth


def error(volume: np.ndarray, truth: np.ndarray, head: np.ndarray) -> float:
    """Coefficient of variation of the gain over the truth inside the head."""
    gain = (volume / np.maximum(truth, 1))[head]
    return float(gain.std() / gain.mean())


def corrected(image: sitk.Image) -> sitk.Image:
    field = fit_bias_field(image)
    assert field is not None
    return field.correct(image)


@pytest.mark.parametrize("depth", [1, 8])
def test_the_known_field_is_mostly_removed_and_the_mean_stays(depth: int) -> None:
    image, head, truth = shaded(depth)
    before = sitk.GetArrayFromImage(image)
    after = sitk.GetArrayFromImage(corrected(image))
    assert error(before, truth, head) > 0.15
    assert error(after, truth, head) < 0.35 * error(before, truth, head)
    assert after[head].mean() == pytest.approx(before[head].mean(), rel=0.02)
    assert after.min() >= before.min()
    assert corrected(image).GetSpacing() == image.GetSpacing()


def test_the_same_volume_gives_the_same_bytes() -> None:
    image, _, _ = shaded(5)
    one, other = (sitk.GetArrayFromImage(corrected(image)).tobytes() for _ in range(2))
    assert one == other


def test_a_volume_without_a_head_has_no_field() -> None:
    assert fit_bias_field(sitk.GetImageFromArray(np.full((3, 20, 20), 7, np.float32))) is None
