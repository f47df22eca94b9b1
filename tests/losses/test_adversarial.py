"""Least-squares losses against their closed forms."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrct.losses.adversarial import discriminator_loss, generator_loss

LOGITS = st.lists(st.floats(-10, 10), min_size=1, max_size=6)


def test_values_at_the_targets_of_least_squares():
    ones, zeros = torch.ones(2, 1, 3, 3), torch.zeros(2, 1, 3, 3)
    assert discriminator_loss(ones, zeros) == 0
    assert discriminator_loss(zeros, ones) == 1
    assert generator_loss(ones) == 0
    assert generator_loss(zeros - 1) == 4


@settings(deadline=None)
@given(LOGITS, LOGITS)
def test_equal_the_formula_in_plain_python(real, synthetic):
    maps = [torch.tensor(values, dtype=torch.float64).view(1, 1, 1, -1) for values in (real, synthetic)]
    expected = (
        sum((1 - d) ** 2 for d in real) / len(real) / 2 + sum(d**2 for d in synthetic) / len(synthetic) / 2
    )
    assert discriminator_loss(*maps).item() == pytest.approx(expected)
    assert generator_loss(maps[1]).item() == pytest.approx(
        sum((1 - d) ** 2 for d in synthetic) / len(synthetic)
    )


def test_gradients():
    torch.manual_seed(0)
    maps = [torch.randn(2, 1, 2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(discriminator_loss, maps)
    assert torch.autograd.gradcheck(generator_loss, maps[1:])


def test_half_precision_logits_are_averaged_in_float32():
    logits = torch.linspace(-1, 1, 3844).view(1, 1, 62, 62).bfloat16()
    assert generator_loss(logits).dtype == torch.float32
    assert generator_loss(logits) == generator_loss(logits.float())
    assert discriminator_loss(logits, logits) == discriminator_loss(logits.float(), logits.float())
