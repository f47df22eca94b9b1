"""A trained direction, ready to be applied to volumes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mrct.methods.registry import load_method
from mrct.networks.whole_volume import translate
from mrct.training.model_file import read_model


@dataclass(frozen=True)
class Model:
    """A network ready to translate, and what its input must look like."""

    method: str
    direction: str
    network: nn.Module
    normalization: dict[str, Any]

    def translate(self, volume: np.ndarray, slice_spacing_mm: float) -> np.ndarray:
        """(D, H, W) in [-1, 1] -> (D, H, W) float32 in [-1, 1], by slices or as the network says."""
        return translate(self.network, volume, slice_spacing_mm, torch.device("cpu"))


def load_model(path: Path) -> Model:
    """Read one direction and build its network.

    Raises:
        DataError: The file is missing, broken or of another program.
        ParamsError: No method of this version has the name in the file.
    """
    header, weights = read_model(path)
    network = load_method(header["method"]).build_network(header["config"])
    network.load_state_dict(weights)
    return Model(header["method"], header["direction"], network.eval(), header["normalization"])
