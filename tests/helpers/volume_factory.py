"""Volume files written with nibabel and zlib, whole or with one fault."""

import gzip
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from scipy.spatial.transform import Rotation

SPACING_MM = (0.5, 0.75, 4.0)
ORIGIN_RAS_MM = (-10.0, 20.0, 7.5)


def ramp(shape: tuple[int, ...] = (6, 5, 4), kind: Any = np.int16) -> np.ndarray:
    """Make an array (i, j, k) whose every value tells where it is."""
    return np.arange(np.prod(shape)).reshape(shape).astype(kind)


def head(modality: str, shape: tuple[int, int, int] = (24, 28, 8)) -> np.ndarray:
    """Make a head (i, j, k): air, a skull and a brain whose values differ everywhere, in HU or as an MR signal."""
    place = np.indices(shape)
    middle, radius = (
        (np.array(shape)[:, None, None, None] - 1) / 2,
        np.array(shape)[:, None, None, None] / 2.4,
    )
    r = (((place - middle) / radius) ** 2).sum(axis=0)
    ramp_over_brain = (place * np.array([1, 2, 3])[:, None, None, None]).sum(axis=0)
    air, skull, brain = (-1000, 900, 0) if modality == "CT" else (5, 60, 500)
    return np.where(r < 0.8, brain + ramp_over_brain, np.where(r < 1, skull, air)).astype(np.int16)


def affine_ras(angles_deg: tuple[float, ...] = (10.0, -20.0, 30.0)) -> np.ndarray:
    """Return the matrix from (i, j, k) to RAS mm of a turned grid."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix() * SPACING_MM
    matrix[:3, 3] = ORIGIN_RAS_MM
    return matrix


def nifti(
    values: np.ndarray | None = None,
    sform: np.ndarray | None = None,
    qform: np.ndarray | None = None,
    version: int = 1,
    order: str = "<",
    **fields: Any,
) -> bytes:
    """Return a NIfTI file; a form that is given is set with code 1, and `fields` overwrite fields of the header."""
    values = ramp() if values is None else values
    kind = nib.Nifti1Header if version == 1 else nib.Nifti2Header
    header = kind(endianness=order)
    header.set_data_dtype(values.dtype)
    header.set_data_shape(values.shape)
    header["pixdim"][1:4] = SPACING_MM
    header["vox_offset"] = header.structarr.nbytes + 4
    header["magic"] = b"n+1" if version == 1 else b"n+2\0\r\n\x1a\n"
    header["scl_slope"], header["scl_inter"] = 1, 0
    header.set_xyzt_units("mm")
    if qform is not None:
        header.set_qform(qform, 1)
    if sform is not None:
        header.set_sform(sform, 1)
    for name, value in fields.items():
        field = header.structarr[name]
        if np.ndim(field) and np.ndim(value):
            field[: len(value)] = value
        else:
            header.structarr[name] = value
    voxels = values.astype(values.dtype.newbyteorder(order)).tobytes(order="F")
    return header.structarr.tobytes() + bytes(4) + voxels


def metaimage(values: np.ndarray | None = None, compressed: bool = False, **fields: str | None) -> bytes:
    """Return a .mha file of a grid along LPS; `fields` replace lines of the header, None removes one."""
    values = ramp() if values is None else values
    kinds = {"i2": "MET_SHORT", "f4": "MET_FLOAT", "u1": "MET_UCHAR"}
    voxels = values.tobytes(order="F")
    content = zlib.compress(voxels) if compressed else voxels
    lines: dict[str, str | None] = {
        "ObjectType": "Image",
        "NDims": str(values.ndim),
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": str(compressed),
        "CompressedDataSize": str(len(content)) if compressed else None,
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": "1 2 3",
        "ElementSpacing": "0.5 0.75 4",
        "DimSize": " ".join(map(str, values.shape)),
        "ElementType": kinds[values.dtype.str[1:]],
    }
    lines |= fields
    lines["ElementDataFile"] = lines.pop("ElementDataFile", "LOCAL")  # the last line of the header
    text = "".join(f"{key} = {value}\n" for key, value in lines.items() if value is not None)
    return text.encode() + (content if lines["ElementDataFile"] == "LOCAL" else b"")


def file(path: Path, content: bytes) -> Path:
    """Write a file, packed if its name ends with .gz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, mtime=0) if path.name.lower().endswith(".gz") else content)
    return path
