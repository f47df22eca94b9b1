"""Checkpoints: everything that a run needs to continue, in one safetensors file that is replaced atomically."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from mrct.core.errors import DataError, WriteError
from mrct.core.files import atomic_file


def save(path: Path, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
    """Write tensors and JSON metadata; a kill or a full disk leaves the previous file whole.

    Raises:
        WriteError: The disk is full, or the folder cannot be written.
    """
    contiguous = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    try:
        with atomic_file(path) as partial:
            # One key, since safetensors keeps several in no fixed order; unsorted, so that history.csv keeps its column
            # order. Written as bytes, since safetensors' own files can be read by their owner alone, whatever the
            # umask.
            partial.write_bytes(safetensors_bytes(contiguous, metadata={"mrct": json.dumps(meta)}))
    except (OSError, SafetensorError) as error:
        raise WriteError(
            f"{path}: not written ({error}); the epoch before is kept there: make room and run again"
        ) from None


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read tensors and metadata as saved.

    Raises:
        DataError: The file is from another program.
    """
    with safe_open(str(path), framework="pt") as stream:
        meta = stream.metadata() or {}
        if "mrct" not in meta:
            raise DataError(
                f"{path}: no mrct metadata; expected a model or checkpoint written by this pipeline"
            )
        return {name: stream.get_tensor(name) for name in stream.keys()}, json.loads(meta["mrct"])  # noqa: SIM118


def training_state(
    networks: dict[str, nn.Module], optimizers: dict[str, torch.optim.Optimizer]
) -> dict[str, Tensor]:
    """Return weights and the moments of Adam under flat names."""
    state: dict[str, Tensor] = {}
    for name, network in networks.items():
        state |= {f"{name}/{key}": value for key, value in network.state_dict().items()}
    for group, optimizer in optimizers.items():
        for index, moments in optimizer.state_dict()["state"].items():
            state |= {
                f"optimizer/{group}/{index}/{key}": torch.as_tensor(value) for key, value in moments.items()
            }
    return state


def restore_training_state(
    state: dict[str, Tensor], networks: dict[str, nn.Module], optimizers: dict[str, torch.optim.Optimizer]
) -> None:
    """Fill networks and optimizers; the inverse of `training_state`."""
    for name, network in networks.items():
        network.load_state_dict(under(state, f"{name}/"))
    for group, optimizer in optimizers.items():
        weights = [weight for part in optimizer.param_groups for weight in part["params"]]
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in under(state, f"optimizer/{group}/").items():
            index, key = name.split("/")
            moments.setdefault(int(index), {})[key] = _laid_out_as(weights[int(index)], value)
        optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})


def _laid_out_as(weight: Tensor, value: Tensor) -> Tensor:
    """Return `value` in the weight's memory order, because fused Adam ignores strides."""
    return torch.empty_like(weight).copy_(value) if value.shape == weight.shape else value


def under(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the entries whose names start with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
