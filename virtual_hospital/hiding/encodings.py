"""Files that a plain search cannot read: other transfer syntaxes, and what compressed pixels carry along.

PS3.5 A.4 and annex G (RLE); ITU-T T.81 B.2.4.5 (a JPEG comment); ITU-T T.800 A.9.2 (a JPEG 2000 comment).
"""

import struct
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    RLELossless,
)

from virtual_hospital.hiding.place import Place, Secrets, put_raw


def _put_implicit(image: Dataset, secrets: Secrets) -> None:
    """Private elements have no VR that a reader could know."""
    put_raw(image, 0x00270010, "LO", b"CORVINA NOTES")
    put_raw(image, 0x00271001, "LO", secrets.family.encode())
    image.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian


def _put_deflated(image: Dataset, secrets: Secrets) -> None:
    put_raw(image, "ImageComments", "LT", secrets.family.encode() * 4)
    image.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian


def _put_big_endian(image: Dataset, secrets: Secrets) -> None:
    """A retired syntax; 16-bit words of a private text change their byte order with the pixels."""
    put_raw(image, 0x00270010, "LO", b"CORVINA NOTES")
    put_raw(image, 0x00271002, "OB", secrets.family.encode("utf-16-be"))
    image.PixelData = np.frombuffer(image.PixelData, "<u2").astype(">u2").tobytes()
    image.file_meta.TransferSyntaxUID = ExplicitVRBigEndian


def _put_in_stream(
    compress: Callable[[Dataset], bytes],
    hide: Callable[[bytes, bytes], list[bytes]],
    syntax: UID,
    image: Dataset,
    secrets: Secrets,
) -> None:
    """Pixels compressed without loss; `hide` returns the fragments of the frame with the name among them."""
    fragments = hide(compress(image), secrets.family.encode())
    image.add_new(
        "PixelData", "OB", encapsulate(fragments, fragments_per_frame=len(fragments), has_bot=False)
    )
    image["PixelData"].is_undefined_length = True
    image.file_meta.TransferSyntaxUID = syntax


def _rle_frame(image: Dataset) -> bytes:
    copy = Dataset()
    copy.update({tag: image[tag] for tag in image.keys() if tag.group in (0x0028, 0x7FE0)})  # noqa: SIM118
    copy.file_meta = FileMetaDataset()
    copy.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    copy.compress(RLELossless, generate_instance_uid=False)
    return _frame(copy)


def _gdcm_frame(compressor: str, image: Dataset) -> bytes:
    """Lossless JPEG or JPEG 2000 by GDCM: pydicom has no encoder for the one, and none for small images."""
    dtype = np.int16 if image.PixelRepresentation else np.uint16
    stored = np.frombuffer(image.PixelData, dtype).reshape(1, image.Rows, image.Columns)
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.UseCompressionOn()
    writer.SetCompressor(compressor)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frame.dcm"
        writer.SetFileName(str(path))
        writer.Execute(sitk.GetImageFromArray(stored))
        return _frame(pydicom.dcmread(path))


def _frame(image: Dataset) -> bytes:
    """The one frame of encapsulated pixels."""
    return next(generate_frames(image.PixelData, number_of_frames=1))


def _behind(frame: bytes, name: bytes) -> list[bytes]:
    return [frame + name + b"\0" * (len(name + frame) % 2)]


def _in_unused_rle_offsets(frame: bytes, name: bytes) -> list[bytes]:
    """An RLE header has room for 15 offsets; 16-bit pixels use two."""
    return [frame[:12] + name[:52].ljust(52, b"\0") + frame[64:]]


def _in_jpeg_comment(frame: bytes, name: bytes) -> list[bytes]:
    comment = b"\xff\xfe" + struct.pack(">H", 2 + len(name)) + name
    return [_even(frame[:2] + comment + frame[2:])]


def _in_j2k_comment(frame: bytes, name: bytes) -> list[bytes]:
    """After the SIZ segment, which must come first; 1 says Latin text."""
    first_tile = 4 + struct.unpack_from(">H", frame, 4)[0]
    comment = b"\xff\x64" + struct.pack(">HH", 4 + len(name), 1) + name
    return [_even(frame[:first_tile] + comment + frame[first_tile:])]


def _in_second_fragment(frame: bytes, name: bytes) -> list[bytes]:
    return [_even(frame), _even(name)]


def _even(data: bytes) -> bytes:
    return data + b"\0" * (len(data) % 2)


def _in_stream(
    kind: str,
    where: str,
    compress: Callable[[Dataset], bytes],
    hide: Callable[[bytes, bytes], list[bytes]],
    syntax: UID,
) -> Place:
    return Place(kind, f"PixelData, {where}", partial(_put_in_stream, compress, hide, syntax))


_jpeg, _j2k = partial(_gdcm_frame, "JPEG"), partial(_gdcm_frame, "JPEG2000")
PLACES = (
    Place("implicit_vr", "(0027,1001) without VR", _put_implicit),
    Place("deflated", "ImageComments, deflated", _put_deflated),
    Place("big_endian", "(0027,1002), big endian", _put_big_endian),
    _in_stream("rle_header", "unused RLE offsets", _rle_frame, _in_unused_rle_offsets, RLELossless),
    _in_stream("behind_rle", "behind the RLE segments", _rle_frame, _behind, RLELossless),
    _in_stream("jpeg_comment", "COM segment", _jpeg, _in_jpeg_comment, JPEGLosslessSV1),
    _in_stream("behind_jpeg", "behind EOI", _jpeg, _behind, JPEGLosslessSV1),
    _in_stream("j2k_comment", "COM segment", _j2k, _in_j2k_comment, JPEG2000Lossless),
    _in_stream("behind_j2k", "behind EOC", _j2k, _behind, JPEG2000Lossless),
    _in_stream("j2k_second_fragment", "second fragment", _j2k, _in_second_fragment, JPEG2000Lossless),
)
