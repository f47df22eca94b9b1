"""Pictures of a training run: translations of a few validation slices by the current networks."""

import numpy as np
import torch
from torch import nn

from mrct.core.contracts import Direction
from mrct.networks.whole_volume import translate
from mrct.normalization.normalization import Modality, Normalization
from mrct.training.dataset import NormalizedData

#: HU from black to white, so that soft tissue differs from air and from bone.
WINDOW_HU = (-200.0, 800.0)
N_PATIENTS = 3
_GAP_PIXELS = 2


def example_sheet(networks: dict[str, nn.Module], data: NormalizedData, device: torch.device) -> np.ndarray:
    """Show MR, synthetic CT, CT and synthetic MR of the middle pair of the first validation patients.

    Args:
        networks: The network of each direction; the column of a missing direction is left out.
        data: The data with the validation patients.
        device: Device of the networks.

    Returns:
        (rows, columns) uint8, one row of panels per patient.
    """
    normalization, rows = data.normalization, []
    for patient in [patient for patient in data.split("validation") if patient.valid.any()][:N_PATIENTS]:
        k = np.flatnonzero(patient.valid)[patient.valid.sum() // 2]
        synthetic = {
            direction: translate(
                network, patient.images(direction)[0][k : k + 1], patient.slice_spacing_mm, device
            )
            for direction, network in networks.items()
        }
        shown: list[tuple[np.ndarray | None, Modality]] = [
            (patient.mr[k : k + 1], "MR"),
            (synthetic.get(Direction.MR_TO_CT), "CT"),
            (patient.ct[k : k + 1], "CT"),
            (synthetic.get(Direction.CT_TO_MR), "MR"),
        ]
        panels = [_gray(image[0], modality, normalization) for image, modality in shown if image is not None]
        rows.append(_beside(panels, axis=1))
    return _beside(rows, axis=0)


def _gray(signed: np.ndarray, modality: Modality, normalization: Normalization) -> np.ndarray:
    """Convert (H, W) in [-1, 1] to uint8: CT in `WINDOW_HU`, MR from its lowest to its highest value."""
    values = normalization.inverse_transform(signed, modality)
    low, high = WINDOW_HU if modality == "CT" else (0.0, 1.0)
    return (((values - low) / (high - low)).clip(0, 1) * 255).round().astype(np.uint8)


def _beside(panels: list[np.ndarray], axis: int) -> np.ndarray:
    """Join panels with a dark gap after each."""
    pad = [(0, 0), (0, 0)]
    pad[axis] = (0, _GAP_PIXELS)
    return np.concatenate([np.pad(panel, pad) for panel in panels], axis)
