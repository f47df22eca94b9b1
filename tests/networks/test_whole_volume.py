"""Tests of whole volumes by slices and by patches; anisotropic volumes are returned on their own slices."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mrct.networks.sliding_window import Window
from mrct.networks.whole_volume import (
    VolumeNetwork,
    between_slices,
    slice_ratio,
    translate,
    translate_patches,
)

CPU = torch.device("cpu")


class Middle(nn.Module):
    """(B, C, s, s, s) -> (B, 1, m, m, m): the middle of the last channel."""

    def __init__(self, window: Window) -> None:
        super().__init__()
        self.inner = slice(window.margin, window.margin + window.made)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, -1:, self.inner, self.inner, self.inner]


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).uniform(-1, 1, shape).astype(np.float32)


def test_a_network_of_slices_sees_each_slice_alone():
    class Doubled(nn.Module):
        def forward(self, x):
            assert x.shape[1:] == (1, 6, 5)
            assert not self.training
            return x * 2

    volume = noise(19, 6, 5)
    assert np.array_equal(translate(Doubled().train(), volume, 5.0, CPU), np.clip(2 * volume, -1, 1))


def test_a_network_may_translate_volumes_its_own_way():
    class Own(VolumeNetwork):
        def translate_volume(self, volume, slice_spacing_mm, device, others):
            return volume * slice_spacing_mm + others["context"]

    volume, context = noise(2, 3, 4), noise(2, 4, 3).reshape(2, 3, 4)
    translated = translate(Own(), volume, 0.5, CPU, {"context": context})
    assert np.array_equal(translated, np.clip(volume * 0.5 + context, -1, 1))


@settings(max_examples=30, deadline=None)
@given(
    st.floats(0.5, 9.0),
    st.sampled_from([1.0, 2.0, 3.0]),
    st.sampled_from([Window(4, 4, 0.5), Window(8, 4, 0.5), Window(6, 4, 0.0)]),
    st.integers(0, 5),
)
def test_an_identity_network_returns_anisotropic_volumes_exactly(spacing_mm, wanted_mm, window, more):
    _, every = slice_ratio(spacing_mm, wanted_mm)
    volume = noise(4 * every + more, 6, 5)
    translated = translate_patches(Middle(window), [volume], spacing_mm, wanted_mm, window, CPU)
    assert np.abs(translated - volume).max() < 1e-6


def test_further_images_are_further_channels():
    window = Window(8, 4, 0.5)
    mr, context = noise(5, 6, 7), noise(7, 6, 5).reshape(5, 6, 7)
    translated = translate_patches(Middle(window), [mr, context], 5.0, 2.0, window, CPU)
    assert np.abs(translated - context).max() < 1e-6


@pytest.mark.parametrize(
    ("spacing_mm", "wanted_mm", "expected"),
    [
        (2.0, 2.0, (1, 1)),
        (5.5, 2.0, (3, 1)),  # 1.83 mm
        (5.0, 2.0, (3, 1)),  # 1.67 mm is nearer by ratio than 2.5 mm
        (4.8, 2.0, (2, 1)),
        (6.0, 2.0, (3, 1)),
        (1.0, 2.0, (1, 2)),
        (0.6, 2.0, (1, 3)),
        (1.5, 2.0, (1, 1)),
        (2.8, 2.0, (1, 1)),
        (2.9, 2.0, (2, 1)),
    ],
)
def test_slices_come_as_near_as_whole_numbers_allow(spacing_mm, wanted_mm, expected):
    assert slice_ratio(spacing_mm, wanted_mm) == expected


@given(st.floats(0.3, 12.0), st.floats(0.3, 12.0))
def test_one_of_the_two_numbers_is_one_and_no_other_pair_is_nearer(spacing_mm, wanted_mm):
    parts, every = slice_ratio(spacing_mm, wanted_mm)
    assert min(parts, every) == 1

    def distance(parts, every):
        return abs(np.log(spacing_mm * every / parts / wanted_mm))

    others = [(n, 1) for n in range(1, 60)] + [(1, n) for n in range(1, 60)]
    assert distance(parts, every) <= min(distance(*other) for other in others) + 1e-9


def test_between_slices_is_linear():
    image = np.array([0.0, 3.0, 9.0], np.float32)[:, None, None]
    assert between_slices(image, np.arange(7), 3).ravel().tolist() == pytest.approx([0, 1, 2, 3, 5, 7, 9])
