"""The pixels of an image without hidden data: native, little endian, with no bytes but those of the image."""

import numpy as np
from pydicom import Dataset

from mrct.dicom.decoding import PixelFormat, make_native

_PADDING = ("PixelPaddingValue", "PixelPaddingRangeLimit")


def native_pixels(source: Dataset, into: Dataset) -> None:
    """Set PixelData of `into` to the uncompressed pixels of `source`, which becomes native as well.

    Only stored values are kept. Comments of compressed streams, bytes after the image and the bits above BitsStored are
    left out. PS3.5 8.1.1 does not define those bits; they once held overlays, and they can hold any text.

    Raises:
        Unreadable: The image is not grayscale, or its pixels are truncated or cannot be decoded.
        MissingCodec: No decoder is installed for the transfer syntax.
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
    """Set the bits above BitsStored to the sign (signed values) or to zero (unsigned values).

    If no bit changes, the same object is returned.
    """
    stored = np.frombuffer(pixels, form.dtype)
    low, high = _range(form)
    if stored.max() <= high and (not form.signed or stored.min() >= low):
        return pixels
    return _fitted(stored, form).tobytes()


def _range(form: PixelFormat) -> tuple[int, int]:
    """Return the least and the greatest value that BitsStored bits can hold."""
    values = 2**form.bits_stored
    return (-values // 2, values // 2 - 1) if form.signed else (0, values - 1)


def _fitted(values: np.ndarray, form: PixelFormat) -> np.ndarray:
    unused = form.bits_allocated - form.bits_stored
    return (values << unused) >> unused


def _fit_padding(into: Dataset, form: PixelFormat) -> None:
    """Clear the same bits of the padding value, so that it still matches the pixels: some write 63536 for 12 bits."""
    for keyword in _PADDING:
        value = into.get(keyword)
        if isinstance(value, int):
            wrapped = np.array([value % 2**form.bits_allocated], f"u{form.bits_allocated // 8}")
            into[keyword].value = int(_fitted(wrapped.view(form.dtype), form)[0])
