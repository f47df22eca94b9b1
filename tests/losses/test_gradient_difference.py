"""Gradient difference loss: the paper's equations read literally, then what must not change it."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrct.losses.gradient_difference import gradient_difference_loss


def literal(synthetic: np.ndarray, real: np.ndarray) -> float:
    """Kaiser 2019, eqs. 2 to 4, pixel by pixel; every axis of every image."""
    squares = []
    for index in product(*map(range, synthetic.shape)):
        for axis in range(2, synthetic.ndim):
            following = tuple(i + (n == axis) for n, i in enumerate(index))
            inside = following[axis] < synthetic.shape[axis]
            gradients = [image[index] - image[following] if inside else 0.0 for image in (synthetic, real)]
            squares.append((gradients[0] - gradients[1]) ** 2)
    return float(np.mean(squares))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=2, max_size=3), st.integers(1, 2), st.integers(0, 2**32 - 1))
def test_it_is_the_papers_equation(sides, batch, seed):
    rng = np.random.default_rng(seed)
    synthetic, real = rng.normal(size=(2, batch, 1, *sides))
    loss = gradient_difference_loss(torch.from_numpy(synthetic), torch.from_numpy(real))
    assert float(loss) == pytest.approx(literal(synthetic, real), abs=1e-12)


def test_a_ramp_against_a_flat_image():
    """Slope 1 along one of two axes: of n differences n - 1 are 1, the last is zero; the other axis adds nothing."""
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    assert float(gradient_difference_loss(ramp, torch.zeros(1, 1, 8, 8))) == pytest.approx(7 / 8 / 2)


@given(st.floats(-2, 2), st.floats(0.5, 100))
@settings(max_examples=20, deadline=None)
def test_an_offset_costs_nothing_and_a_scale_its_square(offset, scale):
    rng = torch.Generator().manual_seed(0)
    synthetic, real = torch.rand(2, 2, 1, 6, 7, generator=rng, dtype=torch.float64)
    loss = gradient_difference_loss(synthetic, real)
    assert float(gradient_difference_loss(synthetic + offset, real)) == pytest.approx(float(loss))
    assert float(gradient_difference_loss(scale * synthetic, scale * real)) == pytest.approx(
        float(loss) * scale**2
    )


def test_half_precision_is_compared_in_float32():
    synthetic = torch.full((1, 1, 2, 2), 0.1).half()
    assert gradient_difference_loss(synthetic, torch.zeros(1, 1, 2, 2)).dtype == torch.float32
