"""The context-aware 3D GAN's networks against the paper's tables, and the auto-context chain as one network."""

import numpy as np
import pytest
import torch
from torch import nn

from mrct.networks.context3d import ContextChain, ContextDiscriminator, ContextGenerator
from mrct.networks.whole_volume import translate, translate_patches

CPU = torch.device("cpu")
#: Kaiser 2019, Table 4: kernel side, output side, channels. All strides are 1.
TABLE_4 = [
    (9, 24, 32), (3, 24, 32), (3, 24, 32), (3, 24, 32), (9, 16, 64),
    (3, 16, 64), (3, 16, 32), (7, 16, 32), (3, 16, 32), (3, 16, 1),
]  # fmt: skip
#: Table 5: kind, kernel side (dense layers: none), output side, channels.
TABLE_5 = [
    ("convolution", 5, 16, 32), ("pooling", 3, 14, 32), ("convolution", 5, 14, 64), ("pooling", 3, 12, 64),
    ("convolution", 5, 12, 128), ("pooling", 3, 10, 128), ("dense", None, 8, 512), ("dense", None, 8, 128),
    ("dense", None, 8, 1),
]  # fmt: skip


def walked(network: nn.Module, x: torch.Tensor) -> list[tuple[nn.Module, tuple[int, ...]]]:
    """Every layer with weights or pooling and its output's shape, in the order in which they run."""
    seen, hooks = [], []
    for layer in network.modules():
        if isinstance(layer, (nn.Conv3d, nn.MaxPool3d)):
            hooks.append(
                layer.register_forward_hook(lambda m, _, out: seen.append((m, tuple(out.shape[1:]))))
            )
    with torch.inference_mode():
        network(x)
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize("channels", [1, 2])
def test_the_generator_is_table_4(channels):
    layers = walked(ContextGenerator(channels, 32), torch.zeros(1, channels, 32, 32, 32))
    assert [(layer.kernel_size[0], shape) for layer, shape in layers] == [
        (kernel, (wide, side, side, side)) for kernel, side, wide in TABLE_4
    ]
    assert all(layer.stride == (1, 1, 1) for layer, _ in layers)
    assert layers[0][0].in_channels == channels


def test_the_discriminator_is_table_5():
    layers = walked(ContextDiscriminator(32), torch.zeros(1, 1, 16, 16, 16))
    assert len(layers) == len(TABLE_5)
    for (layer, shape), (kind, kernel, side, channels) in zip(layers, TABLE_5, strict=True):
        assert shape == (channels, side, side, side)
        assert isinstance(layer, nn.MaxPool3d) == (kind == "pooling")
        sides = layer.kernel_size if isinstance(layer.kernel_size, tuple) else (layer.kernel_size,)
        assert kernel is None or set(sides) == {kernel}


def test_a_voxel_of_ct_depends_on_the_mr_around_it_and_on_nothing_else():
    """32 in, 16 out: the kernels reach 9 + ... voxels, and the middle of the input is what is predicted."""
    network = ContextGenerator(1, 1)
    for weight in network.parameters():  # all positive, so that no path is dead
        nn.init.constant_(weight, 1.0 / weight[0].numel())
    x = torch.ones(1, 1, 32, 32, 32, requires_grad=True)
    network(x)[0, 0, 0, 8, 8].backward()
    touched = [np.flatnonzero(x.grad[0, 0].abs().amax(axes) > 0) for axes in ((1, 2), (0, 2), (0, 1))]
    assert touched[0][0] == 0  # the first slice of 16 lies at 8 of 32, and 8 more before it are seen
    assert touched[0][-1] < 31
    assert abs((touched[1][0] + touched[1][-1]) / 2 - 16) <= 1  # row 8 of 16 is row 16 of 32


def test_no_path_dies():
    """A gradient reaches the first layer even if every unit is far below zero."""
    torch.manual_seed(0)
    network = ContextGenerator(1, 2)
    for name, values in network.named_parameters():
        if name.endswith("bias"):
            nn.init.constant_(values, -10.0)
    network(torch.rand(1, 1, 32, 32, 32)).mean().backward()
    assert network.layers[0].weight.grad.abs().max() > 0


def test_ten_layers_without_a_norm_keep_the_signal():
    """By the mean square before the last layer; Xavier's initialization keeps 1e-4 of the input's."""
    torch.manual_seed(0)
    network = ContextGenerator(1, 8)
    x = torch.rand(1, 1, 32, 32, 32)
    with torch.inference_mode():
        before, after = x.square().mean(), network.layers[:-1](x).square().mean()
    assert 0.01 < float(after / before) < 10


@pytest.mark.parametrize("channels", [1, 2])
def test_untrained_air_becomes_air_up_to_the_border(channels):
    network = ContextGenerator(channels, 2)
    assert torch.equal(network(-torch.ones(1, channels, 32, 32, 32)), -torch.ones(1, 1, 16, 16, 16))


def chain(iterations: int) -> ContextChain:
    torch.manual_seed(1)
    return ContextChain(iterations, filters=1, overlap=0.0, resample_slices_mm=2.0).eval()


def test_the_chain_hands_the_whole_predicted_volume_on():
    network, mr = chain(3), np.random.default_rng(0).uniform(-1, 1, (8, 17, 18)).astype(np.float32)
    context = None
    with torch.inference_mode():
        for generator in network.generators:
            images = [mr] if context is None else [mr, context]
            context = translate_patches(generator, images, 5.5, 2.0, network.window, CPU).clip(-1, 1)
    assert np.array_equal(translate(network, mr, 5.5, CPU), context)
    assert np.ptp(context) > 1e-5


def test_a_next_iteration_sees_ct_on_its_scale_and_no_further():
    network, mr = chain(2), np.random.default_rng(0).uniform(-1, 1, (8, 17, 18)).astype(np.float32)
    with torch.no_grad():
        network.generators[0].layers[-1].bias.fill_(5.0)
    ones = {"context": np.ones_like(mr)}
    assert np.array_equal(translate(network, mr, 5.5, CPU), translate(network, mr, 5.5, CPU, ones))


def test_what_the_iterations_before_made_may_be_given():
    first, network = chain(1), chain(2)
    network.load_state_dict(network.state_dict() | first.state_dict())
    mr = np.random.default_rng(1).uniform(-1, 1, (8, 17, 18)).astype(np.float32)
    known = {"context": translate(first, mr, 5.5, CPU)}
    assert np.array_equal(translate(network, mr, 5.5, CPU, known), translate(network, mr, 5.5, CPU))
    other = {"context": np.zeros_like(mr)}
    assert not np.array_equal(translate(network, mr, 5.5, CPU, other), translate(network, mr, 5.5, CPU))
