"""Same seed, same weights; killed and resumed, same weights; a NaN stops the run."""

import errno

import numpy as np
import pytest
import torch
from safetensors.torch import save as safetensors_bytes
from torch import nn

from mrct.core.params import load
from mrct.methods.sc_cyclegan import DiscriminatorParams, GeneratorParams, ScCycleGan, ScCycleGanParams
from mrct.training import checkpoint
from mrct.training.dataset import open_normalized
from mrct.training.engine import CHECKPOINT, choose_device, decay, fit
from mrct.training.examples import SlicePairs
from mrct.training.settings import Augmentation, Settings
from mrct.training.step import NotFiniteLossError

SETTINGS = Settings(
    epochs=4,
    batch_size=3,
    accumulate=1,
    lr_decay="linear",
    pool_size=2,
    ema_decay=0.0,
    max_gradient_norm=0.0,
    compile=False,
    seed=5,
    device="cpu",
    precision="fp32",
    augmentation=Augmentation(
        rotation_deg=3.0, scale=0.02, shift_mm=2.0, flip=False, mr_gamma=0.2, mr_bias=0.2
    ),
)

STILL = Augmentation(rotation_deg=0.0, scale=0.0, shift_mm=0.0, flip=False, mr_gamma=0.0, mr_bias=0.0)


def build(**changes):
    tiny = {
        "learning_rate": 1e-3,
        "generator": GeneratorParams(filters=4, blocks=1, downsamplings=1, upsampling="resize"),
        "discriminator": DiscriminatorParams(filters=4, norm="batch"),
    }
    return lambda: ScCycleGan(load(ScCycleGanParams).model_copy(update=tiny | changes))


def pairs_of(folder) -> SlicePairs:
    return SlicePairs(open_normalized(folder), SETTINGS.augmentation)


def weights_equal(a, b) -> bool:
    return all(torch.equal(a[d][n], b[d][n]) for d in a for n in a[d])


def test_two_runs_end_with_the_same_bytes_and_another_seed_does_not(normalized, tmp_path):
    data = pairs_of(normalized)
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


EVERYTHING = SETTINGS.model_copy(update={"pool_size": 3, "ema_decay": 0.9, "accumulate": 2})


@pytest.mark.parametrize(
    ("when", "settings"), [(1, SETTINGS), (3, SETTINGS), (2, EVERYTHING)], ids=["1", "3", "2-everything"]
)
def test_a_killed_run_resumes_to_the_same_weights(normalized, tmp_path, when, settings):
    data = pairs_of(normalized)
    whole = fit(build(), data, settings, tmp_path / "whole")

    def kill(epoch):
        if epoch.row["epoch"] == when:
            raise Killed

    with pytest.raises(Killed):
        fit(build(), data, settings, tmp_path / "cut", on_epoch=kill)
    resumed = fit(build(), data, settings, tmp_path / "cut")
    assert resumed.history == whole.history
    assert resumed.best_epoch == whole.best_epoch
    assert weights_equal(resumed.best_weights, whole.best_weights)
    assert (tmp_path / "cut" / CHECKPOINT).read_bytes() == (tmp_path / "whole" / CHECKPOINT).read_bytes()


def test_a_full_disk_stops_the_run_and_the_next_one_goes_on(normalized, tmp_path, monkeypatch):
    data, written = pairs_of(normalized), []
    whole = fit(build(), data, SETTINGS, tmp_path / "whole")

    def full_at_the_third(tensors, metadata):
        written.append(metadata)
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return safetensors_bytes(tensors, metadata)

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "safetensors_bytes", full_at_the_third)
        with pytest.raises(OSError, match="the epoch before is kept"):
            fit(build(), data, SETTINGS, tmp_path / "cut")
    _, meta = checkpoint.load(tmp_path / "cut" / CHECKPOINT)
    assert len(meta["history"]) == 2
    assert weights_equal(fit(build(), data, SETTINGS, tmp_path / "cut").best_weights, whole.best_weights)


def test_accumulated_batches_are_one_batch(normalized, tmp_path):
    """8 pairs as 4 + 4 or as 3 + 3 + 2 against all at once: with instance norm and no pool the same gradients."""
    data = SlicePairs(open_normalized(normalized), STILL)
    discriminator = DiscriminatorParams(filters=4, norm="instance")
    finals = []
    for batch_size, accumulate in ((8, 1), (4, 2), (3, 3)):
        update = {"batch_size": batch_size, "accumulate": accumulate, "pool_size": 0, "epochs": 2}
        settings = SETTINGS.model_copy(update=update)
        work = tmp_path / str(batch_size)
        # the queries of the structure loss are drawn anew for each batch
        fit(build(discriminator=discriminator, structure_loss="none"), data, settings, work)
        finals.append(checkpoint.load(work / CHECKPOINT)[0])
    first = {name: value for name, value in finals[0].items() if name.startswith("networks/")}
    for name, value in first.items():
        for other in finals[1:]:  # a gradient of pure rounding error causes a whole step of Adam
            assert (value - other[name]).norm() <= 1e-3 * value.norm() + 1e-6, name


def test_each_epoch_is_told_with_its_networks_and_speed(normalized, tmp_path):
    seen = []
    settings = SETTINGS.model_copy(update={"epochs": 2, "ema_decay": 0.5})
    done = fit(build(), pairs_of(normalized), settings, tmp_path / "w", on_epoch=seen.append)
    assert [epoch.row for epoch in seen] == done.history
    assert all(epoch.images_per_second > 0 for epoch in seen)
    assert set(seen[0].networks) == {"mr_to_ct", "ct_to_mr"}


def test_best_weights_are_those_of_the_lowest_validation_error(normalized, tmp_path):
    done = fit(build(), pairs_of(normalized), SETTINGS, tmp_path / "w")
    for direction in ("mr_to_ct", "ct_to_mr"):
        curve = [row[f"validation_{direction}"] for row in done.history]
        assert done.best_epoch[direction] == int(np.argmin(curve)) + 1
        assert done.best_value[direction] == min(curve)


def test_training_learns(normalized, tmp_path):
    settings = SETTINGS.model_copy(update={"epochs": 25, "lr_decay": "constant"})
    done = fit(build(lambda_cyc=0.0, structure_loss="none"), pairs_of(normalized), settings, tmp_path / "w")
    assert done.best_value["mr_to_ct"] < 0.6 * done.history[0]["validation_mr_to_ct"]


class _Broken(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Conv2d(1, 1, 1)

    def optimizers(self):
        return {"generators": torch.optim.Adam(self.net.parameters())}

    def generators(self):
        return {"mr_to_ct": self.net}

    def losses(self, batch, rng, epoch, pooled):
        loss = self.net(batch.mr).mean() * (float("nan") if epoch == 1 else 0.5)
        yield loss, {"pix_ct": loss}


def test_nan_stops_with_the_step_the_terms_and_the_slices(normalized, tmp_path):
    with pytest.raises(NotFiniteLossError, match=r"epoch 2, step 1: pix_ct nan; examples \[\('P0"):
        fit(_Broken, pairs_of(normalized), SETTINGS, tmp_path / "w")
    _, meta = checkpoint.load(tmp_path / "w/checkpoint.safetensors")
    assert len(meta["history"]) == 1  # the last good epoch is kept


class _Dropping(_Broken):
    """Method with a layer that draws its own random numbers, only in the loss."""

    def losses(self, batch, rng, epoch, pooled):
        loss = (nn.functional.dropout(self.net(batch.mr)) - batch.ct).abs().mean()
        yield loss, {"pix_ct": loss}


def test_layers_that_draw_for_themselves_resume_too(normalized, tmp_path):
    """Dropout uses torch's own generator, which a resumed process starts in another state."""
    data = pairs_of(normalized)
    whole = fit(_Dropping, data, SETTINGS, tmp_path / "whole")

    def kill(epoch):
        torch.rand(17)
        if epoch.row["epoch"] == 2:
            raise Killed

    with pytest.raises(Killed):
        fit(_Dropping, data, SETTINGS, tmp_path / "cut", on_epoch=kill)
    assert fit(_Dropping, data, SETTINGS, tmp_path / "cut").history == whole.history
    terms = [row["pix_ct"] for row in whole.history]
    assert len(set(terms)) == len(terms)


def test_epochs_are_counted_on_and_labeled(normalized, tmp_path):
    settings = SETTINGS.model_copy(update={"epochs": 2})
    data = pairs_of(normalized)
    done = fit(build(), data, settings, tmp_path / "w", epochs_before=5, labels={"phase": 2})
    assert [(row["epoch"], row["phase"]) for row in done.history] == [(6, 2), (7, 2)]
    assert set(done.best_epoch.values()) <= {6, 7}


class _Sparing(SlicePairs):
    """Pairs that are validated only in the second and the last epoch."""

    def validation(self, networks, epoch, device):
        return super().validation(networks, epoch, device) if epoch in (1, 3) else {}


def test_an_epoch_that_is_not_validated_cannot_be_the_best(normalized, tmp_path):
    data = _Sparing(open_normalized(normalized), SETTINGS.augmentation)
    done = fit(build(), data, SETTINGS, tmp_path / "w")
    assert set(done.best_epoch.values()) <= {2, 4}
    assert ["validation_mr_to_ct" in row for row in done.history] == [False, True, False, True]


def test_the_last_weights_are_all_of_the_method(normalized, tmp_path):
    done = fit(build(), pairs_of(normalized), SETTINGS, tmp_path / "w")
    state, _ = checkpoint.load(tmp_path / "w" / CHECKPOINT)
    saved = checkpoint.under(state, "networks/")
    assert saved.keys() == done.last_weights.keys()
    assert all(torch.equal(saved[name], value) for name, value in done.last_weights.items())


def test_learning_rate_schedule():
    linear = SETTINGS.model_copy(update={"epochs": 10})
    assert [decay(e, linear) for e in (0, 4, 5, 9)] == pytest.approx([1, 1, 1, 1 - 4 / 6])
    assert decay(9, linear.model_copy(update={"lr_decay": "constant"})) == 1


def test_cuda_is_never_pretended():
    assert choose_device("cpu").type == "cpu"
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="finds none"):
            choose_device("cuda")
