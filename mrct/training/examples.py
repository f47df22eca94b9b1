"""Where the loop takes its images from: slices of volumes, or patches."""

from typing import Protocol

import torch
from torch import Tensor, nn

from mrct.methods.batch import Batch

#: A patient and the number of a slice or a patch.
Item = tuple[str, int]


class Examples(Protocol):
    """What the loop asks for; see mrct/training/slices.py."""

    def items(self, epoch: int) -> list[Item]:
        """What an epoch trains on, in a fixed order; the loop shuffles it by (seed, epoch)."""

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """(count, n): the random numbers of `count` items, as many for each whatever is switched on.

        Drawn for a whole batch by every process; `load` gets the rows of its own items.
        """

    def load(self, items: list[Item], draws: Tensor, device: torch.device) -> Batch:
        """The images of the items on `device`, augmented by their draws."""

    def validation(
        self, networks: dict[str, nn.Module], epoch: int, device: torch.device
    ) -> dict[str, float]:
        """validation_<direction> of each network; without one in an epoch, that epoch cannot be the best."""
