"""Mutual information of two images of different modality, from their joint histogram. Natural logarithm throughout.

A joint histogram is an array (rows, columns): how often a value of one image (row) meets a value of the other (column).
The functions bin differently, each as its use needs:

- `binned_histogram`: values that are binned already; fast enough for thousands of poses per second (registration).
- `mattes_mutual_information`: a cubic B-spline spreads each value over four bins; smooth (quality of a registration).
- `normalized_mutual_information`: equal bins over each image's range, scaled to 0..1 (quality of a pair of slices).
"""

import numpy as np
from scipy.interpolate import BSpline
from scipy.stats import entropy

#: The cubic B-spline on the knots -2, -1, 0, 1, 2.
CUBIC_B_SPLINE = BSpline.basis_element(np.arange(-2.0, 3.0), extrapolate=False)


def binned_histogram(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Count pairs of bins.

    Args:
        rows: (n,) int32, the bin of each sample in the first image, from 0.
        columns: (n,) int32, the bin of each sample in the second image, from 0.
        shape: Number of bins of the two images.

    Returns:
        The joint histogram, an int array of this shape.
    """
    codes = rows * np.int32(shape[1]) + columns
    return np.bincount(codes, minlength=shape[0] * shape[1]).reshape(shape)


def mutual_information(joint: np.ndarray) -> float:
    """Compute sum p log(p / (p_row p_column)) of a joint histogram, in nats; 0 for an empty one."""
    p = joint / max(joint.sum(), 1)
    independent = p.sum(axis=1, keepdims=True) * p.sum(axis=0, keepdims=True)
    seen = p > 0
    return float(np.sum(p[seen] * np.log(p[seen] / independent[seen])))


def mattes_mutual_information(one: np.ndarray, other: np.ndarray, bins: int = 32) -> float:
    """Compute the mutual information of Mattes et al. 2003 (IEEE TMI 22:120, eq. 10 to 13).

    The window of the histogram is a box for `one` and a cubic B-spline for `other`. The bins span each array's own
    range; clip outliers first.

    Args:
        one: Samples of the first image, any shape.
        other: Samples of the second image at the same places, same shape.
        bins: Number of bins within each range.

    Returns:
        The mutual information in nats; 0 where an image is constant or there are no samples.
    """
    if one.size == 0 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    row = np.minimum(_scaled(one, bins), bins - 1).astype(np.intp)
    # the spline is four bins wide: one spare bin below the range, two above
    place = _scaled(other, bins) + 1.0
    base = np.minimum(place, bins).astype(np.intp)
    width = bins + 3
    joint = np.zeros(bins * width)
    for offset in (-1, 0, 1, 2):
        weight = CUBIC_B_SPLINE(place - (base + offset))
        joint += np.bincount(row * width + base + offset, weight, bins * width)
    return mutual_information(joint.reshape(bins, width))


def normalized_mutual_information(one: np.ndarray, other: np.ndarray, bins: int = 32) -> float:
    """Compute 2 I(a; b) / (H(a) + H(b)), the symmetric uncertainty of Witten and Frank.

    It is symmetric, and 1 only where each image determines the other. scikit-image's function of the same name is
    Studholme's (H(a) + H(b)) / H(a, b); this one is 2 - 2 / Studholme's.

    Args:
        one: Samples of the first image, any shape, at least one.
        other: Samples of the second image at the same places, same shape.
        bins: Number of equal bins over each image's range.

    Returns:
        A value from 0 to 1; 0 where an image is constant.
    """
    joint = np.histogram2d(one.ravel(), other.ravel(), bins)[0]
    apart = float(entropy(joint.sum(axis=1)) + entropy(joint.sum(axis=0)))
    return max(0.0, 2.0 * mutual_information(joint) / apart) if apart > 0 else 0.0


def _scaled(values: np.ndarray, top: int) -> np.ndarray:
    """Return the values, flattened, as float64 from 0 to `top`."""
    values = values.ravel().astype(np.float64)
    return (values - values.min()) * (top / np.ptp(values))
