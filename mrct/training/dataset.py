"""Patients and pairs of data/normalized, and the order of the pairs in an epoch."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mrct.core.contracts import NORMALIZED_PAIRS, Direction, Split
from mrct.core.errors import DataError, NotFoundError
from mrct.core.files import open_array, read_json
from mrct.imaging.training_domain import TrainingDomain
from mrct.normalization.normalization import Normalization

#: (patient, k): slice k of the patient's volumes.
SlicePair = tuple[str, int]


@dataclass(frozen=True)
class Patient:
    """Volumes of one patient, memory-mapped, all (D, H, W) on one grid.

    Attributes:
        name: Pseudonym.
        split: train, validation or test.
        mr: float32 in [-1, 1].
        ct: float32 in [-1, 1].
        ct_hu: The CT in HU, float32, not clipped.
        mask: The head, uint8.
        valid: (D,) bool, true where the slice is a pair.
        slice_spacing_mm: Distance between neighboring slices.
        incomplete: Slices between pairs that CT or MR do not show: nothing is learned from them.
    """

    name: str
    split: str
    mr: np.ndarray
    ct: np.ndarray
    ct_hu: np.ndarray
    mask: np.ndarray
    valid: np.ndarray
    slice_spacing_mm: float
    incomplete: tuple[int, ...] = ()

    def images(self, direction: str) -> tuple[np.ndarray, np.ndarray]:
        """Return source and target of a direction, each (D, H, W) in [-1, 1]."""
        return (self.mr, self.ct) if direction == Direction.MR_TO_CT else (self.ct, self.mr)


@dataclass(frozen=True)
class NormalizedData:
    """Data that the stage normalize has written.

    Attributes:
        normalization: The normalization of the volumes to [-1, 1].
        domain: What the images of the training patients are like.
        pairs: The table `NORMALIZED_PAIRS`.
        patients: By pseudonym.
    """

    normalization: Normalization
    domain: TrainingDomain
    pairs: pd.DataFrame
    patients: dict[str, Patient]

    @property
    def pair_counts(self) -> dict[str, int]:
        """Count the pairs of each split."""
        return {split.value: len(self.split_pairs(split)) for split in Split}

    def slice_spacing_mm(self, patient: str) -> float:
        """Return the distance between neighboring slices of the patient's volumes, mm."""
        return self.patients[patient].slice_spacing_mm

    def require_pairs(self) -> None:
        """Raise DataError if there is no training pair or no validation pair."""
        for split in (Split.TRAIN, Split.VALIDATION):
            if not self.split_pairs(split):
                raise DataError(
                    f"train: no {split} pair in data/normalized; add patients or change pair.*_fraction"
                )

    def split(self, name: str) -> list[Patient]:
        """Return the patients of train, validation or test, sorted by name."""
        return [patient for _, patient in sorted(self.patients.items()) if patient.split == name]

    def split_pairs(self, name: str) -> list[SlicePair]:
        """Return every pair of train, validation or test, in the order of the table."""
        rows = self.pairs[self.pairs["split"] == name]
        return list(zip(rows["patient"].astype(str), rows["k"].astype(int), strict=True))

    def slices(self, pairs: list[SlicePair]) -> tuple[Tensor, Tensor]:
        """Load MR and CT of the pairs, each (B, 1, H, W) in [-1, 1]."""
        mr = np.stack([self.patients[name].mr[k] for name, k in pairs])[:, None]
        ct = np.stack([self.patients[name].ct[k] for name, k in pairs])[:, None]
        return torch.from_numpy(mr), torch.from_numpy(ct)


def open_normalized(folder: Path) -> NormalizedData:
    """Map the arrays of data/normalized.

    Raises:
        NotFoundError: A file is missing; the text names it and the stage to run.
        DataError: The manifest or the table is not what the stage normalize writes.
    """
    files = [folder / "manifest.json", folder / "domain.json"]
    for file in files:
        if not file.is_file():
            raise NotFoundError(f"{file}: missing; run the normalize stage first (dvc repro normalize)")
    manifest, domain = map(read_json, files)
    patients = {
        name: Patient(
            name,
            entry["split"],
            **{
                part: open_array(folder / name / f"{part}.npy")
                for part in ("mr", "ct", "ct_hu", "mask", "valid")
            },
            slice_spacing_mm=float(entry["slice_spacing_mm"]),
            incomplete=tuple(entry.get("incomplete", ())),
        )
        for name, entry in manifest["patients"].items()
    }
    return NormalizedData(
        Normalization.from_json(manifest),
        TrainingDomain.from_json(domain),
        NORMALIZED_PAIRS.read(folder),
        patients,
    )


def epoch_batches(pairs: list[SlicePair], batch_size: int, seed: int, epoch: int) -> list[list[SlicePair]]:
    """Divide all pairs into batches, shuffled by (seed, epoch) alone, so that a resumed run sees the same order.

    The last batch may be smaller.
    """
    order = np.random.default_rng([seed, epoch]).permutation(len(pairs))
    shuffled = [pairs[i] for i in order]
    return [shuffled[start : start + batch_size] for start in range(0, len(shuffled), batch_size)]
