"""The paper's size, what each weight switches, and that every parameter changes the weights."""

import pytest
import torch

from mrct.methods.sc_cyclegan import DiscriminatorParams, GeneratorParams, Params, ScCycleGan, build_network
from mrct.params import load, parse

BASE = load(Params).model_copy(
    update={
        "learning_rate": 1e-3,
        "generator": GeneratorParams(filters=4, blocks=1, downsamplings=1),
        "discriminator": DiscriminatorParams(filters=4, norm="instance"),
    }
)


def train(**changes) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Two steps from a fixed start; the weights and the last terms."""
    torch.manual_seed(0)
    method = ScCycleGan(BASE.model_copy(update=changes))
    optimizers, rng = method.optimizers(), torch.Generator().manual_seed(0)
    images = torch.rand(2, 2, 1, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    for _ in range(2):
        terms = method.train_step(images[0], images[1], optimizers, rng, epoch=0)
    return method.state_dict(), terms


def test_the_papers_exact_size_builds():
    paper = load(Params).model_copy(
        update={
            "generator": GeneratorParams(filters=64, blocks=9, downsamplings=2),
            "discriminator": DiscriminatorParams(filters=64, norm="batch"),
        }
    )
    method = ScCycleGan(paper)
    # CycleGAN's own one-channel ResNet-9 has 11,365,633 weights; 5,248 of them are biases that an instance
    # norm right behind them cancels, which are left out here
    assert sum(w.numel() for w in method.mr_to_ct.parameters()) == 11_365_633 - 5_248
    network = build_network({"filters": 64, "blocks": 9, "downsamplings": 2})
    with torch.inference_mode():
        assert network(torch.zeros(1, 1, 512, 512)).shape == (1, 1, 512, 512)


def test_all_terms_are_reported():
    _, terms = train()
    assert set(terms) == {f"{t}_{m}" for t in ("adv", "pix", "str", "cyc", "critic") for m in ("ct", "mr")}


@pytest.mark.parametrize(
    ("change", "gone"),
    [
        ({"lambda_cyc": 0.0}, "cyc"),
        ({"lambda_str": 0.0}, "str"),
        ({"structure_loss": "none"}, "str"),
        ({"lambda_pix": 0.0}, "pix"),
        ({"lambda_adv": 0.0}, "adv"),
        ({"lambda_adv": 0.0}, "critic"),
    ],
)
def test_a_zero_weight_skips_the_work(change, gone):
    _, terms = train(**change)
    assert not any(name.startswith(gone) for name in terms)


def test_zero_cycle_weight_skips_two_generator_passes(monkeypatch):
    calls = {"n": 0}
    torch.manual_seed(0)
    method = ScCycleGan(BASE.model_copy(update={"lambda_cyc": 0.0}))
    for generator in method.generators().values():
        generator.register_forward_hook(lambda *_: calls.__setitem__("n", calls["n"] + 1))
    image = torch.zeros(1, 1, 32, 32)
    method.train_step(image, image, method.optimizers(), torch.Generator(), 0)
    assert calls["n"] == 2


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 2e-3},
        {"adam_betas": (0.9, 0.999)},
        {"lambda_adv": 2.0},
        {"lambda_pix": 50.0},
        {"lambda_str": 5.0},
        {"lambda_cyc": 5.0},
        {"pixel_weighting": "minmax"},
        {"pixel_weighting": "none"},
        {"structure_loss": "none"},
        {"structure_features": "encoder"},
        {"pretrain_epochs": 1},
        {"discriminator": DiscriminatorParams(filters=4, norm="batch")},
    ],
    ids=lambda change: "-".join(f"{k}={v}" for k, v in change.items())[:40],
)
def test_every_parameter_does_something(change):
    default, _ = train()
    changed, _ = train(**change)
    assert any(
        not torch.equal(default[name], changed[name]) for name in default if name.startswith("mr_to_ct")
    )


def test_pretraining_is_plain_l1_and_leaves_the_critics_alone():
    torch.manual_seed(0)
    method = ScCycleGan(BASE.model_copy(update={"pretrain_epochs": 1}))
    before = {n: w.clone() for n, w in method.ct_critic.state_dict().items()}
    mr, ct = torch.rand(2, 1, 1, 32, 32)
    with torch.no_grad():
        expected = (method.mr_to_ct(mr) - ct).abs().mean()
    terms = method.train_step(mr, ct, method.optimizers(), torch.Generator(), epoch=0)
    assert terms["pix_ct"] == pytest.approx(float(expected), rel=1e-5)
    assert all(torch.equal(w, before[n]) for n, w in method.ct_critic.state_dict().items())


def test_nothing_to_minimize_is_an_error():
    with pytest.raises(ValueError, match="all weights are zero"):
        parse(
            Params,
            BASE.model_dump() | {"lambda_adv": 0.0, "lambda_pix": 0.0, "lambda_str": 0.0, "lambda_cyc": 0.0},
            "params.yaml",
        )
