"""Training data in which the CT of half of the patients is displaced by a known warp."""

from dataclasses import dataclass, replace

import numpy as np

from mrct.experiments.warps import draw_displacement_mm, warp
from mrct.training.augmentation import BACKGROUND
from mrct.training.dataset import NormalizedData


@dataclass(frozen=True)
class Misaligned:
    """`data` with the CT of some training patients warped, and the displacement (2, H, W) in mm of each of them."""

    data: NormalizedData
    displacement_mm: dict[str, np.ndarray]


def training_patients(data: NormalizedData) -> list[str]:
    """Names of the patients with a training pair, sorted."""
    return sorted({name for name, _ in data.split_pairs("train")})


def misalign(data: NormalizedData, seed: int, rms_mm: float) -> Misaligned:
    """The CT of half of the training patients, chosen by `seed`, warped by `rms_mm`; MR and the others stay.

    A patient's slices share one displacement. Another `rms_mm` scales the same displacements (unless one folds
    and is drawn again). Only `ct`, the target of training, is warped; `ct_hu` stays. 0 mm displaces nobody.
    """
    names = training_patients(data)
    if rms_mm == 0:
        return Misaligned(data, {})
    order = np.random.default_rng(seed).permutation(len(names))[: len(names) // 2]
    spacing_mm = float(data.manifest["pixel_spacing_mm"])
    patients, displacements = dict(data.patients), {}
    for place in sorted(order.tolist()):
        patient = data.patients[names[place]]
        head = (patient.mask[patient.valid] > 0).sum(0)
        rng = np.random.default_rng([seed, place])
        displacement_mm = draw_displacement_mm(rng, head, rms_mm, spacing_mm)
        warped = warp(patient.ct, displacement_mm, spacing_mm, BACKGROUND)
        patients[patient.name] = replace(patient, ct=warped)
        displacements[patient.name] = displacement_mm
    return Misaligned(replace(data, patients=patients), displacements)
