"""Tests of the brain mask on a phantom with known truth, real anatomy, and heads that are open or without brain."""

from pathlib import Path

import numpy as np
import pytest

from mrct.imaging.brain import brain_mask
from mrct.imaging.volumes import read_volume, to_array
from mrct.metrics.image import intersection_over_union
from virtual_hospital.tissues import Tissue, lookup

AIR, FAT, BRAIN, WATER, BONE = -1000.0, -90.0, 35.0, 8.0, 1100.0
SPACING = (5.0, 2.0, 2.0)
SIDE = 128


def disk(radius_mm: float, center_mm: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    y, x = (np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2) * 2.0
    return np.hypot(y - center_mm[0], x - center_mm[1]) < radius_mm


def head(noise_hu: float = 4.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make HU, head and brain (1, H, W): scalp of fat and muscle, skull, brain with a ventricle, two eyes."""
    hu = np.full((SIDE, SIDE), AIR)
    for region, value in (
        (disk(96), FAT), (disk(92), 55.0), (disk(88), BONE), (disk(80), BRAIN), (disk(12), WATER),
        (disk(20, (-92, 40)), BONE), (disk(12, (-96, 40)), BRAIN), (disk(20, (-92, -40)), BONE),
        (disk(12, (-96, -40)), BRAIN), (disk(80), BRAIN), (disk(12), WATER),
    ):  # fmt: skip
        hu[region] = value
    noise = np.random.default_rng(0).normal(0, noise_hu, hu.shape)
    return (hu + noise)[None], (hu > -500)[None], disk(80)[None]


def test_a_phantoms_brain_is_found_with_its_ventricle_and_without_eyes_and_scalp():
    hu, mask, brain = head()
    assert intersection_over_union(brain_mask(hu, mask, SPACING), brain) > 0.97


def test_one_slice_and_a_stack_of_it_agree():
    hu, mask, _ = head()
    one = brain_mask(hu, mask, SPACING)
    assert np.array_equal(
        brain_mask(np.repeat(hu, 4, 0), np.repeat(mask, 4, 0), SPACING), np.repeat(one, 4, 0)
    )


def test_finer_pixels_give_the_same_region():
    hu, mask, _ = head()
    fine = brain_mask(hu.repeat(2, 1).repeat(2, 2), mask.repeat(2, 1).repeat(2, 2), (5.0, 1.0, 1.0))
    coarse = brain_mask(hu, mask, SPACING).repeat(2, 1).repeat(2, 2)
    assert intersection_over_union(fine, coarse) > 0.97


def test_a_face_that_was_cut_off_leaves_the_brain_open_and_is_no_matter():
    hu, mask, brain = head()
    hu[:, :40], mask[:, :40] = AIR, False
    assert intersection_over_union(brain_mask(hu, mask, SPACING), brain & mask) > 0.97


def test_a_narrow_gap_in_the_skull_lets_nothing_out():
    hu, mask, brain = head(noise_hu=0.0)
    hu[:, 62:66, 100:112] = BRAIN  # 8 mm wide, through bone and scalp
    found = brain_mask(hu, mask, SPACING)
    assert (found & ~brain).sum() * 4.0 < 200.0  # mm²: the gap itself
    assert intersection_over_union(found, brain) > 0.97


def test_calcification_and_fresh_blood_belong_to_the_brain():
    hu, mask, brain = head()
    hu[disk(6, (20, 20))[None]], hu[disk(10, (-20, 20))[None]] = 400.0, 80.0
    assert intersection_over_union(brain_mask(hu, mask, SPACING), brain) > 0.97


def test_muscle_around_a_vertebra_is_no_brain():
    """At most the inside of the spinal canal, which bone surrounds."""
    hu = np.full((SIDE, SIDE), AIR)
    hu[disk(60)], hu[disk(18)], hu[disk(8)] = 55.0, BONE, BRAIN
    assert not (brain_mask(hu[None], (hu > -500)[None], SPACING) & ~disk(8)).any()


@pytest.mark.parametrize("value", [AIR, BONE, BRAIN])
def test_a_constant_slice_has_no_brain(value):
    hu = np.full((1, SIDE, SIDE), value)
    assert not brain_mask(hu, np.ones(hu.shape, bool), SPACING).any()


def test_a_piece_apart_from_the_largest_does_not_count():
    hu, _, brain = head()
    small = np.full((1, SIDE, SIDE), AIR)
    small[:, disk(40)], small[:, disk(30)] = BONE, BRAIN
    volume = np.concatenate([hu, hu, np.full_like(hu, AIR), small])
    found = brain_mask(volume, volume > -500, SPACING)
    assert not found[2:].any()
    assert intersection_over_union(found[:2], np.repeat(brain, 2, 0)) > 0.97


def test_real_anatomy():
    """Colin27 as a CT of 6 mm slices and 2 mm pixels, from neck to vertex: brain and CSF against the mask."""
    volume = read_volume(Path("data/sample/colin27/labels.nii.gz"))
    labels = to_array(volume).astype(np.uint8)[::6, ::2, ::2]
    hu = lookup("hu")[labels] + np.random.default_rng(0).normal(0, 4, labels.shape)
    found = brain_mask(hu, labels != Tissue.OUTSIDE, (6.0, 2.0, 2.0))
    brain = np.isin(labels, (Tissue.WHITE_MATTER, Tissue.GREY_MATTER, Tissue.CSF))
    assert (found & brain).sum() > 0.95 * brain.sum()
    assert (found & ~brain).sum() < 0.03 * found.sum()
