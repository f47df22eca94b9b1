"""The moving average against its closed form."""

import pytest
import torch
from torch import nn

from mrct.training.step import Average


def test_average_of_a_weight_that_counts_up():
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    average = Average({"mr_to_ct": network}, 0.3)
    expected = 0.0
    for update in range(6):
        network.weight.data.fill_(update + 1.0)
        average.update()
        d = min(0.3, (1 + update) / (10 + update))
        expected = d * expected + (1 - d) * (update + 1)
        assert float(average.networks["mr_to_ct"].weight) == pytest.approx(expected)


def test_it_is_a_copy_without_gradient_and_counts_follow():
    network = nn.BatchNorm2d(2)
    average = Average({"mr_to_ct": network}, 0.9)
    network(torch.randn(4, 2, 3, 3)).sum().backward()
    network.weight.data.add_(1.0)
    average.update()
    copied = average.networks["mr_to_ct"]
    assert int(copied.num_batches_tracked) == 1
    assert not torch.equal(copied.weight, network.weight)
    assert not any(weight.requires_grad for weight in average.networks.parameters())
