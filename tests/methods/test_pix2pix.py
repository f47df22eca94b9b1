"""pix2pix: the discriminator against the paper's table, the losses by hand, the fine-tuning inside the brain."""

import pytest
import torch
from torch import nn

from mrct.core.params import load_parts
from mrct.methods.pix2pix import PairDiscriminator, Pix2Pix, Pix2PixParams
from mrct.training.method import Batch, Phase, Trained
from mrct.training.settings import AdversarialLoop

BASE = load_parts((Pix2PixParams, AdversarialLoop), "pix2pix")[0].model_copy(
    update={"filters": 2, "discriminator_filters": 2}
)
#: Kaiser 2019, Table 3: kernel, stride, output (side, channels). It prints 1 x 24 x 512 for the last one: a score map
#: of 24 x 24 with one channel, as its text says.
TABLE_3 = [(4, 2, 192, 64), (4, 2, 96, 128), (4, 2, 48, 256), (4, 2, 24, 512), (4, 1, 24, 1)]


def made(phase: str = "training", before=None, seed: int = 0, **changes) -> nn.Module:
    torch.manual_seed(seed)
    return Pix2Pix.build(BASE.model_copy(update=changes), phase, before or {})


def test_every_layer_of_the_discriminator_is_the_papers():
    called = []
    discriminator = PairDiscriminator(64, "sigmoid")
    for module in discriminator.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(
                lambda m, i, o: called.append((m.kernel_size[0], m.stride[0], o.shape))
            )
    with torch.inference_mode():
        scores = discriminator(torch.randn(1, 2, 384, 384))
    assert [(kernel, stride, shape[-1], shape[1]) for kernel, stride, shape in called] == TABLE_3
    assert scores.shape == (1, 1, 24, 24)
    assert 0 < scores.min() < scores.max() < 1  # a sigmoid is last
    kinds = [type(layer).__name__ for layer in discriminator.layers]
    assert kinds.count("LeakyReLU") == 4
    assert "BatchNorm2d" not in kinds


def test_a_linear_discriminator_is_the_same_without_its_sigmoid():
    torch.manual_seed(0)
    linear, pair = PairDiscriminator(4, "linear"), torch.randn(1, 2, 64, 64) * 9
    paper = PairDiscriminator(4, "sigmoid")
    paper.load_state_dict(linear.state_dict())
    scores = linear(pair)
    assert scores.min() < 0
    assert torch.equal(torch.sigmoid(scores), paper(pair))


def test_the_generator_is_the_unet():
    assert type(Pix2Pix.build_network(Pix2Pix.network_config(BASE))).__name__ == "UNet"


class Scores(nn.Module):
    """A discriminator that scores a pair by the mean of its second image, and remembers what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []

    def forward(self, pair: torch.Tensor) -> torch.Tensor:
        self.seen.append(pair)
        return pair[:, 1:].mean((2, 3), keepdim=True)


def test_the_losses_by_hand(images, losses):
    """λ_mae 1, λ_adv 0.01; E(1 - D)² for the generator, ½E(1 - D(y))² + ½E(D(ŷ))² for the discriminator."""
    method = made()
    method.mr_to_ct, method.mr_to_ct_discriminator = nn.Identity(), Scores()
    (loss, terms), (discriminator_loss, discriminator_terms) = losses(method, images)
    fake, real = images.mr.mean((2, 3)), images.ct.mean((2, 3))
    mae, adv = (images.mr - images.ct).abs().mean() / 2, (1 - fake).square().mean()
    assert float(terms["mae_ct"]) == pytest.approx(float(mae))
    assert float(terms["adv_ct"]) == pytest.approx(float(adv))
    assert float(loss) == pytest.approx(float(mae + 0.01 * adv))
    wanted = 0.5 * (1 - real).square().mean() + 0.5 * fake.square().mean()
    assert float(discriminator_loss) == pytest.approx(float(wanted), rel=1e-5)
    assert set(discriminator_terms) == {"discriminator_ct"}


def test_the_discriminator_sees_the_input_beside_the_output(images, losses):
    method = made()
    method.mr_to_ct, method.mr_to_ct_discriminator = nn.Identity(), Scores()
    losses(method, images)
    generator_pair, discriminator_pairs = method.mr_to_ct_discriminator.seen
    assert torch.equal(generator_pair, torch.cat([images.mr, images.mr], 1))
    real, synthetic = discriminator_pairs.chunk(2)
    assert torch.equal(real, torch.cat([images.mr, images.ct], 1))
    assert torch.equal(synthetic, torch.cat([images.mr, images.mr], 1))


def test_beyond_the_scale_the_error_pulls_and_no_discriminator(images):
    """The discriminator sees clipped values, so that moving further outside cannot lower its loss."""
    method = made()
    method.mr_to_ct_discriminator = discriminator = Scores()
    head = method.mr_to_ct.head
    nn.init.zeros_(head.weight)
    nn.init.constant_(head.bias, 3.0)
    _, terms = next(method.losses(images, torch.Generator(), 0, lambda _, pair: pair))
    assert torch.equal(discriminator.seen[0][:, 1:], torch.ones_like(images.ct))
    pulls = [
        torch.autograd.grad(terms[name], head.bias, retain_graph=True)[0] for name in ("adv_ct", "mae_ct")
    ]
    assert pulls[0].item() == 0
    assert pulls[1].item() > 0


def test_no_gradient_crosses_between_generator_and_discriminator(images):
    method = made()
    steps = method.losses(images, torch.Generator(), 0, lambda name, shown: shown)
    next(steps)[0].backward()
    assert all(weight.grad is None for weight in method.mr_to_ct_discriminator.parameters())
    assert all(weight.grad is not None for weight in method.mr_to_ct.parameters())
    before = [weight.grad.clone() for weight in method.mr_to_ct.parameters()]
    next(steps)[0].backward()
    assert all(weight.grad is not None for weight in method.mr_to_ct_discriminator.parameters())
    assert all(
        torch.equal(a, weight.grad) for a, weight in zip(before, method.mr_to_ct.parameters(), strict=True)
    )


def test_the_pool_is_asked_for_pairs(images):
    asked = {}

    def pooled(name: str, shown: torch.Tensor) -> torch.Tensor:
        asked[name] = shown
        return shown

    both = made(directions=("mr_to_ct", "ct_to_mr"))
    list(both.losses(images, torch.Generator(), 0, pooled))
    assert set(asked) == {"ct", "mr"}
    assert asked["ct"].shape == (3, 2, 32, 32)
    assert torch.equal(asked["mr"][:, :1], images.ct)
    assert not asked["ct"].requires_grad


def test_fine_tuning_raises_the_gradient_inside_the_brain_alone(images, losses):
    """The gradient of the error by each pixel: four times as large on the left half, the same on the right."""
    gradients = []
    for method in (made(), _boosted(4.0)):
        shown = (images.ct + 0.1).requires_grad_()
        loss = method._mae(shown, images.ct, images)
        (gradient,) = torch.autograd.grad(loss, shown)
        gradients.append(gradient)
    ratio = gradients[1] / gradients[0]
    assert ratio[..., :16].unique().tolist() == pytest.approx([4.0])
    assert ratio[..., 16:].unique().tolist() == pytest.approx([1.0])


def _boosted(weight: float) -> nn.Module:
    before = made()
    ended = Trained({"mr_to_ct": before.mr_to_ct.state_dict()}, before.state_dict())
    return made("fine_tuning", {"training": ended}, seed=1, soft_tissue_weight=weight)


def test_fine_tuning_starts_from_the_best_generator_and_the_last_discriminator():
    best, last = made(seed=3), made(seed=4)
    ended = Trained({"mr_to_ct": best.mr_to_ct.state_dict()}, last.state_dict())
    tuned = made("fine_tuning", {"training": ended}, seed=5)
    for part, source in (("mr_to_ct", best), ("mr_to_ct_discriminator", last)):
        wanted = source.get_submodule(part).state_dict()
        assert all(
            torch.equal(value, wanted[n]) for n, value in tuned.get_submodule(part).state_dict().items()
        )


def test_phases_of_the_gradient_boost():
    assert Pix2Pix.phases(BASE.model_copy(update={"fine_tune_epochs": 0})) == (Phase("training"),)
    boosted = Pix2Pix.phases(BASE.model_copy(update={"fine_tune_epochs": 112}))
    assert boosted == (Phase("training"), Phase("fine_tuning", 112, ("brain",)))


@pytest.mark.parametrize(
    ("key", "value"),
    [("learning_rate", 2e-3), ("adam_betas", (0.9, 0.9)), ("filters", 3), ("dropout", 0.1),
     ("discriminator_filters", 3), ("discriminator_output", "sigmoid"),
     ("lambda_mae", 0.5), ("lambda_adv", 1.0), ("directions", ("ct_to_mr",))],
    ids=["learning_rate", "adam_betas", "filters", "dropout", "discriminator_filters", "discriminator_output",
         "lambda_mae", "lambda_adv",
         "directions"],
)  # fmt: skip
def test_every_key_changes_the_weights(images, trained, key, value):
    usual = trained(made(), images, 3).state_dict()
    changed = trained(made(**{key: value}), images, 3).state_dict()
    assert usual.keys() != changed.keys() or any(not torch.equal(usual[n], changed[n]) for n in usual)
    again = trained(made(), images, 3).state_dict()
    assert all(torch.equal(usual[n], again[n]) for n in usual)  # otherwise the line above could not fail


def test_soft_tissue_weight_changes_what_the_fine_tuning_ends_with(images, trained):
    ends = [trained(_boosted(weight), images, 2).state_dict() for weight in (1.0, 4.0)]
    assert any(not torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_it_learns(images, losses, trained):
    method = made(filters=4, dropout=0.0, learning_rate=3e-3)
    before = float(losses(method, images)[0][1]["mae_ct"])
    assert float(losses(trained(method, images, 40), images)[0][1]["mae_ct"]) < 0.4 * before


def test_the_discriminator_learns_to_tell(images, losses):
    """With a generator that stays bad, ten steps of the discriminator lower its loss."""
    method = made(learning_rate=1e-2)
    method.mr_to_ct = nn.Identity()
    optimizer = torch.optim.Adam(method.mr_to_ct_discriminator.parameters(), lr=1e-2)
    values = []
    for _ in range(10):
        (_, _), (loss, _) = losses(method, Batch(images.mr, images.ct, {}))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(float(loss.detach()))
    assert values[-1] < 0.8 * values[0]
