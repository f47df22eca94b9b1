"""Every key of the stage train has an effect: after a few training steps the weights differ."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file

from mrct.methods.sc_cyclegan import ScCycleGan, ScCycleGanParams
from mrct.networks.vgg16 import Vgg16Features, _layers
from mrct.training import checkpoint
from mrct.training.configuration import Configuration, load_configuration
from mrct.training.dataset import open_normalized
from mrct.training.engine import CHECKPOINT, fit
from mrct.training.examples import SlicePairs
from mrct.training.run import TrainingPlan
from mrct.training.settings import AdversarialLoop, Shared

TINY = {
    "learning_rate": 1.0e-3,
    "epochs": 3,
    "batch_size": 4,
    "pool_size": 2,
    "pixel_weighting": "clip",
    "ema_decay": 0.0,
    "max_gradient_norm": 0.0,
    "generator": {"filters": 4, "blocks": 1, "downsamplings": 1, "upsampling": "resize"},
    "discriminator": {"filters": 4, "norm": "instance"},
    "device": "cpu",
}
CHANGES: dict[str, list[Any]] = {
    "learning_rate": [2.0e-3],
    "epochs": [2],
    "batch_size": [3],
    "accumulate": [2],
    "adam_betas": [[0.9, 0.999]],
    "lambda_adv": [2.0, 0.0],
    "lambda_pix": [50.0, 0.0],
    "lambda_str": [5.0, 0.0],
    "lambda_cyc": [5.0, 0.0],
    "lambda_idt": [5.0],
    "pixel_weighting": ["minmax", "none"],
    "structure_loss": ["mind", "none"],
    "structure_features": ["encoder", "vgg16"],
    "pretrain_epochs": [1],
    "lr_decay": ["constant"],
    "pool_size": [0],
    "ema_decay": [0.9],
    "max_gradient_norm": [0.1],
    "generator.filters": [5],
    "generator.blocks": [2],
    "generator.downsamplings": [2],
    "generator.upsampling": ["transposed"],
    "discriminator.filters": [5],
    "discriminator.norm": ["batch"],
    "augmentation.rotation_deg": [20.0],
    "augmentation.scale": [0.2],
    "augmentation.shift_mm": [9.0],
    "augmentation.flip": [True],
    "augmentation.mr_gamma": [0.3],
    "augmentation.mr_bias": [0.3],
    "seed": [1],
    "precision": ["bf16"],
}
#: Keys that change device, speed or displayed output, but no result; they have tests of their own.
NO_WEIGHTS = {"device", "compile", "vgg16_weights"}
CASES = [(key, value) for key, values in CHANGES.items() for value in values]


def with_change(key: str, value: Any, weights: Path | None = None) -> dict[str, Any]:
    """Return params.yaml at a tiny size with one key changed; a dotted key is in its section."""
    values = yaml.safe_load(Path("params.yaml").read_text()) | TINY
    section, _, inner = key.rpartition(".")
    if section:
        values[section] = values[section] | {inner: value}
    else:
        values[key] = value
    if value == "vgg16":
        values["vgg16_weights"] = str(weights)
    return values


def configuration_of(values: dict[str, Any], folder: Path) -> Configuration:
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    return load_configuration("sc_cyclegan", ScCycleGan, folder / "params.yaml")


def trained(values: dict[str, Any], folder: Path, work: Path) -> dict[str, torch.Tensor]:
    """Train, and return the final generators and those that would be saved."""
    plan = TrainingPlan(configuration_of(values, folder))
    examples = SlicePairs(open_normalized(folder), plan.settings.augmentation)
    fit(lambda: ScCycleGan(plan.params), examples, plan.settings, work)
    state, _ = checkpoint.load(work / CHECKPOINT)
    return {k: v for k, v in state.items() if k.startswith(("best/", "networks/mr_to_ct"))}


@pytest.fixture(scope="module")
def vgg16_file(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("vgg16") / "vgg16.safetensors"
    save_file({f"features.{name}": value for name, value in _layers().state_dict().items()}, file)
    return file


@pytest.fixture(scope="module")
def unchanged() -> dict[str, torch.Tensor]:
    return {}


def test_the_table_holds_every_key_of_the_stage():
    keys = set()
    for model in (ScCycleGanParams, AdversarialLoop, Shared):
        for name, field in model.model_fields.items():
            inner = getattr(field.annotation, "model_fields", {})
            keys |= {f"{name}.{key}" for key in inner} or {name}
    assert keys == set(CHANGES) | NO_WEIGHTS


@pytest.mark.parametrize(("key", "value"), CASES, ids=[f"{key}-{value}" for key, value in CASES])
def test_every_key_changes_the_weights(normalized, tmp_path, vgg16_file, unchanged, key, value):
    if not unchanged:  # trained once: `normalized` is the same in every test
        unchanged |= trained(with_change("seed", 0), normalized, tmp_path / "default")
    changed = trained(with_change(key, value, vgg16_file), normalized, tmp_path / "changed")
    same = [n for n in unchanged if n in changed and torch.equal(unchanged[n], changed[n])]
    assert len(same) < len(unchanged)


def test_the_same_parameters_give_the_same_weights(normalized, tmp_path):
    """Otherwise the test above could not fail."""
    values = with_change("seed", 0)
    first, second = (trained(values, normalized, tmp_path / name) for name in "ab")
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_compile_compiles_every_network(normalized, tmp_path, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: compiled.append(type(module).__name__))
    trained(with_change("compile", True), normalized, tmp_path / "w")
    assert sorted(compiled) == ["PatchDiscriminator"] * 2 + ["ResnetGenerator"] * 2 + ["StructureLoss"]


def test_vgg16_weights_are_known_by_their_content(vgg16_file, tmp_path):
    values = with_change("structure_features", "vgg16", vgg16_file)
    assert configuration_of(values, tmp_path).provenance["vgg16_weights"] == Vgg16Features(vgg16_file).sha256
    copy = tmp_path / "elsewhere.safetensors"
    copy.write_bytes(vgg16_file.read_bytes())
    moved = with_change("structure_features", "vgg16", copy)
    assert configuration_of(values, tmp_path).provenance == configuration_of(moved, tmp_path).provenance
    unused = moved | {"structure_features": "random_conv"}
    assert configuration_of(unused, tmp_path).provenance["vgg16_weights"] == ""


def test_missing_vgg16_weights_stop_before_any_work(tmp_path):
    values = with_change("structure_features", "vgg16", tmp_path / "none.pth")
    with pytest.raises(FileNotFoundError, match=r"none\.pth: no such file"):
        _ = configuration_of(values, tmp_path).provenance
