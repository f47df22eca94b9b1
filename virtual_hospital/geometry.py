"""Grids of slices in the space of a scanner, poses of a head in it, and sampling with partial volume.

A point is (x, y, z) in mm, LPS, in the coordinates of a scanner. An index is (i, j, k) = (column, row, slice). Arrays
are (D, H, W) = (k, j, i). Matrices are 4x4 and act on column vectors.
"""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from virtual_hospital.anatomy import ORIGIN_INDEX

# Offsets of the samples that are averaged to one voxel, in columns, rows and slice thicknesses. They are spread evenly
# over the thickness, and over the pixel as in a Latin square
SUBSAMPLES = (
    (-0.30, 0.10, -0.42),
    (0.10, 0.30, -0.25),
    (0.30, -0.10, -0.08),
    (-0.10, -0.30, 0.08),
    (0.30, 0.30, 0.25),
    (-0.30, -0.30, 0.42),
)


@dataclass(frozen=True)
class Grid:
    """Slices in scanner space: `index_to_mm` (4x4) maps (i, j, k) to LPS mm; `shape` is (D, H, W).

    The third column of the matrix is the step between slices. It is not parallel to their normal if the gantry is
    tilted.
    """

    index_to_mm: np.ndarray
    shape: tuple[int, int, int]
    thickness_mm: float

    @property
    def pixel_spacing_mm(self) -> float:
        """Width of the square pixels, mm."""
        return float(np.linalg.norm(self.index_to_mm[:3, 0]))

    @property
    def row_direction(self) -> np.ndarray:
        """Unit vector along a row, (3,): the first half of ImageOrientationPatient."""
        return self.index_to_mm[:3, 0] / self.pixel_spacing_mm

    @property
    def column_direction(self) -> np.ndarray:
        """Unit vector along a column, (3,): the second half of ImageOrientationPatient."""
        return self.index_to_mm[:3, 1] / self.pixel_spacing_mm

    @property
    def normal(self) -> np.ndarray:
        """Unit vector (3,) normal to the slices, toward the last slice."""
        return np.cross(self.row_direction, self.column_direction)

    def position(self, k: int) -> np.ndarray:
        """Return ImagePositionPatient (3,) of slice k: the center of its first pixel, mm."""
        return self.index_to_mm[:3, 3] + k * self.index_to_mm[:3, 2]

    @property
    def spacing_mm(self) -> float:
        """Distance between neighboring slices along their normal, mm."""
        return float(self.index_to_mm[:3, 2] @ self.normal)

    @property
    def center_mm(self) -> np.ndarray:
        """Center of the grid, (3,), mm."""
        return (self.index_to_mm @ np.append((np.array(self.shape[::-1]) - 1) / 2, 1.0))[:3]


@dataclass(frozen=True)
class Poses:
    """4x4 matrices, LPS mm: from a point of the head to a point of each scanner."""

    head_to_ct: np.ndarray
    head_to_mr: np.ndarray

    @property
    def ct_to_mr(self) -> np.ndarray:
        """4x4, LPS mm: from a point in CT coordinates to the same point in MR coordinates."""
        return self.head_to_mr @ np.linalg.inv(self.head_to_ct)


def stack(
    rotation: np.ndarray,
    center_mm: np.ndarray,
    shape: tuple[int, int, int],
    pixel_mm: float,
    spacing_mm: float,
    thickness_mm: float,
    step_direction: np.ndarray | None = None,
) -> Grid:
    """Make a grid of slices.

    Args:
        rotation: 3x3; its columns are the directions along a row, along a column and normal to the slices.
        center_mm: Center of the grid, (3,).
        shape: (D, H, W).
        pixel_mm: Width of a pixel.
        spacing_mm: Distance between slices along their normal.
        thickness_mm: Slice thickness.
        step_direction: Unit vector (3,) along which the table moves; by default the normal. It differs from the normal
            if the gantry is tilted.
    """
    normal = rotation[:, 2]
    step = normal if step_direction is None else step_direction / float(step_direction @ normal)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([rotation[:, 0] * pixel_mm, rotation[:, 1] * pixel_mm, step * spacing_mm], 1)
    middle = (np.array(shape[::-1]) - 1) / 2.0
    matrix[:3, 3] = center_mm - matrix[:3, :3] @ middle
    return Grid(matrix, shape, thickness_mm)


def regrid(
    grid: Grid, size: int, count: int, spacing_mm: float, thickness_mm: float, shift_mm: float = 0.0
) -> Grid:
    """Make a grid of other slices with the field of view and the tilt of `grid`.

    Args:
        grid: The grid whose center, field of view and directions are kept.
        size: Rows and columns.
        count: Number of slices.
        spacing_mm: Distance between slices along their normal.
        thickness_mm: Slice thickness.
        shift_mm: By how much the center moves along the table.
    """
    rotation = np.stack([grid.row_direction, grid.column_direction, grid.normal], 1)
    table = grid.index_to_mm[:3, 2] / np.linalg.norm(grid.index_to_mm[:3, 2])
    return stack(
        rotation,
        grid.center_mm + shift_mm * table,
        (count, size, size),
        grid.pixel_spacing_mm * grid.shape[2] / size,
        spacing_mm,
        thickness_mm,
        table,
    )


def rotation_matrix(degrees: tuple[float, float, float]) -> np.ndarray:
    """Return the 3x3 rotation about x, then y, then z (fixed axes), by angles in degrees."""
    x, y, z = np.deg2rad(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def pose(degrees: tuple[float, float, float], shift_mm: tuple[float, float, float]) -> np.ndarray:
    """Return the rigid 4x4 matrix from a point of the head to a point of a scanner."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_matrix(degrees)
    matrix[:3, 3] = shift_mm
    return matrix


# Columns: directions along a row, along a column and normal to the slices. Coronal rows run to the left, sagittal rows
# to posterior
CORONAL = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
SAGITTAL = np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


def scanner_to_head_index(head_to_scanner: np.ndarray) -> np.ndarray:
    """Return the 4x4 matrix from a point of a scanner in mm to an index (i, j, k) of the head's arrays."""
    matrix = np.eye(4)
    matrix[:3, 3] = ORIGIN_INDEX[::-1]
    return matrix @ np.linalg.inv(head_to_scanner)


def sample(
    volume: np.ndarray, grid: Grid, mm_to_index: np.ndarray, outside: float, nearest: bool = False
) -> np.ndarray:
    """Sample a volume on a grid of slices.

    Args:
        volume: (D, H, W).
        grid: The slices.
        mm_to_index: 4x4 from a scanner point to an index (i, j, k) of the volume.
        outside: Value beyond the volume.
        nearest: Take the nearest value at the center of each voxel, for labels. Otherwise each voxel is the mean over
            its pixel and the slice thickness (partial volume).

    Returns:
        An array of the grid's shape, float32; with `nearest`, of the volume's type.
    """
    image = sitk.GetImageFromArray(volume)
    if nearest:
        return _sample_at(
            image, mm_to_index @ grid.index_to_mm, grid.shape, outside, sitk.sitkNearestNeighbor
        )
    total = np.zeros(grid.shape, np.float32)
    for column, row, depth in SUBSAMPLES:
        shifted = grid.index_to_mm.copy()
        shifted[:3, 3] += shifted[:3, :2] @ (column, row) + depth * grid.thickness_mm * grid.normal
        total += _sample_at(image, mm_to_index @ shifted, grid.shape, outside, sitk.sitkLinear)
    return total / len(SUBSAMPLES)


def _sample_at(
    image: sitk.Image, index_to_index: np.ndarray, shape: tuple[int, int, int], outside: float, how: int
) -> np.ndarray:
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(index_to_index[:3, :3].ravel().tolist())
    transform.SetTranslation(index_to_index[:3, 3].tolist())
    size, origin, spacing = shape[::-1], (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    identity = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    out = sitk.Resample(image, size, transform, how, origin, spacing, identity, outside, image.GetPixelID())
    return sitk.GetArrayFromImage(out)
