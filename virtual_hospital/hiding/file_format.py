"""The file around the data set, and transfer syntaxes that a plain search cannot read.

Parts of the file: preamble and file meta information (PS3.10 7.1), elements after the pixels. Transfer syntaxes: PS3.5
A.4 and annex G (RLE), ITU-T T.81 B.2.4.5 (comment of a JPEG), ITU-T T.800 A.9.2 (comment of a JPEG 2000).
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
from pydicom.tag import Tag
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

from virtual_hospital.elements import even, put_raw, raw
from virtual_hospital.hiding.place import PhiValues, Place, family_bytes


def _put_preamble(image: Dataset, phi: PhiValues) -> None:
    image.preamble = f"{phi.family} {phi.given}".encode()[:128].ljust(128, b"\0")


def _put_tiff_preamble(image: Dataset, phi: PhiValues) -> None:
    """Use a preamble that is also a TIFF header, as in a file of two formats; the text follows the header."""
    image.preamble = b"II*\0\x08\0\0\0" + phi.patient_id.encode().ljust(120, b"\0")


def _put_meta(tag: int, vr: str, template: str, image: Dataset, phi: PhiValues) -> None:
    image.file_meta[Tag(tag)] = raw(tag, vr, phi.fill(template).encode())


def _meta(kind: str, keyword: str, tag: int, vr: str, template: str) -> Place:
    return Place(kind, keyword, partial(_put_meta, tag, vr, template))


def _put_after_pixels(tag: int, vr: str, template: str, image: Dataset, phi: PhiValues) -> None:
    put_raw(image, tag, vr, phi.fill(template).encode())


def _after_pixels(kind: str, where: str, tag: int, vr: str, template: str) -> Place:
    return Place(kind, where, partial(_put_after_pixels, tag, vr, template))


PART_PLACES = (
    Place("preamble", "preamble", _put_preamble),
    Place("tiff_preamble", "preamble as a TIFF header", _put_tiff_preamble),
    _meta("meta_source_ae", "SourceApplicationEntityTitle", 0x00020016, "AE", "{station:.16}"),
    _meta("meta_sending_ae", "SendingApplicationEntityTitle", 0x00020017, "AE", "{family:.16}"),
    _meta("meta_receiving_ae", "ReceivingApplicationEntityTitle", 0x00020018, "AE", "{station:.16}"),
    _meta("meta_address", "SourcePresentationAddress", 0x00020026, "UR", "dicom://{station}.example"),
    _meta("meta_version_name", "ImplementationVersionName", 0x00020013, "SH", "{family:.16}"),
    _meta("meta_class_uid", "ImplementationClassUID", 0x00020012, "UI", "1.2.3.{patient_id}"),
    _meta("meta_private_creator", "PrivateInformationCreatorUID", 0x00020100, "UI", "1.2.3.{patient_id}"),
    _meta("meta_private", "PrivateInformation", 0x00020102, "OB", "{family} {given}"),
    _meta("meta_unknown", "(0002,0200)", 0x00020200, "LO", "{family}"),
    _after_pixels("private_after_pixels", "(7FE1,1001)", 0x7FE11001, "LO", "{family}"),
    _after_pixels("signature_after_pixels", "DigitalSignaturesSequence as OB", 0xFFFAFFFA, "OB", "{family}"),
    _after_pixels("trailing_padding", "DataSetTrailingPadding", 0xFFFCFFFC, "OB", "{family} {patient_id}"),
)


def _put_implicit(image: Dataset, phi: PhiValues) -> None:
    """Use implicit VR, where no reader knows the VR of a private element."""
    put_raw(image, 0x00270010, "LO", b"CORVINA NOTES")
    put_raw(image, 0x00271001, "LO", family_bytes(phi))
    image.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian


def _put_deflated(image: Dataset, phi: PhiValues) -> None:
    put_raw(image, "ImageComments", "LT", family_bytes(phi) * 4)
    image.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian


def _put_big_endian(image: Dataset, phi: PhiValues) -> None:
    """Use big endian byte order (retired); the text is UTF-16 in that order."""
    put_raw(image, 0x00270010, "LO", b"CORVINA NOTES")
    put_raw(image, 0x00271002, "OB", phi.family.encode("utf-16-be"))
    image.PixelData = np.frombuffer(image.PixelData, "<u2").astype(">u2").tobytes()
    image.file_meta.TransferSyntaxUID = ExplicitVRBigEndian


def _put_in_stream(
    compress: Callable[[Dataset], bytes],
    hide: Callable[[bytes, bytes], list[bytes]],
    syntax: UID,
    image: Dataset,
    phi: PhiValues,
) -> None:
    """Compress the pixels without loss; `hide` returns the fragments of the frame with the name in them."""
    fragments = hide(compress(image), family_bytes(phi))
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
    """Compress by GDCM: pydicom has no encoder for JPEG, and its encoder for JPEG 2000 rejects small images."""
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
    """Return the only frame of encapsulated pixels."""
    return next(generate_frames(image.PixelData, number_of_frames=1))


def _after_stream(frame: bytes, name: bytes) -> list[bytes]:
    return [even(frame + name)]


def _in_unused_rle_offsets(frame: bytes, name: bytes) -> list[bytes]:
    """Use the offsets of an RLE header: it has 15, and 16-bit pixels need two."""
    return [frame[:12] + name[:52].ljust(52, b"\0") + frame[64:]]


def _in_jpeg_comment(frame: bytes, name: bytes) -> list[bytes]:
    comment = b"\xff\xfe" + struct.pack(">H", 2 + len(name)) + name
    return [even(frame[:2] + comment + frame[2:])]


def _in_j2k_comment(frame: bytes, name: bytes) -> list[bytes]:
    """Put a comment after the SIZ segment, which must be the first; registration value 1 means Latin text."""
    after_size = 4 + struct.unpack_from(">H", frame, 4)[0]
    comment = b"\xff\x64" + struct.pack(">HH", 4 + len(name), 1) + name
    return [even(frame[:after_size] + comment + frame[after_size:])]


def _in_second_fragment(frame: bytes, name: bytes) -> list[bytes]:
    return [even(frame), even(name)]


def _in_stream(
    kind: str,
    where: str,
    compress: Callable[[Dataset], bytes],
    hide: Callable[[bytes, bytes], list[bytes]],
    syntax: UID,
) -> Place:
    return Place(kind, f"PixelData, {where}", partial(_put_in_stream, compress, hide, syntax))


_jpeg, _j2k = partial(_gdcm_frame, "JPEG"), partial(_gdcm_frame, "JPEG2000")
TRANSFER_SYNTAX_PLACES = (
    Place("implicit_vr", "(0027,1001) without VR", _put_implicit),
    Place("deflated", "ImageComments, deflated", _put_deflated),
    Place("big_endian", "(0027,1002), big endian", _put_big_endian),
    _in_stream("rle_header", "unused RLE offsets", _rle_frame, _in_unused_rle_offsets, RLELossless),
    _in_stream("behind_rle", "behind the RLE segments", _rle_frame, _after_stream, RLELossless),
    _in_stream("jpeg_comment", "COM segment", _jpeg, _in_jpeg_comment, JPEGLosslessSV1),
    _in_stream("behind_jpeg", "behind EOI", _jpeg, _after_stream, JPEGLosslessSV1),
    _in_stream("j2k_comment", "COM segment", _j2k, _in_j2k_comment, JPEG2000Lossless),
    _in_stream("behind_j2k", "behind EOC", _j2k, _after_stream, JPEG2000Lossless),
    _in_stream("j2k_second_fragment", "second fragment", _j2k, _in_second_fragment, JPEG2000Lossless),
)
