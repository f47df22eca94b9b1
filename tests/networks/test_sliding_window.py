"""Whole volumes from windows: a literal slow reference, exact inverses, no seams, bounded memory."""

import tracemalloc
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrct.networks.sliding_window import Window, blending_weights, reflected, slabs, starts

QUICK = settings(max_examples=25, deadline=None)


def middle(patches: np.ndarray, window: Window) -> np.ndarray:
    """The identity: what lies in the middle of the first channel."""
    inner = slice(window.margin, window.margin + window.made)
    return patches[:, 0, inner, inner, inner]


def run(volume: np.ndarray, window: Window, predict=middle, batch_size: int = 5) -> np.ndarray:
    made = slabs(
        lambda patches: predict(patches, window),
        lambda index: volume[None, index],
        volume.shape,
        window,
        batch_size,
    )
    return np.concatenate(list(made))


def slow_reference(volume: np.ndarray, window: Window, predict) -> np.ndarray:
    """One window after the other on the padded volume, weighed voxel by voxel, divided at the end."""
    padded = np.pad(volume, window.margin, mode="reflect")
    total, weights = np.zeros(volume.shape), np.zeros(volume.shape)
    for corner in product(*(starts(length, window) for length in volume.shape)):
        seen = padded[tuple(slice(c, c + window.seen) for c in corner)]
        made = predict(seen[None, None], window)[0]
        for offset in np.ndindex(made.shape):
            bell = np.prod([np.sin(np.pi * (o + 0.5) / window.made) ** 2 for o in offset])
            place = tuple(np.add(corner, offset))
            total[place] += bell * made[offset]
            weights[place] += bell
    return total / weights


def windows(max_made: int = 6):
    return st.builds(
        lambda made, margin, overlap: Window(made + 2 * margin, made, overlap),
        st.integers(1, max_made),
        st.integers(0, 3),
        st.sampled_from([0.0, 0.25, 0.5, 0.7]),
    )


@QUICK
@given(windows(), st.tuples(*[st.integers(0, 9)] * 3), st.integers(0, 99))
def test_an_identity_network_returns_a_volume_of_any_size(window, more, seed):
    shape = tuple(window.made + m for m in more)
    volume = np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)
    assert np.abs(run(volume, window) - volume).max() < 1e-6


@pytest.mark.parametrize(("seen", "made", "overlap"), [(4, 4, 0.5), (8, 4, 0.5), (6, 4, 0.25), (6, 4, 0.0)])
def test_it_equals_the_literal_reference(seen, made, overlap):
    window, rng = Window(seen, made, overlap), np.random.default_rng(0)
    volume = rng.uniform(-1, 1, (9, 7, 6)).astype(np.float32)

    def blurred(patches, window):  # uses the whole input, so that wrong input is noticed
        return (
            middle(patches, window)
            + patches.mean((1, 2, 3, 4))[:, None, None, None]
            + patches[:, 0, :1, :1, :1]
        )

    wanted = slow_reference(volume, window, blurred)
    assert np.abs(run(volume, window, blurred) - wanted).max() < 1e-6


def test_a_network_that_differs_from_window_to_window_leaves_no_seam():
    """Each window adds its own constant in [-1, 1]: a tiling steps by that much, blended windows do not."""
    window, volume = Window(16, 16, 0.5), np.zeros((40, 40, 40), np.float32)

    def steps(window):
        rng = np.random.default_rng(3)
        result = run(
            volume,
            window,
            lambda patches, _: rng.uniform(-1, 1, (len(patches), 1, 1, 1)) * np.ones((16,) * 3),
        )
        return max(np.abs(np.diff(result, axis=axis)).max() for axis in range(3))

    hard = steps(Window(16, 16, 0.0))
    assert hard > 1.0
    # Hann's slope is at most π / 2 per half window: π / 16 per voxel of a difference of at most 2
    assert steps(window) < 2 * np.pi / 16 < hard / 2


@QUICK
@given(windows(), st.integers(0, 40))
def test_weights_of_all_windows_sum_to_one_and_never_vanish(window, more):
    length = window.made + more
    total = np.zeros(length)
    for start, weights in zip(starts(length, window), blending_weights(length, window), strict=True):
        assert weights.min() > 0
        total[start : start + window.made] += weights
    assert np.abs(total - 1).max() < 1e-6


@given(st.integers(-30, 30), st.integers(1, 12))
def test_reflection_is_numpys(start, length):
    padded = np.pad(np.arange(length), 60, mode="reflect")
    assert list(reflected(start, 8, length)) == list(padded[start + 60 : start + 68])


def test_memory_does_not_grow_with_the_number_of_slices():
    """Slices are read when they are needed: the peak of a volume four times as deep is about the same."""
    window = Window(16, 8, 0.5)

    def peak(depth):
        def read(index):
            return np.broadcast_to(index.astype(np.float32)[None, :, None, None], (1, len(index), 40, 40))

        tracemalloc.start()
        made = slabs(lambda patches: middle(patches, window), read, (depth, 40, 40), window, 8)
        place = 0
        for slab in made:
            assert np.abs(slab[:, 20, 20] - np.arange(place, place + len(slab))).max() < 1e-4
            place += len(slab)
        bytes_held = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert place == depth
        return bytes_held

    assert peak(160) < 1.2 * peak(40)


def test_too_small_a_volume_says_what_to_do():
    with pytest.raises(ValueError, match=r"\(3, 9, 9\) voxels, but a window makes 4 .*resample_slices_mm"):
        run(np.zeros((3, 9, 9), np.float32), Window(8, 4, 0.5))


@pytest.mark.parametrize("sides", [(8, 5, 0.5), (4, 8, 0.5), (8, 8, 1.0), (8, 0, 0.5)])
def test_a_window_that_makes_no_sense_is_refused(sides):
    with pytest.raises(ValueError, match="expected sides"):
        Window(*sides)


def test_it_agrees_with_monai_where_windows_fit():
    """MONAI 1.6, the same weights, windows that fit evenly."""
    inferers = pytest.importorskip("monai.inferers")
    import torch

    rng = np.random.default_rng(1)
    volume = rng.uniform(-1, 1, (12, 16, 20)).astype(np.float32)
    window = Window(8, 8, 0.5)

    def network(patches):  # linear in the window as a whole, so that windows disagree where they overlap
        return patches * 0.5 + patches.mean((1, 2, 3, 4), keepdims=True)

    def weighted(patches: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(network(patches.numpy()))

    bell = np.sin(np.pi * (np.arange(8) + 0.5) / 8) ** 2
    importance = torch.from_numpy((bell[:, None, None] * bell[:, None] * bell).astype(np.float32))
    theirs = inferers.sliding_window_inference(
        torch.from_numpy(volume[None, None]), 8, 4, weighted, overlap=0.5, roi_weight_map=importance
    )
    ours = run(volume, window, lambda patches, _: network(patches)[:, 0])
    assert np.abs(ours - theirs[0, 0].numpy()).max() < 1e-6
