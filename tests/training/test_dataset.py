"""Batches and splits."""

import json
import operator

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


def test_the_manifest_says_how_the_volumes_were_normalized(normalized):
    data = open_normalized(normalized)
    manifest = json.loads((normalized / "manifest.json").read_text())
    assert data.normalization.to_json() | {"patients": manifest["patients"]} == manifest
    assert data.slice_spacing_mm("P0000000000") == 5.0
    for patient in data.patients.values():
        hu = np.clip(patient.ct_hu, *data.normalization.hu_window)
        np.testing.assert_allclose(data.normalization.inverse_transform_ct(patient.ct), hu, atol=1e-3)


def test_a_direction_has_its_source_first(normalized):
    patient = open_normalized(normalized).split("train")[0]
    assert all(map(operator.is_, patient.images("mr_to_ct"), (patient.mr, patient.ct)))
    assert all(map(operator.is_, patient.images("ct_to_mr"), (patient.ct, patient.mr)))


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
