"""PixelData, however it was encoded, as native little-endian values, proven whole before anything is allocated.

Convention: stored values ([frames,] rows, columns), before rescale.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.pixels import get_decoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    JPEG2000MC,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
    RLELossless,
)

from mrct.dicom import codec
from mrct.dicom.unreadable import MissingCodec, Unreadable

_STANDARD_UID_ROOT = "1.2.840.10008."
_CODEC_PACKAGES = "pylibjpeg, pylibjpeg-libjpeg and pylibjpeg-openjpeg"
_PLAIN = {ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian}
_LOSSY = {JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless}
# may be either; the header says
_PERHAPS_LOSSY = {JPEG2000, JPEG2000MC, HTJ2K}
# an enhanced series of 4,000 frames of 512 x 512; a compressed stream can claim any size
_MOST_DECODED_BYTES = 2 << 30


@dataclass(frozen=True)
class PixelFormat:
    """Image pixel module of a grey image (PS3.3 C.7.6.3), checked."""

    rows: int
    columns: int
    frames: int
    bits_allocated: int
    bits_stored: int
    signed: bool

    @property
    def n_bytes(self) -> int:
        return self.rows * self.columns * self.frames * self.bits_allocated // 8

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(f"<{'i' if self.signed else 'u'}{self.bits_allocated // 8}")


def pixel_format(dataset: Dataset) -> PixelFormat:
    """What the header says of its pixels; Unreadable where that is no grey image or contradicts itself."""
    if "PixelData" not in dataset:
        if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
            raise Unreadable("float pixels: a computed map, not CT or MR as acquired")
        raise Unreadable("the image has no pixels", damaged=True)
    photometric = str(dataset.get("PhotometricInterpretation", "") or "").strip(" \0")
    if _whole(dataset, "SamplesPerPixel", 0, 65535, 1) > 1 or "COLOR" in photometric:
        raise Unreadable("a color image, not a measured CT or MR")
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise Unreadable("the image has no usable PhotometricInterpretation", damaged=True)
    allocated = _whole(dataset, "BitsAllocated", 0, 65535)
    if allocated not in (8, 16, 32):
        raise Unreadable("BitsAllocated is none of 8, 16 and 32: no CT or MR image as acquired")
    stored = _whole(dataset, "BitsStored", 1, allocated)
    if _whole(dataset, "HighBit", 0, 65535, stored - 1) != stored - 1:
        raise Unreadable("HighBit is not BitsStored - 1, a retired packing; export the images anew")
    return PixelFormat(
        rows=_whole(dataset, "Rows", 1, 65535),
        columns=_whole(dataset, "Columns", 1, 65535),
        frames=_whole(dataset, "NumberOfFrames", 0, 2**31 - 1, 1) or 1,
        bits_allocated=allocated,
        bits_stored=stored,
        signed=_whole(dataset, "PixelRepresentation", 0, 1) == 1,
    )


def _whole(dataset: Dataset, keyword: str, low: int, high: int, absent: int | None = None) -> int:
    try:
        value = dataset.get(keyword)
        number = absent if value in (None, "") else int(value)
        if number is not None and low <= number <= high:
            return number
    except Exception:  # pydicom converts when asked, and fails in many ways on damaged values
        number = None
    raise Unreadable(f"the image has no usable {keyword}", damaged=True)


def transfer_syntax(dataset: Dataset) -> UID:
    """The dataset's transfer syntax; without file meta it is what the parser found."""
    meta = getattr(dataset, "file_meta", None)
    if meta is not None and meta.get("TransferSyntaxUID"):
        return UID(meta.TransferSyntaxUID)
    implicit, little = dataset.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRBigEndian if little is False else ExplicitVRLittleEndian


def make_native(dataset: Dataset) -> PixelFormat:
    """Changes the dataset: PixelData native, little endian, all frames whole; a lossy past is declared.

    Raises Unreadable for truncated or undecodable pixels and MissingCodec where a decoder is missing.
    """
    form, syntax = pixel_format(dataset), transfer_syntax(dataset)
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = _little_endian(dataset.PixelData, dataset["PixelData"].VR, form)
    elif syntax not in _PLAIN:
        dataset.PixelData = _decompressed(dataset, syntax, form)
        dataset["PixelData"].is_undefined_length = False
        said = str(dataset.get("LossyImageCompression", "") or "")
        if syntax in _LOSSY or (syntax in _PERHAPS_LOSSY and said != "00"):
            dataset.LossyImageCompression = "01"
    dataset.ensure_file_meta()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if len(dataset.PixelData) < form.n_bytes:
        raise Unreadable("truncated pixels: fewer bytes than the image's rows and columns need", damaged=True)
    return form


def decode_pixels(dataset: Dataset) -> np.ndarray:
    """Stored values ([frames,] rows, columns), before rescale; the dataset's PixelData are native then."""
    make_native(dataset)
    try:
        return dataset.pixel_array
    except Exception:  # pydicom raises many kinds; what the format's check has let pass is damage
        raise Unreadable("pixels cannot be decoded", damaged=True) from None


def _little_endian(pixels: bytes, vr: str, form: PixelFormat) -> bytes:
    """PS3.5 8.2: words are swapped; bytes written as OW are swapped in pairs."""
    unit = 2 if form.bits_allocated == 8 and vr == "OW" else form.bits_allocated // 8
    whole = len(pixels) // unit * unit
    return np.frombuffer(pixels, f"u{unit}", whole // unit).byteswap().tobytes()


def _decompressed(dataset: Dataset, syntax: UID, form: PixelFormat) -> bytes:
    name = syntax.name if syntax.startswith(_STANDARD_UID_ROOT) else "an unknown transfer syntax"
    _require_decoder(syntax, name)
    if form.n_bytes > _MOST_DECODED_BYTES:
        raise Unreadable("compressed pixels that claim more than 2 GiB", damaged=True)
    try:
        if syntax == RLELossless:  # pure Python: it cannot hang, and what it allocates is bounded by the data
            return dataset.pixel_array.astype(form.dtype, casting="same_kind").tobytes()
        return codec.decode(bytes(dataset.PixelData), syntax, _options(form, dataset))
    except Exception:  # decoders raise many kinds on damaged bytes; each means the same here
        raise Unreadable(f"pixels cannot be decoded ({name})", damaged=True) from None


def _require_decoder(syntax: UID, name: str) -> None:
    try:
        available = get_decoder(syntax).is_available
    except (NotImplementedError, ValueError):
        raise MissingCodec(
            f"no decoder exists for {name}; export the images uncompressed", damaged=True
        ) from None
    if not available:
        raise MissingCodec(f"no decoder for {name}; install {_CODEC_PACKAGES} and run again", damaged=True)


def _options(form: PixelFormat, dataset: Dataset) -> dict[str, Any]:
    return {
        "rows": form.rows,
        "columns": form.columns,
        "number_of_frames": form.frames,
        "samples_per_pixel": 1,
        "bits_allocated": form.bits_allocated,
        "bits_stored": form.bits_stored,
        "pixel_representation": int(form.signed),
        "photometric_interpretation": str(dataset.PhotometricInterpretation).strip(" \0"),
    }
