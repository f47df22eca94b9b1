"""Model files: one direction of a method as safetensors, with a header that holds all that is needed to use it."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mrct.core.errors import DataError
from mrct.core.files import atomic_file


def save_model(
    path: Path,
    method: str,
    direction: str,
    weights: dict[str, Tensor],
    config: dict[str, Any],
    normalization: dict[str, Any],
    domain: dict[str, Any],
) -> None:
    """Write one direction; equal content gives equal bytes.

    Args:
        path: File to write.
        method: Name of the method in mrct/methods/registry.py.
        direction: Mr_to_ct or ct_to_mr.
        weights: The network's `state_dict`.
        config: What the method's `build_network` needs.
        normalization: The normalization of images to [-1, 1], as JSON values.
        domain: What the images of the training are like (mrct/imaging/training_domain.py), as JSON values.
    """
    header = {
        "method": method,
        "direction": direction,
        "config": config,
        "normalization": normalization,
        "domain": domain,
    }
    tensors = {name: weight.detach().cpu().contiguous() for name, weight in weights.items()}
    with atomic_file(path) as partial:
        # One key, since safetensors keeps several in no fixed order. Written as bytes, since safetensors' own files can
        # be read by their owner alone, whatever the umask of the process.
        partial.write_bytes(save(tensors, metadata={"mrct": json.dumps(header, sort_keys=True)}))


def read_model(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read header and weights as `save_model` wrote them.

    Raises:
        DataError: The file is missing, broken or from another program; the text lists the models beside it.
    """
    others = sorted(file.name for file in path.parent.glob("*.safetensors"))
    if others and not path.is_file():
        raise DataError(
            f"{path}: no such model; that folder has {', '.join(others)}; name one of them, or train the other "
            "direction (the key `directions` of a method that has both)"
        )
    try:
        with safe_open(str(path), framework="pt") as stream:
            header = json.loads((stream.metadata() or {})["mrct"])
            weights = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise DataError(
            f"{path}: no model of this pipeline ({type(error).__name__}); run dvc repro train, or "
            "name a .safetensors file under models/"
        ) from None
    return header, weights
