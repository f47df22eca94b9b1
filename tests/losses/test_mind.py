"""Tests of MIND against the formula as a loop, a closed form, and its invariance to changes of contrast."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mrct.losses.mind import OFFSETS, mind, mind_loss


def _slow_mind(image: Tensor) -> Tensor:
    """(H, W) float64 -> (80, H, W): Yang's formula pixel by pixel, the image continued by its border."""
    (height, width), pixels = image.shape, image.tolist()

    def value(row: int, column: int) -> float:
        return pixels[min(max(row, 0), height - 1)][min(max(column, 0), width - 1)]

    patch = [(r, c) for r in range(-3, 4) for c in range(-3, 4)]
    gaussian = {p: math.exp(-(p[0] ** 2 + p[1] ** 2) / 8) for p in patch}
    total = sum(gaussian.values())
    result = torch.empty(80, height, width, dtype=torch.float64)
    for row in range(height):
        for column in range(width):
            distance = {}
            for a, b in [(a, b) for a in range(-4, 5) for b in range(-4, 5) if a or b]:
                squares = [
                    weight * (value(row + r, column + c) - value(row + r + a, column + c + b)) ** 2
                    for (r, c), weight in gaussian.items()
                ]
                distance[a, b] = sum(squares) / total
            variance = sum(distance[step] for step in ((-1, 0), (1, 0), (0, -1), (0, 1))) / 4 + 1e-5
            similar = [math.exp(-d / variance) for d in distance.values()]
            result[:, row, column] = torch.tensor(similar, dtype=torch.float64) / max(similar)
    return result


@pytest.mark.parametrize("shape", [(6, 5), (1, 4), (1, 1)], ids=["image", "one-row", "one-pixel"])
def test_equals_the_formula_pixel_by_pixel(shape):
    image = torch.rand(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1
    assert torch.allclose(mind(image[None, None])[0], _slow_mind(image), atol=1e-12)


def test_of_a_ramp():
    """I = s x: D = (s α)² along the ramp, so that V = s²/2 and F = exp(-2 α²), whatever s."""
    ramp = torch.linspace(-1, 1, 41, dtype=torch.float64).expand(1, 1, 41, 41)
    center = mind(ramp)[0, :, 20, 20]
    expected = torch.tensor(
        [math.exp(-(column**2) * 0.05**2 / (0.05**2 / 2 + 1e-5)) for _, column in OFFSETS]
    )
    assert torch.allclose(center, expected.double())


def test_of_nothing_is_one_everywhere():
    assert torch.equal(mind(torch.full((2, 1, 5, 6), -1.0)), torch.ones(2, 80, 5, 6))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), st.integers(1, 20), st.integers(1, 20), st.integers(0, 99))
def test_range_and_independence_of_the_images_of_a_batch(batch, height, width, seed):
    images = torch.rand(batch, 1, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    descriptor = mind(images)
    assert descriptor.shape == (batch, 80, height, width)
    assert descriptor.min() >= 0
    assert torch.equal(descriptor.amax(1), torch.ones(batch, height, width))
    assert torch.allclose(mind(images[-1:]), descriptor[-1:], atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99))
def test_turns_with_the_image(seed):
    image = torch.rand(1, 1, 9, 12, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    mirrored = [OFFSETS.index((row, -column)) for row, column in OFFSETS]
    turned = [OFFSETS.index((column, row)) for row, column in OFFSETS]
    assert torch.allclose(mind(image.flip(3))[:, mirrored], mind(image).flip(3))
    assert torch.allclose(mind(image.mT)[:, turned], mind(image).mT)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99))
def test_contrast_inversion_and_offset_change_nothing(seed):
    image = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert torch.allclose(mind(-image), mind(image), atol=1e-9)
    assert torch.allclose(mind(image - 0.7), mind(image), atol=1e-9)


@pytest.mark.parametrize("gain", [-1.0, -0.5, 0.5, 2.0])
def test_gain_is_seen_through_the_floor_of_the_variance_alone(head, gain):
    _require_small(head, gain * head)


@pytest.mark.parametrize("power", [0.5, 0.7, 1.5, 2.0])
def test_monotone_change_of_intensity_is_hardly_seen(head, power):
    _require_small(head, ((head + 1) / 2) ** power * 2 - 1)


def _require_small(image: Tensor, changed: Tensor) -> None:
    """Check that the change of contrast costs less than 3 % of a displacement by eight pixels."""
    descriptor = mind(image)
    cost = mind_loss(descriptor, mind(changed))
    assert cost < 0.03 * mind_loss(descriptor, mind(image.roll(8, 3)))


def test_misplaced_structure_costs_the_more_the_farther_it_is(head):
    """The inverted contrast in place, as between MR and CT, also costs less than the same contrast displaced."""
    descriptor = mind(head)
    costs = [
        mind_loss(descriptor, mind(image)) for image in (-head, *(head.roll(n, 3) for n in (1, 2, 4, 8)))
    ]
    assert all(far > near for near, far in pairwise(costs))


def test_gradient():
    torch.manual_seed(0)
    source = mind(torch.rand(1, 1, 3, 4, dtype=torch.float64))
    output = torch.rand(1, 1, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda image: mind_loss(source, mind(image)), output)


def test_gradient_of_a_flat_image_is_finite(head):
    output = torch.full_like(head, -1.0).requires_grad_()
    mind_loss(mind(head), mind(output)).backward()
    assert output.grad.isfinite().all()


def test_half_precision_and_autocast_are_computed_in_float32(head):
    half = head.bfloat16()
    expected = mind(half.float())
    assert torch.equal(mind(half), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(mind(half.float()), expected)


def test_loss_by_hand():
    a, b = torch.zeros(1, 80, 1, 2), torch.zeros(1, 80, 1, 2)
    b[:, :40] = 0.5
    assert mind_loss(a, b) == 0.25
