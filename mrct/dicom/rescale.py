"""From stored values to HU (CT) or signal (MR): rescale slope and intercept of one image, and where it is padded.

PS3.3 C.11.1.1.2: value = slope * stored value + intercept. A CT image has both (C.8.2.1). An MR image may have none,
and then its stored values are the signal. Nothing is assumed where the header contradicts itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from pydicom import Dataset
from scipy.ndimage import binary_propagation

from mrct.dicom.errors import Unreadable
from mrct.dicom.header import Numbers, texts

#: The values of RescaleType that mean HU. US is "unspecified", which some CT scanners write; HU_MOD is "modified HU".
HU_TYPES = frozenset({"HU", "US", "HU_MOD"})
#: What the other defined terms of PS3.3 C.11.1.1.2 mean.
_OTHER_TYPES = {
    "OD": "optical density",
    "MGML": "mg/ml of a contrast agent",
    "Z_EFF": "effective atomic numbers",
    "ED": "electron densities",
    "EDW": "electron densities",
    "PCT": "percent",
}


@dataclass(frozen=True)
class Rescale:
    """The line from stored values to HU or signal."""

    slope: float = 1.0
    intercept: float = 0.0

    def apply(self, stored: np.ndarray) -> np.ndarray:
        """Return float32 values of any array of stored values."""
        return (stored.astype(np.float64) * self.slope + self.intercept).astype(np.float32)


def read_rescale(dataset: Dataset, modality: str) -> Rescale:
    """Return the rescale of one image.

    Args:
        dataset: Header of an image, or of a frame as `frame_dataset` makes it.
        modality: CT or MR.

    Raises:
        Unreadable: The header does not say how to turn stored values into HU (CT) or signal (MR).
    """
    fault = rescale_fault(dataset, modality)
    if fault:
        raise Unreadable(fault, damaged=True)
    slope, intercept = (_single(dataset, keyword) for keyword in ("RescaleSlope", "RescaleIntercept"))
    return Rescale(1.0 if slope is None else slope, intercept or 0.0)


def has_rescale(dataset: Dataset) -> bool:
    """Return whether the header holds a rescale slope; without one, an MR is not scaled."""
    return _single(dataset, "RescaleSlope") is not None


def rescale_fault(dataset: Dataset, modality: str) -> str:
    """Return why stored values cannot be turned into HU (CT) or signal (MR), without any header value, or ""."""
    if dataset.get("ModalityLUTSequence"):
        return "a modality LUT, which is not applied, in place of rescale slope and intercept"
    for keyword, name in (("RescaleSlope", "slope"), ("RescaleIntercept", "intercept")):
        if not _is_empty(dataset, keyword) and _single(dataset, keyword) is None:
            return f"its rescale {name} is not one finite number"
    if _single(dataset, "RescaleSlope") == 0:
        return "its rescale slope is 0"
    if modality != "CT":
        return ""
    if any(_is_empty(dataset, keyword) for keyword in ("RescaleSlope", "RescaleIntercept")):
        return "no rescale slope and intercept: its numbers are not HU"
    other = next((_OTHER_TYPES[kind] for kind in texts(dataset, "RescaleType") if kind in _OTHER_TYPES), "")
    return f"its rescale type says {other}, not HU" if other else ""


def has_undefined_unit(dataset: Dataset) -> bool:
    """Return whether RescaleType holds a text that the standard does not define, which it permits."""
    kinds = {kind for kind in texts(dataset, "RescaleType") if kind}
    return bool(kinds - HU_TYPES - _OTHER_TYPES.keys())


def _is_empty(dataset: Dataset, keyword: str) -> bool:
    value = dataset.get(keyword)
    many = isinstance(value, Iterable) and not isinstance(value, str | bytes)
    return not list(value) if many else value in (None, "", b"")


def _single(dataset: Dataset, keyword: str) -> float | None:
    values = Numbers(dataset).vector(keyword, 1)
    return values[0] if values else None


def inverted(stored: np.ndarray, dataset: Dataset, rescale: Rescale) -> np.ndarray:
    """Invert MONOCHROME1 within the range of BitsStored, so that more signal is a higher value.

    A negative rescale slope inverts the values already.
    """
    if dataset.get("PhotometricInterpretation") != "MONOCHROME1" or rescale.slope < 0:
        return stored
    return (
        -1 - stored if _is_signed(dataset) else (2 ** int(dataset.BitsStored) - 1 - stored.astype(np.int64))
    )


def padding(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Return where the image is padded: pixels with the padding value (or range), connected to the edge of the image.

    Padding fills a grayscale image to a rectangle (PS3.3 C.7.5.1.1.2). The same value inside the head is signal: some
    headers declare 0 as padding although 0 is water.

    Args:
        stored: Stored values (rows, columns).
        dataset: Header, possibly with PixelPaddingValue and PixelPaddingRangeLimit.

    Returns:
        Bool (rows, columns).
    """
    bound = _padding_value(dataset, "PixelPaddingValue")
    if bound is None:
        return np.zeros(stored.shape, bool)
    other = _padding_value(dataset, "PixelPaddingRangeLimit")
    low, high = sorted((bound, bound if other is None else other))
    candidates = (stored >= low) & (stored <= high)
    edge = np.ones(stored.shape, bool)
    edge[1:-1, 1:-1] = False
    return binary_propagation(edge & candidates, mask=candidates)


def _padding_value(dataset: Dataset, keyword: str) -> int | None:
    """Return a padding value as it is stored, or None if it is absent, empty or no single number.

    It may be written in the other representation: 63536 for -2000 in 16 bits with sign.
    """
    number = _single(dataset, keyword)
    if number is None:
        return None
    value, bits, signed = round(number), int(dataset.BitsAllocated), _is_signed(dataset)
    if signed and value >= 2 ** (bits - 1):
        return value - 2**bits
    return value + 2**bits if not signed and value < 0 else value


def _is_signed(dataset: Dataset) -> bool:
    return int(dataset.get("PixelRepresentation", 0) or 0) == 1
