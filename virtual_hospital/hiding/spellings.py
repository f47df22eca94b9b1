"""Values that are spelled so that a search for the plain word, or a parser of the plain VR, walks past them."""

import base64
import struct
from collections.abc import Callable
from functools import partial
from urllib.parse import quote

from pydicom.dataset import Dataset

from virtual_hospital.hiding.place import Place, Secrets, old_text, put_raw


def _after(
    keyword: str, vr: str, spell: Callable[[Secrets], bytes], image: Dataset, secrets: Secrets
) -> None:
    """`spell` behind what the attribute held before."""
    put_raw(image, keyword, vr, old_text(image, keyword).encode() + spell(secrets))


def _alone(
    keyword: str, vr: str, spell: Callable[[Secrets], bytes], image: Dataset, secrets: Secrets
) -> None:
    put_raw(image, keyword, vr, spell(secrets))


def _behind(kind: str, keyword: str, vr: str, spell: Callable[[Secrets], bytes]) -> Place:
    return Place(kind, keyword, partial(_after, keyword, vr, spell))


def _instead(kind: str, keyword: str, vr: str, spell: Callable[[Secrets], bytes]) -> Place:
    return Place(kind, keyword, partial(_alone, keyword, vr, spell))


def _family(secrets: Secrets) -> bytes:
    return secrets.family.encode()


def _utf_8(image: Dataset, keyword: str, text: str) -> None:
    image.SpecificCharacterSet = "ISO_IR 192"
    put_raw(image, keyword, "LO", text.encode())


def _put_full_width(image: Dataset, secrets: Secrets) -> None:
    """Letters of the block U+FF00, which look like ASCII."""
    wide = "".join(chr(ord(letter) + 0xFEE0) for letter in secrets.family if letter.isascii())
    _utf_8(image, "ProtocolName", f"{old_text(image, 'ProtocolName')} {wide}")


def _put_zero_width(image: Dataset, secrets: Secrets) -> None:
    parted = "\u200b".join(secrets.family)
    _utf_8(image, "SeriesDescription", f"{old_text(image, 'SeriesDescription')} {parted}")


def _put_soft_hyphen(image: Dataset, secrets: Secrets) -> None:
    parted = f"{secrets.family[:3]}\u00ad{secrets.family[3:]}"
    _utf_8(image, "StudyDescription", f"MR Brain {parted}")


def _put_in_character_set(image: Dataset, secrets: Secrets) -> None:
    """The attribute that says how to read the others, with a second value that no reader knows."""
    image.SpecificCharacterSet = "ISO_IR 100"
    put_raw(image, "SpecificCharacterSet", "CS", b"ISO_IR 100\\" + secrets.family.upper().encode())


def _entities(secrets: Secrets) -> bytes:
    """As a web form stores what it does not trust."""
    return "".join(f"&#{ord(letter)};" for letter in secrets.family).encode()


def _numbers(secrets: Secrets, size: int) -> bytes:
    """The name's bytes cut to whole binary numbers; blanks fill the last one."""
    name = secrets.family.encode()
    return name.ljust(-(-len(name) // size) * size)


PLACES = (
    _behind("text_behind_nul", "SeriesDescription", "LO", lambda s: b"\0\0" + _family(s)),
    _behind("text_behind_blanks", "SeriesDescription", "LO", lambda s: b" " * 30 + _family(s)),
    _behind("text_behind_line_break", "ProtocolName", "LO", lambda s: b"\r\n\x0c" + _family(s)),
    _behind("text_behind_escape", "SeriesDescription", "LO", lambda s: b" \x1b" + _family(s)),
    _behind("second_value", "SeriesDescription", "LO", lambda s: b"\\" + _family(s)),
    _behind("fortieth_value", "ImageType", "CS", lambda s: b"\\P" * 40 + b"\\" + _family(s).upper()),
    _behind("spaced_letters", "ProtocolName", "LO", lambda s: b" " + " ".join(s.family).encode()),
    _behind("mixed_case", "SeriesDescription", "LO", lambda s: b" t2" + s.family.swapcase().encode()),
    _behind("hyphened", "SeriesDescription", "LO", lambda s: f" {s.family[:4]}-{s.family[4:]}".encode()),
    _behind("dotted_initial", "StudyDescription", "LO", lambda s: f" {s.given[0]}.{s.family}".encode()),
    _behind("reversed_letters", "SeriesDescription", "LO", lambda s: b" " + _family(s)[::-1]),
    _behind("base64", "SeriesDescription", "LO", lambda s: b" " + base64.b64encode(_family(s))),
    _behind("hexadecimal", "ProtocolName", "LO", lambda s: b" " + _family(s).hex().encode()),
    _behind("percent_escaped", "ProtocolName", "LO", lambda s: b" " + quote(s.relative).encode()),
    _behind("character_entities", "SeriesDescription", "LO", _entities),
    _behind("telephone_digits", "SeriesDescription", "LO", lambda s: b" 00 " + s.phone.encode()),
    _behind("slashed_date", "StudyDescription", "LO", lambda s: f" *{s.birth:%d/%m/%Y}".encode()),
    _behind("month_in_words", "StudyDescription", "LO", lambda s: f" {s.birth:%d %b %Y}".encode()),
    _behind("utf_16_in_text", "ProtocolName", "LO", lambda s: b" " + s.family.encode("utf-16-le")),
    _behind("overlong_text", "ImageComments", "LT", lambda s: b"word " * 2400 + _family(s)),
    _instead("single_letter_codes", "ScanOptions", "CS", lambda s: "\\".join(s.family.upper()).encode()),
    _instead("all_name_groups", "OtherPatientNames", "PN", lambda s: b"=".join([f"{s.family}^{s.given}".encode()] * 3)),
    _instead("five_name_components", "PhysiciansOfRecord", "PN", lambda s: f"{s.family}^{s.given}^X^Dr^MD".encode()),
    _instead("seven_name_groups", "OtherPatientNames", "PN", lambda s: b"=" * 6 + _family(s)),
    _instead("name_in_uint16", "AcquisitionMatrix", "US", lambda s: _numbers(s, 8)[:8]),
    _instead("name_in_uint32", "DimensionIndexValues", "UL", lambda s: _numbers(s, 4)),
    _instead("name_in_doubles", "SlabOrientation", "FD", lambda s: _numbers(s, 24)),
    _instead("name_in_tags", "FrameIncrementPointer", "AT", lambda s: _numbers(s, 4)),
    _instead("id_in_double", "TablePosition", "FD", lambda s: struct.pack("<d", float(s.patient_id))),
    _instead("id_as_exponent", "TableHeight", "DS", lambda s: f"{s.patient_id}E-6".encode()),
    _instead("date_in_decimal", "DistanceSourceToPatient", "DS", lambda s: f"{s.birth:%Y%m%d}".encode()),
    _instead("date_in_numeric_code", "LossyImageCompressionMethod", "CS", lambda s: f"{s.birth:%Y%m%d}".encode()),
    _instead("text_under_sequence_tag", "ReferencedSeriesSequence", "LO", _family),
    _instead("text_under_uid_tag", "ConcatenationUID", "LT", _family),
    Place("full_width_letters", "ProtocolName", _put_full_width),
    Place("zero_width_letters", "SeriesDescription", _put_zero_width),
    Place("soft_hyphen", "StudyDescription", _put_soft_hyphen),
    Place("character_set_name", "SpecificCharacterSet", _put_in_character_set),
)  # fmt: skip
