"""Known smooth displacements of a slice: what a wrong registration would do, with the truth at hand.

Convention: a displacement is (2, H, W) in mm, along rows (j) first, then along columns (i). The warped image
shows at a pixel x what the image has at x + displacement(x).
"""

import numpy as np
from scipy import ndimage

#: Distance of the control points; a bulge is about twice as wide.
CONTROL_MM = 30.0
MAX_DRAWS = 100


def draw_displacement_mm(
    rng: np.random.Generator, head: np.ndarray, rms_mm: float, spacing_mm: float
) -> np.ndarray:
    """Head voxels above each pixel (H, W) -> (2, H, W) in mm; smooth, RMS length `rms_mm` in the head, no fold.

    A free-form deformation (Rueckert 1999, IEEE TMI 18:712): uniform cubic B-splines, whose coefficients are
    normal numbers, then one factor for the RMS. Departure: a field with a Jacobian determinant of zero or less
    at any pixel is drawn again. Errors: no head; every draw folds.
    """
    if not head.any():
        raise ValueError("warp: got a slice without head, expected a mask with pixels; rerun normalize")
    for _ in range(MAX_DRAWS):
        field = _smooth_field(rng, head.shape, CONTROL_MM / spacing_mm)
        field *= rms_mm / root_mean_square(field, head)
        if jacobian_determinant(field, spacing_mm).min() > 0:
            return field
    raise ValueError(
        f"warp: {MAX_DRAWS} fields of RMS {rms_mm:g} mm all fold; with control points {CONTROL_MM:g} mm apart "
        "choose a smaller displacement"
    )


def root_mean_square(field: np.ndarray, head: np.ndarray) -> float:
    """(2, H, W) and weights (H, W) -> RMS length over the head, in the field's unit."""
    return float(np.sqrt(np.average((field**2).sum(0), weights=head)))


def jacobian_determinant(displacement_mm: np.ndarray, spacing_mm: float) -> np.ndarray:
    """(2, H, W) in mm -> (H, W), determinant of x -> x + displacement(x) by central differences; 1: no change."""
    (jj, ji), (ij, ii) = (np.gradient(part, spacing_mm) for part in displacement_mm)
    return (1 + jj) * (1 + ii) - ji * ij


def warp(volume: np.ndarray, displacement_mm: np.ndarray, spacing_mm: float, outside: float) -> np.ndarray:
    """(D, H, W) -> same shape, float32; every slice by the same displacement, linear, `outside` beyond the edge."""
    at = np.indices(volume.shape[1:]) + displacement_mm / spacing_mm
    return np.stack(
        [ndimage.map_coordinates(plane, at, np.float32, order=1, cval=outside) for plane in volume]
    )


def _smooth_field(rng: np.random.Generator, shape: tuple[int, ...], step: float) -> np.ndarray:
    """(2, H, W), a cubic B-spline through normal coefficients `step` pixels apart."""
    places = [
        np.arange(size) / step + 1 for size in shape
    ]  # a spline has one coefficient before its first knot
    counts = [int(place[-1]) + 3 for place in places]  # and two behind its last
    at = np.meshgrid(*places, indexing="ij")
    coefficients = rng.standard_normal((2, *counts))
    return np.stack([ndimage.map_coordinates(part, at, order=3, prefilter=False) for part in coefficients])
