"""What an epoch is judged by: the error on the validation patients, inside the head."""

import numpy as np
import torch
from torch import Tensor, nn

from mrct.training import distributed
from mrct.training.dataset import NormalizedData, Patient

#: Unit of each direction's validation error; its lowest value chooses the weights.
UNITS = {"mr_to_ct": "HU", "ct_to_mr": "8-bit grey"}


def translate_slices(
    network: nn.Module, slices: np.ndarray, batch_size: int, device: torch.device
) -> np.ndarray:
    """(D, H, W) in [-1, 1] -> the same through the network, float32, a batch at a time.

    By its `forward`: a compiled network would be compiled again for evaluation and for each size of a batch.
    """
    network.eval()
    translated = []
    with torch.inference_mode():
        for start in range(0, len(slices), batch_size):
            batch: Tensor = torch.from_numpy(np.array(slices[start : start + batch_size, None]))
            batch = batch.to(device).contiguous(memory_format=torch.channels_last)
            translated.append(network.forward(batch).float().cpu().numpy()[:, 0])
    return np.concatenate(translated)


def validation_metrics(
    generators: dict[str, nn.Module], data: NormalizedData, batch_size: int, device: torch.device
) -> dict[str, float]:
    """validation_mr_to_ct (MAE in HU, window-clipped) and validation_ct_to_mr (MAE on 0..255), in the head.

    Mean over the validation patients of the mean over their paired slices.
    """
    scale = {"mr_to_ct": float(np.ptp(data.manifest["hu_window"])) / 2, "ct_to_mr": 255.0 / 2}
    patients = [patient for patient in data.split("validation") if patient.valid.any()]
    metrics = {}
    for direction, network in generators.items():
        errors = torch.zeros(len(patients), dtype=torch.float64, device=device)
        for place in range(distributed.rank(), len(patients), distributed.size()):
            errors[place] = _error(network, patients[place], direction, batch_size, device)
        metrics[f"validation_{direction}"] = float(distributed.sum_up(errors).mean()) * scale[direction]
    return metrics


def _error(
    network: nn.Module, patient: Patient, direction: str, batch_size: int, device: torch.device
) -> float:
    """Mean over the paired slices of |prediction - target| in the head, in [-1, 1] units."""
    valid = np.flatnonzero(patient.valid)
    source, target = (patient.mr, patient.ct) if direction == "mr_to_ct" else (patient.ct, patient.mr)
    predicted = translate_slices(network, source[valid], batch_size, device)
    return float(np.abs(predicted - target[valid])[patient.mask[valid] > 0].mean())
