"""Cubes of volumes (patches) for the training of the 3D methods."""

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from mrct.core.contracts import Direction
from mrct.core.errors import DataError
from mrct.core.files import open_array, save_array
from mrct.core.params import Section
from mrct.networks.sliding_window import Window
from mrct.networks.whole_volume import slice_ratio, translate
from mrct.training import distributed
from mrct.training.augmentation import other_contrast
from mrct.training.dataset import NormalizedData, Patient
from mrct.training.examples import Item
from mrct.training.method import Batch, Directions
from mrct.training.patch_sampling import (
    PLACE_DRAWS,
    find_places,
    patch_points,
    require_fit,
    sample,
)
from mrct.training.settings import Augmentation
from mrct.training.validation import Others, validation_metrics

#: Points of the bias field per side of a patch: a linear change, because a patch is small compared with a coil.
_BIAS_POINTS = 2
#: Volumes (D, H, W) in [-1, 1] by patient.
Volumes = Mapping[str, np.ndarray]


class PatchParams(Section):
    """Parameters of the division of volumes into cubes.

    An epoch has `patches_per_volume` cubes of each training volume. Slices are resampled to a distance of about
    `resample_slices_mm`. Cubes of a translated volume share `overlap` of their side. Whole volumes are validated every
    `validate_every` epochs and after the last one; the best epoch is one of these. `directions` is MR to CT, as in both
    papers.
    """

    directions: Directions
    patches_per_volume: int = Field(ge=1)
    resample_slices_mm: float = Field(gt=0)
    overlap: float = Field(ge=0, lt=1)
    validate_every: int = Field(ge=1)

    @property
    @abstractmethod
    def window(self) -> Window:
        """Return the sides of the cubes that a network of these parameters sees and makes."""

    @field_validator("directions")
    @classmethod
    def _mr_to_ct_alone(cls, directions: tuple[Direction, ...]) -> tuple[Direction, ...]:
        if directions != (Direction.MR_TO_CT,):
            raise DataError(
                "the 3D methods translate MR to CT only; unet, pix2pix and sc_cyclegan also translate CT to MR"
            )
        return directions


class VolumePatches:
    """Source of random patches of the training volumes as batches (B, 1, D, H, W), with errors on validation volumes.

    MR and `others` (name -> patient -> volume, of training and validation patients) are cubes of `window.seen` voxels.
    CT is their center of `window.made` voxels, which lies around the head in slices that are complete. Outside the
    volume a patch sees its reflection, as when a volume is translated. `epochs` are those of the phase.
    `augmentation.shift_mm` has no effect, because the places of patches are random.

    Raises:
        DataError: There is no training or no validation pair, or a volume of any split is smaller than a patch.
    """

    def __init__(
        self,
        data: NormalizedData,
        augmentation: Augmentation,
        params: PatchParams,
        epochs: int,
        others: Others,
    ) -> None:
        self.data, self.augmentation, self.params, self.epochs = data, augmentation, params, epochs
        self.others = others
        data.require_pairs()
        for patient in data.patients.values():
            _require_whole(patient, data.slice_spacing_mm(patient.name), params)
        pixel_mm, slice_mm = data.normalization.pixel_spacing_mm, params.resample_slices_mm
        self.places = {
            name: find_places(
                data.patients[name], params.window.made, data.slice_spacing_mm(name), pixel_mm, slice_mm
            )
            for name in sorted({name for name, _ in data.split_pairs("train")})
        }

    def items(self, epoch: int) -> list[Item]:
        """Return (patient, number) of each patch, the same in every epoch; its place is drawn anew."""
        return [(name, number) for name in self.places for number in range(self.params.patches_per_volume)]

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """Draw (count, 17) uniform in [-1, 1): place and motion, gamma, and the points of the bias field."""
        return torch.rand(count, PLACE_DRAWS + 1 + _BIAS_POINTS**3, generator=rng) * 2 - 1

    def load(self, items: list[Item], draws: Tensor, device: torch.device) -> Batch:
        """Load the patches in [-1, 1]; their draws determine place, motion and contrast."""
        window = self.params.window
        inner = slice(window.margin, window.margin + window.made)
        mr, ct, others = [], [], {name: list[Tensor]() for name in self.others}
        for (name, _), row in zip(items, draws, strict=True):
            points = patch_points(
                self.places[name], window.made, window.seen, row[:PLACE_DRAWS], self.augmentation
            )
            patient = self.data.patients[name]
            mr.append(sample(patient.mr, points))
            ct.append(sample(patient.ct, points[:, inner, inner, inner]))
            for other, volumes in self.others.items():
                others[other].append(sample(volumes[name], points))
        images = _batch(mr, device)
        if self.augmentation.mr_gamma or self.augmentation.mr_bias:
            images = self._recolored(images, draws.to(device))
        return Batch(
            images, _batch(ct, device), {name: _batch(list_, device) for name, list_ in others.items()}
        )

    def _recolored(self, mr: Tensor, draws: Tensor) -> Tensor:
        points = draws[:, PLACE_DRAWS + 1 :].reshape(-1, 1, *[_BIAS_POINTS] * 3)
        return other_contrast(mr, draws[:, PLACE_DRAWS], points, self.augmentation)

    def validation(
        self, networks: dict[str, nn.Module], epoch: int, device: torch.device
    ) -> dict[str, float]:
        """Return the mean absolute error in the head every `validate_every` epochs and after the last of the phase."""
        if (epoch + 1) % self.params.validate_every and (epoch + 1) % self.epochs:
            return {}
        return validation_metrics(networks, self.data, device, self.others)


def predictions(network: nn.Module, data: NormalizedData, folder: Path, device: torch.device) -> Volumes:
    """Predict the CT of every training and validation patient, once, and keep it as <folder>/<patient>.npy.

    As in the paper, the predictions for the training patients come from a network that was trained on them, and are
    better than those for new patients. Each of several processes computes its share.
    """
    names = sorted(patient.name for split in ("train", "validation") for patient in data.split(split))
    for name in names[distributed.rank() :: distributed.size()]:
        file = folder / f"{name}.npy"
        if not file.is_file():
            spacing_mm = data.slice_spacing_mm(name)
            save_array(file, translate(network.to(device), data.patients[name].mr, spacing_mm, device))
    distributed.wait()
    return {name: open_array(folder / f"{name}.npy") for name in names}


def _require_whole(patient: Patient, slice_spacing_mm: float, params: PatchParams) -> None:
    """Raise DataError unless the whole volume can be translated."""
    depth = patient.mask.shape[0]
    parts, every = slice_ratio(slice_spacing_mm, params.resample_slices_mm)
    n_steps = (depth - 1) * parts + 1 if every == 1 else depth // every
    require_fit(patient, depth, n_steps, params.window.made, slice_spacing_mm)


def _batch(images: list[Tensor], device: torch.device) -> Tensor:
    return torch.stack(images)[:, None].to(device)
