"""Intervals over patients and the checks that a table must pass."""

import numpy as np
import pandas as pd
import pytest

from mrct.metrics.checks import ImplausibleMetricsError, require_bounds, require_disjoint
from mrct.metrics.statistics import bootstrap_interval, mean_over_slices, paired_interval


def test_interval_is_close_to_the_normal_one():
    values = np.random.default_rng(0).normal(50, 10, 400)
    mean, low, high = bootstrap_interval(values, 4000, seed=1)
    assert mean == pytest.approx(values.mean())
    assert (low, high) == pytest.approx((mean - 1.96 * 10 / 20, mean + 1.96 * 10 / 20), abs=0.3)


def test_no_interval_under_five_patients_and_nan_is_left_out():
    assert bootstrap_interval(np.array([1.0, 2.0, np.nan, 3.0, 6.0]), 100, 0) == (3.0, None, None)
    assert np.isnan(bootstrap_interval(np.array([np.nan]), 100, 0)[0])
    assert bootstrap_interval(np.full(6, 2.0), 100, 0) == (2.0, 2.0, 2.0)


def test_pairing_removes_what_patients_share():
    patients = np.random.default_rng(0).normal(100, 50, 10)
    difference, low, high = paired_interval(patients - 3.0, patients, 500, 0)
    assert (difference, low, high) == pytest.approx((-3.0, -3.0, -3.0))
    with pytest.raises(ValueError, match="same patients"):
        paired_interval(patients, patients[:-1], 10, 0)


def test_bounds_name_the_row():
    good = pd.DataFrame(
        {"patient": ["P1"], "k": [4], "psnr_db": [20.0], "psnr_bound_db": [20.0], "ssim": [0.5]}
    )
    require_bounds(good, "test")
    with pytest.raises(ImplausibleMetricsError, match="patient P1, k 4"):
        require_bounds(good.assign(psnr_db=20.1), "test")
    with pytest.raises(ImplausibleMetricsError, match="ssim"):
        require_bounds(good.assign(ssim=1.2), "test")
    require_bounds(good.assign(ssim=np.nan), "test")


def test_splits_must_be_disjoint():
    require_disjoint({"train": {"a"}, "test": {"b"}})
    with pytest.raises(ImplausibleMetricsError, match="both"):
        require_disjoint({"train": {"a"}, "test": {"a", "b"}})


def test_mean_over_slices_leaves_out_what_is_undefined():
    slices = pd.DataFrame(
        {
            "direction": "mr_to_ct",
            "patient": ["P1"] * 3,
            "k": [0, 1, 2],
            "x": [1.0, 3.0, np.nan],
            "p": [1, np.inf, 3],
        }
    )
    assert mean_over_slices(slices)[["x", "p"]].iloc[0].tolist() == [2.0, 2.0]
