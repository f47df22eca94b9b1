"""The trained methods: their sections of params.yaml, successive phases, and continuing after a kill."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers.configurations import tiny_configuration
from mrct.core.params import ParamsError
from mrct.imaging.brain import brain_mask
from mrct.inference.model import load_model
from mrct.methods.registry import METHODS, load_method
from mrct.tracking import Run
from mrct.training import engine
from mrct.training.configuration import Configuration
from mrct.training.dataset import open_normalized
from mrct.training.examples import FURTHER_IMAGES, brain_volumes
from mrct.training.run import TrainingPlan, train, train_phases


@pytest.fixture
def configuration_of(tmp_path, monkeypatch):
    """Make a function (name, shared keys, changes of its section) -> configuration, from params.yaml at a tiny size."""
    monkeypatch.setitem(FURTHER_IMAGES, "brain", head_as_brain)

    def of(name: str, shared: dict | None = None, **changes) -> Configuration:
        return tiny_configuration(tmp_path, name, shared, **changes)

    return of


def head_as_brain(data) -> dict[str, np.ndarray]:
    return {one.name: np.where(one.mask > 0, 1.0, -1.0).astype(np.float32) for one in data.split("train")}


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


@pytest.mark.parametrize("name", ["unet", "pix2pix"])
def test_a_trained_method_writes_what_sc_cyclegan_writes(normalized, tmp_path, configuration_of, name):
    out = tmp_path / "models" / name
    train(configuration_of(name, directions=["mr_to_ct", "ct_to_mr"]), normalized, out, tmp_path / "work")
    assert sorted(files_of(out)) == [
        "ct_to_mr.safetensors", "history.csv", "model.json", "mr_to_ct.safetensors"
    ]  # fmt: skip
    model = load_model(out / "mr_to_ct.safetensors")
    assert (model.method, model.direction) == (name, "mr_to_ct")
    assert model.translate(np.zeros((3, 32, 32), np.float32), 5.0).shape == (3, 32, 32)
    content = json.loads((out / "model.json").read_text())
    weights = sum(weight.numel() for weight in model.network.parameters())
    assert content["n_parameters"] == {"mr_to_ct": weights, "ct_to_mr": weights}
    history = pd.read_csv(out / "history.csv")
    for direction, epoch in content["best_epoch"].items():
        row = history[history["epoch"] == epoch].iloc[0]
        assert row[f"validation_{direction}"] == pytest.approx(content["best_validation"][direction])
    assert not any((tmp_path / "work").iterdir())


def test_only_the_directions_that_are_asked_for_are_written(normalized, tmp_path, configuration_of):
    train(configuration_of("unet"), normalized, tmp_path / "unet", tmp_path / "work")
    assert sorted(files_of(tmp_path / "unet")) == ["history.csv", "model.json", "mr_to_ct.safetensors"]
    with pytest.raises(ValueError, match="mr_to_ct"):
        load_model(tmp_path / "unet/ct_to_mr.safetensors")


def test_fine_tuning_is_a_second_phase_that_starts_from_the_best_of_the_first(
    normalized, tmp_path, configuration_of
):
    """The count of epochs continues, and the best epoch of the fine-tuning is written, not that of the training."""
    train(configuration_of("pix2pix"), normalized, tmp_path / "both", tmp_path / "work")
    history = pd.read_csv(tmp_path / "both/history.csv")
    assert history["epoch"].tolist() == [1, 2, 3, 4]
    assert history["phase"].tolist() == [1, 1, 2, 2]
    best = json.loads((tmp_path / "both/model.json").read_text())["best_epoch"]["mr_to_ct"]
    assert best == 3 + int(history["validation_mr_to_ct"][2:].argmin())
    train(configuration_of("pix2pix", fine_tune_epochs=0), normalized, tmp_path / "one", tmp_path / "work")
    alone = pd.read_csv(tmp_path / "one/history.csv")
    assert "phase" not in alone
    assert alone["validation_mr_to_ct"].tolist() == history["validation_mr_to_ct"][:2].tolist()


class Killed(BaseException):
    """A substitute for SIGKILL: nothing in the loop may catch it."""


def test_a_killed_run_goes_on_in_the_right_phase_to_the_same_bytes(
    normalized, tmp_path, configuration_of, monkeypatch
):
    """Killed after the 1st of four epochs (in training), the 2nd (between the phases) and the 3rd (in fine-tuning)."""
    plan, save, saved = configuration_of("pix2pix", ema_decay=0.9), engine._save, list[Path]()
    train(plan, normalized, tmp_path / "whole", tmp_path / "work")
    for when, phases in ((1, 1), (2, 1), (3, 2)):
        saved.clear()

        def watched(path, training, done, when=when):
            save(path, training, done)
            saved.append(path)
            if len(saved) == when:
                raise Killed

        monkeypatch.setattr(engine, "_save", watched)
        with pytest.raises(Killed):
            train(plan, normalized, tmp_path / "cut", tmp_path / "work")
        assert not (tmp_path / "cut").exists()
        assert len(list((tmp_path / "work").glob("*/*/checkpoint.safetensors"))) == phases
        train(plan, normalized, tmp_path / "cut", tmp_path / "work")
        assert len(saved) == 4  # no epoch was trained twice
        assert files_of(tmp_path / "cut") == files_of(tmp_path / "whole")
        shutil.rmtree(tmp_path / "cut")


@pytest.fixture(scope="module")
def unchanged() -> dict[str, list[float]]:
    return {}


@pytest.mark.parametrize(
    ("name", "change"),
    [("unet", {"epochs": 2}), ("unet", {"batch_size": 2}), ("unet", {"accumulate": 2}),
     ("unet", {"lr_decay": "constant"}), ("unet", {"ema_decay": 0.0}), ("pix2pix", {"pool_size": 0}),
     ("pix2pix", {"fine_tune_epochs": 1}), ("pix2pix", {"soft_tissue_weight": 9.0})],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)  # fmt: skip
def test_the_loops_keys_of_a_section_change_what_is_trained(
    normalized, tmp_path, configuration_of, unchanged, name, change
):
    """By the validation errors of the epochs, which follow from the weights alone."""
    data = open_normalized(normalized)

    def errors(folder: str, **changes) -> list[float]:
        plan = configuration_of(name, **({"epochs": 3, "lr_decay": "linear"} | changes))
        done = train_phases(TrainingPlan(plan), data, tmp_path / folder, lambda epoch: None)
        return [row["validation_mr_to_ct"] for row in done.history]

    if name not in unchanged:  # trained once: `normalized` is the same in every test
        unchanged[name] = errors("unchanged")
    assert errors("changed", **change) != unchanged[name]


def test_the_same_section_trains_the_same(normalized, tmp_path, configuration_of):
    """Otherwise the test above could not fail."""
    data = open_normalized(normalized)
    runs = [
        train_phases(TrainingPlan(configuration_of("pix2pix")), data, tmp_path / name, lambda epoch: None)
        for name in "ab"
    ]
    assert runs[0].history == runs[1].history


@pytest.mark.parametrize("shared", [{"seed": 5}, {"precision": "bf16"}], ids=["seed", "precision"])
def test_shared_keys_belong_to_the_fingerprint_and_what_only_shows_does_not(configuration_of, shared):
    assert configuration_of("unet").provenance != configuration_of("unet", shared).provenance
    assert configuration_of("unet").provenance == configuration_of("unet", {"example_every": 3}).provenance
    assert (
        configuration_of("unet").provenance
        == configuration_of("unet", {"lambda_pix": 50.0, "epochs": 3}).provenance
    )


def test_mlflow_has_one_run_a_method_with_the_same_names(normalized, tmp_path, configuration_of):
    runs = {}
    for name in ("unet", "pix2pix"):
        train(configuration_of(name, {"example_every": 1}), normalized, tmp_path / name, tmp_path / "work")
        run = Run(json.loads((tmp_path / name / "model.json").read_text())["fingerprint"], "x")
        runs[name] = run.client.get_run(run.run_id)
    for name, run in runs.items():
        assert run.info.run_name == run.data.tags["method"] == name
        assert {"validation_mr_to_ct", "mae_ct", "images_per_second", "epoch"} <= set(run.data.metrics)
        assert {"learning_rate", "epochs", "batch_size", "seed", "augmentation.flip"} <= set(run.data.params)
    assert runs["unet"].info.run_id != runs["pix2pix"].info.run_id


def test_an_image_size_that_does_not_fit_is_an_error(normalized, tmp_path, configuration_of):
    manifest = json.loads((normalized / "manifest.json").read_text())
    for patient in manifest["patients"]:
        for part in ("mr", "ct", "ct_hu", "mask"):
            file = normalized / patient / f"{part}.npy"
            np.save(file, np.load(file)[:, :24])
    with pytest.raises(ValueError, match="divisible by 32; change image_size"):
        train(configuration_of("unet"), normalized, tmp_path / "out", tmp_path / "work")


@pytest.mark.parametrize(
    ("change", "message"),
    [({"epoch": 3}, "unet: unknown key 'epoch'; did you mean 'epochs'"),
     ({"pool_size": 5}, "unet: unknown key 'pool_size'"),
     ({"filters": 0}, "filters"),
     ({"directions": ["pet_to_ct"]}, "directions")],
    ids=["mistyped", "no-discriminator-no-pool", "filters", "directions"],
)  # fmt: skip
def test_a_wrong_key_or_value_is_an_error_that_names_it(configuration_of, change, message):
    with pytest.raises(ParamsError, match=message):
        configuration_of("unet", **change)


@pytest.mark.parametrize("name", ["registry", "mean_cf", "../x"])
def test_what_is_no_method_is_an_error(name):
    with pytest.raises(ParamsError, match="methods: no method"):
        load_method(name)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_lies_in_the_module_of_its_name(name):
    """dvc.yaml names this file as the code on which the training depends."""
    assert load_method(name).__module__ == f"mrct.methods.{name}"


def test_the_brain_volumes_are_the_masks_on_the_patients_grid(normalized):
    """There is one per training patient: 1 inside, -1 outside; slices 5 mm apart, pixels of 2 mm."""
    data = open_normalized(normalized)
    volumes = brain_volumes(data)
    assert set(volumes) == {patient.name for patient in data.split("train")}
    for name, volume in volumes.items():
        patient = data.patients[name]
        inside = brain_mask(patient.ct_hu, patient.mask > 0, (5.0, 2.0, 2.0))
        assert np.array_equal(volume, np.where(inside, 1.0, -1.0))
        assert volume.dtype == np.float32
