"""The built networks against the paper's figures."""

import pytest
import torch

from mrct.networks.patchgan import PatchDiscriminator
from mrct.networks.random_features import RandomConvFeatures
from mrct.networks.resnet import UPSAMPLINGS, InstanceNorm, ResnetGenerator


def _channels(network: torch.nn.Module) -> list[tuple[int, int, int]]:
    return [
        (m.in_channels, m.out_channels, m.kernel_size[0])
        for m in network.modules()
        if isinstance(m, (torch.nn.Conv2d, torch.nn.ConvTranspose2d))
    ]


def test_paper_size_generator_layer_by_layer():
    """CycleGAN's ResNet-9 at 64 filters: 64 -> 128 -> 256, nine blocks, back; 11.4 M weights at one channel."""
    network = ResnetGenerator(filters=64, blocks=9, downsamplings=2)
    assert _channels(network) == [
        (1, 64, 7),
        (64, 128, 3),
        (128, 256, 3),
        *[(256, 256, 3)] * 18,
        (256, 128, 3),
        (128, 64, 3),
        (64, 1, 7),
    ]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["nchw", "nhwc"])
@pytest.mark.parametrize("count", [1, 2])
def test_instance_norm_and_its_gradient_against_the_definition(count, layout):
    """nn.InstanceNorm2d fails this for one image in channels-last order (torch 2.13, CPU)."""
    torch.manual_seed(0)
    image, above = torch.randn(2, count, 4, 8, 8)
    given = image.clone(memory_format=layout).requires_grad_()
    got = InstanceNorm(4)(given)
    got.backward(above.contiguous(memory_format=layout))
    literal = image.double().requires_grad_()
    centered = literal - literal.mean((2, 3), keepdim=True)
    expected = centered / (centered.square().mean((2, 3), keepdim=True) + 1e-5).sqrt()
    expected.backward(above.double())
    assert torch.allclose(got.double(), expected, atol=1e-5)
    assert torch.allclose(given.grad.double(), literal.grad, atol=1e-5)


def test_the_drawing_taken_literally():
    assert _channels(ResnetGenerator(64, 9, 0)) == [(1, 64, 7), *[(64, 64, 3)] * 18, (64, 1, 7)]


@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
@pytest.mark.parametrize("downsamplings", [0, 1, 2, 3])
def test_same_shape_and_range(downsamplings, upsampling):
    network = ResnetGenerator(4, 1, downsamplings, upsampling)
    output = network(torch.randn(2, 1, 24, 40) * 100)
    assert output.shape == (2, 1, 24, 40)
    assert output.abs().max() <= 1


def test_only_the_transposed_convolution_makes_a_checkerboard():
    """A constant image stays constant inside when pixels are repeated; a stride-2 transposed one covers it unevenly."""
    torch.manual_seed(0)
    inside = {
        name: torch.nn.Sequential(*layers(3, 1))(torch.ones(1, 3, 8, 8))[0, 0, 2:-2, 2:-2]
        for name, layers in UPSAMPLINGS.items()
    }
    assert inside["resize"].std() < 1e-6
    assert inside["transposed"].std() > 0.01


def test_indivisible_side_is_an_error():
    with pytest.raises(ValueError, match="divisible by 4"):
        ResnetGenerator(4, 1, 2)(torch.zeros(1, 1, 30, 32))


def test_last_layer_stays_in_float32_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        assert ResnetGenerator(4, 1, 1)(torch.zeros(1, 1, 16, 16)).dtype == torch.float32


def test_paper_size_discriminator_layer_by_layer():
    network = PatchDiscriminator(64, "batch")
    assert _channels(network) == [(1, 64, 4), (64, 128, 4), (128, 256, 4), (256, 512, 4), (512, 1, 4)]
    assert [m.stride[0] for m in network.modules() if isinstance(m, torch.nn.Conv2d)] == [2, 2, 2, 1, 1]
    assert sum(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules()) == 3
    assert network(torch.zeros(1, 1, 512, 512)).shape == (1, 1, 62, 62)


def test_a_logit_sees_seventy_pixels():
    network = PatchDiscriminator(2, "batch").eval()
    image = torch.zeros(1, 1, 160, 160, requires_grad=True)
    network(image)[0, 0, 9, 9].backward()
    rows = image.grad[0, 0].abs().sum(1).nonzero()
    assert int(rows.max() - rows.min()) + 1 == 70


def test_random_features_have_vgg_strides_and_never_train():
    features = RandomConvFeatures()
    assert [f.shape for f in features(torch.zeros(1, 1, 64, 64))] == [(1, 64, 16, 16), (1, 128, 8, 8)]
    assert not any(w.requires_grad for w in features.parameters())
    again = RandomConvFeatures()
    assert all(torch.equal(a, b) for a, b in zip(features.parameters(), again.parameters(), strict=True))
