"""Tolerant reading of header values, and the frames of an enhanced object as headers of single images.

A value that is missing or malformed is None or empty. It is never replaced by a default, and it never raises an error.

An enhanced object keeps values in functional groups, which are shared or belong to one frame (PS3.3 C.7.6.16).
`frame_dataset` flattens them: it overlays the header of the file with the shared groups, then with those of the frame.
Some values have other names in an enhanced object than in a classic one (PS3.3 C.8.13.5). They are written under the
classic names, so that one set of rules reads both.
"""

import re
from collections.abc import Iterable
from typing import Any

from pydicom import DataElement, Dataset

from mrct.dicom.uids import IMAGE_CLASSES

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
#: The short name for a manufacturer that is not in the list.
OTHER_VENDOR = "other"
# What sites write into ContrastBolusAgent when no agent was given: one word, an amount of zero, or a negation that is
# followed by words about the agent alone. "No complications" and "non-ionic" say nothing about its absence.
_ABSENT = re.compile(
    r"""-* | C- | N | NA | N/A | NIL | NULL | NATIVE? | NATIVO | NATIF | NAT | PLAIN | UNENHANCED | FALSE
    | 0*(?:[.,]0*)?\s*(?:ML|CC|MG|G|MMOL)?""",
    re.VERBOSE,
)
_DENIED = re.compile(
    r"""(?: NO | NON | NOT | NONE | NEIN | NICHT | KEINE? | OHNE | WITHOUT | W/O | WO | SANS | SENZA | SIN | PRE )
    (?: [\s.,:;-]+
        (?: IV | I\.V\. | ORAL | CONTRAST\w* | KONTRAST\w* | KM | CM | CE | GD | GAD\w* | MDC | PDC | AGENT\w* | MEDI\w*
          | MITTEL | PRODUIT | MEZZO | BOLUS | INJ\w* | ENHANCE\w* | GIVEN | APPLIED | USED | GEGEBEN | DI | WAS | ANY )
    )* [\s.,:;-]*""",
    re.VERBOSE,
)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(?:[Ee][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+")
_WITH_POINT = re.compile(r"[+-]?\d*\.\d*(?:[Ee][+-]?\d+)?")

_SHARED, _PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
_NOT_OF_A_FRAME = {_SHARED, _PER_FRAME, "PixelData", "NumberOfFrames"}
_RENAMED = {"EffectiveEchoTime": "EchoTime", "InversionTimes": "InversionTime"}
# flags of the MR pulse sequence module (PS3.3 C.8.13.4), and what a classic image says in ScanningSequence and
# SequenceVariant: (keyword, value, classic value)
_SCANNING = (
    ("EchoPulseSequence", "SPIN", "SE"),
    ("EchoPulseSequence", "GRADIENT", "GR"),
    ("EchoPulseSequence", "BOTH", "SE"),
    ("EchoPulseSequence", "BOTH", "GR"),
    ("InversionRecovery", "YES", "IR"),
    ("EchoPlanarPulseSequence", "YES", "EP"),
)
_VARIANT = (
    ("SteadyStatePulseSequence", "FREE_PRECESSION", "SS"),
    ("SteadyStatePulseSequence", "TRANSVERSE", "SS"),
    ("SteadyStatePulseSequence", "LONGITUDINAL", "SS"),
    ("SteadyStatePulseSequence", "TIME_REVERSED", "SS"),
    ("Spoiling", "RF", "SP"),
    ("Spoiling", "RF_AND_GRADIENT", "SP"),
)
_ANGIOGRAPHY = (("TimeOfFlightContrast", "YES", "Y"), ("PhaseContrast", "YES", "Y"))


def texts(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """Return all values of the element in upper case."""
    value = dataset.get(keyword)
    if value is None or value == "":
        return ()
    many = [value] if isinstance(value, str) or not isinstance(value, Iterable) else value
    return tuple(str(item).strip().upper() for item in many)


def text(dataset: Dataset, keyword: str, keep_case: bool = False) -> str:
    """Return the element on one line, in upper case unless `keep_case`."""
    value = dataset.get(keyword)
    line = "" if value is None else " ".join(str(value).split())
    return line if keep_case else line.upper()


def written_numbers(value: object) -> list[object]:
    """Return the values of a numeric element, with texts that other programs spell wrongly in the form of DS.

    A decimal comma becomes a point ("3,5"). Values that are joined by a comma ("3.5,3.5"), or by a backslash in one
    text (an element with the VR UT), are separated. Blanks and NUL around a value are removed. A text that may
    mean two numbers, as "1,024", stays as it is: it is no number.
    """
    if value is None or value == "":
        return []
    many = list(value) if isinstance(value, Iterable) and not isinstance(value, str | bytes) else [value]
    numbers: list[object] = []
    for item in many:
        for part in item.split("\\") if isinstance(item, str) else [item]:
            numbers += _spelled_number(part.strip(" \0\t\r\n")) if isinstance(part, str) else [part]
    return numbers


def _spelled_number(text: str) -> list[str]:
    if _DECIMAL_COMMA.fullmatch(text) and not _THOUSANDS.fullmatch(text):
        return [text.replace(",", ".")]
    parts = [part.strip() for part in text.split(",")]
    return parts if all(map(_WITH_POINT.fullmatch, parts)) else [text]


class Numbers:
    """Numbers of a header. In practice DS and IS elements also hold text, blanks or too few values: these give None."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def one(self, keyword: str) -> float | None:
        """Return the first value."""
        values = self._all(keyword)
        return values[0] if values else None

    def whole(self, keyword: str) -> int | None:
        """Return the first value, rounded to an integer; None beyond the 32 bits of IS (PS3.5 6.2)."""
        value = self.one(keyword)
        return None if value is None or abs(value) >= 2**31 else round(value)

    def vector(self, keyword: str, length: int) -> tuple[float, ...] | None:
        """Return all values if there are exactly `length`, else None."""
        values = self._all(keyword)
        return values if values is not None and len(values) == length else None

    def _all(self, keyword: str) -> tuple[float, ...] | None:
        try:
            written: list[Any] = written_numbers(self.dataset.get(keyword))
            numbers = tuple(float(item) for item in written)
        except (TypeError, ValueError, OverflowError):
            return None
        # NaN and infinity are valid floats, but not measurements
        return numbers if numbers and all(abs(number) < float("inf") for number in numbers) else None


def vendor_name(manufacturer: str) -> str:
    """Return the short name of a known vendor, or "other": free text of a header is never shown."""
    maker = f"{manufacturer.lower()} "
    return next((name for word, name in _VENDORS.items() if maker.startswith(word)), OTHER_VENDOR)


def has_agent(dataset: Dataset) -> bool:
    """Return whether the header names a contrast agent (PS3.3 C.7.6.4)."""
    return names_agent(text(dataset, "ContrastBolusAgent")) or bool(dataset.get("ContrastBolusAgentSequence"))


def names_agent(text: str) -> bool:
    """Return whether a ContrastBolusAgent names an agent; many sites write there that none was given ("ohne KM")."""
    words = text.upper().strip(" .?\"'()[]_\0")
    return not (_ABSENT.fullmatch(words) or _DENIED.fullmatch(words))


def names_source_images(dataset: Dataset) -> bool:
    """Return whether the header names CT or MR images from which this one was computed (PS3.3 C.7.6.1.1.4).

    Scanners also name raw data as the source of an original image; raw data do not count.
    """
    sources = dataset.get("SourceImageSequence") or ()
    return any(
        text(item, "ReferencedSOPClassUID") in IMAGE_CLASSES for item in sources if isinstance(item, Dataset)
    )


def frame_count(dataset: Dataset) -> int:
    """Return the number of frames with functional groups of their own; 0 unless all NumberOfFrames frames have them."""
    groups = dataset.get(_PER_FRAME)
    complete = bool(groups) and len(groups) == int(dataset.get("NumberOfFrames") or 1)
    return len(groups) if complete else 0


def frame_dataset(dataset: Dataset, index: int) -> Dataset:
    """Return the header of frame `index` (from 0) with the names of a classic image, without pixels."""
    flat = Dataset()
    for element in dataset:
        if element.keyword not in _NOT_OF_A_FRAME:
            flat.add(element)
    for groups in (dataset.get(_SHARED), [dataset[_PER_FRAME].value[index]]):
        for group in groups or []:
            for macro in group:
                if macro.VR == "SQ" and len(macro.value) == 1:
                    _overlay(flat, macro.value[0])
    _use_classic_names(flat)
    return flat


def time_point_count(dataset: Dataset) -> int:
    """Return the number of different TemporalPositionIndex values of the frames, at least 1."""
    contents = [frame.get("FrameContentSequence") for frame in dataset[_PER_FRAME].value]
    indices = {int(items[0].get("TemporalPositionIndex") or 0) for items in contents if items}
    return max(len(indices), 1)


def _overlay(flat: Dataset, item: Dataset) -> None:
    for element in item:
        flat.add(element)
        classic = _RENAMED.get(element.keyword)
        if classic and element.value not in (None, ""):
            many = element.value if isinstance(element.value, Iterable) else [element.value]
            setattr(flat, classic, float(next(iter(many))))


def _use_classic_names(flat: Dataset) -> None:
    kind = texts(flat, "FrameType") or texts(flat, "ImageType")
    # a classic image also has the contrast of its signal and its complex component in ImageType
    kind += tuple(
        value.replace("_", " ")
        for word in ("AcquisitionContrast", "ComplexImageComponent")
        for value in texts(flat, word)
    )
    flat.add(DataElement("ImageType", "CS", list(kind)))
    flat.ScanningSequence = _flags(flat, _SCANNING)
    flat.SequenceVariant = _flags(flat, _VARIANT)
    flat.AngioFlag = "Y" if _flags(flat, _ANGIOGRAPHY) else "N"
    trains = [flat.get(word) for word in ("RFEchoTrainLength", "GradientEchoTrainLength")]
    known = [int(train) for train in trains if train not in (None, "")]
    if known:
        flat.EchoTrainLength = max(known)
    if "DIFFUSION" not in flat.ImageType and not flat.get("DiffusionBValue"):
        flat.pop("DiffusionBValue", None)  # Philips writes 0 to every frame of every scan
    if "AcquisitionDateTime" in flat and "AcquisitionDate" not in flat:
        flat.AcquisitionDate = str(flat.AcquisitionDateTime)[:8]


def _flags(flat: Dataset, table: tuple[tuple[str, str, str], ...]) -> list[str]:
    return [word for keyword, value, word in table if value in texts(flat, keyword)]
