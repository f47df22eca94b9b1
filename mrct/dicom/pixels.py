"""The pixels of an image and nothing else: native, little endian, exactly as many bytes as the image has."""

from pydicom import Dataset
from pydicom.uid import (
    JPEG2000MC,
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
)

from mrct.dicom.read import Unreadable, decode_pixels, expected_pixel_bytes, transfer_syntax

_PLAIN = {ExplicitVRLittleEndian, ImplicitVRLittleEndian}
_LOSSY = {JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000MC}


def native_pixels(source: Dataset, into: Dataset) -> None:
    """Sets PixelData of `into`, uncompressed: compressed streams carry comments, and bytes behind the image
    carry anything. Raises Unreadable for color images and damaged pixels."""
    if "PixelData" not in source:
        raise Unreadable("the image has no pixels", damaged=True)
    if int(source.get("SamplesPerPixel", 1) or 1) != 1:
        raise Unreadable("a color image, not a measured CT or MR")
    syntax = transfer_syntax(source)
    pixels = _plain(source) if syntax in _PLAIN else _decoded(source, into, syntax)
    into.add_new(
        "PixelData", "OB" if int(into.BitsAllocated) <= 8 else "OW", pixels + b"\0" * (len(pixels) % 2)
    )


def _plain(source: Dataset) -> bytes:
    pixels = bytes(source.PixelData)[: expected_pixel_bytes(source)]
    if len(pixels) < expected_pixel_bytes(source):
        raise Unreadable("truncated pixels", damaged=True)
    return pixels if not _has_embedded_overlay(source) else _without_high_bits(source)


def _decoded(source: Dataset, into: Dataset, syntax: UID) -> bytes:
    stored = decode_pixels(source)
    into.BitsAllocated = stored.dtype.itemsize * 8
    if syntax in _LOSSY:
        into.LossyImageCompression = "01"
    return stored.astype(stored.dtype.newbyteorder("<")).tobytes()


def _has_embedded_overlay(source: Dataset) -> bool:
    """Retired overlays lie in the unused high bits of the pixels (PS3.5 1998 section 8.1.2)."""
    return any(
        tag.group & 0xFF00 == 0x6000 and tag.element == 0x0100 and int(source[tag].value or 0) > 1
        for tag in source.keys()  # noqa: SIM118  # iterating a Dataset parses every element
    )


def _without_high_bits(source: Dataset) -> bytes:
    """Stored values of BitsStored bits, sign-extended; what lies above HighBit is removed."""
    stored = decode_pixels(source)
    bits, allocated = int(source.BitsStored), int(source.BitsAllocated)
    up = allocated - 1 - int(source.HighBit)
    cleaned = (stored << up) >> (allocated - bits)
    return cleaned.astype(stored.dtype.newbyteorder("<")).tobytes()
