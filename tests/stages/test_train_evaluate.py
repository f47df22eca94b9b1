"""train and evaluate end to end on a tiny data/normalized."""

import json
import os
import random
import signal
import stat
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from skimage.metrics import peak_signal_noise_ratio

from helpers.configurations import tiny_configuration, write_params
from mrct.core.params import ParamsError
from mrct.inference.model import load_model
from mrct.methods.registry import load_method
from mrct.metrics.checks import ImplausibleMetricsError
from mrct.tracking import Run, TrackingError, record
from mrct.training import checkpoint, engine, run
from mrct.training.configuration import Configuration, load_configuration
from mrct.training.run import train
from stages import evaluate

EVALUATE = evaluate.Params(
    bootstrap_samples=100, seed=0, bone_hu=(150.0, 300.0), windows_8bit_hu={"full": (-1024.0, 3000.0)}
)


@pytest.fixture
def configuration_of(tmp_path):
    """Make a function (name, shared keys, changes of own keys) -> configuration, from params.yaml at a tiny size."""

    def of(name: str, shared: dict | None = None, **changes) -> Configuration:
        return tiny_configuration(tmp_path, name, shared, **changes)

    return of


@pytest.fixture
def sc_cyclegan(configuration_of) -> Configuration:
    return configuration_of("sc_cyclegan")


def test_train_writes_models_that_stand_alone_and_the_same_bytes_twice(normalized, tmp_path, sc_cyclegan):
    for name in ("a", "b"):
        train(sc_cyclegan, normalized, tmp_path / name / "sc_cyclegan", tmp_path / "work")
    files = sorted(p.name for p in (tmp_path / "a/sc_cyclegan").iterdir())
    assert files == ["ct_to_mr.safetensors", "history.csv", "model.json", "mr_to_ct.safetensors"]
    for file in files:
        assert (tmp_path / "a/sc_cyclegan" / file).read_bytes() == (
            tmp_path / "b/sc_cyclegan" / file
        ).read_bytes()
    assert not any((tmp_path / "work").iterdir())
    model = load_model(tmp_path / "a/sc_cyclegan/mr_to_ct.safetensors")
    assert model.normalization.hu_window == (-1024.0, 3000.0)
    assert model.translate(np.zeros((3, 32, 32), np.float32), 5.0).shape == (3, 32, 32)


KILLED = """
import os, signal, sys
from pathlib import Path
from mrct.methods.registry import load_method
from mrct.training import step
from mrct.training.configuration import load_configuration
from mrct.training.run import train
params, folders, where, count = sys.argv[1], sys.argv[2:5], sys.argv[5], int(sys.argv[6])
seen = 0
def die_at(function):
    def wrapped(*arguments):
        global seen
        if where == "update" or "checkpoint" in arguments[0].name:
            seen += 1
        if seen == count:
            if where == "save":
                arguments[0].open("wb").write(arguments[1][: len(arguments[1]) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments)
    return wrapped
module, name = (Path, "write_bytes") if where == "save" else (step, "_update")
setattr(module, name, die_at(getattr(module, name)))
configuration = load_configuration("sc_cyclegan", load_method("sc_cyclegan"), Path(params))
train(configuration, *map(Path, folders))
"""


def test_a_killed_process_goes_on_to_the_same_bytes(normalized, tmp_path):
    """A process that is killed twice gives the same result as an uninterrupted one.

    The first SIGKILL comes before a random update of the weights, the second while the second checkpoint after it is
    written. No output looks complete after either. The training uses image pool, moving average and accumulation.

    The test is slow because its processes import torch.
    """
    everything = {"epochs": 5, "batch_size": 2, "accumulate": 2, "pool_size": 3, "ema_decay": 0.9}
    file = write_params(tmp_path / "params.yaml", "sc_cyclegan", **everything)
    params = load_configuration("sc_cyclegan", load_method("sc_cyclegan"), file)
    folders = [str(normalized), str(tmp_path / "cut"), str(tmp_path / "work")]
    update = random.SystemRandom().randint(1, 6)
    print(f"killed at update {update}")  # pytest shows it if the test fails
    finished = (update - 1) // 2  # an epoch has two updates
    for where, count, left in (("update", update, finished), ("save", 2, finished + 1)):
        command = [sys.executable, "-c", KILLED, str(file), *folders, where, str(count)]
        assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
        assert not (tmp_path / "cut").exists()
        files = list((tmp_path / "work").glob("*/*/checkpoint.safetensors"))
        assert [len(checkpoint.load(file)[1]["history"]) for file in files] == ([left] if left else [])
    train(params, normalized, tmp_path / "cut", tmp_path / "work")
    train(params, normalized, tmp_path / "whole", tmp_path / "other")
    for file in (tmp_path / "whole").iterdir():
        assert file.read_bytes() == (tmp_path / "cut" / file.name).read_bytes(), file.name


@pytest.mark.parametrize("changed", [False, True], ids=["same-code", "other-code"])
def test_a_stopped_run_goes_on_with_the_same_code_only(
    normalized, tmp_path, sc_cyclegan, monkeypatch, changed
):
    epochs, train_epoch = [], engine.train_epoch

    def stopped_once(training, examples, epoch, advance):
        epochs.append(epoch)
        if len(epochs) == 2:
            raise KeyboardInterrupt
        return train_epoch(training, examples, epoch, advance)

    monkeypatch.setattr(engine, "train_epoch", stopped_once)
    with pytest.raises(KeyboardInterrupt):
        train(sc_cyclegan, normalized, tmp_path / "out", tmp_path / "work")
    if changed:
        monkeypatch.setattr(run, "code_fingerprint", lambda stage, method: "other")
    train(sc_cyclegan, normalized, tmp_path / "out", tmp_path / "work")
    assert epochs == [0, 1, 0, 1] if changed else epochs == [0, 1, 1]
    assert not any((tmp_path / "work").iterdir())


def test_a_second_training_of_the_same_at_the_same_time_is_refused(
    normalized, tmp_path, sc_cyclegan, monkeypatch
):
    train_epoch, second = engine.train_epoch, []

    def tried_again(*arguments):
        if not second:
            second.append("tried")
            with pytest.raises(RuntimeError, match="another run is at work"):
                train(sc_cyclegan, normalized, tmp_path / "second", tmp_path / "work")
        return train_epoch(*arguments)

    monkeypatch.setattr(engine, "train_epoch", tried_again)
    train(sc_cyclegan, normalized, tmp_path / "first", tmp_path / "work")
    assert second == ["tried"]
    assert (tmp_path / "first/model.json").is_file()
    assert not (tmp_path / "second").exists()


def test_others_of_the_group_may_read_what_the_umask_lets_them(normalized, tmp_path, sc_cyclegan):
    """safetensors creates files that only their owner can read; their bytes stay the same."""
    before = os.umask(0o027)
    try:
        train(sc_cyclegan, normalized, tmp_path / "out", tmp_path / "work")
    finally:
        os.umask(before)
    files = sorted((tmp_path / "out").iterdir())
    assert {file.name: stat.filemode(file.stat().st_mode) for file in files} == {
        file.name: "-rw-r-----" for file in files
    }
    with safe_open(tmp_path / "out/mr_to_ct.safetensors", framework="pt") as stream:
        tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        save_file(tensors, tmp_path / "again", metadata=stream.metadata())
    assert (tmp_path / "again").read_bytes() == (tmp_path / "out/mr_to_ct.safetensors").read_bytes()


def test_mlflow_is_told_how_a_run_goes_and_equal_runs_are_one(normalized, tmp_path, configuration_of):
    watched = configuration_of("sc_cyclegan", {"seed": 77})  # equal to no other run of the tests
    for name in ("a", "b"):
        train(watched, normalized, tmp_path / name, tmp_path / "work", example_every=1)
    content = json.loads((tmp_path / "a/model.json").read_text())
    run = Run(content["fingerprint"], "x")
    data = run.client.get_run(run.run_id).data
    told = {
        "images_per_second",
        "system/cpu_percent",
        "system/memory_gb",
        "validation_mr_to_ct",
        "discriminator_ct",
    }
    assert told <= set(data.metrics)
    for metric in told:
        assert [entry.step for entry in run.client.get_metric_history(run.run_id, metric)] == [1, 2], metric
    assert data.tags["data.sha256"] == content["data_sha256"]
    assert len(data.tags["mlflow.source.git.commit"]) == 40
    assert data.tags["git.changed"] in ("true", "false")
    images = [file.path for file in run.client.list_artifacts(run.run_id, "images")]
    assert len([path for path in images if path.endswith(".png")]) == 2
    assert "example_every" not in data.params


def test_a_training_is_whole_without_mlflow_and_its_run_is_added_later(
    normalized, tmp_path, configuration_of, monkeypatch, capsys
):
    configuration = configuration_of("sc_cyclegan", {"seed": 78})  # equal to no other run of the tests
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}")  # a folder
        train(configuration, normalized, tmp_path / "a", tmp_path / "work")
    assert capsys.readouterr().err.count("warning: MLflow at ") == 1
    with monkeypatch.context() as patch:
        patch.setattr(Run, "metrics", _fail_at_the_second_epoch)
        train(configuration, normalized, tmp_path / "b", tmp_path / "work")
    assert capsys.readouterr().err.count("warning: ") == 1
    for name in ("mr_to_ct.safetensors", "ct_to_mr.safetensors", "model.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    run = Run(json.loads((tmp_path / "b/model.json").read_text())["fingerprint"], "x")
    assert run.logged_steps("epoch") == set()
    record(tmp_path / "b", tmp_path / "none", [])
    assert run.logged_steps("epoch") == set(pd.read_csv(tmp_path / "b/history.csv")["epoch"])


def _fail_at_the_second_epoch(run, values, step=0):
    if step > 1:
        raise TrackingError("the server was switched off")


def test_a_changed_weight_trains_another_model_under_another_fingerprint(
    normalized, tmp_path, configuration_of
):
    prints = []
    for name, weight in (("a", 100.0), ("b", 50.0)):
        params = configuration_of("sc_cyclegan", lambda_pix=weight)
        train(params, normalized, tmp_path / name, tmp_path / "work")
        prints.append(json.loads((tmp_path / name / "model.json").read_text())["fingerprint"])
    assert prints[0] != prints[1]
    runs = [Run(key, "x").client.get_run(Run(key, "x").run_id).data for key in prints]
    assert [run.params["lambda_pix"] for run in runs] == ["100.0", "50.0"]
    assert all("validation_mr_to_ct" in run.metrics for run in runs)


def test_evaluate_agrees_with_scikit_image(normalized, tmp_path, configuration_of):
    train(configuration_of("mean_ct"), normalized, tmp_path / "models", tmp_path / "work")
    summary = evaluate.run(EVALUATE, normalized, tmp_path / "models", tmp_path / "metrics")
    slices = pd.read_csv(tmp_path / "metrics/slices.csv")
    assert len(slices) == 12  # the paired slices of the test patients and no others
    row = slices.iloc[3]
    real = np.load(normalized / row["patient"] / "ct_hu.npy")[row["k"]]
    mask = np.load(normalized / row["patient"] / "mask.npy")[row["k"]] > 0
    predicted = np.load(tmp_path / f"metrics/predictions/{row['patient']}_mr_to_ct.npy")[row["k"]]
    assert row["mae_hu"] == pytest.approx(np.abs(predicted - real)[mask].mean())
    assert row["psnr_db"] == pytest.approx(
        peak_signal_noise_ratio(real[mask].astype(float), predicted[mask].astype(float), data_range=4024)
    )
    patients = pd.read_csv(tmp_path / "metrics/patients.csv")
    assert summary["n_patients"] == 5
    assert summary["mr_to_ct"]["mae_hu"]["mean"] == pytest.approx(patients["mae_hu"].mean())
    assert summary["mr_to_ct"]["mae_hu"]["low"] < summary["mr_to_ct"]["mae_hu"]["mean"]
    assert "ct_to_mr" not in summary


def test_both_directions_and_a_perfect_map(normalized, tmp_path, configuration_of):
    """CT is a function of MR in the fixture, so that the intensity map is nearly perfect in one direction."""
    train(configuration_of("intensity_map"), normalized, tmp_path / "models", tmp_path / "work")
    summary = evaluate.run(EVALUATE, normalized, tmp_path / "models", tmp_path / "metrics")
    assert summary["mr_to_ct"]["mae_hu"]["mean"] < 5
    assert summary["mr_to_ct"]["iou_head"]["mean"] > 0.95
    assert 0 < summary["ct_to_mr"]["ssim_8bit"]["mean"] < 1


def test_a_broken_number_fails_the_stage(normalized, tmp_path, monkeypatch, configuration_of):
    train(configuration_of("mean_ct"), normalized, tmp_path / "models", tmp_path / "work")
    monkeypatch.setattr("mrct.metrics.hu.peak_signal_to_noise_db", lambda *_: 99.0)
    with pytest.raises(ImplausibleMetricsError, match="psnr_bound_db"):
        evaluate.run(EVALUATE, normalized, tmp_path / "models", tmp_path / "metrics")
    assert not (tmp_path / "metrics").exists()


def test_a_patient_of_two_splits_fails_the_stage(normalized, tmp_path, configuration_of):
    train(configuration_of("mean_ct"), normalized, tmp_path / "models", tmp_path / "work")
    pairs = pd.read_csv(normalized / "pairs.csv", dtype=str)
    pairs.loc[pairs["split"] == "test", "split"] = ["train", *["test"] * 11]  # one slice of a test patient
    pairs.to_csv(normalized / "pairs.csv", index=False)
    with pytest.raises(ImplausibleMetricsError, match="both"):
        evaluate.run(EVALUATE, normalized, tmp_path / "models", tmp_path / "metrics")


def test_unknown_method_is_named():
    with pytest.raises(ParamsError, match="no method 'mean_cf'; did you mean 'mean_ct'"):
        load_method("mean_cf")


def test_model_file_that_is_none(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"not a model")
    with pytest.raises(ValueError, match=r"x\.safetensors"):
        load_model(tmp_path / "x.safetensors")
    torch.save({}, tmp_path / "pickle.safetensors")
    with pytest.raises(ValueError, match="no model"):
        load_model(tmp_path / "pickle.safetensors")
