"""Pairs of slices as batches: what is loaded is what lies in the volumes."""

import numpy as np
import pytest
import torch

from mrct.training.dataset import open_normalized
from mrct.training.examples import SlicePairs
from mrct.training.settings import Augmentation

CPU = torch.device("cpu")
STILL = Augmentation(rotation_deg=0.0, scale=0.0, shift_mm=0.0, flip=False, mr_gamma=0.0, mr_bias=0.0)


def test_a_batch_holds_the_slices_of_its_items_and_the_further_images(normalized):
    data = open_normalized(normalized)
    brain = {patient.name: -np.asarray(patient.ct) for patient in data.split("train")}
    pairs = SlicePairs(data, STILL, {"brain": brain})
    items = pairs.items(0)[2:5]
    batch = pairs.load(items, pairs.draw(3, torch.Generator()), CPU)
    for n, (patient, k) in enumerate(items):
        assert np.array_equal(batch.mr[n, 0], data.patients[patient].mr[k])
        assert np.array_equal(batch.ct[n, 0], data.patients[patient].ct[k])
        assert np.array_equal(batch.other["brain"][n, 0], -data.patients[patient].ct[k])
    assert batch.mr.shape == (3, 1, 32, 32)


def test_every_epoch_has_all_training_pairs_and_no_other(normalized):
    data = open_normalized(normalized)
    pairs = SlicePairs(data, STILL)
    assert pairs.items(0) == pairs.items(7) == data.split_pairs("train")


def test_an_item_takes_as_many_random_numbers_whatever_is_switched_on(normalized):
    data = open_normalized(normalized)
    everything = STILL.model_copy(update={"rotation_deg": 5.0, "mr_bias": 0.3})
    drawn = [SlicePairs(data, a).draw(4, torch.Generator().manual_seed(1)) for a in (STILL, everything)]
    assert torch.equal(*drawn)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_no_pair_of_a_split_is_an_error_before_any_work(normalized, split):
    data = open_normalized(normalized)
    data.pairs.loc[data.pairs["split"] == split, "split"] = "test"
    with pytest.raises(ValueError, match=f"no {split} pair"):
        SlicePairs(data, STILL)
