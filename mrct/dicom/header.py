"""Header values tolerantly parsed: what is missing or malformed is None or empty, no default, no error."""

from datetime import date, datetime

from pydicom import Dataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    MRImageStorage,
)

# single- and multi-frame (PS3.4 B.5)
IMAGE_CLASSES = frozenset(
    {
        CTImageStorage,
        MRImageStorage,
        EnhancedCTImageStorage,
        EnhancedMRImageStorage,
        LegacyConvertedEnhancedCTImageStorage,
        LegacyConvertedEnhancedMRImageStorage,
    }
)
_VENDORS = {
    "siemens": "Siemens",
    "philips": "Philips",
    "ge ": "GE",
    "gems": "GE",
    "canon": "Canon",
    "toshiba": "Canon",
    "hitachi": "Hitachi",
    "fujifilm": "Fujifilm",
    "united imaging": "United Imaging",
    "uih": "United Imaging",
    "neusoft": "Neusoft",
}
_ABSENT_AGENTS = {"", "NO", "NONE", "N", "NO CONTRAST", "WITHOUT", "0", "-", "N/A", "NA", "NIL"}


def texts(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """All values of the element, upper case."""
    value = dataset.get(keyword)
    if value is None or value == "":
        return ()
    many = [value] if isinstance(value, str) or not hasattr(value, "__iter__") else value
    return tuple(str(item).strip().upper() for item in many)


def text(dataset: Dataset, keyword: str, keep_case: bool = False) -> str:
    """The element on one line, upper case unless `keep_case`."""
    value = dataset.get(keyword)
    line = "" if value is None else " ".join(str(value).split())
    return line if keep_case else line.upper()


def vendor_name(manufacturer: str) -> str:
    """A known vendor's short name, or "other": free text of a header is not shown."""
    maker = f"{manufacturer.lower()} "
    return next((name for word, name in _VENDORS.items() if maker.startswith(word)), "other")


def has_rescale(dataset: Dataset) -> bool:
    """True with slope and intercept, or with a modality LUT (PS3.3 C.11.1)."""
    pair = Numbers(dataset)
    both = pair.one("RescaleSlope") is not None and pair.one("RescaleIntercept") is not None
    return both or bool(dataset.get("ModalityLUTSequence"))


def has_agent(dataset: Dataset) -> bool:
    """An agent by tag (PS3.3 C.7.6.4); sites also write "no" or "none" there."""
    agent = text(dataset, "ContrastBolusAgent")
    return agent not in _ABSENT_AGENTS or bool(dataset.get("ContrastBolusAgentSequence"))


def names_source_images(dataset: Dataset) -> bool:
    """True if CT or MR images are named as what this one was computed from (PS3.3 C.7.6.1.1.4).

    Scanners also name raw data as the source of an original; that says nothing.
    """
    sources = dataset.get("SourceImageSequence") or ()
    return any(
        text(item, "ReferencedSOPClassUID") in IMAGE_CLASSES for item in sources if isinstance(item, Dataset)
    )


def acquisition_date(dataset: Dataset) -> date | None:
    """The first valid one of acquisition, series and study date."""
    for keyword in ("AcquisitionDate", "SeriesDate", "StudyDate"):
        try:
            return datetime.strptime(text(dataset, keyword), "%Y%m%d").date()
        except ValueError:
            continue
    return None


class Numbers:
    """Numbers of a header, or None: DS and IS values in the field hold text, blanks and too few items."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def one(self, keyword: str) -> float | None:
        values = self._all(keyword)
        return values[0] if values else None

    def whole(self, keyword: str) -> int | None:
        value = self.one(keyword)
        return None if value is None else round(value)

    def vector(self, keyword: str, length: int) -> tuple[float, ...] | None:
        values = self._all(keyword)
        return values if values is not None and len(values) == length else None

    def _all(self, keyword: str) -> tuple[float, ...] | None:
        try:
            value = self.dataset.get(keyword)
            if value is None or value == "":
                return None
            many = value if hasattr(value, "__iter__") and not isinstance(value, str) else [value]
            numbers = tuple(float(item) for item in many)
        except (TypeError, ValueError, OverflowError):
            return None
        # NaN and infinity are legal floats, and no measurement
        return numbers if all(abs(number) < float("inf") for number in numbers) else None
