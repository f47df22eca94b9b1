"""Exponential moving average of the generators: smoother than the weights of any one step."""

import copy

import torch
from torch import nn


class Average:
    """Copies of the generators that follow them; `networks` is what validation and the saved model then use."""

    def __init__(self, generators: dict[str, nn.Module], decay: float) -> None:
        self.decay = decay
        self.generators = generators
        self.networks = nn.ModuleDict(copy.deepcopy(generators)).requires_grad_(False)
        self.updates = 0

    @torch.no_grad()
    def update(self) -> None:
        """w ← d·w + (1 - d)·generator; d grows to `decay`, so that the random start is forgotten soon.

        d = min(decay, (1 + n) / (10 + n)) after n updates, as TensorFlow's ExponentialMovingAverage.
        """
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        for name, network in self.generators.items():
            state = network.state_dict()
            for key, mean in self.networks[name].state_dict().items():
                if mean.is_floating_point():
                    mean.lerp_(state[key], 1 - decay)
                else:
                    mean.copy_(state[key])
