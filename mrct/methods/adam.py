"""Adam as the methods share it: one optimizer for each group of networks."""

from collections.abc import Iterable

import torch
from pydantic import Field
from torch import nn

from mrct.core.params import Section


class AdamParams(Section):
    """The same rate and betas for all networks of a method, as its paper."""

    learning_rate: float = Field(gt=0)
    adam_betas: tuple[float, float]


def adam(params: AdamParams, **groups: Iterable[nn.Module]) -> dict[str, torch.optim.Optimizer]:
    """By name of the group an optimizer of all weights of its networks that are trained."""
    return {
        name: torch.optim.Adam(
            [weight for network in networks for weight in network.parameters() if weight.requires_grad],
            lr=params.learning_rate,
            betas=params.adam_betas,
            fused=True,
        )
        for name, networks in groups.items()
    }
