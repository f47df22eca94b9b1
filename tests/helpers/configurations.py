"""Configurations of methods from the project's params.yaml with some keys changed."""

from pathlib import Path
from typing import Any

import yaml

from mrct.core.params import read_yaml
from mrct.methods.registry import load_method
from mrct.training.configuration import Configuration, load_configuration

PARAMS = Path(__file__).parents[2] / "params.yaml"
#: Sizes at which a training takes a second or two.
TINY: dict[str, dict[str, Any]] = {
    "sc_cyclegan": {
        "generator": {"filters": 4, "blocks": 1, "downsamplings": 1, "upsampling": "resize"},
        "discriminator": {"filters": 4, "norm": "instance"},
        "epochs": 2,
        "batch_size": 4,
    },
    "unet": {"filters": 2, "epochs": 2, "batch_size": 4, "learning_rate": 1.0e-3},
    "pix2pix": {
        "filters": 2,
        "discriminator_filters": 2,
        "discriminator_output": "linear",
        "epochs": 2,
        "batch_size": 4,
        "learning_rate": 1.0e-3,
        "fine_tune_epochs": 2,
        "pool_size": 3,
    },
}


def write_params(file: Path, name: str, shared: dict[str, Any] | None = None, **changes: Any) -> Path:
    """Write params.yaml with a method at a tiny size; `shared` are top-level keys, `changes` keys of the method."""
    values = read_yaml(PARAMS) | {"device": "cpu", "example_every": 0} | (shared or {})
    keys = TINY.get(name, {}) | changes
    values |= keys if load_method(name).top_level else {name: (values[name] or {}) | keys}
    file.write_text(yaml.safe_dump(values))
    return file


def tiny_configuration(
    folder: Path, name: str, shared: dict[str, Any] | None = None, **changes: Any
) -> Configuration:
    """Read what `write_params` writes into the folder."""
    return load_configuration(
        name, load_method(name), write_params(folder / "params.yaml", name, shared, **changes)
    )
