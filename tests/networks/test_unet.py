"""The U-Net against the paper's table, layer by layer."""

import pytest
import torch
from torch import nn

from mrct.networks.unet import UNet

#: Kaiser 2019, Table 2: kernel, stride, output (side, channels).
TABLE_2 = [
    ("Convolution", 4, 2, 192, 64),
    ("Convolution", 4, 2, 96, 128),
    ("Convolution", 4, 2, 48, 256),
    ("Convolution", 4, 2, 24, 512),
    ("Convolution", 4, 2, 12, 512),
    ("Deconvolution", 4, 2, 24, 512),
    ("Deconvolution", 4, 2, 48, 512),
    ("Deconvolution", 4, 2, 96, 256),
    ("Deconvolution", 4, 2, 192, 128),
    ("Deconvolution", 4, 2, 384, 64),
    ("Convolution", 3, 1, 384, 1),
]
KINDS = {nn.Conv2d: "Convolution", nn.ConvTranspose2d: "Deconvolution"}


def walked(network: nn.Module, x: torch.Tensor) -> list[tuple[nn.Module, torch.Tensor, torch.Tensor]]:
    """Every leaf module in the order in which it is called, with its input and output."""
    called = []
    for module in network.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda m, i, o: called.append((m, i[0], o)))
    with torch.inference_mode():
        network(x)
    return called


def test_every_layer_is_the_papers():
    called = walked(UNet(filters=64, dropout=0.5).eval(), torch.zeros(1, 1, 384, 384))
    layers = [
        (KINDS[type(m)], m.kernel_size[0], m.stride[0], out.shape[-1], out.shape[1])
        for m, _, out in called
        if type(m) in KINDS
    ]
    assert layers == TABLE_2
    assert all(out.shape[-1] == out.shape[-2] for _, _, out in called)


def test_skips_norms_dropout_and_activations_stand_where_the_paper_has_them():
    called = walked(UNet(filters=64, dropout=0.5).eval(), torch.zeros(1, 1, 384, 384))
    convolutions = [n for n, (m, _, _) in enumerate(called) if type(m) in KINDS]
    after = [
        [type(m).__name__ for m, _, _ in called[n + 1 : end]]
        for n, end in zip(convolutions, [*convolutions[1:], None], strict=True)
    ]
    assert after[0] == ["LeakyReLU"]
    assert after[1:5] == [["BatchNorm2d", "LeakyReLU"]] * 4
    assert after[5:7] == [["BatchNorm2d", "ReLU", "Dropout"]] * 2
    assert after[7:10] == [["BatchNorm2d", "ReLU"]] * 3
    assert after[10] == []
    # channels seen: of the layer before, and from the second decoder on those of the encoder beside it
    seen = [called[n][1].shape[1] for n in convolutions[5:]]
    assert seen == [512, 512 + 512, 512 + 256, 256 + 128, 128 + 64, 64]


def test_a_skip_carries_the_encoders_own_image():
    """Without the features of the lower levels, the output still follows the input at full detail."""
    torch.manual_seed(0)
    network = UNet(4, 0.0).eval()
    x = torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        for block in network.decoder[:4]:
            block.register_forward_hook(lambda module, seen, made: torch.zeros_like(made))
        assert not torch.equal(network(x), network(x.flip(-1)))


def test_xavier_start():
    """Glorot 2010, eq. 16: uniform within √6 / √(fan in + fan out)."""
    torch.manual_seed(0)
    layer = UNet(16, 0.5).encoder[3][0]
    bound = (6 / ((64 + 128) * 16)) ** 0.5
    assert layer.weight.abs().max() <= bound
    assert float(layer.weight.detach().std()) == pytest.approx(bound / 3**0.5, rel=0.02)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 96)])
def test_same_shape_and_a_gradient_however_far_off(height, width):
    """A final tanh would have no gradient there: a region of the highest HU would never change."""
    network = UNet(2, 0.5)
    nn.init.constant_(network.head.bias, 100.0)
    output = network(torch.randn(2, 1, height, width))
    assert output.shape == (2, 1, height, width)
    assert output.min() > 5
    output.mean().backward()
    assert network.head.bias.grad.item() == pytest.approx(0.1, rel=1e-3)


def test_what_lies_on_the_scale_stays_and_what_is_beyond_comes_near():
    network = UNet(2, 0.5).eval()
    nn.init.zeros_(network.head.weight)
    for bias, made in ((-1.0, -1.0), (0.3, 0.3), (-1.5, -1.05), (2.0, 1.1)):
        nn.init.constant_(network.head.bias, bias)
        assert network(torch.zeros(1, 1, 32, 32)).mean().item() == pytest.approx(made)


@pytest.mark.parametrize("shape", [(48, 64), (64, 48), (16, 16)])
def test_indivisible_side_is_an_error(shape):
    with pytest.raises(ValueError, match=r"divisible by 32; change image_size"):
        UNet(2, 0.5)(torch.zeros(1, 1, *shape))


def test_evaluation_draws_nothing_and_ignores_the_rest_of_the_batch():
    torch.manual_seed(0)
    network = UNet(2, 0.5).eval()
    x = torch.randn(3, 1, 32, 32)
    with torch.inference_mode():
        whole = network(x)
        assert torch.equal(whole, network(x))
        assert torch.allclose(whole[1:2], network(x[1:2]), atol=1e-6)


def test_the_last_layer_stays_in_float32_under_bfloat16():
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        assert UNet(2, 0.0).eval()(torch.zeros(1, 1, 32, 32)).dtype == torch.float32
