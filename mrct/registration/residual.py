"""Residual of a registration: the distance between the skin in CT and in MR, which both show in every slice."""

import numpy as np
from scipy import ndimage

PERCENTILE = 90.0
IN_PLANE = ndimage.generate_binary_structure(2, 1)


def outline_distance_mm(
    one: np.ndarray, other: np.ndarray, seen: np.ndarray, pixel_mm: tuple[float, float]
) -> float:
    """Compute the 90th percentile of the distance from one outline to the other, slice by slice.

    Args:
        one: (D, H, W) bool, the head in one image.
        other: (D, H, W) bool, the head in the other image.
        seen: (D, H, W) bool, where both scans have data; outline pixels elsewhere do not count.
        pixel_mm: Spacing of rows and columns.

    Returns:
        The mean of both directions, in mm; NaN if no slice shows both outlines.
    """
    there, back = _distances(one, other, seen, pixel_mm), _distances(other, one, seen, pixel_mm)
    if not (there.size and back.size):
        return float("nan")
    return float((np.percentile(there, PERCENTILE) + np.percentile(back, PERCENTILE)) / 2)


def _distances(
    one: np.ndarray, other: np.ndarray, seen: np.ndarray, pixel_mm: tuple[float, float]
) -> np.ndarray:
    """Measure the distance from each outline pixel of `one` to the nearest of `other` in slices that have both."""
    found = [np.empty(0)]
    for here, there, both in zip(one, other, seen, strict=True):
        mine, theirs = _outline(here) & both, _outline(there) & both
        if mine.any() and theirs.any():
            found.append(ndimage.distance_transform_edt(~theirs, sampling=pixel_mm)[mine])
    return np.concatenate(found)


def _outline(section: np.ndarray) -> np.ndarray:
    """Return the outermost pixels of the head; the edge of the image is no outline."""
    return section & ~ndimage.binary_erosion(section, IN_PLANE, border_value=1)
