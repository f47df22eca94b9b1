"""Same seed, same weights; killed and resumed, same weights; a NaN stops the run."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from mrct.methods.sc_cyclegan import DiscriminatorParams, GeneratorParams, Params, ScCycleGan
from mrct.params import load
from mrct.training import checkpoint
from mrct.training.dataset import Augmentation, open_normalized
from mrct.training.engine import NotFiniteLossError, Settings, _decay, choose_device, fit

SETTINGS = Settings(
    epochs=4,
    batch_size=3,
    lr_decay="linear",
    seed=5,
    device="cpu",
    precision="fp32",
    augmentation=Augmentation(rotation_deg=3.0, scale=0.02, shift_mm=2.0),
)


def build(**changes):
    tiny = {
        "learning_rate": 1e-3,
        "generator": GeneratorParams(filters=4, blocks=1, downsamplings=1),
        "discriminator": DiscriminatorParams(filters=4, norm="batch"),
    }
    return lambda: ScCycleGan(load(Params).model_copy(update=tiny | changes))


def weights_equal(a, b) -> bool:
    return all(torch.equal(a[d][n], b[d][n]) for d in a for n in a[d])


def test_two_runs_end_with_the_same_bytes_and_another_seed_does_not(normalized, tmp_path):
    data = open_normalized(normalized)
    first = fit(build(), data, SETTINGS, tmp_path / "a")
    second = fit(build(), data, SETTINGS, tmp_path / "b")
    other = fit(build(), data, SETTINGS.model_copy(update={"seed": 6}), tmp_path / "c")
    assert first.history == second.history
    assert (tmp_path / "a/checkpoint.safetensors").read_bytes() == (
        tmp_path / "b/checkpoint.safetensors"
    ).read_bytes()
    assert not weights_equal(first.best_weights, other.best_weights)


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the loop may catch it."""


@pytest.mark.parametrize("when", [1, 3])
def test_a_killed_run_resumes_to_the_same_weights(normalized, tmp_path, when):
    data = open_normalized(normalized)
    whole = fit(build(), data, SETTINGS, tmp_path / "whole")

    def kill(row):
        if row["epoch"] == when:
            raise Killed

    with pytest.raises(Killed):
        fit(build(), data, SETTINGS, tmp_path / "cut", on_epoch=kill)
    resumed = fit(build(), data, SETTINGS, tmp_path / "cut")
    assert resumed.history == whole.history
    assert resumed.best_epoch == whole.best_epoch
    assert weights_equal(resumed.best_weights, whole.best_weights)


def test_best_weights_are_those_of_the_lowest_validation_error(normalized, tmp_path):
    done = fit(build(), open_normalized(normalized), SETTINGS, tmp_path / "w")
    for direction in ("mr_to_ct", "ct_to_mr"):
        curve = [row[f"validation_{direction}"] for row in done.history]
        assert done.best_epoch[direction] == int(np.argmin(curve)) + 1
        assert done.best_value[direction] == min(curve)


def test_training_learns(normalized, tmp_path):
    settings = SETTINGS.model_copy(update={"epochs": 25, "lr_decay": "constant"})
    done = fit(
        build(lambda_cyc=0.0, structure_loss="none"), open_normalized(normalized), settings, tmp_path / "w"
    )
    assert done.best_value["mr_to_ct"] < 0.6 * done.history[0]["validation_mr_to_ct"]


class _Broken(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Conv2d(1, 1, 1)

    def optimizers(self):
        return {"generators": torch.optim.Adam(self.net.parameters())}

    def generators(self):
        return {"mr_to_ct": self.net}

    def train_step(self, mr, ct, optimizers, rng, epoch):
        return {"pix_ct": torch.tensor(float("nan")) if epoch == 1 else torch.tensor(0.5)}


def test_nan_stops_with_the_step_the_terms_and_the_slices(normalized, tmp_path):
    with pytest.raises(NotFiniteLossError, match=r"epoch 2, step 1: pix_ct nan; slices \[\('P0"):
        fit(_Broken, open_normalized(normalized), SETTINGS, tmp_path / "w")
    _, meta = checkpoint.load(tmp_path / "w/checkpoint.safetensors")
    assert len(meta["history"]) == 1  # the last good epoch is kept


def test_no_training_pair_is_a_clear_error(normalized, tmp_path):
    manifest = json.loads((normalized / "manifest.json").read_text())
    data = open_normalized(normalized)
    data.pairs["split"] = "test"
    with pytest.raises(ValueError, match="no train pair"):
        fit(build(), data, SETTINGS, tmp_path / "w")
    assert manifest["patients"]


def test_learning_rate_schedule():
    linear = SETTINGS.model_copy(update={"epochs": 10})
    assert [_decay(e, linear) for e in (0, 4, 5, 9)] == pytest.approx([1, 1, 1, 1 - 4 / 6])
    assert _decay(9, linear.model_copy(update={"lr_decay": "constant"})) == 1


def test_cuda_is_never_pretended():
    assert choose_device("cpu").type == "cpu"
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="finds none"):
            choose_device("cuda")
