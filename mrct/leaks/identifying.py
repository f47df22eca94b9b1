"""The elements of a dataset that may name a person, a place or a device (identifying.txt), as text and as stored."""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from pydicom import DataElement, Dataset
from pydicom._dicom_dict import DicomDictionary
from pydicom.charset import convert_encodings
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag, Tag

_TABLE = Path(__file__).with_name("identifying.txt").read_text(encoding="ascii")
_WORDS = [line for line in _TABLE.splitlines() if not line.startswith("#")]
_PLACES, _, _DATES = "\n".join(_WORDS).partition("dates:")
MOMENTS = frozenset(_DATES.split())
IDENTIFYING = frozenset(_PLACES.split()) | MOMENTS
BIRTH = "PatientBirthDate"
_TAGS = frozenset(Tag(keyword) for keyword in IDENTIFYING)
_ALWAYS = ("PN", "UI", "SQ")


def identifying_elements(
    dataset: Dataset, charset: Sequence[str], seen: set[int]
) -> Iterator[tuple[str, str | None, list[str], list[bytes]]]:
    """(keyword, VR, values, values as stored) of every readable element that may identify, at any depth.

    What cannot be read is not written either; what `seen` knows is passed over.
    """
    declared = dataset.get("SpecificCharacterSet")
    charset = convert_encodings(declared) if declared else charset
    for part in (getattr(dataset, "file_meta", None) or Dataset(), dataset):
        for tag, raw in list(
            part.items()
        ):  # as they were read: iterating a Dataset would parse every element
            if not _may_identify(tag, raw.VR):
                continue
            try:
                if _is_known(raw, tuple(charset), seen):
                    continue
                stored = _stored(raw)
                element = part[tag]
                values = list(_values(element))
                stored += _encoded(element, values, charset)
            except Exception:  # pydicom's conversion fails in many ways on damaged values
                continue
            if element.VR == "SQ":
                for item in element.value:
                    yield from identifying_elements(item, charset, seen)
            else:
                yield element.keyword or "PrivateElement", _standard_vr(tag, element.VR), values, stored


def _is_known(raw: DataElement | RawDataElement, charset: tuple[str, ...], seen: set[int]) -> bool:
    """Whether the same bytes came in an earlier file, as most of a series do; they are remembered now."""
    if not isinstance(raw, RawDataElement) or not isinstance(raw.value, bytes):
        return False
    digest = hash((raw.tag, raw.VR, raw.value, raw.is_little_endian, charset))
    known = digest in seen
    seen.add(digest)
    return known


@lru_cache(maxsize=4096)
def _may_identify(tag: BaseTag, vr: str | None) -> bool:
    """Spares the others the conversion, which takes most of the time; the pixels are searched, not asked."""
    if tag.group == 0x7FE0:
        return False
    return _standard_vr(tag, vr) in _ALWAYS or tag in _TAGS or (tag.is_private and vr in ("UN", None))


def _standard_vr(tag: BaseTag, vr: str | None) -> str | None:
    """What the file says only where the standard says nothing: a damaged VR makes a slice thickness a name."""
    return DicomDictionary.get(tag, (vr,))[0]


def _stored(raw: DataElement | RawDataElement) -> list[bytes]:
    """The value's bytes, where pydicom has not converted them yet and they are not ASCII alone."""
    value = raw.value if isinstance(raw, RawDataElement) else None
    return [value] if isinstance(value, bytes) and len(value) <= 1024 and not value.isascii() else []


def _encoded(element: DataElement, values: Iterable[str], charset: Iterable[str]) -> list[bytes]:
    """A value that is converted already, back in the file's own character set, in small and capital letters."""
    names = element.value if element.VM > 1 else [element.value]
    originals = [getattr(name, "original_string", None) for name in names] if element.VR == "PN" else []
    spellings = {spelling for value in values if not value.isascii() for spelling in (value, value.upper())}
    encoded = [spelling.encode(codec, "ignore") for spelling in sorted(spellings) for codec in charset]
    return [original for original in originals if isinstance(original, bytes)] + encoded


def _values(element: DataElement) -> Iterator[str]:
    values = element.value if element.VM > 1 else [element.value]
    for value in values:
        if value not in (None, "", b"") and element.VR != "SQ":
            yield str(value).strip(" \0")
