"""Each kind of structure loss: zero for equal images, a gradient for the synthetic image and for nothing else."""

import pytest
import torch
from safetensors.torch import save_file

from mrct.methods.sc_cyclegan import StructureLoss
from mrct.networks.resnet import ResnetGenerator
from mrct.networks.vgg16 import Vgg16Features, _layers

KINDS = [("sc_map", "random_conv"), ("sc_map", "encoder"), ("sc_map", "vgg16"), ("mind", "random_conv")]


@pytest.fixture(scope="module")
def vgg16_file(tmp_path_factory) -> str:
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("vgg16") / "vgg16.safetensors"
    save_file({f"features.{name}": value for name, value in _layers().state_dict().items()}, file)
    return str(file)


@pytest.mark.parametrize(("loss", "features"), KINDS)
def test_only_the_synthetic_image_can_lower_it(loss, features, vgg16_file):
    torch.manual_seed(0)
    term, encoder = StructureLoss(loss, features, vgg16_file), ResnetGenerator(4, 1, 1).encoder
    source, other = torch.rand(2, 1, 1, 64, 64) * 2 - 1
    same = term(encoder, source, source.clone(), torch.Generator().manual_seed(0))
    assert float(same) == pytest.approx(0, abs=1e-6)
    synthetic = other.clone().requires_grad_()
    value = term(encoder, source, synthetic, torch.Generator().manual_seed(0))
    value.backward()
    assert float(value.detach()) > 0.01
    assert synthetic.grad.abs().max() > 0
    assert all(weight.grad is None for weight in [*encoder.parameters(), *term.parameters()])


def test_the_features_are_those_that_were_asked_for(vgg16_file):
    assert StructureLoss("mind", "vgg16", "no such file").features is None  # MIND needs no network
    assert StructureLoss("sc_map", "encoder", "").features is None
    assert isinstance(StructureLoss("sc_map", "vgg16", vgg16_file).features, Vgg16Features)
