"""Intervals over patients: the mean with a 95 % bootstrap interval, and paired differences."""

import numpy as np
from scipy import stats

from mrct.core.errors import DataError

#: Under this number of test patients an interval would pretend to a precision that is not there.
MIN_PATIENTS = 5

Interval = tuple[float, float | None, float | None]


def bootstrap_interval(values: np.ndarray, samples: int, seed: int) -> Interval:
    """values (n,), one a patient -> (mean, low, high), the 95 % percentile bootstrap of the mean.

    NaN (a metric undefined for a patient, as the bone IoU of a slice without bone) is left out.
    Low and high are None under MIN_PATIENTS values. Errors: no finite value at all -> (nan, None, None).
    """
    values = np.asarray(values, dtype=float)
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return float("nan"), None, None
    mean = float(values.mean())
    if len(values) < MIN_PATIENTS:
        return mean, None, None
    if np.ptp(values) == 0:
        return mean, mean, mean
    result = stats.bootstrap(
        (values,), np.mean, n_resamples=samples, method="percentile", rng=np.random.default_rng(seed)
    )
    return mean, float(result.confidence_interval.low), float(result.confidence_interval.high)


def paired_interval(a: np.ndarray, b: np.ndarray, samples: int, seed: int) -> Interval:
    """a, b (n,), the same patients in the same order -> mean of a - b with its 95 % interval.

    "a is better" may be said only where the interval excludes zero.
    """
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if a.shape != b.shape:
        raise DataError(f"paired_interval: got {a.shape} and {b.shape} values, expected the same patients")
    return bootstrap_interval(a - b, samples, seed)
