"""The pixels of an image without anything hidden beside them: native, little endian, as many bytes as the image has."""

import numpy as np
from pydicom import Dataset

from mrct.dicom.decoding import PixelFormat, make_native

_PADDING = ("PixelPaddingValue", "PixelPaddingRangeLimit")


def native_pixels(source: Dataset, into: Dataset) -> None:
    """Set PixelData of `into` to the uncompressed pixels of `source`, which is native afterwards as well.

    Everything that is no stored value is left out: comments of compressed streams, bytes behind the image, and the
    bits above BitsStored. PS3.5 8.1.1 leaves those bits open; overlays were kept there, and they can hold any text.

    Raises:
        Unreadable: The image is in color, or its pixels are damaged.
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
    """Return the values with the bits above BitsStored as their sign (signed) or zero (unsigned).

    Pixels that are so already are returned as the same object.
    """
    stored = np.frombuffer(pixels, form.dtype)
    low, high = _range(form)
    if stored.max() <= high and (not form.signed or stored.min() >= low):
        return pixels
    return _fitted(stored, form).tobytes()


def _range(form: PixelFormat) -> tuple[int, int]:
    """The least and the greatest value of BitsStored bits."""
    values = 2**form.bits_stored
    return (-values // 2, values // 2 - 1) if form.signed else (0, values - 1)


def _fitted(values: np.ndarray, form: PixelFormat) -> np.ndarray:
    unused = form.bits_allocated - form.bits_stored
    return (values << unused) >> unused


def _fit_padding(into: Dataset, form: PixelFormat) -> None:
    """Clear the same bits of the padding value, which names pixels: some scanners write 63536 for 12 bits."""
    for keyword in _PADDING:
        value = into.get(keyword)
        if isinstance(value, int):
            wrapped = np.array([value % 2**form.bits_allocated], f"u{form.bits_allocated // 8}")
            into[keyword].value = int(_fitted(wrapped.view(form.dtype), form)[0])
