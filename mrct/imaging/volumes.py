"""Volumes on disk and in space: NIfTI, LPS axes, 4x4 matrices, resampling onto another volume's grid.

Conventions: a volume is a 3D SimpleITK image. Its array is (k, j, i) = (D, H, W), its points are (x, y, z) in mm,
LPS. A 4x4 matrix maps column points (x, y, z, 1). After `to_lps` i runs to the patient's left, j to posterior, k to
superior.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter1d

from mrct.core.errors import WriteError
from mrct.core.files import VOLUME_SUFFIXES, volume_stem, volume_suffix
from mrct.imaging.stored_volume import VolumeError
from mrct.imaging.volume_files import read_volume_file

FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))
# NIfTI keeps its geometry in 32 bits: coordinates of a few hundred mm come back within 1e-4
GEOMETRY_TOLERANCE_MM = 1e-2


def read_volume(path: Path) -> sitk.Image:
    """Read a file as a float32 volume in LPS axes.

    Args:
        path: NIfTI or MetaImage, 3D, or with further dimensions of size 1.

    Raises:
        VolumeError: The file is not whole, is not one scalar 3D volume, its axes are not orthogonal, or it holds values
            that are not finite. The message names the file without its folder.
    """
    try:
        return to_lps(read_volume_file(path))
    except VolumeError as error:
        raise VolumeError(f"{path.name}: {error}") from None


def write_volume(path: Path, volume: sitk.Image) -> None:
    """Write NIfTI or MetaImage with the volume's own pixel type and no metadata; the same volume gives the same bytes.

    The file appears when it is complete.

    Raises:
        VolumeError: The name has none of the known suffixes.
        WriteError: The file cannot be written.
    """
    suffix = volume_suffix(path)
    if not suffix:
        raise VolumeError(f"{path.name}: unknown suffix, expected one of {', '.join(VOLUME_SUFFIXES)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    bare = sitk.Image(volume)
    for key in bare.GetMetaDataKeys():
        # free text of a source header must not leave the project
        bare.EraseMetaData(key)
    with TemporaryDirectory(dir=path.parent, prefix=".") as folder:
        # ITK knows suffixes in lower case alone
        written = Path(folder, volume_stem(path) + suffix)
        try:
            sitk.WriteImage(bare, str(written), useCompression=suffix == ".nii.gz")
        except RuntimeError:
            raise WriteError(f"{path.name}: cannot be written; is the disk full?") from None
        for part in Path(folder).iterdir():
            if part != written:  # the voxels of .mhd
                part.replace(path.with_name(part.name))
        written.replace(path)


def to_lps(volume: sitk.Image) -> sitk.Image:
    """Permute and flip the axes to the nearest of left, posterior, superior; the voxels stay the same."""
    return sitk.DICOMOrient(volume, "LPS")


def to_array(volume: sitk.Image) -> np.ndarray:
    """Copy the voxels to an array (D, H, W)."""
    return sitk.GetArrayFromImage(volume)


def like(array: np.ndarray, grid: sitk.Image) -> sitk.Image:
    """Make a volume of an array (D, H, W) on the grid of `grid`; bool becomes uint8."""
    volume = sitk.GetImageFromArray(array.astype(np.uint8) if array.dtype == bool else array)
    volume.CopyInformation(grid)
    return volume


def spacing_kji_mm(volume: sitk.Image) -> tuple[float, float, float]:
    """Return the voxel spacing in the order of the array's axes (k, j, i), mm."""
    x, y, z = volume.GetSpacing()
    return z, y, x


def voxel_volume_mm3(volume: sitk.Image) -> float:
    """Return the volume of one voxel, mm³."""
    return float(np.prod(volume.GetSpacing()))


def affine(volume: sitk.Image) -> np.ndarray:
    """Return the 4x4 matrix from an index (i, j, k) to LPS mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(volume.GetDirection(), (3, 3)) * np.asarray(volume.GetSpacing())
    matrix[:3, 3] = volume.GetOrigin()
    return matrix


def from_array(array: np.ndarray, index_to_lps: np.ndarray) -> sitk.Image:
    """Make a volume of an array (D, H, W) and its 4x4 matrix from index to LPS mm, whose axes must be orthogonal."""
    spacing = np.linalg.norm(index_to_lps[:3, :3], axis=0)
    volume = sitk.GetImageFromArray(array)
    volume.SetSpacing(spacing.tolist())
    volume.SetDirection((index_to_lps[:3, :3] / spacing).ravel().tolist())
    volume.SetOrigin(index_to_lps[:3, 3].tolist())
    return volume


def same_grid(one: sitk.Image, other: sitk.Image) -> bool:
    """Check whether both have the same size and every voxel lies at the same place within 0.01 mm."""
    if one.GetSize() != other.GetSize():
        return False
    far_corner = np.append(np.asarray(one.GetSize(), float), 1.0)
    shift = affine(one) - affine(other)
    return bool(np.abs(shift * far_corner).sum(axis=1).max() < GEOMETRY_TOLERANCE_MM)


def centroid_mm(mask: sitk.Image) -> np.ndarray:
    """Return the mean (3,) of the places of a mask's voxels, LPS mm; the mask must not be empty."""
    middle_kji = np.argwhere(to_array(mask)).mean(axis=0)
    return transform_points(affine(mask), middle_kji[None, ::-1])[0]


def transform_points(matrix: np.ndarray, points_mm: np.ndarray) -> np.ndarray:
    """Map points (n, 3) in mm by a 4x4 matrix."""
    return points_mm @ matrix[:3, :3].T + matrix[:3, 3]


def to_matrix(transform: sitk.Transform) -> np.ndarray:
    """Return the 4x4 matrix with the point mapping of a linear SimpleITK transform, its center included."""
    origin = np.asarray(transform.TransformPoint((0.0, 0.0, 0.0)))
    axes = [np.asarray(transform.TransformPoint(tuple(unit))) - origin for unit in np.eye(3)]
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack(axes, axis=1)
    matrix[:3, 3] = origin
    return matrix


def to_transform(matrix: np.ndarray) -> sitk.AffineTransform:
    """Return the SimpleITK transform with the point mapping of a 4x4 matrix."""
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(matrix[:3, :3].ravel().tolist())
    transform.SetTranslation(matrix[:3, 3].tolist())
    return transform


def rotation_deg(matrix: np.ndarray) -> float:
    """Return the angle of a rigid 4x4 matrix about its own axis, 0 to 180 degrees."""
    return float(np.degrees(np.arccos(np.clip((np.trace(matrix[:3, :3]) - 1.0) / 2.0, -1.0, 1.0))))


def resample_onto(
    moving: sitk.Image,
    grid: sitk.Image,
    moving_to_grid: np.ndarray,
    outside: float,
    nearest: bool = False,
) -> sitk.Image:
    """Resample a volume onto the voxels of another one.

    Voxels at the edge extend half a voxel outward, so that a single slice has a thickness.

    Args:
        moving: The volume to read; its pixel type is kept.
        grid: The volume whose size, spacing and place the result has.
        moving_to_grid: 4x4, a point of `moving` to the point of `grid`, LPS mm.
        outside: Value where `moving` has no data.
        nearest: Take the nearest voxel, for labels; linear interpolation otherwise, which keeps values in range.
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
    """Blur a volume along each axis that is finer than the target, to the target's resolution; the grid stays.

    A thick slice averages over its thickness. A thin-slice volume that is sampled only at the center plane of the thick
    slice aliases and shows other anatomy. The FWHM of the Gaussian is sqrt(target² - spacing²).

    Args:
        volume: The volume to blur.
        target_kji_mm: Resolution to reach, in the order of the array's axes.
    """
    array = to_array(volume).astype(np.float32)
    for axis, (own, target) in enumerate(zip(spacing_kji_mm(volume), target_kji_mm, strict=True)):
        if target > own:
            sigma = np.sqrt(target**2 - own**2) / FWHM_PER_SIGMA / own
            array = gaussian_filter1d(array, sigma, axis=axis, mode="nearest")
    return like(array, volume)


def coarsened(volume: sitk.Image, spacing_mm: float) -> sitk.Image:
    """Resample a volume within its box to a spacing of at least `spacing_mm`, after blurring the finer axes."""
    own, size = np.asarray(volume.GetSpacing()), np.asarray(volume.GetSize())
    new_size = np.maximum(np.round(size * own / np.maximum(own, spacing_mm)), 1).astype(int)
    new = size * own / new_size
    grid = sitk.Image(new_size.tolist(), sitk.sitkUInt8)
    grid.SetDirection(volume.GetDirection())
    grid.SetSpacing(new.tolist())
    grid.SetOrigin(volume.TransformContinuousIndexToPhysicalPoint(((new / own - 1) / 2).tolist()))
    edge = float(to_array(volume).min())
    return resample_onto(match_resolution(volume, tuple(new[::-1])), grid, np.eye(4), edge)
