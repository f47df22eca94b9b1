"""Everything a run needs to go on, in one safetensors file (no pickle), replaced atomically."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from mrct.files import atomic_file


def save(path: Path, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
    """Tensors and JSON metadata; a kill while writing leaves the previous file whole."""
    contiguous = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with atomic_file(path) as partial:
        # one key: safetensors keeps several in no fixed order. Unsorted: history.csv keeps its column order
        save_file(contiguous, str(partial), metadata={"mrct": json.dumps(meta)})


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and metadata as saved; ValueError for a file of another program."""
    with safe_open(str(path), framework="pt") as stream:
        meta = stream.metadata() or {}
        if "mrct" not in meta:
            raise ValueError(
                f"{path}: no mrct metadata; expected a model or checkpoint written by this pipeline"
            )
        return {name: stream.get_tensor(name) for name in stream.keys()}, json.loads(meta["mrct"])  # noqa: SIM118


def training_state(
    networks: nn.Module, optimizers: dict[str, torch.optim.Optimizer], best: dict[str, dict[str, Tensor]]
) -> dict[str, Tensor]:
    """Weights, Adam moments and the best weights so far, as flat names."""
    state = {f"networks/{name}": value for name, value in networks.state_dict().items()}
    for group, optimizer in optimizers.items():
        for index, moments in optimizer.state_dict()["state"].items():
            state |= {
                f"optimizer/{group}/{index}/{key}": torch.as_tensor(value) for key, value in moments.items()
            }
    for direction, weights in best.items():
        state |= {f"best/{direction}/{name}": value for name, value in weights.items()}
    return state


def restore_training_state(
    state: dict[str, Tensor], networks: nn.Module, optimizers: dict[str, torch.optim.Optimizer]
) -> dict[str, dict[str, Tensor]]:
    """The inverse of `training_state`: fills networks and optimizers, returns the best weights."""
    networks.load_state_dict(_under(state, "networks/"))
    for group, optimizer in optimizers.items():
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _under(state, f"optimizer/{group}/").items():
            index, key = name.split("/")
            moments.setdefault(int(index), {})[key] = value
        optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    best: dict[str, dict[str, Tensor]] = {}
    for name, value in _under(state, "best/").items():
        direction, weight = name.split("/", 1)
        best.setdefault(direction, {})[weight] = value
    return best


def _under(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
