"""A trained direction as one safetensors file that holds its method, configuration and normalization."""

import json
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import safe_open, save
from torch import Tensor, nn

from mrct.core.errors import DataError
from mrct.core.files import atomic_file
from mrct.networks.whole_volume import translate


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


def save_model(
    path: Path,
    method: str,
    direction: str,
    weights: dict[str, Tensor],
    config: dict[str, Any],
    normalization: dict[str, Any],
) -> None:
    """Write one direction; equal content gives equal bytes."""
    meta = {"method": method, "direction": direction, "config": config, "normalization": normalization}
    tensors = {name: weight.detach().cpu().contiguous() for name, weight in weights.items()}
    with atomic_file(path) as partial:
        # one key: safetensors keeps several in no fixed order
        # by its bytes: safetensors' own files are for their owner alone, whatever the process's umask
        partial.write_bytes(save(tensors, metadata={"mrct": json.dumps(meta, sort_keys=True)}))


def load_model(path: Path) -> Model:
    """Read one direction; ValueError names the file when it is foreign or broken, and what else there is when it is
    missing.
    """
    others = sorted(file.name for file in path.parent.glob("*.safetensors"))
    if others and not path.is_file():
        raise DataError(
            f"{path}: no such model; that folder has {', '.join(others)}: name one of them, or train the other "
            "direction (the key directions of a method that has both)"
        )
    try:
        with safe_open(str(path), framework="pt") as stream:
            meta = json.loads((stream.metadata() or {})["mrct"])
            weights = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise DataError(
            f"{path}: no model of this pipeline ({type(error).__name__}); run dvc repro train, or "
            "name a .safetensors file under models/"
        ) from None
    network = import_module(f"mrct.methods.{meta['method']}").build_network(meta["config"])
    network.load_state_dict(weights)
    return Model(meta["method"], meta["direction"], network.eval(), meta["normalization"])
