"""Iterations as phases, which weights each of them trains, resuming in any of them, and one model file in the end."""

import numpy as np
import pytest
import torch

from mrct.core.params import ParamsError, parse
from mrct.inference.model import load_model
from mrct.methods.context_gan3d import ContextGan, ContextGanParams
from mrct.networks.sliding_window import Window
from mrct.training.configuration import Configuration
from mrct.training.dataset import open_normalized
from mrct.training.method import Batch, Trained
from mrct.training.run import TrainingPlan, train_phases, write_trained
from mrct.training.settings import Augmentation, Settings

TINY = {
    "directions": ["mr_to_ct"],
    "patches_per_volume": 2,
    "resample_slices_mm": 0.33,  # two slices of 5 mm become the 16 of a patch
    "overlap": 0.0,
    "validate_every": 1,
    "learning_rate": 1e-2,
    "adam_betas": [0.5, 0.999],
    "iterations": 2,
    "start": "before",
    "filters": 1,
    "lambda_mae": 1.0,
    "lambda_gdl": 1.0,
    "lambda_adv": 0.01,
}
SETTINGS = Settings(
    epochs=2,
    batch_size=3,
    accumulate=1,
    lr_decay="constant",
    pool_size=2,
    ema_decay=0.0,
    max_gradient_norm=1.0,
    compile=False,
    seed=5,
    device="cpu",
    precision="fp32",
    augmentation=Augmentation(
        rotation_deg=3.0, scale=0.02, shift_mm=0.0, flip=False, mr_gamma=0.0, mr_bias=0.0
    ),
)


def params(**changes) -> ContextGanParams:
    return parse(ContextGanParams, TINY | changes, "context_gan3d")


def batch(context: bool) -> Batch:
    rng = torch.Generator().manual_seed(1)
    mr, other = (torch.rand(2, 1, 32, 32, 32, generator=rng) * 2 - 1 for _ in range(2))
    return Batch(mr, mr[..., 8:24, 8:24, 8:24].square(), {"context": other} if context else {})


def trained_from(method) -> Trained:
    return Trained({"mr_to_ct": {k: v.clone() for k, v in method.mr_to_ct.state_dict().items()}}, {})


def step(method, batch) -> dict[str, torch.Tensor]:
    terms: dict[str, torch.Tensor] = {}
    for loss, parts in method.losses(batch, torch.Generator(), 0, lambda name, images: images):
        loss.backward()
        terms |= parts
    return terms


def test_the_papers_three_iterations():
    three = params(iterations=3, filters=32)
    assert [(p.name, p.others) for p in ContextGan.phases(three)] == [
        ("iteration_1", ()), ("iteration_2", ("context",)), ("iteration_3", ("context",)),
    ]  # fmt: skip
    network = ContextGan.build_network(ContextGan.network_config(three))
    assert [generator.layers[0].in_channels for generator in network.generators] == [1, 2, 2]
    assert three.window == Window(32, 16, 0.0)


def test_a_later_iteration_trains_its_own_generator_alone():
    one = ContextGan.build(params(), "iteration_1", {})
    before = {"iteration_1": trained_from(one)}
    two = ContextGan.build(params(), "iteration_2", before)
    first = one.mr_to_ct.state_dict()
    assert all(torch.equal(two.mr_to_ct.state_dict()[name], weight) for name, weight in first.items())
    terms = step(two, batch(context=True))
    assert set(terms) == {"mae_ct", "gdl_ct", "adv_ct", "discriminator_ct"}
    trained = {id(w) for o in two.optimizers().values() for g in o.param_groups for w in g["params"]}
    for name, weight in two.named_parameters():
        own = not name.startswith("mr_to_ct.generators.0.")
        assert (id(weight) in trained) == own, name
        assert (weight.grad is not None) == own, name
    seen = ContextGan.network_before(params(), "iteration_2", before)
    assert all(torch.equal(seen.state_dict()[name], weight) for name, weight in first.items())


def test_a_later_iteration_goes_on_where_the_one_before_ended_or_starts_anew():
    chain = ContextGan.build(
        params(iterations=3),
        "iteration_2",
        {"iteration_1": trained_from(ContextGan.build(params(), "iteration_1", {}))},
    )
    with torch.no_grad():  # the second generator has learned to use its context
        chain.mr_to_ct.generators[1].layers[0].weight += 0.1
    mr, context = batch(context=True).mr, batch(context=True).other["context"]
    both = torch.cat([mr, context], 1)
    for iterations, known in ((2, ContextGan.build(params(), "iteration_1", {})), (3, chain)):
        before = {f"iteration_{iterations - 1}": trained_from(known)}
        later = ContextGan.build(params(iterations=3), f"iteration_{iterations}", before)
        seen = both if iterations == 3 else mr
        assert torch.allclose(later.mr_to_ct(both), known.mr_to_ct(seen), atol=1e-6)
        fresh = ContextGan.build(params(iterations=3, start="fresh"), f"iteration_{iterations}", before)
        assert not torch.allclose(fresh.mr_to_ct(both), known.mr_to_ct(seen), atol=1e-3)


@pytest.mark.parametrize(
    ("change", "gone"),
    [({"lambda_gdl": 0.0}, {"gdl_ct"}), ({"lambda_adv": 0.0}, {"adv_ct", "discriminator_ct"})],
    ids=["gdl", "adv"],
)
def test_a_weight_of_zero_switches_its_term_off(change, gone):
    terms = step(ContextGan.build(params(**change), "iteration_1", {}), batch(context=False))
    assert set(terms) == {"mae_ct", "gdl_ct", "adv_ct", "discriminator_ct"} - gone


def test_losses_are_those_of_images_from_zero_to_one():
    torch.manual_seed(0)
    method, images = ContextGan.build(params(), "iteration_1", {}), batch(context=False)
    terms = step(method, images)
    with torch.no_grad():
        difference = ((method.mr_to_ct(images.mr) - images.ct) / 2).double()
    assert float(terms["mae_ct"]) == pytest.approx(float(difference.abs().mean()), rel=1e-5)
    # a forward difference that is zero at the last of 16 voxels
    slopes = [float(difference.diff(dim=axis).square().mean()) * 15 / 16 for axis in (2, 3, 4)]
    assert float(terms["gdl_ct"]) == pytest.approx(np.mean(slopes), rel=1e-5)


class Killed(BaseException):
    """Stands for SIGKILL."""


def plan() -> TrainingPlan:
    return TrainingPlan(Configuration("context_gan3d", ContextGan, params(), SETTINGS, {}))


def test_killed_in_the_second_iteration_it_ends_with_the_same_weights(normalized, tmp_path):
    data = open_normalized(normalized)
    whole = train_phases(plan(), data, tmp_path / "whole", lambda epoch: None)

    def kill(epoch):
        if epoch.row["epoch"] == 3:
            raise Killed

    with pytest.raises(Killed):
        train_phases(plan(), data, tmp_path / "cut", kill)
    resumed = train_phases(plan(), data, tmp_path / "cut", lambda epoch: None)
    assert resumed.history == whole.history
    assert [(row["epoch"], row["phase"]) for row in whole.history] == [(1, 1), (2, 1), (3, 2), (4, 2)]
    best = whole.best_weights["mr_to_ct"]
    assert all(torch.equal(resumed.best_weights["mr_to_ct"][name], weight) for name, weight in best.items())

    write_trained(tmp_path / "model", plan(), data, whole, {})
    model = load_model(tmp_path / "model" / "mr_to_ct.safetensors")
    errors = []
    # the file alone runs both iterations, as the kept predictions did
    for patient in data.split("validation"):
        synthetic = model.translate(patient.mr, 5.0)
        inside = (patient.mask > 0) & patient.valid[:, None, None]
        errors.append(np.abs(synthetic - patient.ct)[inside].mean() * 4024 / 2)
    assert whole.best_value["mr_to_ct"] == pytest.approx(np.mean(errors), rel=1e-5)


@pytest.mark.parametrize(
    "change", [{"iterations": 0}, {"filters": 0}, {"overlap": 1.0}, {"resample_slices_mm": 0.0}]
)
def test_impossible_values_are_refused(change):
    with pytest.raises(ParamsError, match=next(iter(change))):
        params(**change)


@pytest.mark.parametrize("asked", [["ct_to_mr"], ["mr_to_ct", "ct_to_mr"], []])
def test_the_direction_that_the_paper_does_not_have_is_refused(asked):
    with pytest.raises(ParamsError, match=r"directions.*(translate MR to CT only|at least 1)"):
        params(directions=asked)
