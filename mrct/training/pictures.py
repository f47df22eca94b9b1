"""Pictures of a training run: what the networks make of a few validation slices at the moment."""

import numpy as np
import torch
from torch import nn

from mrct.networks.whole_volume import translate
from mrct.training.dataset import NormalizedData

#: Shown from black to white: soft tissue is told from air and from bone.
WINDOW_HU = (-200.0, 800.0)
N_PATIENTS = 3
_GAP_PIXELS = 2


def example_sheet(networks: dict[str, nn.Module], data: NormalizedData, device: torch.device) -> np.ndarray:
    """(rows, columns) uint8: MR, synthetic CT, CT, synthetic MR of the middle pair of three validation patients."""
    rows = []
    for patient in [patient for patient in data.split("validation") if patient.valid.any()][:N_PATIENTS]:
        k = np.flatnonzero(patient.valid)[patient.valid.sum() // 2]
        spacing_mm = data.slice_spacing_mm(patient.name)
        mr, ct = (np.asarray(volume[k : k + 1]) for volume in (patient.mr, patient.ct))
        synthetic = {
            direction: translate(networks[direction], source, spacing_mm, device)
            for direction, source in (("mr_to_ct", mr), ("ct_to_mr", ct))
            if direction in networks
        }
        panels = [_gray_mr(mr), _gray_ct(synthetic.get("mr_to_ct"), data), _gray_ct(ct, data)]
        panels.append(_gray_mr(synthetic.get("ct_to_mr")))
        rows.append(_beside([panel for panel in panels if panel is not None], axis=1))
    return _beside(rows, axis=0)


def _gray_mr(image: np.ndarray | None) -> np.ndarray | None:
    return None if image is None else _gray((image[0] + 1) / 2)


def _gray_ct(image: np.ndarray | None, data: NormalizedData) -> np.ndarray | None:
    if image is None:
        return None
    low, high = data.manifest["hu_window"]
    hu = (image[0] + 1) / 2 * (high - low) + low
    return _gray((hu - WINDOW_HU[0]) / (WINDOW_HU[1] - WINDOW_HU[0]))


def _gray(share: np.ndarray) -> np.ndarray:
    return (share.clip(0, 1) * 255).round().astype(np.uint8)


def _beside(panels: list[np.ndarray], axis: int) -> np.ndarray:
    """One after the other with a dark gap between."""
    pad = [(0, 0), (0, 0)]
    pad[axis] = (0, _GAP_PIXELS)
    return np.concatenate([np.pad(panel, pad) for panel in panels], axis)
