"""Volumes on disk and in space: NIfTI, LPS axes, 4x4 matrices, resampling onto another volume's grid.

Convention: a volume is a 3D SimpleITK image; its array is (k, j, i) = (D, H, W), its points are (x, y, z)
in mm, LPS; a 4x4 matrix maps column points (x, y, z, 1). After `to_lps` i runs to the patient's left,
j to posterior, k to superior.
"""

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter1d

from mrct.core.errors import DataError

#: CT value, in HU, of voxels without data: the usual padding value, and the lowest value of most scanners.
AIR_HU = -1024.0
FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))
# NIfTI keeps its geometry in 32 bits: coordinates of a few hundred mm come back within 1e-4
GEOMETRY_TOLERANCE_MM = 1e-2


class VolumeError(DataError):
    """A file that is no usable 3D volume."""


def read_volume(path: Path) -> sitk.Image:
    """The file as float32 volume in LPS axes; VolumeError if it is unreadable, not 3D or not finite."""
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError:  # ITK's own text holds the whole path
        raise VolumeError(f"{path.name}: cannot be read as an image; export it again") from None
    if image.GetDimension() == 4 and image.GetSize()[3] == 1:
        image = image[:, :, :, 0]
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise VolumeError(
            f"{path.name}: got {image.GetDimension()} dimensions and "
            f"{image.GetNumberOfComponentsPerPixel()} values a voxel, expected one 3D grey volume"
        )
    volume = to_lps(sitk.Cast(image, sitk.sitkFloat32))
    not_finite = int(np.count_nonzero(~np.isfinite(sitk.GetArrayViewFromImage(volume))))
    if not_finite:
        raise VolumeError(f"{path.name}: {not_finite} voxels are NaN or infinite; export it again")
    return volume


def write_volume(path: Path, volume: sitk.Image) -> None:
    """NIfTI with the volume's own pixel type; the same volume gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bare = sitk.Image(volume)
    for key in bare.GetMetaDataKeys():
        bare.EraseMetaData(key)  # free text of a source header must not travel on
    sitk.WriteImage(bare, str(path), useCompression=path.name.endswith(".gz"))


def to_lps(volume: sitk.Image) -> sitk.Image:
    """The same voxels, axes permuted and flipped to the nearest of left, posterior, superior."""
    return sitk.DICOMOrient(volume, "LPS")


def to_array(volume: sitk.Image) -> np.ndarray:
    """(D, H, W) copy of the voxels."""
    return sitk.GetArrayFromImage(volume)


def like(array: np.ndarray, grid: sitk.Image) -> sitk.Image:
    """The (D, H, W) array as a volume on the grid of `grid`; bool becomes uint8."""
    volume = sitk.GetImageFromArray(array.astype(np.uint8) if array.dtype == bool else array)
    volume.CopyInformation(grid)
    return volume


def spacing_kji_mm(volume: sitk.Image) -> tuple[float, float, float]:
    """Voxel spacing in the order of the array's axes."""
    x, y, z = volume.GetSpacing()
    return z, y, x


def voxel_volume_mm3(volume: sitk.Image) -> float:
    """Volume of one voxel."""
    return float(np.prod(volume.GetSpacing()))


def affine(volume: sitk.Image) -> np.ndarray:
    """4x4, index (i, j, k) to LPS mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(volume.GetDirection(), (3, 3)) * np.asarray(volume.GetSpacing())
    matrix[:3, 3] = volume.GetOrigin()
    return matrix


def from_array(array: np.ndarray, index_to_lps: np.ndarray) -> sitk.Image:
    """A (D, H, W) array with its 4x4 index-to-LPS matrix as a volume; axes must be orthogonal."""
    spacing = np.linalg.norm(index_to_lps[:3, :3], axis=0)
    volume = sitk.GetImageFromArray(array)
    volume.SetSpacing(spacing.tolist())
    volume.SetDirection((index_to_lps[:3, :3] / spacing).ravel().tolist())
    volume.SetOrigin(index_to_lps[:3, 3].tolist())
    return volume


def same_grid(one: sitk.Image, other: sitk.Image) -> bool:
    """True if both have the same size and every voxel lies at the same place within 0.01 mm."""
    if one.GetSize() != other.GetSize():
        return False
    far_corner = np.append(np.asarray(one.GetSize(), float), 1.0)
    shift = affine(one) - affine(other)
    return bool(np.abs(shift * far_corner).sum(axis=1).max() < GEOMETRY_TOLERANCE_MM)


def transform_points(matrix: np.ndarray, points_mm: np.ndarray) -> np.ndarray:
    """(n, 3) points through a 4x4 matrix."""
    return points_mm @ matrix[:3, :3].T + matrix[:3, 3]


def to_matrix(transform: sitk.Transform) -> np.ndarray:
    """4x4 of a linear SimpleITK transform (which has a center); same point mapping."""
    origin = np.asarray(transform.TransformPoint((0.0, 0.0, 0.0)))
    axes = [np.asarray(transform.TransformPoint(tuple(unit))) - origin for unit in np.eye(3)]
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack(axes, axis=1)
    matrix[:3, 3] = origin
    return matrix


def to_transform(matrix: np.ndarray) -> sitk.AffineTransform:
    """The SimpleITK transform with the point mapping of a 4x4 matrix."""
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(matrix[:3, :3].ravel().tolist())
    transform.SetTranslation(matrix[:3, 3].tolist())
    return transform


def rotation_deg(matrix: np.ndarray) -> float:
    """Angle of a rigid 4x4 matrix about its own axis, 0 to 180."""
    return float(np.degrees(np.arccos(np.clip((np.trace(matrix[:3, :3]) - 1.0) / 2.0, -1.0, 1.0))))


def resample_onto(
    moving: sitk.Image,
    grid: sitk.Image,
    moving_to_grid: np.ndarray,
    outside: float,
    nearest: bool = False,
) -> sitk.Image:
    """`moving` at the voxels of `grid`, `outside` where it has no data.

    moving_to_grid: 4x4, a point of `moving` to the point of `grid`, LPS mm. Linear interpolation, which
    keeps values in range; each edge voxel reaches half a voxel outward, so a single slice has its thickness.
    """
    return sitk.Resample(
        moving,
        grid,
        to_transform(np.linalg.inv(moving_to_grid)),
        sitk.sitkNearestNeighbor if nearest else sitk.sitkLinear,
        outside,
        moving.GetPixelID(),
    )


def match_resolution(volume: sitk.Image, target_kji_mm: tuple[float, ...]) -> sitk.Image:
    """Blurred, along each axis that is finer than the target, to the target's resolution; same grid.

    A thick slice averages over its thickness: reading a thin-slice volume at the thick slice's center plane
    alone would compare other anatomy and alias. The Gaussian's FWHM is the missing resolution in quadrature.
    """
    array = to_array(volume).astype(np.float32)
    for axis, (own, target) in enumerate(zip(spacing_kji_mm(volume), target_kji_mm, strict=True)):
        if target > own:
            sigma = np.sqrt(target**2 - own**2) / FWHM_PER_SIGMA / own
            array = gaussian_filter1d(array, sigma, axis=axis, mode="nearest")
    return like(array, volume)


def coarsened(volume: sitk.Image, spacing_mm: float) -> sitk.Image:
    """The same box with at least `spacing_mm` between voxels; finer axes are blurred and resampled."""
    own, size = np.asarray(volume.GetSpacing()), np.asarray(volume.GetSize())
    new_size = np.maximum(np.round(size * own / np.maximum(own, spacing_mm)), 1).astype(int)
    new = size * own / new_size
    grid = sitk.Image(new_size.tolist(), sitk.sitkUInt8)
    grid.SetDirection(volume.GetDirection())
    grid.SetSpacing(new.tolist())
    grid.SetOrigin(volume.TransformContinuousIndexToPhysicalPoint(((new / own - 1) / 2).tolist()))
    edge = float(to_array(volume).min())
    return resample_onto(match_resolution(volume, tuple(new[::-1])), grid, np.eye(4), edge)
