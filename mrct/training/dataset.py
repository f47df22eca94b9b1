"""Slice pairs of data/normalized as tensors, and the order in which an epoch takes them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mrct.core.errors import DataError, NotFoundError
from mrct.core.files import open_array

#: What a model file must carry so that inference can repeat the normalization on a new patient.
NORMALIZATION = ("image_size", "pixel_spacing_mm", "hu_window", "mr")


@dataclass(frozen=True)
class Patient:
    """Memory-mapped volumes (D, H, W) of one patient; `valid` (D,) marks the slices that are pairs."""

    name: str
    split: str
    mr: np.ndarray
    ct: np.ndarray
    ct_hu: np.ndarray
    mask: np.ndarray
    valid: np.ndarray


@dataclass(frozen=True)
class NormalizedData:
    """The folder that `normalize` wrote: its manifest, its pairs and its patients by name."""

    manifest: dict[str, Any]
    pairs: pd.DataFrame
    patients: dict[str, Patient]

    @property
    def normalization(self) -> dict[str, Any]:
        """How slices became [-1, 1], for the header of a model file."""
        return {name: self.manifest[name] for name in NORMALIZATION}

    @property
    def pair_counts(self) -> dict[str, int]:
        """Number of pairs of each split."""
        return {split: len(self.split_pairs(split)) for split in ("train", "validation", "test")}

    def slice_spacing_mm(self, patient: str) -> float:
        """From one slice of the patient's volumes to the next."""
        return float(self.manifest["patients"][patient]["slice_spacing_mm"])

    def require_pairs(self) -> None:
        """ValueError where there is nothing to train on or to choose by."""
        for split in ("train", "validation"):
            if not self.split_pairs(split):
                raise DataError(
                    f"train: no {split} pair in data/normalized; add patients or change pair.*_fraction"
                )

    def split(self, name: str) -> list[Patient]:
        """The patients of train, validation or test, sorted by name."""
        return [patient for _, patient in sorted(self.patients.items()) if patient.split == name]

    def split_pairs(self, name: str) -> list[tuple[str, int]]:
        """(patient, k) of every pair of the split, in the table's order."""
        rows = self.pairs[self.pairs["split"] == name]
        return list(zip(rows["patient"].astype(str), rows["k"].astype(int), strict=True))

    def slices(self, pairs: list[tuple[str, int]]) -> tuple[Tensor, Tensor]:
        """MR and CT, each (B, 1, H, W) in [-1, 1]."""
        mr = np.stack([self.patients[name].mr[k] for name, k in pairs])[:, None]
        ct = np.stack([self.patients[name].ct[k] for name, k in pairs])[:, None]
        return torch.from_numpy(mr), torch.from_numpy(ct)


def open_normalized(folder: Path) -> NormalizedData:
    """Map data/normalized; errors name the folder and the stage to rerun."""
    manifest_file = folder / "manifest.json"
    if not manifest_file.is_file():
        raise NotFoundError(f"{manifest_file}: missing; run the normalize stage first (dvc repro normalize)")
    manifest = json.loads(manifest_file.read_text())
    patients = {
        name: Patient(
            name,
            entry["split"],
            **{
                part: open_array(folder / name / f"{part}.npy")
                for part in ("mr", "ct", "ct_hu", "mask", "valid")
            },
        )
        for name, entry in manifest["patients"].items()
    }
    return NormalizedData(manifest, pd.read_csv(folder / "pairs.csv", dtype={"patient": str}), patients)


def epoch_batches(
    pairs: list[tuple[str, int]], batch_size: int, seed: int, epoch: int
) -> list[list[tuple[str, int]]]:
    """All pairs, shuffled by (seed, epoch) alone, so that a resumed run sees the same order.

    The last batch may be smaller.
    """
    order = np.random.default_rng([seed, epoch]).permutation(len(pairs))
    shuffled = [pairs[i] for i in order]
    return [shuffled[start : start + batch_size] for start in range(0, len(shuffled), batch_size)]
