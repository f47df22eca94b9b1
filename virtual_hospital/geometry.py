"""Stacks of slices in a scanner's space, poses of a head in it, and sampling with a real slice profile.

Convention: a point is (x, y, z) mm, LPS, of a scanner; an index is (i, j, k) = (column, row, slice); arrays
are (D, H, W) = (k, j, i). Matrices are 4x4, acting on column vectors.
"""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from virtual_hospital.anatomy import ORIGIN_INDEX

# Offsets of the samples that are averaged to one voxel, in units of pixel, pixel, slice thickness: spread
# evenly over the thickness, and over the pixel like the digits of a Latin square
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
    """Slices in scanner space: `index_to_mm` 4x4 maps (i, j, k) to LPS mm; `shape` is (D, H, W).

    The third column of the matrix is the step between slices; for a tilted gantry it is not their normal.
    """

    index_to_mm: np.ndarray
    shape: tuple[int, int, int]
    thickness_mm: float

    @property
    def pixel_spacing_mm(self) -> float:
        """Side of the square pixels."""
        return float(np.linalg.norm(self.index_to_mm[:3, 0]))

    @property
    def row_direction(self) -> np.ndarray:
        """Unit vector along a row, (3,): the first half of ImageOrientationPatient."""
        return self.index_to_mm[:3, 0] / self.pixel_spacing_mm

    @property
    def column_direction(self) -> np.ndarray:
        """Unit vector down a column, (3,): the second half of ImageOrientationPatient."""
        return self.index_to_mm[:3, 1] / self.pixel_spacing_mm

    @property
    def normal(self) -> np.ndarray:
        """Unit vector (3,) of increasing slice position."""
        return np.cross(self.row_direction, self.column_direction)

    def position(self, k: int) -> np.ndarray:
        """ImagePositionPatient (3,) of slice k: the centre of its first pixel."""
        return self.index_to_mm[:3, 3] + k * self.index_to_mm[:3, 2]

    @property
    def spacing_mm(self) -> float:
        """Distance of neighbouring slices along their normal."""
        return float(self.index_to_mm[:3, 2] @ self.normal)


def stack(
    rotation: np.ndarray,
    center_mm: np.ndarray,
    shape: tuple[int, int, int],
    pixel_mm: float,
    spacing_mm: float,
    thickness_mm: float,
    step_direction: np.ndarray | None = None,
) -> Grid:
    """Slices around `center_mm`; the columns of `rotation` (3x3) are row, column and normal direction.

    `step_direction` (unit, default the normal) is where the table moves; slices stay `spacing_mm` apart
    along the normal, as tilted scans are.
    """
    normal = rotation[:, 2]
    step = normal if step_direction is None else step_direction / float(step_direction @ normal)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([rotation[:, 0] * pixel_mm, rotation[:, 1] * pixel_mm, step * spacing_mm], 1)
    middle = (np.array(shape[::-1]) - 1) / 2.0
    matrix[:3, 3] = center_mm - matrix[:3, :3] @ middle
    return Grid(matrix, shape, thickness_mm)


def rotation_matrix(degrees: tuple[float, float, float]) -> np.ndarray:
    """3x3 rotation about x, then y, then z (fixed axes), angles in degrees."""
    x, y, z = np.deg2rad(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def pose(degrees: tuple[float, float, float], shift_mm: tuple[float, float, float]) -> np.ndarray:
    """4x4 rigid matrix: a head point to a scanner point."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_matrix(degrees)
    matrix[:3, 3] = shift_mm
    return matrix


# Columns: along a row, down a column, slice normal. Coronal rows run to the left, sagittal ones to posterior
CORONAL = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
SAGITTAL = np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


def scanner_to_head_index(head_to_scanner: np.ndarray) -> np.ndarray:
    """4x4: a scanner point in mm to the index (i, j, k) of the 1 mm head array."""
    matrix = np.eye(4)
    matrix[:3, 3] = ORIGIN_INDEX[::-1]
    return matrix @ np.linalg.inv(head_to_scanner)


def sample(
    volume: np.ndarray, grid: Grid, mm_to_index: np.ndarray, outside: float, nearest: bool = False
) -> np.ndarray:
    """float32 grid.shape: the volume (D, H, W) as the scanner's slices see it.

    `mm_to_index` maps scanner points to the volume's (i, j, k). Each voxel is the mean over its pixel and
    slice thickness (partial volume); `nearest` takes labels at the voxel's middle instead, in the volume's
    own type. `outside` is the value beyond the array.
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
