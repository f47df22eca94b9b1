"""The paper's loss and sizes; MONAI's network where it is installed, a clear error where it is not."""

import sys

import pytest
import torch
from torch import nn

from mrct.core.params import ParamsError, parse
from mrct.methods.swin_pix2pix import SwinPix2Pix, SwinPix2PixParams, weighted_mae
from mrct.networks.patchgan3d import PairDiscriminator3d
from mrct.networks.sliding_window import Window
from mrct.networks.swin3d import MissingMonaiError, SwinGenerator
from mrct.training.method import Batch

TINY = {
    "directions": ["mr_to_ct"],
    "patches_per_volume": 2,
    "resample_slices_mm": 2.0,
    "overlap": 0.5,
    "validate_every": 1,
    "learning_rate": 1e-3,
    "weight_decay": 0.01,
    "patch_size": 32,
    "feature_size": 12,
    "norm": "group",
    "discriminator_filters": 4,
    "lambda_ssim": 1.0,
    "lambda_adv": 0.01,
}


def params(**changes) -> SwinPix2PixParams:
    return parse(SwinPix2PixParams, TINY | changes, "swin_pix2pix")


class Stand(nn.Module):
    """Generator of one weight, so that the losses can be tested without MONAI."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.7))

    def forward(self, x):
        return self.gain * x


def test_the_weighted_error_is_equation_2():
    real = torch.tensor([-1.0, 0.0, 0.5, 1.0]).view(1, 1, 1, 2, 2)
    synthetic = torch.tensor([1.0, 0.5, 0.0, 0.5]).view(1, 1, 1, 2, 2)
    # air 0 · 2, soft tissue 1/2 · 1/2, bone 3/4 · 1/2 and 1 · 1/2
    assert float(weighted_mae(synthetic, real)) == pytest.approx((0 + 0.25 + 0.375 + 0.5) / 4)


@pytest.mark.parametrize(
    ("change", "gone"),
    [({}, set()), ({"lambda_ssim": 0.0}, {"ssim_ct"}), ({"lambda_adv": 0.0}, {"adv_ct", "discriminator_ct"})],
    ids=["all", "ssim", "adv"],
)
def test_a_weight_of_zero_switches_its_term_off(monkeypatch, change, gone):
    monkeypatch.setattr(SwinPix2Pix, "build_network", lambda *_: Stand())
    torch.manual_seed(0)
    method = SwinPix2Pix.build(params(**change), "training", {})
    mr = torch.rand(2, 1, 32, 32, 32) * 2 - 1
    total, terms = {}, {}
    for loss, parts in method.losses(
        Batch(mr, mr.square(), {}), torch.Generator(), 0, lambda _, images: images
    ):
        loss.backward()
        total[len(total)] = float(loss.detach())
        terms |= {name: float(term.detach()) for name, term in parts.items()}
    assert set(terms) == {"mae_ct", "ssim_ct", "adv_ct", "discriminator_ct"} - gone
    expected = terms["mae_ct"] + terms.get("ssim_ct", 0.0) + 0.01 * terms.get("adv_ct", 0.0)
    assert total[0] == pytest.approx(expected, rel=1e-5)


def test_grey_air_costs_though_the_weighted_error_counts_it_for_nothing(monkeypatch):
    monkeypatch.setattr(SwinPix2Pix, "build_network", lambda *_: Stand())
    method, air = SwinPix2Pix.build(params(), "training", {}), -torch.ones(1, 1, 32, 32, 32)
    for gain, cost in ((1.0, 0.0), (0.7, 1.0)):
        nn.init.constant_(method.mr_to_ct.gain, gain)
        _, terms = next(iter(method.losses(Batch(air, air, {}), torch.Generator(), 0, lambda _, x: x)))
        assert float(terms["mae_ct"].detach()) == 0
        assert float(terms["ssim_ct"].detach()) == pytest.approx(cost, abs=0.01)


def test_beyond_the_scale_no_discriminator_pulls(monkeypatch):
    monkeypatch.setattr(SwinPix2Pix, "build_network", lambda *_: Stand())
    method, bone = SwinPix2Pix.build(params(), "training", {}), torch.ones(1, 1, 32, 32, 32)
    for gain, pulled in ((1.5, False), (0.5, True)):
        nn.init.constant_(method.mr_to_ct.gain, gain)
        _, terms = next(method.losses(Batch(bone, bone, {}), torch.Generator(), 0, lambda _, x: x))
        pull = torch.autograd.grad(terms["adv_ct"], method.mr_to_ct.gain)[0]
        assert bool(pull != 0) is pulled


@pytest.mark.parametrize(("side", "scores"), [(64, 6), (32, 2), (24, 1)])
def test_the_discriminator_scores_patches_of_pairs(side, scores):
    discriminator, pair = PairDiscriminator3d(2), torch.rand(2, 2, side, side, side)
    with torch.inference_mode():
        together = discriminator(pair)
        assert together.shape == (2, 1, scores, scores, scores)
        # no score depends on the batch
        assert torch.allclose(discriminator(pair[:1]), together[:1], atol=1e-6)


def test_without_monai_the_error_names_the_extra(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "monai"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "monai", None)
    with pytest.raises(MissingMonaiError, match=r"monai.* is not installed; run  pip install -e '.\[swin\]'"):
        SwinPix2Pix.build_network(SwinPix2Pix.network_config(params()))


@pytest.mark.parametrize(
    "change",
    [{"patch_size": 48}, {"feature_size": 16}, {"norm": "instance"}, {"norm": "batch"}, {"overlap": 1.0}],
    ids=str,
)
def test_sizes_that_the_network_cannot_have_are_refused(change):
    with pytest.raises(ParamsError, match=next(iter(change))):
        params(**change)
    assert params(norm="instance", patch_size=64).window == Window(64, 64, 0.5)


def test_monais_network_makes_cubes():
    nets = pytest.importorskip("monai.networks.nets", exc_type=ImportError)
    pytest.importorskip("einops")
    torch.manual_seed(0)
    network = SwinPix2Pix.build_network(SwinPix2Pix.network_config(params()))
    theirs = nets.SwinUNETR(1, 1, feature_size=12)
    assert sum(w.numel() for w in network.parameters()) > sum(w.numel() for w in theirs.parameters())
    with torch.inference_mode():
        made = network(torch.rand(1, 1, 32, 32, 32) * 2 - 1)
    assert made.shape == (1, 1, 32, 32, 32)
    assert made.dtype == torch.float32


def test_gradients_of_a_batch_of_one_are_right_with_instance_norm():
    """The same image twice gives the same mean gradient. torch 2.13's instance norm, which MONAI uses, breaks this on
    the CPU where a gradient comes in channels-last order; here none does."""
    pytest.importorskip("monai.networks.nets", exc_type=ImportError)
    pytest.importorskip("einops")
    torch.manual_seed(0)
    network = SwinGenerator(64, 12, "instance", 0.5, 2.0)
    x = torch.rand(1, 1, 32, 32, 64) * 2 - 1  # two voxels at the lowest level
    gradients: list[dict[str, torch.Tensor]] = []
    for images in (x, torch.cat([x, x])):
        network.zero_grad()
        network(images).square().mean().backward()
        gradients.append({name: weight.grad.clone() for name, weight in network.named_parameters()})
    largest = max(float(gradient.abs().max()) for gradient in gradients[0].values())
    for name, one in gradients[0].items():
        if float(one.abs().max()) > 1e-5 * largest:  # gradients that a norm cancels are rounding errors
            assert torch.allclose(one, gradients[1][name], atol=0.2 * float(one.abs().max())), name
