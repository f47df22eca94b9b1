"""Sources of images for the training loop: pairs of slices, or cubes of volumes (mrct/training/patches.py)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from mrct.imaging.brain import brain_mask
from mrct.training.augmentation import augment, draw
from mrct.training.dataset import NormalizedData
from mrct.training.method import Batch
from mrct.training.settings import Augmentation
from mrct.training.validation import validation_metrics

#: Patient, and number of a slice or a patch.
Item = tuple[str, int]


class Examples(Protocol):
    """Interface of a source of images for the training loop."""

    def items(self, epoch: int) -> list[Item]:
        """Return the items of an epoch in a fixed order; the loop shuffles them by (seed, epoch)."""

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """Draw (count, n) random numbers, as many for each item whatever is switched on.

        Every process draws for the whole batch; `load` gets the rows of its own items.
        """

    def load(self, items: list[Item], draws: Tensor, device: torch.device) -> Batch:
        """Load the images of the items on `device`, augmented by their draws."""

    def validation(
        self, networks: dict[str, nn.Module], epoch: int, device: torch.device
    ) -> dict[str, float]:
        """Return validation_<direction> of each network; an epoch without one cannot be the best."""


@dataclass(frozen=True)
class SlicePairs:
    """Source of training pairs as batches (B, 1, H, W), with errors on the validation patients.

    `others`: name -> patient -> volume (D, H, W) in [-1, 1], further images of a `Batch`, of the training patients.

    Raises:
        DataError: There is no training or no validation pair.
    """

    data: NormalizedData
    augmentation: Augmentation
    others: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.data.require_pairs()

    def items(self, epoch: int) -> list[Item]:
        """Return (patient, k) of every training pair, the same in every epoch."""
        return self.data.split_pairs("train")

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """Draw what `augment` needs for `count` pairs."""
        return draw(count, rng)

    def load(self, items: list[Item], draws: Tensor, device: torch.device) -> Batch:
        """Load the slices in [-1, 1], with motion and contrast changed by their draws."""
        mr, ct = (images.to(device) for images in self.data.slices(items))
        other = {name: _sections(volumes, items).to(device) for name, volumes in self.others.items()}
        spacing_mm = self.data.normalization.pixel_spacing_mm
        return augment(Batch(mr, ct, other), draws, self.augmentation, spacing_mm)

    def validation(
        self, networks: dict[str, nn.Module], epoch: int, device: torch.device
    ) -> dict[str, float]:
        """Return the mean absolute error in the head per direction, in every epoch; see `validation_metrics`."""
        return validation_metrics(networks, self.data, device)


def brain_volumes(data: NormalizedData) -> dict[str, np.ndarray]:
    """Compute (D, H, W) float32 per training patient, from the CT: 1 in the brain, -1 elsewhere."""
    pixel_mm = data.normalization.pixel_spacing_mm
    volumes = {}
    for patient in data.split("train"):
        slice_mm = data.slice_spacing_mm(patient.name)
        brain = brain_mask(patient.ct_hu, patient.mask > 0, (slice_mm, pixel_mm, pixel_mm))
        volumes[patient.name] = np.where(brain, 1.0, -1.0).astype(np.float32)
    return volumes


#: Functions that make the further images that a phase of slices names (`Phase.others`).
FURTHER_IMAGES: dict[str, Callable[[NormalizedData], dict[str, np.ndarray]]] = {"brain": brain_volumes}


def _sections(volumes: dict[str, np.ndarray], items: list[Item]) -> Tensor:
    return torch.from_numpy(np.stack([volumes[patient][k] for patient, k in items])[:, None])
