"""Presets hold the values of the papers, are accepted by the stages, and reach params.yaml through DVC's parser."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.hydra import apply_overrides
from typer.testing import CliRunner

from mrct.cli import main, presets
from mrct.core.params import ParamsError, load, read, read_yaml
from mrct.methods.registry import load_method
from mrct.pairing.splits import split_sizes
from mrct.tracking import flatten
from mrct.training.configuration import load_configuration
from stages import cohort, configure, evaluate, normalize, pair, register, report, select

ROOT = Path(__file__).parents[2]
NAMES = presets.names(ROOT / "presets")
NO_AUGMENTATION = {
    f"augmentation.{key}": 0 for key in ("rotation_deg", "scale", "shift_mm", "flip", "mr_gamma", "mr_bias")
}
#: Zhu 2017: section 4 and 7; both networks as section 7.2 lists them.
CYCLEGAN = {
    "image_size": 256, "learning_rate": 2e-4, "epochs": 200, "batch_size": 1, "lr_decay": "linear",
    "lambda_adv": 1, "lambda_cyc": 10, "lambda_pix": 0, "pool_size": 50, "ema_decay": 0, "pretrain_epochs": 0,
    "max_gradient_norm": 0,
    "generator": {"filters": 64, "blocks": 9, "downsamplings": 2, "upsampling": "transposed"},
    "discriminator": {"filters": 64, "norm": "instance"},
}  # fmt: skip
#: Kaiser 2019: sections 3.1 and 3.2, Table 6.
RIRE = {
    "source_layout": "rire", "select.weighting": "t1", "register.method": "rigid", "register.grid": "ct",
    "normalize.named": "kaiser", "image_size": 384, **NO_AUGMENTATION,
}  # fmt: skip
ADAM = {"learning_rate": 2e-4, "adam_betas": [0.5, 0.999]}
#: The values in the papers, copied from the papers and not from the presets.
PAPERS: dict[str, dict[str, Any]] = {
    "jeong2024": {
        "cohort.patients": 87, "select.weighting": "t2", "pair.exact_pairs": [364, 27, 8], "image_size": 512,
        "learning_rate": 1e-4, "epochs": 200, "batch_size": 8, "lr_decay": "constant", "lambda_adv": 1,
        "lambda_pix": 100, "lambda_str": 10, "structure_loss": "sc_map", "precision": "fp32", **NO_AUGMENTATION,
        "generator": {"filters": 64, "blocks": 9, "downsamplings": 2, "upsampling": "transposed"},
        "discriminator": {"filters": 64, "norm": "batch"},
    },
    "zhu2017_cyclegan": {**CYCLEGAN, "structure_loss": "none", "lambda_idt": 5},
    "yang2018": {**CYCLEGAN, "structure_loss": "mind", "lambda_str": 5, "lambda_idt": 0},
    "kaiser2019_unet": {
        **RIRE, "methods": ["sc_cyclegan", "mean_ct", "intensity_map", "unet"],
        "unet": {**ADAM, "directions": ["mr_to_ct"], "filters": 64, "epochs": 174, "batch_size": 16, "lambda_gdl": 0},
    },
    "kaiser2019_pix2pix": {
        **RIRE, "methods": ["sc_cyclegan", "mean_ct", "intensity_map", "pix2pix"],
        "pix2pix": {
            **ADAM, "directions": ["mr_to_ct"], "filters": 64, "discriminator_filters": 64,
            "discriminator_output": "sigmoid", "epochs": 299, "batch_size": 16,
            "lambda_mae": 1, "lambda_adv": 0.01, "fine_tune_epochs": 112,
        },
    },
    "kaiser2019_context": {
        **RIRE, "methods": ["sc_cyclegan", "mean_ct", "intensity_map", "context_gan3d"],
        "context_gan3d": {**ADAM, "iterations": 3, "filters": 32},
    },
    "karimzadeh2023": {
        "source_layout": "synthrad", "register.method": "none", "normalize.named": "karimzadeh",
        "pair.test_fraction": 0.2, "methods": ["sc_cyclegan", "mean_ct", "intensity_map", "swin_pix2pix"],
        "swin_pix2pix": {
            "patch_size": 64, "overlap": 0.5, "learning_rate": 1e-5, "lr_decay": "constant", "epochs": 1000,
        },
    },
}  # fmt: skip


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    both = dict(base)
    for key, value in over.items():
        both[key] = merged(base[key], value) if isinstance(value, dict) else value
    return both


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder with this project's params.yaml, dvc.yaml and presets the working folder."""
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("mrct", "presets"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_preset_has_its_papers_table() -> None:
    assert set(NAMES) == set(PAPERS)


@pytest.mark.parametrize("name", NAMES)
def test_the_papers_values_hold(name: str) -> None:
    values = flatten(presets.load_preset(name, ROOT / "presets").values)
    wanted = flatten(PAPERS[name])
    assert {key: values.get(key) for key in wanted} == wanted


def test_coronal_and_tse_series_go_as_jeong_says() -> None:
    """Section IV; the preset leaves the list of rules to params.yaml."""
    params = merged(read(ROOT / "params.yaml"), presets.load_preset("jeong2024", ROOT / "presets").values)
    assert {"coronal", "tse"} <= set(params["select"]["reject"])


def test_four_of_kaisers_seventeen_subjects_are_held_back() -> None:
    """Section 4.1: 13 subjects and 4; two of the 13 serve here to choose the epoch."""
    params = presets.load_preset("kaiser2019_unet", ROOT / "presets").values["pair"]
    sizes = split_sizes(17, params["validation_fraction"], params["test_fraction"])
    assert sizes == {"train": 11, "validation": 2, "test": 4}


@pytest.mark.parametrize("name", NAMES)
def test_dvc_reads_the_preset_and_the_stages_do(name: str, project: Path) -> None:
    """After the parser of -S has applied a preset, params.yaml holds its values and is otherwise unchanged."""
    preset, before = presets.load_preset(name), read()
    apply_overrides("params.yaml", preset.overrides())
    assert read() == merged(before, preset.values)
    assert preset.differences(read()) == []
    sections = {
        "cohort": cohort.Params, "select": select.Params, "register": register.Params, "pair": pair.Params,
        "normalize": normalize.Params, "evaluate": evaluate.Params, "report": report.Params,
    }  # fmt: skip
    for section, model in sections.items():
        load(model, section)
    for method in load(configure.Params).methods:
        load_configuration(method, load_method(method))


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_leaves_the_users_data_and_machine_alone(name: str) -> None:
    values = presets.load_preset(name, ROOT / "presets").values
    assert not {"source", "seed", "device", "compile", "executor", "scheduler"} & set(values)


@pytest.mark.parametrize("name", NAMES)
def test_every_value_has_its_place_or_is_called_ours(name: str) -> None:
    """A leaf's line ends in a comment; `methods` only says which methods run."""
    lines = (ROOT / f"presets/{name}.yaml").read_text().splitlines()
    assert all(line.startswith("# ") for line in lines[:2])
    bare = [line for line in lines if ":" in line and not line.startswith("#") and " # " not in line]
    assert [line for line in bare if not line.endswith(":") and not line.startswith("methods:")] == []


@pytest.mark.parametrize(
    ("value", "wanted"),
    [("", "''"), ("none", "'none'"), ("it's", r"'it\'s'"), (True, "true"), ([1, [2.0, "a"]], "[1,[2.0,'a']]"),
     ([], "[]"), (1e-07, "1e-07")],
)  # fmt: skip
def test_values_survive_dvcs_grammar(value: Any, wanted: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("a: {b: 0}\n")
    (override,) = presets.Preset("x", "", {"a": {"b": value}}).overrides()
    assert override == f"a.b={wanted}"
    apply_overrides(str(tmp_path / "params.yaml"), [override])
    assert read(tmp_path / "params.yaml") == {"a": {"b": value}}


def invoke(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main.app, ["preset", *arguments], env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_presets_are_listed_with_one_line_each(project: Path) -> None:
    code, output = invoke()
    assert code == 0
    assert len(output.splitlines()) == 1 + len(NAMES)
    assert "jeong2024" in output
    assert "scCycleGAN at the paper's size" in output


def test_show_prints_what_changes_and_runs_nothing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main.subprocess, "run", lambda *a, **k: pytest.fail("ran DVC"))
    code, output = invoke("jeong2024", "--show")
    rows = {line.split()[0]: line.split()[1:] for line in output.splitlines()[1:]}
    assert code == 0
    assert rows["epochs"] == [str(read()["epochs"]), "200"]
    assert rows["lambda_pix"] == [] if "lambda_pix" in rows else read()["lambda_pix"] == 100.0


def test_a_wrong_name_gives_the_nearest(project: Path) -> None:
    code, output = invoke("yong2018")
    assert code == 1
    assert "did you mean 'yang2018'" in output


def test_outside_the_project_the_command_says_where_to_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, output = invoke()
    assert code == 1
    assert "run from the project's root" in " ".join(output.split())
    with pytest.raises(ParamsError, match="no preset here"):
        presets.load_preset("jeong2024", tmp_path)


def test_one_command_is_one_dvc_experiment_and_the_users_values_win(project: Path) -> None:
    """Run a real `dvc exp run` with a stage that stores the parameters it reads."""
    stage = {"keep": {"cmd": "cp params.yaml kept.yaml", "deps": ["params.yaml"], "outs": ["kept.yaml"]}}
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": stage}))
    (project / ".gitignore").write_text("/mrct\n/presets\n")
    run = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (
        ["git", "init", "-q"],
        ["dvc", "init", "-q"],
        [*run, "add", "."],
        [*run, "commit", "-qm", "a"],
    ):
        subprocess.run(command, check=True, capture_output=True)
    code, output = invoke("zhu2017_cyclegan", "-S", "epochs=2", "-S", "learning_rate=1e-5")
    assert code == 0, output
    seen = read_yaml(project / "kept.yaml")
    assert (seen["epochs"], seen["lambda_idt"], seen["structure_loss"]) == (2, 5.0, "none")
    assert seen["learning_rate"] == 1e-5
    listed = subprocess.run(["dvc", "exp", "list", "--name-only"], check=True, capture_output=True, text=True)
    assert listed.stdout.split() == ["zhu2017_cyclegan"]
