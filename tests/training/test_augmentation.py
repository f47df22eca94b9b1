"""Tests of augmentation: the same motion for MR and CT, another contrast for the MR only, and no change if off."""

import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform

from mrct.training.augmentation import augment, draw
from mrct.training.method import Batch
from mrct.training.settings import Augmentation

OFF = {"rotation_deg": 0.0, "scale": 0.0, "shift_mm": 0.0, "flip": False, "mr_gamma": 0.0, "mr_bias": 0.0}


def settings(**changes) -> Augmentation:
    return Augmentation(**(OFF | changes))


def draws(count: int, seed: int = 0) -> torch.Tensor:
    return draw(count, torch.Generator().manual_seed(seed))


def images(count: int, size: int = 32) -> torch.Tensor:
    return torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(9)) * 2 - 1


MOVING = settings(rotation_deg=10.0, scale=0.1, shift_mm=6.0, flip=True)


def test_mr_and_ct_move_together():
    image = images(3)
    mr, ct, _ = augment(Batch(image, image.clone(), {}), draws(3), MOVING, 2.0)
    assert torch.equal(mr, ct)
    assert not torch.allclose(mr, image)
    assert mr.min() >= -1


def test_motion_against_scipy():
    """Rotation, scale and shift by an independent implementation, in pixels about the image's center."""
    image, given = images(1, 33), draws(1, seed=3)
    angle = np.deg2rad(10.0 * float(given[0, 0]))
    scale = 1 + 0.1 * float(given[0, 1])
    shift = np.array([float(given[0, 3]), float(given[0, 2])]) * 6.0 / 2.0  # rows, columns in pixels
    matrix = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    center = np.array([16.0, 16.0])
    expected = affine_transform(
        image[0, 0].numpy() + 1, matrix, offset=center + shift - matrix @ center, order=1, mode="constant"
    )
    still = settings(rotation_deg=10.0, scale=0.1, shift_mm=6.0)
    moved, *_ = augment(Batch(image, image, {}), given, still, 2.0)
    inner = (slice(4, -4), slice(4, -4))  # at the border the two mix background differently
    assert np.abs(moved[0, 0].numpy() + 1 - expected)[inner].max() < 1e-4


def test_what_moves_in_is_background_and_no_change_is_identity():
    ones = torch.ones(1, 1, 16, 16)
    moved, *_ = augment(Batch(ones, ones, {}), draws(1, seed=1), settings(shift_mm=30.0), 1.0)
    assert moved.min() == -1
    assert augment(Batch(ones, ones, {}), draws(1), settings(), 1.0) == (ones, ones, {})


def test_shift_is_in_millimeters():
    image = torch.full((64, 1, 33, 33), -1.0)
    image[:, 0, 16, 16] = 1.0
    moved, *_ = augment(Batch(image, image, {}), draws(64), settings(shift_mm=8.0), 2.0)
    weights = (moved + 1)[:, 0]
    rows = (weights.sum(2) * (torch.arange(33.0) - 16)).sum(1) / weights.sum((1, 2))
    assert rows.abs().max() <= 4.0 + 1e-3  # 8 mm at 2 mm per pixel
    assert rows.abs().max() > 3.0


def test_flip_mirrors_about_half_of_the_images_left_to_right():
    image = images(40)
    mr, *_ = augment(Batch(image, image, {}), draws(40), settings(flip=True), 1.0)
    mirrored = [torch.allclose(a, b.flip(-1), atol=1e-4) for a, b in zip(mr, image, strict=True)]
    same = [torch.allclose(a, b, atol=1e-4) for a, b in zip(mr, image, strict=True)]
    assert all(a != b for a, b in zip(mirrored, same, strict=True))
    assert 10 < sum(mirrored) < 30


@pytest.mark.parametrize("change", [{"mr_gamma": 0.3}, {"mr_bias": 0.3}], ids=["gamma", "bias"])
def test_contrast_changes_the_mr_alone_and_keeps_its_range_and_background(change):
    image = images(8)
    image[:, :, :4] = -1.0
    mr, ct, _ = augment(Batch(image, image, {}), draws(8), settings(**change), 1.0)
    assert ct is image
    assert not torch.allclose(mr, image, atol=0.01)
    assert mr.min() == -1
    assert mr.max() <= 1
    assert torch.all(mr[:, :, :4] == -1)


def test_gamma_is_monotone_and_within_its_factor():
    ramp = torch.linspace(-1, 1, 101).view(1, 1, 1, 101).expand(20, 1, 1, 101)
    mr, *_ = augment(Batch(ramp, ramp, {}), draws(20), settings(mr_gamma=0.3), 1.0)
    gamma = torch.log((mr[..., 50] + 1) / 2) / np.log(0.5)
    assert (mr.diff(dim=-1) >= 0).all()
    assert gamma.min() >= 1 / 1.3 - 1e-4
    assert gamma.max() <= 1.3 + 1e-4
    assert gamma.max() - gamma.min() > 0.2


def test_bias_is_smooth():
    gray = torch.zeros(20, 1, 64, 64)
    mr, *_ = augment(Batch(gray, gray, {}), draws(20), settings(mr_bias=0.3), 1.0)
    gain = torch.log(mr + 1)
    assert gain.abs().max() < 0.3 * 1.5  # bicubic overshoots its control points a little
    assert gain.abs().amax((1, 2, 3)).min() > 0.1
    assert gain.diff(dim=-1).abs().max() < 0.05


def test_an_image_changes_alike_in_any_batch():
    """Several processes rely on this: the draws of a whole batch are applied to a part of it."""
    everything = settings(rotation_deg=5.0, scale=0.1, shift_mm=5.0, flip=True, mr_gamma=0.3, mr_bias=0.3)
    image, given = images(4), draws(4)
    whole = augment(Batch(image, image, {"brain": image}), given, everything, 2.0)
    part = augment(Batch(image[2:], image[2:], {"brain": image[2:]}), given[2:], everything, 2.0)
    assert torch.equal(whole.mr[2:], part.mr)
    assert torch.equal(whole.ct[2:], part.ct)
    assert torch.equal(whole.other["brain"][2:], part.other["brain"])


def test_further_images_move_as_the_ct_does_and_keep_their_contrast():
    everything = settings(rotation_deg=5.0, scale=0.1, shift_mm=5.0, flip=True, mr_gamma=0.3, mr_bias=0.3)
    image = images(3)
    moved = augment(Batch(image, image, {"brain": image}), draws(3), everything, 2.0)
    assert torch.equal(moved.other["brain"], moved.ct)
    assert not torch.allclose(moved.ct, image)
    assert not torch.allclose(moved.mr, moved.ct)
