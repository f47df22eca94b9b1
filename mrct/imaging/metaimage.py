"""MetaImage files: .mha, and .mhd with its file of voxels (https://docs.itk.org, "MetaIO").

A header of `key = value` lines ends with ElementDataFile. The bytes are counted here, because readers fill up what is
missing with zeros and do not read the check at the end of compressed data.
"""

import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mrct.imaging.stored_volume import (
    StoredVolume,
    VolumeError,
    cut_off,
    damaged,
    not_scalar,
    require_shape,
    too_long,
)

_LARGEST_LINE, _MOST_LINES = 1 << 16, 10_000
_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
# zlib's or gzip's frame, as its first bytes say
_ANY_FRAME = 47


def read_metaimage(path: Path) -> StoredVolume:
    """Read a file and its voxels.

    Without a matrix i, j, k run along LPS, without an offset voxel (0, 0, 0) lies at the origin, as in ITK.

    Raises:
        VolumeError: The file is no MetaImage, or it is not whole.
    """
    with path.open("rb") as file:
        header = _read_header(file)
        try:
            n_dimensions = int(header["NDims"])
            shape = [int(word) for word in header["DimSize"].split()]
            is_big_endian = _is_true(header, "BinaryDataByteOrderMSB", "ElementByteOrderMSB")
            kind = np.dtype(_TYPES[header["ElementType"]]).newbyteorder(">" if is_big_endian else "<")
            n_channels = int(header.get("ElementNumberOfChannels", "1"))
            spacing = _numbers(header, "ElementSpacing", "ElementSize")
            origin = _numbers(header, "Offset", "Position", "Origin")
            matrix = _numbers(header, "TransformMatrix", "Rotation", "Orientation")
        except (KeyError, ValueError, OverflowError):
            raise _no_metaimage() from None
        if len(shape) != n_dimensions:
            raise _no_metaimage()
        sizes = require_shape(shape)
        if n_channels != 1:
            raise not_scalar()
        _require_readable(header)
        content = _voxels(file, path, header, int(np.prod(sizes)) * kind.itemsize)
    origin = [0.0] * n_dimensions if origin is None else origin
    matrix = np.eye(n_dimensions).ravel().tolist() if matrix is None else matrix
    lengths = (len(spacing or ()), len(origin), len(matrix))
    if spacing is None or lengths != (n_dimensions, n_dimensions, n_dimensions**2):
        raise VolumeError(
            "its header lacks numbers of its geometry (ElementSpacing, Offset, TransformMatrix): export it again"
        )
    # the header lists the direction of one axis after the other
    direction = np.reshape(matrix, (n_dimensions, n_dimensions)).T[:3, :3]
    voxels = np.frombuffer(content, kind).reshape(sizes[::-1])
    return StoredVolume(voxels, np.array(spacing[:3]), direction, np.array(origin[:3]))


def _read_header(file: BinaryIO) -> dict[str, str]:
    header: dict[str, str] = {}
    for _ in range(_MOST_LINES):
        key, separator, value = file.readline(_LARGEST_LINE).decode("utf-8", "surrogateescape").partition("=")
        if not separator and key.strip():
            break
        header[key.strip()] = value.strip()
        if key.strip() == "ElementDataFile":
            return header
        if not separator:
            break
    raise _no_metaimage()


def _no_metaimage() -> VolumeError:
    return VolumeError("no MetaImage file, or its header is damaged: export it again")


def _numbers(header: dict[str, str], *synonyms: str) -> list[float] | None:
    """Return the numbers of the first of the keys that is there."""
    return next(([float(word) for word in header[key].split()] for key in synonyms if key in header), None)


def _is_true(header: dict[str, str], *synonyms: str, default: bool = False) -> bool:
    text = next((header[key] for key in synonyms if key in header), "")
    return text[:1].upper() in ("T", "Y", "1") if text else default


def _require_readable(header: dict[str, str]) -> None:
    """Raise VolumeError for rare variants that readers understand differently or that ITK does not write."""
    if not _is_true(header, "BinaryData", default=True):
        raise VolumeError("its voxels are written as text (BinaryData = False): export it in binary form")
    scaling = [
        _numbers(header, f"ElementToIntensityFunction{name}") or [value]
        for name, value in (("Slope", 1.0), ("Offset", 0.0))
    ]
    if scaling != [[1.0], [0.0]]:
        raise VolumeError(
            "its header scales the voxels (ElementToIntensityFunction), which most readers ignore: export the values "
            "themselves"
        )


def _voxels(file: BinaryIO, path: Path, header: dict[str, str], n_bytes: int) -> bytes:
    """Return the bytes of the voxels, from the rest of `file` or from the file that the header names."""
    is_compressed = _is_true(header, "CompressedData")
    name = header["ElementDataFile"]
    if name.upper() == "LOCAL":
        return _complete(file, path.stat().st_size - file.tell(), is_compressed, n_bytes)
    data = _data_file(path, name)
    length = data.stat().st_size
    with data.open("rb") as stream:
        skipped = int(header.get("HeaderSize", "0"))
        # -1: the voxels are the last bytes of the file
        stream.seek(max(length - n_bytes, 0) if skipped == -1 else max(skipped, 0))
        return _complete(stream, length - stream.tell(), is_compressed, n_bytes)


def _data_file(path: Path, name: str) -> Path:
    """Return the file of voxels, which must lie in the folder of the header or below it."""
    if name.split()[0].upper() == "LIST" or "%" in name:
        raise VolumeError("its voxels lie in several files (ElementDataFile): export it as one file")
    data = path.parent / name
    if not data.resolve().is_relative_to(path.parent.resolve()):
        raise VolumeError("its file of voxels (ElementDataFile) lies in another folder: put both in one")
    if not data.is_file():
        raise VolumeError(
            "its file of voxels (ElementDataFile) is missing: copy both files, with their names"
        )
    return data


def _complete(stream: BinaryIO, length: int, is_compressed: bool, n_bytes: int) -> bytes:
    """Read voxels that are the last `length` bytes of a stream.

    The check at the end of compressed data proves them whole, so that CompressedDataSize, which may be missing, is not
    needed.
    """
    if is_compressed:
        return _inflated(stream.read(), n_bytes)
    if length < n_bytes:
        raise cut_off(max(length, 0), n_bytes)
    if length > n_bytes:
        raise too_long()
    return stream.read()


def _inflated(packed: bytes, n_bytes: int) -> bytes:
    inflater = zlib.decompressobj(wbits=_ANY_FRAME)
    try:
        # one byte more than expected: a few kilobytes can inflate to gigabytes
        content = inflater.decompress(packed, n_bytes + 1)
    except zlib.error:
        raise damaged() from None
    if len(content) > n_bytes or inflater.unused_data:
        raise too_long()
    if not inflater.eof or len(content) < n_bytes:
        raise cut_off(len(content), n_bytes)
    return content
