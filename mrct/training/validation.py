"""What an epoch is judged by: the error on the validation patients, inside the head."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from mrct.networks.whole_volume import translate
from mrct.training import distributed
from mrct.training.dataset import NormalizedData, Patient

#: Unit of each direction's validation error; its lowest value chooses the weights.
UNITS = {"mr_to_ct": "HU", "ct_to_mr": "8-bit grey"}


#: Name -> patient -> a further image on the patient's grid.
Others = Mapping[str, Mapping[str, np.ndarray]]
NO_OTHERS: Others = {}


def validation_metrics(
    generators: dict[str, nn.Module], data: NormalizedData, device: torch.device, others: Others = NO_OTHERS
) -> dict[str, float]:
    """validation_mr_to_ct (MAE in HU, window-clipped) and validation_ct_to_mr (MAE on 0..255), in the head.

    Mean over the validation patients of the mean over their paired slices. `others`: further images that networks of
    volumes are given.
    """
    scale = {"mr_to_ct": float(np.ptp(data.manifest["hu_window"])) / 2, "ct_to_mr": 255.0 / 2}
    patients = [patient for patient in data.split("validation") if patient.valid.any()]
    metrics = {}
    for direction, network in generators.items():
        errors = torch.zeros(len(patients), dtype=torch.float64, device=device)
        for place in range(distributed.rank(), len(patients), distributed.size()):
            patient = patients[place]
            known = {name: volumes[patient.name] for name, volumes in others.items()}
            spacing_mm = data.slice_spacing_mm(patient.name)
            errors[place] = _error(network, patient, direction, spacing_mm, device, known)
        metrics[f"validation_{direction}"] = float(distributed.sum_up(errors).mean()) * scale[direction]
    return metrics


def _error(
    network: nn.Module,
    patient: Patient,
    direction: str,
    slice_spacing_mm: float,
    device: torch.device,
    others: Mapping[str, np.ndarray],
) -> float:
    """Mean over the paired slices of |prediction - target| in the head, in [-1, 1] units."""
    valid = np.flatnonzero(patient.valid)
    source, target = (patient.mr, patient.ct) if direction == "mr_to_ct" else (patient.ct, patient.mr)
    predicted = translate(network, source, slice_spacing_mm, device, others, valid)
    return float(np.abs(predicted - target[valid])[patient.mask[valid] > 0].mean())
