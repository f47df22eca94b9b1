"""Means over slices, and 95 % bootstrap intervals over patients."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from mrct.core.errors import DataError

#: Least number of test patients for an interval; the bootstrap interval of fewer values is too narrow.
MIN_PATIENTS = 5


class Interval(NamedTuple):
    """Mean with the ends of its 95 % interval, None if there is no interval."""

    mean: float
    low: float | None
    high: float | None


def bootstrap_interval(values: np.ndarray, samples: int, seed: int) -> Interval:
    """Compute the mean over patients with its 95 % percentile bootstrap interval.

    Args:
        values: One value per patient (n,). Values that are not finite are left out: a metric may be undefined for a
            patient, such as the overlap of bone in a slice without bone.
        samples: Number of bootstrap samples.
        seed: Seed of the bootstrap.

    Returns:
        The interval; without ends for fewer than MIN_PATIENTS values, and with a mean of NaN for none.
    """
    values = np.asarray(values, dtype=float)
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return Interval(float("nan"), None, None)
    mean = float(values.mean())
    if len(values) < MIN_PATIENTS:
        return Interval(mean, None, None)
    if np.ptp(values) == 0:
        return Interval(mean, mean, mean)
    result = stats.bootstrap(
        (values,), np.mean, n_resamples=samples, method="percentile", rng=np.random.default_rng(seed)
    )
    return Interval(mean, float(result.confidence_interval.low), float(result.confidence_interval.high))


def paired_interval(a: np.ndarray, b: np.ndarray, samples: int, seed: int) -> Interval:
    """Compute the mean of a - b over patients with its 95 % interval; it shows a difference if it excludes zero.

    Args:
        a: One value per patient (n,).
        b: One value per patient (n,), the same patients in the same order.
        samples: Number of bootstrap samples.
        seed: Seed of the bootstrap.

    Raises:
        DataError: The numbers of values differ.
    """
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if a.shape != b.shape:
        raise DataError(f"paired_interval: got shapes {a.shape} and {b.shape}, expected the same patients")
    return bootstrap_interval(a - b, samples, seed)


def mean_over_slices(slices: pd.DataFrame) -> pd.DataFrame:
    """Average each metric over the slices of a direction and patient; values that are not finite are left out."""
    finite = slices.replace([np.inf, -np.inf], np.nan)
    columns = [c for c in slices.columns if c not in ("direction", "patient", "k")]
    return finite.groupby(["direction", "patient"], sort=True)[columns].mean().reset_index()
