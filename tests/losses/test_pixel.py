"""Tests of P_pix and the weighted L1 against literal references, and of the stop-gradient and NaN."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrct.losses.pixel import WEIGHT_FLOOR, pixel_translation_loss, pixel_weights

SIDES = st.integers(1, 9)


def _bilinear(patches: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """(h, w) -> (height, width): each pixel's center among the patches' centers, the border continued."""
    result = torch.empty(height, width)
    for row in range(height):
        for column in range(width):
            places = []
            for place, size, count in ((row, height, patches.shape[0]), (column, width, patches.shape[1])):
                source = max((place + 0.5) * count / size - 0.5, 0.0)
                low = min(math.floor(source), count - 1)
                places.append((low, min(low + 1, count - 1), source - low))
            (top, bottom, down), (left, right, across) = places
            upper = patches[top, left] * (1 - across) + patches[top, right] * across
            lower = patches[bottom, left] * (1 - across) + patches[bottom, right] * across
            result[row, column] = upper * (1 - down) + lower * down
    return result


@settings(deadline=None)
@given(SIDES, SIDES, SIDES, SIDES, st.integers(0, 99))
def test_clip_is_bilinear_interpolation_limited_to_the_targets(h, w, height, width, seed):
    logits = torch.randn(1, 1, h, w, generator=torch.Generator().manual_seed(seed)) * 2
    expected = _bilinear(logits[0, 0], height, width).clamp(WEIGHT_FLOOR, 1)
    assert torch.allclose(pixel_weights(logits, (height, width), "clip")[0, 0], expected, atol=1e-5)


@settings(deadline=None)
@given(st.integers(1, 4), SIDES, SIDES, st.integers(0, 99))
def test_weights_of_one_give_plain_l1(batch, height, width, seed):
    rng = torch.Generator().manual_seed(seed)
    synthetic, real = torch.randn(2, batch, 1, height, width, generator=rng, dtype=torch.float64)
    logits = torch.randn(batch, 1, 2, 2, generator=rng, dtype=torch.float64)
    weights = pixel_weights(logits, (height, width), "none")
    expected = (synthetic - real).abs().mean()
    assert pixel_translation_loss(synthetic, real, weights).item() == pytest.approx(expected.item())


def test_weighted_mean_by_hand():
    synthetic, real = torch.zeros(1, 1, 1, 2), torch.tensor([[[[1.0, 5.0]]]])
    weights = torch.tensor([[[[1.0, 0.25]]]])
    assert pixel_translation_loss(synthetic, real, weights) == pytest.approx((1 + 5 * 0.25) / 1.25)


@settings(deadline=None)
@given(st.floats(0.1, 10), st.integers(0, 99))
def test_weights_move_attention_and_not_the_loss(gain, seed):
    """A weighted mean: between the smallest and largest error, and the same for weights times a number."""
    rng = torch.Generator().manual_seed(seed)
    synthetic, real, weights = torch.rand(3, 1, 1, 4, 5, generator=rng) + 0.05
    loss, errors = pixel_translation_loss(synthetic, real, weights), (synthetic - real).abs()
    assert errors.min() * (1 - 1e-6) <= loss <= errors.max() * (1 + 1e-6)
    assert pixel_translation_loss(synthetic, real, gain * weights) == pytest.approx(loss.item(), rel=1e-5)


@settings(deadline=None)
@given(st.floats(0.1, 10), st.floats(-5, 5), st.integers(0, 99))
def test_minmax_asks_only_which_patch_looks_more_real(gain, offset, seed):
    logits = torch.randn(2, 1, 3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    weights = pixel_weights(logits, (3, 4), "minmax")
    assert torch.allclose(pixel_weights(gain * logits + offset, (3, 4), "minmax"), weights, atol=1e-9)
    assert weights.amax((1, 2, 3)).tolist() == [1, 1]
    assert weights.amin((1, 2, 3)).tolist() == [WEIGHT_FLOOR, WEIGHT_FLOOR]
    assert torch.equal(weights.flatten(1).argmax(1), logits.flatten(1).argmax(1))


@pytest.mark.parametrize("weighting", ["clip", "minmax"])
def test_weights_are_bounded_and_carry_no_gradient(weighting):
    logits = (torch.randn(2, 1, 4, 4) * 3).requires_grad_()
    weights = pixel_weights(logits, (32, 32), weighting)
    assert weights.shape == (2, 1, 32, 32)
    assert not weights.requires_grad
    assert weights.min() >= WEIGHT_FLOOR
    assert weights.max() <= 1


def test_regions_judged_synthetic_weigh_less():
    logits = torch.tensor([[[[0.0, 1.0]]]])
    weights = pixel_weights(logits, (4, 8), "clip")
    assert torch.all(weights[..., 0] < weights[..., -1])


def test_all_rejected_patches_keep_the_loss_finite():
    weights = pixel_weights(torch.full((1, 1, 2, 2), -7.0), (4, 4), "clip")
    loss = pixel_translation_loss(torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4), weights)
    assert loss == pytest.approx(1.0)


@pytest.mark.parametrize("shape", [(1, 1), (3, 2)], ids=["one-patch", "equal-patches"])
def test_minmax_of_equal_patches_is_plain_l1(shape):
    weights = pixel_weights(torch.full((2, 1, *shape), 0.3), (5, 5), "minmax")
    assert torch.allclose(weights, torch.ones(2, 1, 5, 5))


@pytest.mark.parametrize("weighting", ["clip", "minmax"])
def test_nan_among_the_logits_reaches_the_loss(weighting):
    """If NaN became a weight of 1, the training would continue."""
    logits = torch.zeros(1, 1, 3, 3)
    logits[0, 0, 1, 1] = math.nan
    weights = pixel_weights(logits, (6, 6), weighting)
    assert pixel_translation_loss(torch.zeros(1, 1, 6, 6), torch.ones(1, 1, 6, 6), weights).isnan()


@pytest.mark.parametrize("weighting", ["clip", "minmax", "none"])
def test_half_precision_is_weighed_in_float32(weighting):
    torch.manual_seed(0)
    logits, synthetic = torch.randn(2, 1, 3, 3).bfloat16(), torch.randn(2, 1, 24, 24).bfloat16()
    weights = pixel_weights(logits, (24, 24), weighting)
    assert weights.dtype == torch.float32
    assert torch.equal(weights, pixel_weights(logits.float(), (24, 24), weighting))
    loss = pixel_translation_loss(synthetic, torch.zeros(2, 1, 24, 24), weights)
    assert loss == pixel_translation_loss(synthetic.float(), torch.zeros(2, 1, 24, 24), weights)


def test_gradient():
    torch.manual_seed(0)
    synthetic = torch.randn(2, 1, 3, 4, dtype=torch.float64, requires_grad=True)
    real, weights = torch.randn(2, 1, 3, 4).double(), torch.rand(2, 1, 3, 4).double()
    assert torch.autograd.gradcheck(lambda image: pixel_translation_loss(image, real, weights), synthetic)


def test_unknown_weighting_is_an_error():
    with pytest.raises(ValueError, match="clip, minmax or none"):
        pixel_weights(torch.zeros(1, 1, 2, 2), (4, 4), "Clip")
