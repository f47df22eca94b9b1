"""Batches, splits and the shared augmentation."""

import numpy as np
import pytest
import torch

from mrct.training.dataset import Augmentation, augment, epoch_batches, open_normalized

STILL = Augmentation(rotation_deg=0.0, scale=0.0, shift_mm=0.0)
MOVING = Augmentation(rotation_deg=10.0, scale=0.1, shift_mm=6.0)


def test_pairs_point_into_the_volumes(normalized):
    data = open_normalized(normalized)
    pairs = data.split_pairs("train")
    mr, ct = data.slices(pairs)
    name, k = pairs[3]
    assert mr.shape == ct.shape == (len(pairs), 1, 32, 32)
    assert np.array_equal(ct[3, 0], data.patients[name].ct[k])
    assert data.pair_counts == {"train": 8, "validation": 5, "test": 12}


def test_an_epoch_holds_every_pair_once_and_depends_on_seed_and_epoch_alone():
    pairs = [("P", k) for k in range(11)]
    batches = epoch_batches(pairs, 4, seed=1, epoch=2)
    assert [len(batch) for batch in batches] == [4, 4, 3]
    assert sorted(pair for batch in batches for pair in batch) == pairs
    assert batches == epoch_batches(pairs, 4, seed=1, epoch=2)
    assert batches != epoch_batches(pairs, 4, seed=1, epoch=3)


def test_mr_and_ct_move_together():
    image = torch.rand(3, 1, 32, 32) * 2 - 1
    rng = torch.Generator().manual_seed(0)
    mr, ct = augment(image, image.clone(), MOVING, 2.0, rng)
    assert torch.equal(mr, ct)
    assert not torch.allclose(mr, image)
    assert mr.min() >= -1


def test_what_moves_in_is_background_and_no_motion_is_identity():
    ones = torch.ones(1, 1, 16, 16)
    moved, _ = augment(
        ones,
        ones,
        Augmentation(rotation_deg=0.0, scale=0.0, shift_mm=30.0),
        1.0,
        torch.Generator().manual_seed(1),
    )
    assert moved.min() == -1
    assert augment(ones, ones, STILL, 1.0, torch.Generator())[0] is ones


def test_shift_is_in_millimeters():
    image = torch.full((64, 1, 33, 33), -1.0)
    image[:, 0, 16, 16] = 1.0
    moved, _ = augment(
        image,
        image,
        Augmentation(rotation_deg=0.0, scale=0.0, shift_mm=8.0),
        2.0,
        torch.Generator().manual_seed(0),
    )
    weights = (moved + 1)[:, 0]
    grid = torch.arange(33.0) - 16
    rows = (weights.sum(2) * grid).sum(1) / weights.sum((1, 2))
    assert rows.abs().max() <= 4.0 + 1e-3  # 8 mm at 2 mm a pixel
    assert rows.abs().max() > 3.0


def test_missing_folder_names_the_stage(tmp_path):
    with pytest.raises(FileNotFoundError, match="normalize"):
        open_normalized(tmp_path)
