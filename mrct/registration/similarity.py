"""Mutual information of two images of different modality."""

import numpy as np


def mutual_information_nats(one: np.ndarray, other: np.ndarray, bins: int = 32) -> float:
    """Mattes mutual information of paired samples (any shape, equal), in nats, 0 where one is constant.

    Mattes et al. 2003 (IEEE TMI 22:120): a box window for `one`, a cubic B-spline window for `other`.
    The bins span each array's own range: clip outliers first.
    """
    if one.size == 0 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    row = np.minimum(_scaled(one, bins), bins - 1).astype(np.intp)
    place = _scaled(other, bins) + 1.0  # the window is four bins wide: one spare below, two above
    base = np.minimum(place, bins).astype(np.intp)
    width = bins + 3
    joint = np.zeros(bins * width)
    for offset in (-1, 0, 1, 2):
        weight = cubic_b_spline(place - (base + offset))
        joint += np.bincount(row * width + base + offset, weight, bins * width)
    return joint_information_nats(joint.reshape(bins, width))


def _scaled(values: np.ndarray, top: int) -> np.ndarray:
    values = values.ravel().astype(np.float64)
    return (values - values.min()) * (top / np.ptp(values))


def cubic_b_spline(x: np.ndarray) -> np.ndarray:
    """The spline's value at distance x < 2 from its center."""
    x = np.abs(x)
    return np.where(x < 1, (4 - 6 * x**2 + 3 * x**3) / 6, np.clip(2 - x, 0, None) ** 3 / 6)


def joint_information_nats(joint: np.ndarray) -> float:
    """sum p log(p / (p_row p_column)) of a joint histogram (rows, columns), natural logarithm; empty: 0."""
    p = joint / max(joint.sum(), 1)
    independent = p.sum(axis=1, keepdims=True) * p.sum(axis=0, keepdims=True)
    seen = p > 0
    return float(np.sum(p[seen] * np.log(p[seen] / independent[seen])))
