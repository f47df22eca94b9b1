"""The paper's size, what each weight switches, and that every parameter changes the weights."""

import copy

import pytest
import torch
from torch.nn import functional

from mrct.core.params import load, parse
from mrct.methods.sc_cyclegan import DiscriminatorParams, GeneratorParams, ScCycleGan, ScCycleGanParams
from mrct.training.method import Batch

BASE = load(ScCycleGanParams).model_copy(
    update={
        "learning_rate": 1e-3,
        "pixel_weighting": "clip",
        "generator": GeneratorParams(filters=4, blocks=1, downsamplings=1, upsampling="resize"),
        "discriminator": DiscriminatorParams(filters=4, norm="instance"),
    }
)


def unpooled(name: str, images: torch.Tensor) -> torch.Tensor:
    return images


def step(method: ScCycleGan, optimizers, images, rng, epoch: int = 0) -> dict[str, torch.Tensor]:
    """One update of everything, as the engine does it; the terms."""
    terms: dict[str, torch.Tensor] = {}
    for loss, parts in method.losses(Batch(images[0], images[1], {}), rng, epoch, unpooled):
        loss.backward()
        terms |= parts
    for optimizer in optimizers.values():
        optimizer.step()
        optimizer.zero_grad()
    return terms


def some_images(count: int = 2) -> torch.Tensor:
    return torch.rand(2, count, 1, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1


def train(**changes) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Two steps from a fixed start; the weights and the last terms."""
    torch.manual_seed(0)
    method = ScCycleGan(BASE.model_copy(update=changes))
    optimizers, rng = method.optimizers(), torch.Generator().manual_seed(0)
    for _ in range(2):
        terms = step(method, optimizers, some_images(), rng)
    return method.state_dict(), terms


def test_the_papers_exact_size_builds():
    paper = load(ScCycleGanParams).model_copy(
        update={
            "generator": GeneratorParams(filters=64, blocks=9, downsamplings=2, upsampling="transposed"),
            "discriminator": DiscriminatorParams(filters=64, norm="batch"),
        }
    )
    method = ScCycleGan(paper)
    # CycleGAN's own one-channel ResNet-9 has 11,365,633 weights; 5,248 of them are biases that an instance
    # norm right behind them cancels, which are left out here
    assert sum(w.numel() for w in method.mr_to_ct.parameters()) == 11_365_633 - 5_248
    network = ScCycleGan.build_network(
        {"filters": 64, "blocks": 9, "downsamplings": 2, "upsampling": "transposed"}
    )
    with torch.inference_mode():
        assert network(torch.zeros(1, 1, 512, 512)).shape == (1, 1, 512, 512)


def test_all_terms_are_reported():
    _, terms = train(lambda_idt=5.0)
    kinds = ("adv", "pix", "str", "cyc", "idt", "discriminator")
    assert set(terms) == {f"{kind}_{modality}" for kind in kinds for modality in ("ct", "mr")}


@pytest.mark.parametrize(
    ("change", "gone"),
    [
        ({"lambda_cyc": 0.0}, "cyc"),
        ({"lambda_str": 0.0}, "str"),
        ({"structure_loss": "none"}, "str"),
        ({"lambda_pix": 0.0}, "pix"),
        ({"lambda_adv": 0.0}, "adv"),
        ({"lambda_adv": 0.0, "pixel_weighting": "none"}, "discriminator"),
        ({"lambda_adv": 0.0, "lambda_pix": 0.0}, "discriminator"),
        ({"lambda_idt": 0.0}, "idt"),
    ],
)
def test_a_zero_weight_skips_the_work(change, gone):
    _, terms = train(**change)
    assert not any(name.startswith(gone) for name in terms)


@pytest.mark.parametrize(
    ("change", "passes", "images"),
    [
        ({}, 4, 8),
        ({"lambda_cyc": 0.0}, 2, 4),
        ({"lambda_idt": 5.0}, 4, 12),  # in the pass of the translation, of twice its size
        ({"lambda_idt": 5.0, "lambda_cyc": 0.0}, 2, 8),
    ],
)
def test_generator_passes(change, passes, images):
    seen: list[int] = []
    method = ScCycleGan(BASE.model_copy(update=change))
    for generator in method.generators().values():
        generator.register_forward_hook(lambda module, given, out: seen.append(len(out)))
    step(method, method.optimizers(), some_images(), torch.Generator())
    assert (len(seen), sum(seen)) == (passes, images)


@pytest.mark.parametrize(("norm", "passes"), [("instance", 2), ("batch", 3)])
def test_discriminators_see_real_and_synthetic_in_one_pass_where_the_norm_allows_it(norm, passes):
    discriminator = DiscriminatorParams(filters=4, norm=norm)
    method, seen = ScCycleGan(BASE.model_copy(update={"discriminator": discriminator})), []
    method.ct_discriminator.register_forward_hook(lambda *_: seen.append(1))
    step(method, method.optimizers(), some_images(), torch.Generator())
    assert len(seen) == passes


@pytest.mark.parametrize("count", [1, 2])
def test_gradients_against_the_authors_order_of_work(count):
    """Every pass on its own, as CycleGAN's code has it: the same gradients (torch treats one image apart)."""
    torch.manual_seed(0)
    method = ScCycleGan(BASE.model_copy(update={"lambda_idt": 5.0, "structure_loss": "none"}))
    literal = copy.deepcopy(method)
    mr, ct = some_images(count)
    for loss, _ in method.losses(Batch(mr, ct, {}), torch.Generator(), 0, unpooled):
        loss.backward()

    synthetic_ct, synthetic_mr = literal.mr_to_ct(mr), literal.ct_to_mr(ct)
    translations = (
        (literal.ct_discriminator, synthetic_ct, ct),
        (literal.mr_discriminator, synthetic_mr, mr),
    )
    loss, l1 = torch.zeros(()), functional.l1_loss
    for discriminator, synthetic, real in translations:
        logits = discriminator(synthetic)
        loss = loss + ((logits - 1) ** 2).mean()
        for n in range(count):
            weights = functional.interpolate(logits[n : n + 1].detach(), (32, 32), mode="bilinear")
            weights = weights.clamp(0.05, 1)
            loss = loss + 100 / count * (weights * (real[n] - synthetic[n]).abs()).sum() / weights.sum()
    loss = loss + 10 * (l1(literal.ct_to_mr(synthetic_ct), mr) + l1(literal.mr_to_ct(synthetic_mr), ct))
    loss = loss + 5 * (l1(literal.mr_to_ct(ct), ct) + l1(literal.ct_to_mr(mr), mr))
    loss.backward()
    for discriminator, synthetic, real in translations:
        discriminator.zero_grad()
        ((discriminator(real) - 1) ** 2).mean().mul(0.5).backward()
        (discriminator(synthetic.detach()) ** 2).mean().mul(0.5).backward()
    for (name, weight), other in zip(method.named_parameters(), literal.parameters(), strict=True):
        if weight.grad is None:
            assert name.startswith("structure")
        else:
            assert (weight.grad - other.grad).norm() <= 1e-3 * other.grad.norm() + 1e-12, name


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
        {"lambda_idt": 5.0},
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


def test_pretraining_is_plain_l1_and_leaves_the_discriminators_alone():
    torch.manual_seed(0)
    method = ScCycleGan(BASE.model_copy(update={"pretrain_epochs": 1}))
    before = {n: w.clone() for n, w in method.ct_discriminator.state_dict().items()}
    mr, ct = torch.rand(2, 1, 1, 32, 32)
    with torch.no_grad():
        expected = (method.mr_to_ct(mr) - ct).abs().mean()
    terms = step(method, method.optimizers(), (mr, ct), torch.Generator())
    assert float(terms["pix_ct"].detach()) == pytest.approx(float(expected), rel=1e-5)
    assert all(torch.equal(w, before[n]) for n, w in method.ct_discriminator.state_dict().items())


def test_discriminators_learn_from_what_the_pool_hands_out():
    torch.manual_seed(0)
    method, images, asked = ScCycleGan(BASE), some_images(), {}

    def pooled(name: str, synthetic: torch.Tensor) -> torch.Tensor:
        asked[name] = synthetic
        return torch.zeros_like(synthetic)

    *_, (loss, terms) = method.losses(Batch(images[0], images[1], {}), torch.Generator(), 0, pooled)
    assert set(asked) == {"ct", "mr"}
    assert not any(synthetic.requires_grad for synthetic in asked.values())
    with torch.no_grad():
        real, none = method.ct_discriminator(images[1]), method.ct_discriminator(torch.zeros_like(images[1]))
    expected = 0.5 * ((real - 1) ** 2).mean() + 0.5 * (none**2).mean()
    assert float(terms["discriminator_ct"].detach()) == pytest.approx(float(expected), rel=1e-4)
    assert float(loss.detach()) == pytest.approx(sum(float(term.detach()) for term in terms.values()))


NOTHING = {f"lambda_{kind}": 0.0 for kind in ("adv", "pix", "str", "cyc", "idt")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (NOTHING, "all weights are zero"),
        (NOTHING | {"lambda_str": 10.0, "structure_loss": "none"}, "all weights are zero"),
        ({"pretrain_epochs": 1, "lambda_pix": 0.0}, "pixel loss alone"),
        ({"structure_features": "vgg16"}, "vgg16_weights"),
        ({"lambda_pix": -1.0}, "lambda_pix"),
    ],
)
def test_parameters_that_cannot_train_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        parse(ScCycleGanParams, BASE.model_dump() | change, "params.yaml")
