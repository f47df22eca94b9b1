"""Trained network of one direction, ready to be applied to volumes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mrct.core.contracts import Direction
from mrct.core.errors import DataError
from mrct.imaging.training_domain import TrainingDomain
from mrct.methods.registry import load_method
from mrct.networks.whole_volume import translate
from mrct.normalization.normalization import Modality, Normalization
from mrct.training.engine import torch_threads
from mrct.training.model_file import read_model


@dataclass(frozen=True)
class Model:
    """Trained network with all that is needed to translate a new patient's volume.

    Attributes:
        method: Name of the method in mrct/methods/registry.py.
        direction: Direction of the translation.
        network: The network, in evaluation mode.
        normalization: Normalization of volumes to [-1, 1].
        domain: What the images of its training are like; None if the file is older than this statement.
    """

    method: str
    direction: Direction
    network: nn.Module
    normalization: Normalization
    domain: TrainingDomain | None = None

    @property
    def source(self) -> Modality:
        """Return the modality of the input."""
        return "MR" if self.direction == Direction.MR_TO_CT else "CT"

    @property
    def target(self) -> Modality:
        """Return the modality of the output."""
        return "CT" if self.direction == Direction.MR_TO_CT else "MR"

    def translate(self, volume: np.ndarray, slice_spacing_mm: float) -> np.ndarray:
        """Translate a volume on the CPU, slice by slice or as a whole, depending on the network.

        Args:
            volume: (D, H, W) in [-1, 1].
            slice_spacing_mm: Distance between neighboring slices.

        Returns:
            (D, H, W) float32 in [-1, 1].
        """
        with torch_threads():
            return translate(self.network, volume, slice_spacing_mm, torch.device("cpu"))


def load_model(path: Path) -> Model:
    """Read one direction and build its network.

    Raises:
        DataError: The file is missing, broken or from another program.
        ParamsError: No method of this version has the name in the file.
    """
    header, weights = read_model(path)
    try:
        direction = Direction(header["direction"])
        normalization = Normalization.from_json(header["normalization"])
        domain = TrainingDomain.from_json(header["domain"]) if "domain" in header else None
    except (KeyError, ValueError) as error:
        raise DataError(
            f"{path}: its header names no direction, normalization and training domain that this version knows "
            f"({error}); train it again"
        ) from None
    network = load_method(header["method"]).build_network(header["config"])
    network.load_state_dict(weights)
    return Model(header["method"], direction, network.eval(), normalization, domain)
