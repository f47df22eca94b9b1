"""Apply a network that sees cubes to a volume of any size: overlapping windows, smoothly blended, slab by slab.

A window is named by its first voxel (k, j, i) in the output. From a cube of `seen` voxels per side it makes the cube of
`made` voxels around the same center. Outside the volume the input is the reflection of the volume.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from mrct.core.errors import DataError

#: Patches (N, C, seen, seen, seen) -> their middles (N, made, made, made).
Predict = Callable[[np.ndarray], np.ndarray]
#: Slice indices (n,) -> those slices of every input image, (C, n, H, W).
Read = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Window:
    """Sides of the input and output cubes in voxels; neighboring outputs share `overlap` (0 to < 1) of a side."""

    seen: int
    made: int
    overlap: float

    def __post_init__(self) -> None:
        if (self.seen - self.made) % 2 or not 0 < self.made <= self.seen or not 0 <= self.overlap < 1:
            raise DataError(
                f"window: sees {self.seen}, makes {self.made}, overlap {self.overlap}; expected sides that differ "
                "by an even number, the second not larger, and an overlap from 0 to below 1"
            )

    @property
    def margin(self) -> int:
        """Return the number of input voxels beyond each face of the output."""
        return (self.seen - self.made) // 2

    @property
    def stride(self) -> int:
        """Return the number of voxels from one window to the next."""
        return max(round(self.made * (1 - self.overlap)), 1)


def starts(length: int, window: Window) -> list[int]:
    """List the first voxels of the windows along an axis; the last window ends at the end of the axis."""
    last = length - window.made
    return [*range(0, last, window.stride), last]


def blending_weights(length: int, window: Window) -> np.ndarray:
    """Compute the weights (windows, made) along an axis, float32; at each voxel the weights of all windows sum to 1.

    They are squared sines with zeros half a voxel outside the window, so that they vanish nowhere, not even at the
    volume's faces. With an overlap of one half they are Hann windows; without overlap all are 1.
    """
    bell = np.sin(np.pi * (np.arange(window.made) + 0.5) / window.made) ** 2
    places = [slice(start, start + window.made) for start in starts(length, window)]
    total = np.zeros(length)
    for place in places:
        total[place] += bell
    return np.stack([bell / total[place] for place in places]).astype(np.float32)


def reflected(start: int, count: int, length: int) -> np.ndarray:
    """List `count` indices from `start` on; those beyond the axis are reflected at its first and last voxel."""
    period = max(2 * (length - 1), 1)
    index = np.arange(start, start + count) % period
    return np.minimum(index, period - index) if length > 1 else np.zeros_like(index)


def slabs(
    predict: Predict, read: Read, shape: tuple[int, int, int], window: Window, batch_size: int
) -> Iterator[np.ndarray]:
    """Yield the translated volume (D, H, W), float32, as slabs (d, H, W) in order of their slices.

    Memory holds `seen` slices of input and `made` of output, however many slices the volume has. The weights are a
    product over the axes and sum to 1, so that no division follows.

    Raises:
        DataError: The volume is smaller than what a window makes.
    """
    if min(shape) < window.made:
        raise DataError(
            f"volume of {shape} voxels, but a window makes {window.made} per side; take a smaller patch, "
            "a smaller resample_slices_mm, or a method that works by slices"
        )
    weights = [blending_weights(length, window) for length in shape]
    first = starts(shape[0], window)
    held = np.zeros((window.made, *shape[1:]), np.float32)
    for row, start in enumerate(first):
        seen = read(reflected(start - window.margin, window.seen, shape[0]))
        _add_row(held, predict, seen, weights[0][row], weights[1:], window, batch_size)
        finished = first[row + 1] - start if row + 1 < len(first) else window.made
        yield held[:finished].copy()
        held[: window.made - finished] = held[finished:]
        held[window.made - finished :] = 0.0


def _add_row(
    held: np.ndarray,
    predict: Predict,
    seen: np.ndarray,
    depth_weights: np.ndarray,
    plane_weights: list[np.ndarray],
    window: Window,
    batch_size: int,
) -> None:
    """Add to `held` (made, H, W) all windows that begin at one slice; `seen` is (C, seen, H, W)."""
    rows, columns = (list(enumerate(starts(length, window))) for length in held.shape[1:])
    places = list(product(rows, columns))
    for begin in range(0, len(places), batch_size):
        batch = places[begin : begin + batch_size]
        made = predict(np.stack([_patch(seen, j, i, window) for (_, j), (_, i) in batch]))
        for ((row, j), (column, i)), cube in zip(batch, made, strict=True):
            weight = depth_weights[:, None, None] * plane_weights[0][row][:, None] * plane_weights[1][column]
            held[:, j : j + window.made, i : i + window.made] += cube * weight


def _patch(seen: np.ndarray, j: int, i: int, window: Window) -> np.ndarray:
    """Cut (C, seen, seen, seen) out of (C, seen, H, W): the input of the window with the output at row j, column i."""
    rows = reflected(j - window.margin, window.seen, seen.shape[2])
    columns = reflected(i - window.margin, window.seen, seen.shape[3])
    return seen[:, :, rows[:, None], columns]
