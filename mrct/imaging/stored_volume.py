"""A volume as a file stores it: its voxels, its place, and the error for a file that is not whole."""

from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import SimpleITK as sitk

from mrct.core.errors import DataError

#: 1024³ voxels: a head of 256 mm at 0.25 mm. A header that states more is damaged.
MAX_VOXELS = 1 << 30
#: Largest entry of |DᵀD - 1| of a direction matrix D. Axes that four decimals describe stay below; a shear of this size
#: moves a voxel 250 mm away by 0.25 mm.
ORTHONORMAL_TOLERANCE = 1e-3
_CHUNK_BYTES = 16 << 20


class VolumeError(DataError):
    """Error for a file that is not a usable 3D volume.

    Attributes:
        reason: What is wrong and what to do, the same text for all files with this fault; it names no file and holds
            nothing of the header, so that tables may show it.
    """

    def __init__(self, reason: str, found: str = "") -> None:
        """Make the error; `found` are the figures of this file."""
        super().__init__(f"{reason} ({found})" if found else reason)
        self.reason = reason


@dataclass(frozen=True)
class StoredVolume:
    """Voxels and place of a volume.

    Attributes:
        voxels: (D, H, W) as stored, of any integer or floating-point type.
        spacing_mm: (3,) along i, j, k.
        direction: (3, 3); the columns are the LPS directions of i, j, k.
        origin_mm: (3,) LPS point of voxel (0, 0, 0).
        slope, intercept: A stored value times `slope` plus `intercept` is the value meant.
    """

    voxels: np.ndarray
    spacing_mm: np.ndarray
    direction: np.ndarray
    origin_mm: np.ndarray
    slope: float = 1.0
    intercept: float = 0.0

    def image(self) -> sitk.Image:
        """Return the volume as float32.

        Raises:
            VolumeError: The place is not finite, the axes are not orthonormal, or a value is not finite.
        """
        self._require_place()
        values = self.voxels
        with np.errstate(over="ignore", invalid="ignore"):
            if (self.slope, self.intercept) != (1.0, 0.0):
                values = values.astype(np.float64) * self.slope + self.intercept
            # an own copy: SimpleITK takes the memory of native byte order as it is
            values = values.astype(np.float32)
        not_finite = int(np.count_nonzero(~np.isfinite(values)))
        if not_finite:
            raise VolumeError(
                "it holds voxels that are NaN, infinite or beyond 32 bits: export it again with numbers everywhere",
                f"{not_finite} of {values.size} voxels",
            )
        image = sitk.GetImageFromArray(values)
        image.SetSpacing(self.spacing_mm.tolist())
        image.SetDirection(self.direction.ravel().tolist())
        image.SetOrigin(self.origin_mm.tolist())
        return image

    def _require_place(self) -> None:
        numbers = np.concatenate([self.spacing_mm, self.direction.ravel(), self.origin_mm])
        if not np.isfinite(numbers).all() or (self.spacing_mm <= 0).any():
            raise VolumeError(
                "its spacing, directions or origin are no usable numbers: export it again with its geometry"
            )
        deviation = float(np.abs(self.direction.T @ self.direction - np.eye(3)).max())
        if deviation > ORTHONORMAL_TOLERANCE:
            raise VolumeError(
                "its axes are not at right angles (a shear), or not of unit length: resample it onto an orthogonal "
                "grid",
                f"off by {deviation:.2g}, expected at most {ORTHONORMAL_TOLERANCE:g}",
            )


def require_shape(sizes: list[int]) -> tuple[int, int, int]:
    """Return the sizes (i, j, k) of a 3D volume, from 3D or from more dimensions of size 1.

    Raises:
        VolumeError: Another number of dimensions, several volumes, or a size that no volume has.
    """
    n_voxels = 1
    for size in sizes:
        n_voxels *= size
    found = " x ".join(map(str, sizes))
    if any(size < 1 for size in sizes) or n_voxels > MAX_VOXELS:
        raise VolumeError(
            f"its header states sizes that no volume has (expected 1 to {MAX_VOXELS} voxels): export it again",
            f"got {found}",
        )
    if len(sizes) < 3 or any(size != 1 for size in sizes[3:]):
        raise not_scalar(f"got {found}")
    return sizes[0], sizes[1], sizes[2]


def read_exactly(stream: BinaryIO, n_bytes: int) -> bytearray:
    """Read `n_bytes`, in parts: memory grows with the file, not with what its header claims.

    Raises:
        VolumeError: The stream ends before.
    """
    content = bytearray()
    while len(content) < n_bytes:
        part = stream.read(min(_CHUNK_BYTES, n_bytes - len(content)))
        if not part:
            raise cut_off(len(content), n_bytes)
        content += part
    return content


def not_scalar(found: str = "") -> VolumeError:
    """Return the error for two dimensions, several volumes, color, vectors and complex numbers."""
    return VolumeError("not one scalar 3D volume: export one volume with one value per voxel", found)


def cut_off(got: int, expected: int) -> VolumeError:
    """Return the error for a file that ends too early."""
    return VolumeError("the file is cut off: copy or download it again", f"got {got} of {expected} bytes")


def too_long() -> VolumeError:
    """Return the error for a file that goes on after its last voxel."""
    return VolumeError("it holds more bytes than its header states: one of both is damaged, export it again")


def damaged() -> VolumeError:
    """Return the error for compressed data that contradict their checksum."""
    return VolumeError("its compressed data are damaged, they fail their check: copy or download it again")
