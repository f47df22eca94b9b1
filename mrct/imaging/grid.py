"""The grid of square slices that the networks see, placed on a patient by the MR alone.

Conventions: arrays (k, j, i) = (D, H, W), points (x, y, z) in mm, LPS. The grid keeps the axes and the slices of the
image. Only rows and columns are resampled, then padded or cropped to a square; nothing is stretched.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk

from mrct.core.errors import DataError
from mrct.imaging.masks import MaskError, head_mask_of_mr
from mrct.imaging.volumes import affine, like, match_resolution, spacing_kji_mm, to_array

Affine = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Grid:
    """Grid of `depth` slices of image_size x image_size pixels; the 4x4 `affine` maps an index (i, j, k) to LPS mm."""

    image_size: int
    depth: int
    affine: Affine

    def spacing_mm(self) -> tuple[float, float, float]:
        """Return the voxel spacing along (i, j, k), mm."""
        x, y, z = np.linalg.norm(np.asarray(self.affine)[:3, :3], axis=0)
        return float(x), float(y), float(z)

    def reference(self) -> sitk.Image:
        """Make an empty uint8 image with this geometry, to resample onto."""
        matrix = np.asarray(self.affine)
        image = sitk.Image(self.image_size, self.image_size, self.depth, sitk.sitkUInt8)
        image.SetSpacing(self.spacing_mm())
        image.SetOrigin(matrix[:3, 3].tolist())
        image.SetDirection((matrix[:3, :3] / self.spacing_mm()).ravel().tolist())
        return image

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers and lists, from which `from_json` makes an equal grid."""
        return {
            "image_size": self.image_size,
            "depth": self.depth,
            "affine": [list(row) for row in self.affine],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Grid":
        """Make a grid from what `to_json` returned, or from any mapping with image_size, depth and affine."""
        rows = tuple(tuple(float(value) for value in row) for row in content["affine"])
        return cls(int(content["image_size"]), int(content["depth"]), rows)


def make_grid(mr: sitk.Image, image_size: int, pixel_spacing_mm: float) -> Grid:
    """Make the grid that is centered on the in-plane box of the MR's head.

    The pixels of the grid lie a whole number of pixel_spacing_mm from the first pixel of the MR. An MR that has this
    pixel spacing already is therefore cropped and padded, not interpolated.

    Args:
        mr: The MR, in LPS axes.
        image_size: Rows and columns of the grid.
        pixel_spacing_mm: Spacing of its rows and columns.
    """
    step = _step(mr, pixel_spacing_mm)
    half = (image_size - 1) / 2
    first = np.round(head_center(mr) / step - half)
    return centered_grid(mr, (first + half) * step, image_size, pixel_spacing_mm)


def centered_grid(
    image: sitk.Image, center_index: np.ndarray, image_size: int, pixel_spacing_mm: float
) -> Grid:
    """Make the grid with the axes and slices of an image, centered on its continuous index (i, j)."""
    first = np.asarray(center_index) - (image_size - 1) / 2 * _step(image, pixel_spacing_mm)
    matrix = affine(image)
    matrix[:3, 3] = (matrix @ np.array([*first, 0.0, 1.0]))[:3]
    matrix[:3, :2] *= _step(image, pixel_spacing_mm)
    return Grid(image_size, image.GetSize()[2], tuple(tuple(row) for row in matrix.tolist()))


def head_center(mr: sitk.Image) -> np.ndarray:
    """Find the continuous index (i, j) of the middle of the head's in-plane box, of all slices together.

    It is the middle of the image if the MR shows no head.
    """
    try:
        head = head_mask_of_mr(to_array(mr).astype(np.float32), spacing_kji_mm(mr))
    except MaskError:
        return (np.array(mr.GetSize()[:2]) - 1) / 2
    return box_center(head)


def box_center(mask: np.ndarray) -> np.ndarray:
    """Find the continuous index (i, j) of the middle of the in-plane box of a mask (D, H, W).

    Raises:
        DataError: The mask is empty.
    """
    rows, columns = (np.flatnonzero(mask.any(axis=axes)) for axes in ((0, 2), (0, 1)))
    if rows.size == 0:
        raise DataError(f"mask {mask.shape}: empty, so it has no center")
    return np.array([columns[0] + columns[-1], rows[0] + rows[-1]]) / 2


def to_grid(image: sitk.Image, grid: Grid, fill: float, nearest: bool = False) -> np.ndarray:
    """Resample an image onto the grid.

    Where the grid is coarser, the image is first smoothed in its plane to avoid aliasing.

    Args:
        image: The image to read.
        grid: The grid to fill.
        fill: Value outside the image.
        nearest: Take the nearest voxel, for labels; linear interpolation otherwise.

    Returns:
        (D, H, W) float32.
    """
    return to_array(_resample(image, grid.reference(), fill, nearest))


def from_grid(array: np.ndarray, grid: Grid, like: sitk.Image, fill: float) -> sitk.Image:
    """Resample an array of the grid back onto the voxels of an image, with linear interpolation.

    Args:
        array: (D, H, W), in the shape of the grid.
        grid: The grid on which the array lies.
        like: The image whose voxels are wanted.
        fill: Value outside the grid.

    Returns:
        A float32 image on the voxels of `like`.

    Raises:
        DataError: The array does not have the shape of the grid.
    """
    wanted = (grid.depth, grid.image_size, grid.image_size)
    if array.shape != wanted:
        raise DataError(f"array {array.shape} does not lie on this grid; expected {wanted}")
    return _resample(_on(array, grid), like, fill, nearest=False)


def cropped_fraction(mask: sitk.Image, grid: Grid) -> float:
    """Compute the share (0..1) of a mask's voxels whose centers lie outside the grid's rows and columns; 0 if empty."""
    inside = to_array(mask) > 0
    total = int(inside.sum())
    columns, rows = (_inside_axis(mask, grid, axis) for axis in (0, 1))
    kept = int(inside[:, rows][:, :, columns].sum())
    return (total - kept) / total if total else 0.0


def _step(image: sitk.Image, pixel_spacing_mm: float) -> np.ndarray:
    """Return the number of image pixels per grid pixel along (i, j)."""
    return pixel_spacing_mm / np.asarray(image.GetSpacing()[:2])


def _on(array: np.ndarray, grid: Grid) -> sitk.Image:
    return like(np.asarray(array, np.float32), grid.reference())


def _inside_axis(image: sitk.Image, grid: Grid, axis: int) -> np.ndarray:
    """Check for each column (axis 0) or row (axis 1) of the image whether its center lies inside the grid."""
    reference, last = grid.reference(), image.GetSize()[axis] - 1
    ends = [[0, 0, 0], [last if a == axis else 0 for a in range(3)]]
    points = [image.TransformIndexToPhysicalPoint(end) for end in ends]
    start, stop = (reference.TransformPhysicalPointToContinuousIndex(point)[axis] for point in points)
    index = np.linspace(start, stop, last + 1)
    return (index >= -0.5) & (index < grid.image_size - 0.5)


def _resample(image: sitk.Image, reference: sitk.Image, fill: float, nearest: bool) -> sitk.Image:
    source = sitk.Cast(image, sitk.sitkFloat32)
    if not nearest:
        x, y, _ = reference.GetSpacing()
        source = match_resolution(source, (0.0, y, x))
    interpolator = sitk.sitkNearestNeighbor if nearest else sitk.sitkLinear
    return sitk.Resample(source, reference, sitk.Transform(), interpolator, fill, sitk.sitkFloat32)
