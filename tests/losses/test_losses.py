"""Each loss against a closed form or a slow, literal reference."""

import math

import pytest
import torch

from mrct.losses.adversarial import discriminator_loss, generator_loss
from mrct.losses.pixel import WEIGHT_FLOOR, pixel_translation_loss, pixel_weights
from mrct.losses.structure import correlation_maps, query_positions, spatial_correlation_loss, structure_loss


def test_least_squares_values():
    ones, zeros = torch.ones(2, 1, 3, 3), torch.zeros(2, 1, 3, 3)
    assert discriminator_loss(ones, zeros) == 0
    assert discriminator_loss(zeros, ones) == 1
    assert generator_loss(ones) == 0
    assert generator_loss(zeros - 1) == 4


def test_weights_of_one_give_plain_l1():
    synthetic, real = torch.randn(2, 3, 1, 8, 8)
    weights = pixel_weights(torch.randn(3, 1, 2, 2), (8, 8), "none")
    assert pixel_translation_loss(synthetic, real, weights) == pytest.approx(
        float((synthetic - real).abs().mean())
    )


def test_weighted_mean_by_hand():
    synthetic, real = torch.zeros(1, 1, 1, 2), torch.tensor([[[[1.0, 5.0]]]])
    weights = torch.tensor([[[[1.0, 0.25]]]])
    assert pixel_translation_loss(synthetic, real, weights) == pytest.approx((1 + 5 * 0.25) / 1.25)


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
    assert pixel_translation_loss(torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4), weights) == pytest.approx(
        1.0
    )
    assert torch.all(pixel_weights(torch.full((1, 1, 2, 2), 3.0), (4, 4), "minmax") == 1)


def test_unknown_weighting_is_an_error():
    with pytest.raises(ValueError, match="clip, minmax or none"):
        pixel_weights(torch.zeros(1, 1, 2, 2), (4, 4), "Clip")


def test_correlation_maps_equal_a_slow_reference():
    torch.manual_seed(0)
    height, width, window = 6, 7, 4
    features = torch.randn(2, 5, height, width)
    positions = torch.tensor([0, 10, 20, 41])
    maps = correlation_maps(features, positions, window)
    for image in range(2):
        for q, position in enumerate(positions.tolist()):
            row, column = divmod(position, width)
            top = min(max(row - window // 2, 0), height - window)
            left = min(max(column - window // 2, 0), width - window)
            expected = [
                torch.cosine_similarity(features[image, :, row, column], features[image, :, r, c], dim=0)
                for r in range(top, top + window)
                for c in range(left, left + window)
            ]
            assert torch.allclose(maps[image, q], torch.stack(expected), atol=1e-6)


def test_equal_structure_costs_nothing_and_gain_does_not_matter():
    features = torch.randn(1, 8, 10, 10)
    rng = torch.Generator().manual_seed(0)
    assert spatial_correlation_loss([features], [3.7 * features], rng) == pytest.approx(0.0, abs=1e-6)


def test_structure_loss_closed_form():
    a, b = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[1.0, 1.0]]])
    assert structure_loss(a, b) == pytest.approx(1 - 1 / math.sqrt(2))


def test_queries_are_distinct_and_limited_by_the_grid():
    rng = torch.Generator().manual_seed(0)
    assert sorted(query_positions(3, 3, 256, rng).tolist()) == list(range(9))


def test_structure_gradient():
    torch.manual_seed(0)
    source = torch.randn(1, 3, 4, 4, dtype=torch.float64)
    output = torch.randn(1, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    positions = torch.arange(16)

    def loss(x):
        return structure_loss(correlation_maps(source, positions, 3), correlation_maps(x, positions, 3))

    assert torch.autograd.gradcheck(loss, (output,))
