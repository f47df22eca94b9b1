"""Whose CT is warped, by how much, and what stays as it is."""

import numpy as np
import pytest

from mrct.experiments.misaligned import misalign, training_patients
from mrct.experiments.warps import root_mean_square, warp
from mrct.training.dataset import open_normalized


def test_half_of_the_training_patients_and_only_their_ct(cohort):
    data = open_normalized(cohort)
    found = misalign(data, seed=1, rms_mm=4.0)
    assert len(found.displacement_mm) == 2  # of five
    assert set(found.displacement_mm) < set(training_patients(data))
    for name, patient in data.patients.items():
        other = found.data.patients[name]
        for part in ("mr", "ct_hu", "mask", "valid"):
            assert getattr(other, part) is getattr(patient, part)
        if name in found.displacement_mm:
            field = found.displacement_mm[name]
            head = (np.asarray(patient.mask)[patient.valid] > 0).sum(0)
            assert root_mean_square(field, head) == pytest.approx(4.0)
            assert np.array_equal(other.ct, warp(patient.ct, field, 2.0, -1.0))
            assert not np.array_equal(other.ct, patient.ct)
        else:
            assert other is patient
    assert found.data.split_pairs("train") == data.split_pairs("train")


def test_the_seed_draws_half_and_warps_and_the_distance_only_scales(cohort):
    data = open_normalized(cohort)
    near, far, again = (misalign(data, seed=1, rms_mm=rms_mm) for rms_mm in (2.0, 4.0, 4.0))
    assert list(near.displacement_mm) == list(far.displacement_mm)
    for name, field in far.displacement_mm.items():
        assert np.allclose(field, 2 * near.displacement_mm[name])
        assert np.array_equal(field, again.displacement_mm[name])
    one, two = far.displacement_mm.values()
    assert not np.allclose(one, two)
    assert any(list(misalign(data, s, 2.0).displacement_mm) != list(near.displacement_mm) for s in range(5))


def test_no_distance_displaces_nobody(cohort):
    data = open_normalized(cohort)
    found = misalign(data, seed=1, rms_mm=0.0)
    assert found.data is data
    assert found.displacement_mm == {}
