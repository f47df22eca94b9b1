"""A trained direction, ready to be applied to volumes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mrct.core.contracts import Direction
from mrct.core.errors import DataError
from mrct.methods.registry import load_method
from mrct.networks.whole_volume import translate
from mrct.normalization.normalization import Modality, Normalization
from mrct.training.model_file import read_model


@dataclass(frozen=True)
class Model:
    """A trained network with all that a new patient's volume needs.

    Attributes:
        method: Name of the method in mrct/methods/registry.py.
        direction: What it translates.
        network: The network, in evaluation mode.
        normalization: How volumes become [-1, 1].
    """

    method: str
    direction: Direction
    network: nn.Module
    normalization: Normalization

    @property
    def source(self) -> Modality:
        """Modality of its input."""
        return "MR" if self.direction == Direction.MR_TO_CT else "CT"

    @property
    def target(self) -> Modality:
        """Modality of its output."""
        return "CT" if self.direction == Direction.MR_TO_CT else "MR"

    def translate(self, volume: np.ndarray, slice_spacing_mm: float) -> np.ndarray:
        """Translate a volume on the CPU, slice by slice or as a whole, as the network is made for.

        Args:
            volume: (D, H, W) in [-1, 1].
            slice_spacing_mm: From one slice to the next.

        Returns:
            (D, H, W) float32 in [-1, 1].
        """
        return translate(self.network, volume, slice_spacing_mm, torch.device("cpu"))


def load_model(path: Path) -> Model:
    """Read one direction and build its network.

    Raises:
        DataError: The file is missing, broken or of another program.
        ParamsError: No method of this version has the name in the file.
    """
    header, weights = read_model(path)
    try:
        direction = Direction(header["direction"])
        normalization = Normalization.from_json(header["normalization"])
    except (KeyError, ValueError) as error:
        raise DataError(
            f"{path}: its header names no direction and normalization that this version knows ({error}); train it again"
        ) from None
    network = load_method(header["method"]).build_network(header["config"])
    network.load_state_dict(weights)
    return Model(header["method"], direction, network.eval(), normalization)
