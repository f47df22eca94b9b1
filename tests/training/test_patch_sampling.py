"""Tests of patches from slices: exact without motion, rotated about their center with motion, reflected outside."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mrct.core.errors import DataError
from mrct.networks.sliding_window import reflected
from mrct.networks.whole_volume import between_slices
from mrct.training.augmentation import Augmentation
from mrct.training.dataset import Patient
from mrct.training.patch_sampling import find_places, motion, patch_points, sample

STILL = Augmentation(rotation_deg=0.0, scale=0.0, shift_mm=0.0, flip=False, mr_gamma=0.0, mr_bias=0.0)
CENTER = torch.zeros(8)


def patient(depth: int, size: int = 24, valid: slice = slice(None), head: slice = slice(None)) -> Patient:
    volume = np.random.default_rng(depth).uniform(-1, 1, (depth, size, size)).astype(np.float32)
    mask = np.zeros(volume.shape, np.uint8)
    mask[:, head, head] = 1
    paired = np.zeros(depth, bool)
    paired[valid] = True
    return Patient("P0123456789", "train", volume, -volume, volume * 1000, mask, paired, 5.0)


def uniform(seed: int, **changes) -> torch.Tensor:
    draws = torch.rand(8, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    for index, value in changes.items():
        draws[int(index[1:])] = value
    return draws


@pytest.mark.parametrize(("spacing_mm", "parts"), [(2.0, 1), (5.5, 3)])
@pytest.mark.parametrize("seed", range(5))
def test_without_motion_a_patch_is_cut_from_the_resampled_and_reflected_volume(spacing_mm, parts, seed):
    """The patch equals the sliding window's: training and translation see the same input."""
    one, made, seen = patient(16), 8, 16
    places = find_places(one, made, spacing_mm, 2.0, 2.0)
    points = patch_points(places, made, seen, uniform(seed), STILL)
    start = [round(float(axis.flatten()[0])) for axis in points[1:]]
    first = round(float(points[0, 0, 0, 0]) * parts)
    fine = between_slices(one.mr, np.arange((16 - 1) * parts + 1), parts)
    index = [reflected(at, seen, length) for at, length in zip((first, *start), fine.shape, strict=True)]
    assert np.abs(sample(one.mr, points).numpy() - fine[np.ix_(*index)]).max() < 1e-5


def test_slices_thinner_than_wanted_are_taken_every_other_one():
    one = patient(24)
    points = patch_points(find_places(one, 8, 1.0, 2.0, 2.0), 8, 8, uniform(3), STILL)
    first = round(float(points[0, 0, 0, 0]))
    rows, columns = (round(float(axis.flatten()[0])) for axis in points[1:])
    wanted = one.mr[first : first + 16 : 2, rows : rows + 8, columns : columns + 8]
    assert np.abs(sample(one.mr, points).numpy() - wanted).max() < 1e-5


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 999), st.sampled_from([1.0, 2.0, 5.0, 6.0]))
def test_the_middle_lies_between_the_paired_slices_and_about_the_head(seed, spacing_mm):
    one = patient(40, valid=slice(4, 33), head=slice(10, 15))
    points = patch_points(find_places(one, 12, spacing_mm, 2.0, 2.0), 12, 12, uniform(seed), STILL)
    assert float(points[0].min()) >= 4 - 1e-9
    assert float(points[0].max()) <= 32 + 1e-9
    assert float(points[1:].min()) >= 0
    assert float(points[1:].max()) <= 23
    assert torch.all((points[1:].mean((1, 2, 3)) - 12).abs() <= 2.5)


def test_every_place_can_be_drawn():
    one = patient(5, size=20)
    places = find_places(one, 12, 6.0, 2.0, 2.0)  # 13 steps, of which 12 are taken
    begins = {
        round(float(patch_points(places, 12, 12, uniform(s), STILL)[0, 0, 0, 0]) * 3) for s in range(40)
    }
    assert begins == {0, 1}
    assert places.count.tolist()[1:] == [9, 9]


def test_motion_turns_about_the_patchs_center_in_millimeters():
    """A quarter turn about k of a patch of an isotropic volume is numpy's rot90."""
    turning = STILL.model_copy(update={"rotation_deg": 90.0})
    one = patient(20)
    places = find_places(one, 8, 2.0, 2.0, 2.0)
    still = sample(one.mr, patch_points(places, 8, 8, CENTER, turning)).numpy()
    quarter = torch.zeros(8)
    quarter[3] = 1.0
    turned = sample(one.mr, patch_points(places, 8, 8, quarter, turning)).numpy()
    assert np.abs(turned - np.rot90(still, -1, (1, 2))).max() < 1e-4


def test_motion_in_an_anisotropic_volume_keeps_angles():
    """Points of a patch 5.5 mm slices apart stay as far apart in mm as they were, whatever the turn."""
    turning = STILL.model_copy(update={"rotation_deg": 40.0})
    places = find_places(patient(21), 12, 5.5, 2.0, 2.0)
    spacing_mm = torch.tensor([5.5, 2.0, 2.0]).view(3, 1, 1, 1)
    still, turned = (
        (patch_points(places, 12, 12, draws, turning) * spacing_mm).flatten(1)
        for draws in (uniform(1, d3=0.0, d4=0.0, d5=0.0), uniform(1))
    )
    assert torch.allclose(torch.pdist(still.T), torch.pdist(turned.T), atol=1e-6)


def test_scale_and_mirror():
    moved = STILL.model_copy(update={"scale": 0.1, "flip": True})
    matrix = motion(torch.tensor([0.3, -0.2, 0.9, 1.0, -0.5]), moved)
    assert torch.allclose(matrix, torch.diag(torch.tensor([1.1, 1.1, -1.1], dtype=torch.float64)))
    assert torch.equal(motion(torch.full((5,), 0.5), STILL), torch.eye(3, dtype=torch.float64))


def test_sampling_is_scipys_linear_interpolation():
    volume = np.random.default_rng(5).uniform(-1, 1, (7, 9, 8)).astype(np.float32)
    points = torch.rand(3, 4, 5, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 20 - 6
    wanted = ndimage.map_coordinates(volume.astype(np.float64), points.numpy(), order=1, mode="mirror")
    assert np.abs(sample(volume, points).numpy() - wanted).max() < 1e-5


@pytest.mark.parametrize(
    ("one", "spacing_mm"),
    [
        (patient(1), 5.0),
        (patient(20, valid=slice(3, 6)), 5.0),
        (patient(40, size=10), 2.0),
        (patient(20), 1.0),
    ],
    ids=["one-slice", "few-pairs", "small-image", "thin-slices"],
)
def test_a_volume_without_room_names_patient_patch_and_remedy(one, spacing_mm):
    with pytest.raises(
        ValueError, match=r"P0123456789: .* a patch has 16 voxels per side: take a smaller patch"
    ):
        find_places(one, 16, spacing_mm, 2.0, 2.0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999), st.sets(st.integers(3, 36), min_size=1, max_size=3))
def test_no_patch_holds_an_incomplete_slice(seed, incomplete):
    """A slice that is missing in the series is interpolated in the volume: nothing is learned from it."""
    one = replace(patient(40, valid=slice(2, 38)), incomplete=tuple(sorted(incomplete)))
    points = patch_points(find_places(one, 8, 2.0, 2.0, 2.0), 8, 8, uniform(seed), STILL)
    seen = set(np.round(points[0].numpy().ravel()).astype(int).tolist())
    assert len(seen) == 8
    assert not seen & incomplete
    assert 2 <= min(seen) <= max(seen) < 38


def test_a_patch_that_fits_no_stretch_of_complete_slices_is_an_error():
    one = replace(patient(20), incomplete=(6, 13))
    with pytest.raises(DataError, match="6 slices 2 mm apart"):
        find_places(one, 8, 2.0, 2.0, 2.0)
