"""How well a CT slice and an MR slice show the same level: three scores in 0..1, one slice at a time.

Why mutual information decides and the others stand beside it: on 6 virtual patients (99 slices) with the MR
shifted by 4 and 8 mm the area under the ROC curve was 0.97 and 0.99 for normalized mutual information, 0.75
and 0.85 for edge agreement, 0.85 and 0.86 for mask overlap; for a CT slice 10 mm off 0.94 to 0.97.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

CT_WINDOW_HU = (-200.0, 1500.0)
MR_BRIGHT_PERCENTILE = 99.5
BINS = 32
EDGE_SIGMA_MM = 1.5


@dataclass(frozen=True)
class Match:
    """quality: normalized mutual information; mask_overlap: Dice of the CT's and the MR's head;
    edge_agreement: parallel gradients. 1 is perfect; NaN where there is nothing to compare."""

    quality: float
    mask_overlap: float
    edge_agreement: float


def match_slices(
    ct_hu: np.ndarray, mr: np.ndarray, heads: tuple[np.ndarray, np.ndarray], seen: np.ndarray, pixel_mm: float
) -> Match:
    """(H, W) slices on one grid; heads (of the CT, of the MR) and seen (both scans have data) are bool."""
    inside = (heads[0] | heads[1]) & seen
    if not inside.any():
        return Match(np.nan, np.nan, np.nan)
    ct = np.clip(ct_hu, *CT_WINDOW_HU)
    bright = np.minimum(mr, np.percentile(mr[inside], MR_BRIGHT_PERCENTILE))
    return Match(
        normalized_mutual_information(ct[inside], bright[inside]),
        dice(heads[0] & seen, heads[1] & seen),
        edge_agreement(ct, bright, inside, EDGE_SIGMA_MM / pixel_mm),
    )


def normalized_mutual_information(one: np.ndarray, other: np.ndarray, bins: int = BINS) -> float:
    """2 I(a; b) / (H(a) + H(b)) of a joint histogram, 0..1; 0 when either is constant.

    The symmetric uncertainty of Witten and Frank; symmetric, and 1 only where each tells the other.
    """
    joint = np.histogram2d(one.ravel(), other.ravel(), bins)[0]
    joint /= joint.sum()
    apart = _entropy(joint.sum(axis=1)) + _entropy(joint.sum(axis=0))
    return max(0.0, 2.0 * (apart - _entropy(joint.ravel())) / apart) if apart > 0 else 0.0


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """2 |a and b| / (|a| + |b|) of two masks; NaN for two empty ones."""
    total = np.count_nonzero(one) + np.count_nonzero(other)
    return 2.0 * np.count_nonzero(one & other) / total if total else np.nan


def edge_agreement(ct: np.ndarray, mr: np.ndarray, inside: np.ndarray, sigma_px: float) -> float:
    """Squared cosine of the angle between the gradients, averaged with the CT's gradient as weight, 0..1.

    Normalized gradient field, Haber and Modersitzki 2006, eq. 3.2; its noise parameter is each image's median
    gradient inside. Departure: the weight, because most of a head's pixels hold no edge. NaN without any edge.
    """
    of_ct, of_mr = (_gradient(image, sigma_px) for image in (ct, mr))
    squares = [(gradient**2).sum(axis=0) for gradient in (of_ct, of_mr)]
    weight = np.sqrt(squares[0])[inside]
    if not weight.any() or not squares[1][inside].any():
        return np.nan
    floors = [float(np.median(np.sqrt(square[inside]))) ** 2 for square in squares]
    along = ((of_ct * of_mr).sum(axis=0) ** 2)[inside]
    norms = [np.maximum(square[inside] + floor, 1e-12) for square, floor in zip(squares, floors, strict=True)]
    return float(np.average(along / (norms[0] * norms[1]), weights=weight))


def _gradient(image: np.ndarray, sigma_px: float) -> np.ndarray:
    smooth = image.astype(np.float64)
    return np.stack([ndimage.gaussian_filter(smooth, sigma_px, order=order) for order in ((1, 0), (0, 1))])


def _entropy(p: np.ndarray) -> float:
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())
