"""Pairs of slices for methods that work in 2D."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from mrct.methods.batch import Batch
from mrct.training.augmentation import Augmentation, augment, draw
from mrct.training.dataset import NormalizedData
from mrct.training.examples import Item
from mrct.training.validation import validation_metrics


@dataclass(frozen=True)
class SlicePairs:
    """The training pairs as batches (B, 1, H, W), the validation patients as errors.

    `others`: name -> patient -> volume (D, H, W) in [-1, 1], further images of a `Batch`; of training patients.
    Errors: no training or no validation pair.
    """

    data: NormalizedData
    augmentation: Augmentation
    others: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.data.require_pairs()

    def items(self, epoch: int) -> list[Item]:
        """(patient, k) of every training pair, the same in every epoch."""
        return self.data.split_pairs("train")

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """What `augment` needs for `count` pairs."""
        return draw(count, rng)

    def load(self, items: list[Item], draws: Tensor, device: torch.device) -> Batch:
        """The slices in [-1, 1], moved and recolored by their draws."""
        mr, ct = (images.to(device) for images in self.data.slices(items))
        other = {name: _sections(volumes, items).to(device) for name, volumes in self.others.items()}
        spacing_mm = float(self.data.manifest["pixel_spacing_mm"])
        return augment(Batch(mr, ct, other), draws, self.augmentation, spacing_mm)

    def validation(
        self, networks: dict[str, nn.Module], epoch: int, device: torch.device
    ) -> dict[str, float]:
        """Every epoch: the mean absolute error in the head of each direction, see `validation_metrics`."""
        return validation_metrics(networks, self.data, device)


def _sections(volumes: dict[str, np.ndarray], items: list[Item]) -> Tensor:
    return torch.from_numpy(np.stack([volumes[patient][k] for patient, k in items])[:, None])
