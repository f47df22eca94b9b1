"""Tests of spatially-correlative maps against loops and closed forms, and of their robustness to contrast."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mrct.losses.structure import correlation_maps, query_positions, spatial_correlation_loss, structure_loss
from mrct.networks.random_features import RandomConvFeatures


def _cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)


def _slow_map(features: Tensor, position: int, window: int) -> list[float]:
    """(C, H, W) -> the cosines of one query with the centered features of its window, one after the other."""
    _, height, width = features.shape
    means = [channel.mean().item() for channel in features]

    def feature(row: int, column: int) -> list[float]:
        return [channel[row, column].item() - mean for channel, mean in zip(features, means, strict=True)]

    row, column = divmod(position, width)
    rows, columns = min(window, height), min(window, width)
    top = min(max(row - rows // 2, 0), height - rows)
    left = min(max(column - columns // 2, 0), width - columns)
    places = [(r, c) for r in range(top, top + rows) for c in range(left, left + columns)]
    return [_cosine(feature(row, column), feature(*place)) for place in places]


def _slow_loss(source: Tensor, output: Tensor, positions: list[int], window: int) -> float:
    """(B, C, H, W) twice -> Zheng's loss of one layer, query by query."""
    costs = [
        1 - _cosine(_slow_map(x, position, window), _slow_map(y, position, window))
        for x, y in zip(source, output, strict=True)
        for position in positions
    ]
    return sum(costs) / len(costs)


def _random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 7), st.integers(2, 7), st.integers(1, 8), st.integers(0, 99))
def test_maps_equal_a_slow_reference(height, width, window, seed):
    """Windows at the border, of odd and even size, and larger than the grid."""
    features = _random(2, 3, height, width, seed=seed)
    positions = torch.arange(height * width)
    maps = correlation_maps(features, positions, window)
    expected = [[_slow_map(image, position, window) for position in positions.tolist()] for image in features]
    assert torch.allclose(maps, torch.tensor(expected, dtype=torch.float64), atol=1e-9)


def test_loss_equals_a_slow_reference():
    """Two layers of different size, their mean; the queries of a layer are those of its own draw."""
    source = [_random(2, 3, 6, 5, seed=0), _random(2, 4, 3, 3, seed=1)]
    output = [_random(2, 3, 6, 5, seed=2), _random(2, 4, 3, 3, seed=3)]
    rng = torch.Generator().manual_seed(7)
    drawn = [query_positions(6, 5, 8, rng).tolist(), query_positions(3, 3, 8, rng).tolist()]
    layers = zip(source, output, drawn, strict=True)
    expected = sum(_slow_loss(x, y, positions, 4) for x, y, positions in layers) / 2
    loss = spatial_correlation_loss(source, output, torch.Generator().manual_seed(7), queries=8, window=4)
    assert loss.item() == pytest.approx(expected, abs=1e-9)


def test_structure_loss_closed_form():
    a, b = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[1.0, 1.0]]])
    assert structure_loss(a, b) == pytest.approx(1 - 1 / math.sqrt(2))
    assert structure_loss(a, -a) == pytest.approx(2.0)


@settings(deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 300), st.integers(0, 99))
def test_queries_are_distinct_places_of_the_grid(height, width, queries, seed):
    positions = query_positions(height, width, queries, torch.Generator().manual_seed(seed)).tolist()
    assert len(set(positions)) == len(positions) == min(queries, height * width)
    assert set(positions) <= set(range(height * width))


def test_defaults_are_the_published_ones():
    """256 queries, each with a 32x32 window (Zheng 2021): of a 40x40 grid not all places, and not whole."""
    features = _random(1, 4, 40, 40, seed=0)
    positions = query_positions(40, 40, 256, torch.Generator().manual_seed(3))
    maps = [correlation_maps(f, positions, 32) for f in (features, features.flip(3))]
    assert maps[0].shape == (1, 256, 1024)
    loss = spatial_correlation_loss([features], [features.flip(3)], torch.Generator().manual_seed(3))
    assert loss.item() == pytest.approx(structure_loss(*maps).item())


@settings(deadline=None)
@given(st.floats(0.1, 100), st.lists(st.floats(-50, 50), min_size=4, max_size=4), st.integers(0, 99))
def test_gain_and_offset_of_the_features_do_not_matter(gain, offset, seed):
    """Without centering, an offset such as that of a ReLU would make all correlations equal."""
    features = _random(1, 4, 6, 6, seed=seed)
    changed = gain * features + torch.tensor(offset).double().view(1, 4, 1, 1)
    loss = spatial_correlation_loss([features], [changed], torch.Generator().manual_seed(0))
    assert loss.item() == pytest.approx(0.0, abs=1e-9)


def _cost(source: Tensor, output: Tensor) -> float:
    features = RandomConvFeatures()
    return spatial_correlation_loss(
        features(source), features(output), torch.Generator().manual_seed(0)
    ).item()


def test_changes_of_contrast_cost_less_than_misplacement(head):
    """Inversion and monotone changes: under 60 % of eight pixels out of place (0.27 and 0.27 of 0.47)."""
    limit = 0.6 * _cost(head, head.roll(8, 3))
    assert _cost(head, -head) < limit
    for power in (0.5, 0.7, 1.5, 2.0):
        assert _cost(head, ((head + 1) / 2) ** power * 2 - 1) < limit


def test_misplaced_structure_costs_the_more_the_farther_it_is(head):
    costs = [_cost(head, head.roll(pixels, 3)) for pixels in (0, 1, 2, 4, 8)]
    assert costs[0] == pytest.approx(0, abs=1e-5)
    assert all(far > 1.5 * near for near, far in pairwise(costs))


def test_gradients():
    source = [_random(1, 3, 4, 4, seed=0), _random(1, 2, 3, 3, seed=1)]
    output = [_random(1, 3, 4, 4, seed=2).requires_grad_(), _random(1, 2, 3, 3, seed=3).requires_grad_()]

    def loss(*features: Tensor) -> Tensor:
        return spatial_correlation_loss(source, list(features), torch.Generator().manual_seed(0), 9, 3)

    assert torch.autograd.gradcheck(loss, output)


@pytest.mark.parametrize("level", [-1.0, 0.3])
def test_an_output_without_structure_keeps_the_gradient_small(head, level):
    """In a collapsed output, places differ only by rounding, which must not be amplified."""
    features = RandomConvFeatures()
    output = torch.full_like(head, level).requires_grad_()
    loss = spatial_correlation_loss(features(head), features(output), torch.Generator().manual_seed(0))
    loss.backward()
    assert 0.5 < loss < 1.5
    assert output.grad.abs().max() < 0.1


def test_rounding_of_equal_features_is_not_enlarged_to_structure():
    features = torch.full((1, 8, 6, 6), 1 / 3) + 1e-6 * torch.randn(1, 8, 6, 6)
    assert correlation_maps(features, torch.arange(36), 6).abs().max() < 1e-3


def test_half_precision_features_are_correlated_in_float32():
    features = _random(1, 8, 6, 6, seed=0).bfloat16()
    positions = torch.arange(36)
    expected = correlation_maps(features.float(), positions, 4)
    assert torch.equal(correlation_maps(features, positions, 4), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(correlation_maps(features.float(), positions, 4), expected)
