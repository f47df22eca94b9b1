"""The elements of a dataset that may identify a person, a place or a device.

They are listed in identifying.txt. All person names (PN) and all UIDs (UI) belong to them as well.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pydicom import DataElement, Dataset
from pydicom._dicom_dict import DicomDictionary
from pydicom.charset import convert_encodings
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import PersonName

_LINES = Path(__file__).with_name("identifying.txt").read_text(encoding="ascii").splitlines()
_UNDATED, _, _DATED = "\n".join(line for line in _LINES if not line.startswith("#")).partition("dates:")
#: Keywords of the dates other than the date of birth.
DATES = frozenset(_DATED.split())
#: Keywords of all identifying attributes, except for person names and UIDs, which are known by their VR.
IDENTIFYING = frozenset(_UNDATED.split()) | DATES
BIRTH = "PatientBirthDate"
_TAGS = frozenset(Tag(keyword) for keyword in IDENTIFYING)
_IDENTIFYING_VRS = ("PN", "UI", "SQ")
_PIXEL_GROUP = 0x7FE0
# Longer values are searched as text only.
_LONGEST_STORED = 1024


@dataclass(frozen=True)
class IdentifyingElement:
    """A data element that may identify someone: its values as text, and as bytes in the file's character set."""

    keyword: str
    vr: str | None
    values: list[str]
    stored: list[bytes]


def identifying_elements(
    dataset: Dataset, charset: Sequence[str], seen: set[int]
) -> Iterator[IdentifyingElement]:
    """Yield every readable element that may identify someone, at any depth.

    Unreadable elements are left out; this program does not write them either.

    Args:
        dataset: A dataset, with or without file meta information.
        charset: Python codecs of the enclosing dataset.
        seen: Hashes of the elements yielded before. They are skipped, and new ones are added.
    """
    declared = dataset.get("SpecificCharacterSet")
    charset = convert_encodings(declared) if declared else charset
    for part in (getattr(dataset, "file_meta", None) or Dataset(), dataset):
        # `items` gives the elements as read. Iterating over the dataset would convert every value.
        for tag, raw in list(part.items()):
            if not _may_identify(tag, raw.VR):
                continue
            try:
                if _is_known(raw, tuple(charset), seen):
                    continue
                stored = _stored_bytes(raw)
                element = part[tag]
                values = list(_values_as_text(element))
                stored += _encoded(element, values, charset)
            except Exception:  # pydicom fails in many ways on damaged values
                continue
            if element.VR == "SQ":
                for item in element.value:
                    yield from identifying_elements(item, charset, seen)
            else:
                vr = _standard_vr(tag, element.VR)
                yield IdentifyingElement(element.keyword or "PrivateElement", vr, values, stored)


def _is_known(raw: DataElement | RawDataElement, charset: tuple[str, ...], seen: set[int]) -> bool:
    """Return whether an equal element was read before, and remember this one."""
    if not isinstance(raw, RawDataElement) or not isinstance(raw.value, bytes):
        return False
    digest = hash((raw.tag, raw.VR, raw.value, raw.is_little_endian, charset))
    known = digest in seen
    seen.add(digest)
    return known


@lru_cache(maxsize=4096)
def _may_identify(tag: BaseTag, vr: str | None) -> bool:
    """Return whether an element may identify someone and must be converted, which takes most of the time."""
    if tag.group == _PIXEL_GROUP:
        return False
    is_unknown_private = tag.is_private and vr in ("UN", None)
    return _standard_vr(tag, vr) in _IDENTIFYING_VRS or tag in _TAGS or is_unknown_private


def _standard_vr(tag: BaseTag, vr: str | None) -> str | None:
    """Return the VR of the data dictionary; the VR in the file may be damaged and is used for unknown tags only."""
    return DicomDictionary.get(tag, (vr,))[0]


def _stored_bytes(raw: DataElement | RawDataElement) -> list[bytes]:
    """Return the value of an element that pydicom has not converted yet, if it is not pure ASCII."""
    value = raw.value if isinstance(raw, RawDataElement) else None
    if isinstance(value, bytes) and len(value) <= _LONGEST_STORED and not value.isascii():
        return [value]
    return []


def _encoded(element: DataElement, values: Iterable[str], charset: Iterable[str]) -> list[bytes]:
    """Encode a converted value in the character set of the file again, as it is and in capitals."""
    names = element.value if element.VM > 1 else [element.value]
    originals = [name.original_string for name in names if isinstance(name, PersonName)]
    spellings = {spelling for value in values if not value.isascii() for spelling in (value, value.upper())}
    encoded = [spelling.encode(codec, "ignore") for spelling in sorted(spellings) for codec in charset]
    return [original for original in originals if isinstance(original, bytes)] + encoded


def _values_as_text(element: DataElement) -> Iterator[str]:
    values = element.value if element.VM > 1 else [element.value]
    for value in values:
        if value not in (None, "", b"") and element.VR != "SQ":
            yield str(value).strip(" \0")
