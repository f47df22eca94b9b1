"""Batches and splits."""

import numpy as np
import pytest

from mrct.training.dataset import epoch_batches, open_normalized


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


def test_missing_folder_names_the_stage(tmp_path):
    with pytest.raises(FileNotFoundError, match="normalize"):
        open_normalized(tmp_path)
