"""One epoch's updates of the weights, on a method whose gradients are known."""

import pytest
import torch
from torch import nn

from mrct.training.method import Batch
from mrct.training.step import Training, train_epoch
from tests.training.test_engine import SETTINGS


class Slope(nn.Module):
    """Two groups of weights with the constant gradient `steepness`, and plain gradient descent."""

    def __init__(self, steepness: float) -> None:
        super().__init__()
        self.steepness = steepness
        self.generator, self.discriminator = nn.Linear(3, 2, bias=False), nn.Linear(2, 1, bias=False)
        for network in (self.generator, self.discriminator):
            nn.init.zeros_(network.weight)

    def optimizers(self):
        networks = {"generators": self.generator, "discriminators": self.discriminator}
        return {name: torch.optim.SGD(network.parameters(), lr=1.0) for name, network in networks.items()}

    def generators(self):
        return {"mr_to_ct": self.generator}

    def losses(self, batch, rng, epoch, pooled):
        for network in (self.generator, self.discriminator):
            loss = self.steepness * network.weight.sum() * batch.mr.mean()
            yield loss, {"slope": loss}


class Ones:
    """Four images of one voxel."""

    def items(self, epoch):
        return [("P", k) for k in range(4)]

    def draw(self, count, rng):
        return torch.zeros(count, 1)

    def load(self, items, draws, device):
        ones = torch.ones(len(items), 1, 1, 1)
        return Batch(ones, ones, {})


@pytest.mark.parametrize(
    ("steepness", "limit", "moved"),
    [(1e6, 0.5, (0.5, 0.5)), (1e-3, 0.5, (6**0.5 * 1e-3, 2**0.5 * 1e-3)), (1e6, 0.0, (6**0.5 * 1e6, 2**0.5 * 1e6))],
    ids=["long", "short", "no-limit"],
)  # fmt: skip
def test_long_gradients_are_shortened_for_each_optimizer(steepness, limit, moved):
    """Measured by one step of plain gradient descent; an update sums two batches before the limit applies."""
    settings = SETTINGS.model_copy(update={"max_gradient_norm": limit, "batch_size": 2, "accumulate": 2})
    method = Slope(steepness)
    train_epoch(
        Training(method, method.optimizers(), settings, torch.device("cpu")), Ones(), 0, lambda n: None
    )
    for network, wanted in zip((method.generator, method.discriminator), moved, strict=True):
        assert float(network.weight.detach().norm()) == pytest.approx(wanted, rel=1e-5)
        assert (network.weight < 0).all()
