"""Validation error of an epoch: the mean absolute error of the synthetic images inside the head."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from mrct.core.contracts import Direction
from mrct.networks.whole_volume import translate
from mrct.training import distributed
from mrct.training.dataset import NormalizedData, Patient

#: Unit of each direction's validation error; its lowest value chooses the weights.
UNITS: dict[str, str] = {Direction.MR_TO_CT: "HU", Direction.CT_TO_MR: "8-bit grey"}
#: Levels of gray that one unit of [-1, 1] stands for in 8 bits.
GRAY_PER_UNIT = 255.0 / 2

#: Name -> patient -> a further image on the patient's grid.
Others = Mapping[str, Mapping[str, np.ndarray]]
NO_OTHERS: Others = {}


def validation_metrics(
    generators: dict[str, nn.Module], data: NormalizedData, device: torch.device, others: Others = NO_OTHERS
) -> dict[str, float]:
    """Compute the mean absolute error in the head of each direction.

    Each of several processes translates its share of the patients; all get the same result.

    Args:
        generators: The network of each direction.
        data: The data with the validation patients.
        device: Device of the networks.
        others: Further images for networks of volumes.

    Returns:
        validation_mr_to_ct in HU, with HU clipped to the window, and validation_ct_to_mr in levels of 0 to 255: the
        mean over the validation patients of the mean over the head in their paired slices.
    """
    scale = {Direction.MR_TO_CT: data.normalization.hu_per_unit, Direction.CT_TO_MR: GRAY_PER_UNIT}
    patients = [patient for patient in data.split("validation") if patient.valid.any()]
    metrics = {}
    for direction, network in generators.items():
        errors = torch.zeros(len(patients), dtype=torch.float64, device=device)
        for place in range(distributed.rank(), len(patients), distributed.size()):
            patient = patients[place]
            known = {name: volumes[patient.name] for name, volumes in others.items()}
            errors[place] = _error(network, patient, direction, device, known)
        mean = float(distributed.sum_up(errors).mean())
        metrics[f"validation_{direction}"] = mean * scale[Direction(direction)]
    return metrics


def _error(
    network: nn.Module,
    patient: Patient,
    direction: str,
    device: torch.device,
    others: Mapping[str, np.ndarray],
) -> float:
    """Average |prediction - target| in the head of the paired slices, in units of [-1, 1]."""
    valid = np.flatnonzero(patient.valid)
    source, target = patient.images(direction)
    predicted = translate(network, source, patient.slice_spacing_mm, device, others, valid)
    return float(np.abs(predicted - target[valid])[patient.mask[valid] > 0].mean())
