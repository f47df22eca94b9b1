"""Tiny batches of slices and single steps as the loop makes them, for the methods that are trained."""

import pytest
import torch
from torch import nn

from mrct.training.method import Batch


def unpooled(name: str, images: torch.Tensor) -> torch.Tensor:
    return images


@pytest.fixture
def images() -> Batch:
    """Three pairs of 32²: a smooth MR and a CT that follows from it, in [-1, 1]; the brain is the left half."""
    coarse = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mr = nn.functional.interpolate(coarse, 32, mode="bilinear")
    brain = torch.full_like(mr, -1.0)
    brain[..., :16] = 1.0
    return Batch(mr, mr.square() * 2 - 1, {"brain": brain})


@pytest.fixture
def losses():
    """method, images -> the (loss, terms) of one step, none gone backward from."""

    def of(method: nn.Module, images: Batch) -> list[tuple[torch.Tensor, dict[str, torch.Tensor]]]:
        return list(method.losses(images, torch.Generator().manual_seed(1), 0, unpooled))

    return of


@pytest.fixture
def trained():
    """method, images, steps -> the method after so many changes of all its weights."""

    def after(method: nn.Module, images: Batch, steps: int) -> nn.Module:
        torch.manual_seed(7)  # dropout's
        optimizers, rng = method.optimizers(), torch.Generator().manual_seed(1)
        for _ in range(steps):
            for loss, _ in method.losses(images, rng, 0, unpooled):
                loss.backward()
            for optimizer in optimizers.values():
                optimizer.step()
                optimizer.zero_grad()
        return method

    return after
