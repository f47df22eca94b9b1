"""The pixels of an image and nothing else: native, little endian, exactly as many bytes as the image has."""

import numpy as np
from pydicom import Dataset

from mrct.dicom.decoding import PixelFormat, make_native

_PADDING = ("PixelPaddingValue", "PixelPaddingRangeLimit")


def native_pixels(source: Dataset, into: Dataset) -> None:
    """Sets PixelData of `into`, uncompressed; `source` is native afterwards too.

    What is no stored value goes: comments of compressed streams, bytes behind the image, and the bits
    above BitsStored, whose values PS3.5 8.1.1 leaves open (overlays were kept there, anything fits there).
    Raises Unreadable for color images and damaged pixels.
    """
    form = make_native(source)
    pixels = bytes(source.PixelData[: form.n_bytes])
    if form.bits_stored < form.bits_allocated:
        pixels = without_unused_bits(pixels, form)
        _fit_padding(into, form)
    into.add_new("PixelData", "OB" if form.bits_allocated == 8 else "OW", pixels + b"\0" * (len(pixels) % 2))
    into.SamplesPerPixel = 1
    into.HighBit = form.bits_stored - 1
    if source.get("LossyImageCompression") == "01":
        into.LossyImageCompression = "01"


def without_unused_bits(pixels: bytes, form: PixelFormat) -> bytes:
    """Stored values sign-extended (signed) or zero (unsigned) above BitsStored; the same bytes if they are."""
    stored = np.frombuffer(pixels, form.dtype)
    low, high = _range(form)
    if stored.max() <= high and (not form.signed or stored.min() >= low):
        return pixels
    return _fitted(stored, form).tobytes()


def _range(form: PixelFormat) -> tuple[int, int]:
    """Least and greatest value of BitsStored bits."""
    values = 2**form.bits_stored
    return (-values // 2, values // 2 - 1) if form.signed else (0, values - 1)


def _fitted(values: np.ndarray, form: PixelFormat) -> np.ndarray:
    unused = form.bits_allocated - form.bits_stored
    return (values << unused) >> unused


def _fit_padding(into: Dataset, form: PixelFormat) -> None:
    """The padding value means pixels, so it loses the same bits: 63536 in 12 bits, as some scanners write."""
    for keyword in _PADDING:
        value = into.get(keyword)
        if isinstance(value, int):
            wrapped = np.array([value % 2**form.bits_allocated], f"u{form.bits_allocated // 8}")
            into[keyword].value = int(_fitted(wrapped.view(form.dtype), form)[0])
