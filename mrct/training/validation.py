"""What an epoch is judged by: the error on the validation patients, inside the head."""

import numpy as np
import torch
from torch import Tensor, nn

from mrct.training.dataset import NormalizedData

#: Unit of each direction's validation error; its lowest value chooses the weights.
UNITS = {"mr_to_ct": "HU", "ct_to_mr": "8-bit grey"}


def translate_slices(
    network: nn.Module, slices: np.ndarray, batch_size: int, device: torch.device
) -> np.ndarray:
    """(D, H, W) in [-1, 1] -> the same through the network, float32, a batch at a time."""
    network.eval()
    translated = []
    with torch.inference_mode():
        for start in range(0, len(slices), batch_size):
            batch: Tensor = torch.from_numpy(np.ascontiguousarray(slices[start : start + batch_size, None]))
            batch = batch.to(device).contiguous(memory_format=torch.channels_last)
            translated.append(network(batch).float().cpu().numpy()[:, 0])
    return np.concatenate(translated)


def validation_metrics(
    generators: dict[str, nn.Module], data: NormalizedData, batch_size: int, device: torch.device
) -> dict[str, float]:
    """validation_mr_to_ct (MAE in HU, window-clipped) and validation_ct_to_mr (MAE on 0..255), in the head.

    Mean over the validation patients of the mean over their paired slices.
    """
    scale = {"mr_to_ct": float(np.ptp(data.manifest["hu_window"])) / 2, "ct_to_mr": 255.0 / 2}
    source_target = {"mr_to_ct": ("mr", "ct"), "ct_to_mr": ("ct", "mr")}
    metrics = {}
    for direction, network in generators.items():
        source, target = source_target[direction]
        errors = []
        for patient in data.split("validation"):
            valid = np.flatnonzero(patient.valid)
            if not len(valid):
                continue
            predicted = translate_slices(network, getattr(patient, source)[valid], batch_size, device)
            difference = np.abs(predicted - getattr(patient, target)[valid])[patient.mask[valid] > 0]
            errors.append(float(difference.mean()) * scale[direction])
        metrics[f"validation_{direction}"] = float(np.mean(errors))
    return metrics
