"""Smooth random fields: warps, bias fields, textures.

Convention: fields are (D, H, W) = (k, j, i); an axis is interpolated on its own (separable cubic B-spline),
so that a field of ten million voxels costs three small matrix products.
"""

import numpy as np


def spline_matrix(length: int, controls: int) -> np.ndarray:
    """float32 (length, controls): uniform cubic B-spline weights; each row sums to 1.

    The `controls` >= 4 control points span the axis with one beyond either end (de Boor, A Practical Guide
    to Splines, 1978). ValueError under 4.
    """
    if controls < 4:
        raise ValueError(f"{controls} control points on an axis, wanted at least 4 for a cubic spline")
    position = np.linspace(0.0, controls - 3, length)
    first = np.minimum(position.astype(int), controls - 4)
    t = position - first
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], 1) / 6
    matrix = np.zeros((length, controls), np.float32)
    matrix[np.arange(length)[:, None], first[:, None] + np.arange(4)] = weights
    return matrix


def smooth_field(shape: tuple[int, ...], period: float, rng: np.random.Generator) -> np.ndarray:
    """float32 `shape`: zero-mean, about unit-variance noise whose features are about `period` voxels wide."""
    controls = [max(4, round(length / period) + 3) for length in shape]
    field = rng.standard_normal(controls).astype(np.float32)
    for axis, (length, count) in enumerate(zip(shape, controls, strict=True)):
        field = np.moveaxis(np.tensordot(spline_matrix(length, count), field, (1, axis)), 0, axis)
    # a cubic B-spline of white noise keeps 151/315 of its variance an axis: the mean of the squared weights
    return np.ascontiguousarray(field) / np.float32((151 / 315) ** (len(shape) / 2))
