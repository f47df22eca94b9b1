"""NIfTI-1 and NIfTI-2 files (nifti1.h, Cox et al. 2004; nifti2.h, 2011), also with gzip, of either byte order.

nibabel reads the fields of the header. The bytes are counted here, because readers fill up what is missing with zeros.
"""

import gzip
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError

from mrct.imaging.stored_volume import (
    StoredVolume,
    VolumeError,
    damaged,
    not_scalar,
    read_exactly,
    require_shape,
    too_long,
)

#: The ways in which a header states the place of its voxels agree if no corner of the volume moves by more. Half a
#: millimeter is less than a voxel, and more than the 32 bits of a quaternion lose (0.2 mm at 300 mm, if a is near 0).
SAME_PLACE_MM = 0.5
_GZIP = b"\x1f\x8b"
_MAGIC = {Nifti1Header: b"n+1", Nifti2Header: b"n+2"}
_MM_PER_UNIT = {1: 1000.0, 3: 1e-3}
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_nifti(path: Path) -> StoredVolume:
    """Read a file, with gzip or without as its first bytes say, to its end.

    The place comes from sform; from qform if sform is not set; without both from pixdim, with i, j, k along LPS as ITK
    does, since such a file does not state it.

    Raises:
        VolumeError: The file is no NIfTI, it is not whole, or it states two different places.
    """
    with path.open("rb") as file:
        is_zipped = file.read(2) == _GZIP
        file.seek(0)
        if not is_zipped:
            return _read(file)
        try:
            return _read(cast(BinaryIO, gzip.GzipFile(fileobj=file)))
        except EOFError:
            raise VolumeError(
                "the file is cut off: copy or download it again", "its gzip data have no end"
            ) from None
        except (gzip.BadGzipFile, zlib.error):
            raise damaged() from None


def _read(stream: BinaryIO) -> StoredVolume:
    header = _read_header(stream)
    n_dimensions = int(header["dim"][0])
    sizes = require_shape([int(size) for size in header["dim"][1 : 1 + max(n_dimensions, 0)]])
    kind = header.get_data_dtype()
    if kind.kind not in "iuf":
        raise not_scalar()
    offset = float(header["vox_offset"])
    start = header.structarr.nbytes
    # four bytes after the header announce extensions
    if not start + 4 <= offset < 1 << 30:
        raise VolumeError("its header states no usable place of the voxels (vox_offset): export it again")
    read_exactly(stream, int(offset) - start)
    voxels = np.frombuffer(read_exactly(stream, int(np.prod(sizes)) * kind.itemsize), kind)
    # gzip verifies length and CRC-32 at its end alone
    if stream.read(1):
        raise too_long()
    index_to_lps, spacing_mm = _place(header, sizes)
    axes = index_to_lps[:3, :3]
    with np.errstate(invalid="ignore"):  # an axis of length 0 gives NaN, which is refused
        direction = axes / np.linalg.norm(axes, axis=0)
    slope, intercept = _scaling(header)
    voxels = voxels.reshape(sizes[::-1])
    return StoredVolume(voxels, spacing_mm, direction, index_to_lps[:3, 3], slope, intercept)


def _read_header(stream: BinaryIO) -> Nifti1Header:
    first = read_exactly(stream, 4)
    for kind in (Nifti1Header, Nifti2Header):
        n_bytes = kind.template_dtype.itemsize
        for order, name in (("<", "little"), (">", "big")):
            if int.from_bytes(first, name, signed=True) == n_bytes:  # type: ignore[arg-type]
                header = kind(bytes(first + read_exactly(stream, n_bytes - 4)), endianness=order, check=False)
                if bytes(header["magic"])[:3] != _MAGIC[kind]:
                    raise _no_nifti()
                return header
    raise _no_nifti()


def _no_nifti() -> VolumeError:
    return VolumeError("no NIfTI file with header and voxels in one (magic n+1 or n+2): convert it to NIfTI")


def _scaling(header: Nifti1Header) -> tuple[float, float]:
    """Return slope and intercept; a slope of 0, and one that is not set (NaN), mean the values as stored (nifti1.h)."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or np.isnan(slope):
        return 1.0, 0.0
    if not np.isfinite([slope, intercept]).all():
        raise VolumeError("its scaling (scl_slope, scl_inter) is not finite: export it again")
    return slope, intercept


def _place(header: Nifti1Header, sizes: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the matrix from an index (i, j, k) to LPS mm, and the spacing in mm."""
    mm = _MM_PER_UNIT.get(int(header["xyzt_units"]) & 7, 1.0)
    # radiological files of old carry the sign of the axis in pixdim; nifti1.h wants it positive
    header["pixdim"][1:4] = np.abs(header["pixdim"][1:4])
    if header["pixdim"][0] == 0:
        header["pixdim"][0] = 1  # nifti1.h: 0 is treated as 1
    spacing = header["pixdim"][1:4].astype(float)
    try:
        forms = [form for form in (_sform(header), _qform(header)) if form is not None]
    except (HeaderDataError, ValueError):
        raise VolumeError("its orientation (qform) is no rotation: export it again") from None
    far = np.array(sizes) - 1.0
    if forms and not _agree(forms, spacing, far, mm):
        raise VolumeError(
            "its header states two different places or spacings (qform, sform, pixdim), and it is not known which is "
            "meant: write it again with one of them",
            f"expected the same within {SAME_PLACE_MM:g} mm",
        )
    ras = forms[0] if forms else None
    index_to_lps = np.diag([*spacing, 1.0]) if ras is None else _RAS_TO_LPS @ ras
    index_to_lps[:3] *= mm
    return index_to_lps, spacing * mm


def _sform(header: Nifti1Header) -> np.ndarray | None:
    return header.get_sform() if header["sform_code"] > 0 else None


def _qform(header: Nifti1Header) -> np.ndarray | None:
    return header.get_qform() if header["qform_code"] > 0 else None


def _agree(forms: list[np.ndarray], spacing: np.ndarray, far: np.ndarray, mm: float) -> bool:
    """Check that all forms put the corners at the same place, and that the first one's axes are as long as pixdim."""
    corners = np.array([[*(far * corner), 1.0] for corner in np.ndindex(2, 2, 2)]).T
    shift = np.linalg.norm(((forms[0] - forms[-1]) @ corners)[:3], axis=0).max()
    # one voxel has a length too
    stretch = np.abs(np.linalg.norm(forms[0][:3, :3], axis=0) - spacing) * np.maximum(far, 1)
    return bool(max(shift, stretch.max()) * mm <= SAME_PLACE_MM)
