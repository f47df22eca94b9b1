"""Whose image it is: PatientID, PatientName and PatientBirthDate, read so that no two persons become one.

The stored bytes decide, not the text that a decoder makes of them: a decoder writes the same replacement character for
any byte that it cannot read. The functions do not convert the elements of the dataset. They must be called before
anything else converts them, because pydicom then drops the stored bytes.

Bytes are read in the declared character set (PS3.3 C.12.1.1.2). Bytes that are valid UTF-8 where a set of one byte per
character is declared, or none, are UTF-8: text in another encoding is hardly ever valid UTF-8 (RFC 3629, section 1).
Without a declaration, all other bytes are Latin-1.
"""

import codecs
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from pydicom import Dataset
from pydicom.charset import convert_encodings, decode_bytes
from pydicom.multival import MultiValue
from pydicom.valuerep import TEXT_VR_DELIMS

from mrct.dicom.dates import birth_digits

#: Why an image without PatientID is not used.
NO_PATIENT_ID = "no PatientID: CT and MR cannot be assigned to a patient"

_PADDING = " \0\t\r\n"
_ESCAPE = b"\x1b"
_LOST = "\N{REPLACEMENT CHARACTER}"
_BACKSLASH = ord("\\")
_NAME_SEPARATORS = str.maketrans("^,;", "   ")

Words = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Person:
    """Name, birth date and sex in a header; `repr` shows nothing.

    Attributes:
        name: For the alphabetic, ideographic and phonetic group (PS3.5 6.2.1): the words in every possible reading of
            the stored bytes; empty where nothing is stored.
        birth_date: The known digits of the birth date, YYYYMMDD or fewer.
        sex: M or F, or empty where it is not known.
    """

    name: tuple[frozenset[Words], ...] = ()
    birth_date: str = ""
    sex: str = ""

    def __repr__(self) -> str:
        return "Person(...)"

    def has_another_name(self, other: "Person") -> bool:
        """Return whether the first group that both names have differs in all readings."""
        pairs = ((one, two) for one, two in zip(self.name, other.name, strict=False) if one and two)
        one, two = next(pairs, (frozenset(), frozenset()))
        return bool(one) and not one & two

    def has_another_birth_date(self, other: "Person") -> bool:
        """Return whether both birth dates are known and contradict each other."""
        shorter, longer = sorted((self.birth_date, other.birth_date), key=len)
        return not longer.startswith(shorter)

    def has_another_sex(self, other: "Person") -> bool:
        """Return whether both sexes are known and differ."""
        return {self.sex, other.sex} == {"M", "F"}


def strip(value: str) -> str:
    """Remove the blanks and NULs that pad a DICOM value to an even length."""
    return value.strip(_PADDING)


def read_patient_id(dataset: Dataset) -> str:
    r"""Return the PatientID without padding; it is the same for the same text in two character sets, and for no other.

    Bytes that are no text in their character set, control characters and several values are given as stored: printable
    ASCII as it is, any other byte and the backslash as \xNN. No other id holds a backslash.
    """
    stored, encodings = _stored(dataset, "PatientID")
    value = strip(_decoded(stored, encodings) or "")
    is_plain = _LOST not in value and "\\" not in value and all(map(_is_visible, value))
    return value if value and is_plain else _spelled(stored)


def read_person(dataset: Dataset) -> Person:
    """Return name, birth date and sex; case, kinds of accents, carets and commas do not count in the name."""
    name = _name_readings(*_stored(dataset, "PatientName"))
    birth_date, _ = _stored(dataset, "PatientBirthDate")
    sex = _stored(dataset, "PatientSex")[0].strip(b" \0").upper()
    return Person(
        name, birth_digits(birth_date.decode("latin-1")), sex.decode() if sex in (b"M", b"F") else ""
    )


def _stored(dataset: Dataset, keyword: str) -> tuple[bytes, tuple[str, ...]]:
    """Return the value's bytes and the Python codecs for them; a value that was set in memory is given in UTF-8."""
    element = dataset.get_item(keyword) if keyword in dataset else None
    value = None if element is None else element.value
    if isinstance(value, bytes):
        return value, _encodings(dataset)
    values: Iterable[object] = value if isinstance(value, MultiValue) else [value]
    together = "\\".join("" if one is None else str(one) for one in values)
    return together.encode("utf-8", "surrogatepass"), ("utf8",)


def _encodings(dataset: Dataset) -> tuple[str, ...]:
    try:
        return tuple(convert_encodings(dataset.get("SpecificCharacterSet")))
    except Exception:  # pydicom fails in many ways on a damaged declaration, which declares nothing
        return tuple(convert_encodings(None))


@lru_cache(maxsize=4096)
def _decoded(stored: bytes, encodings: tuple[str, ...]) -> str:
    """Return the bytes as text, with replacement characters where they are no text."""
    if _ESCAPE not in stored and all(map(_has_one_byte_per_character, encodings)):
        try:
            return stored.decode("utf-8")
        except UnicodeDecodeError:
            pass
    try:
        return decode_bytes(stored, list(encodings), TEXT_VR_DELIMS)
    except (LookupError, ValueError):
        return _LOST


@lru_cache(maxsize=64)
def _has_one_byte_per_character(encoding: str) -> bool:
    try:
        return codecs.lookup(encoding).name.startswith(("iso8859", "tis-620"))
    except LookupError:
        return True  # pydicom reads an unknown encoding as Latin-1


def _is_visible(character: str) -> bool:
    return unicodedata.category(character) != "Cc"


def _spelled(stored: bytes) -> str:
    plain = stored.strip(_PADDING.encode())
    return "".join(
        chr(byte) if 0x20 <= byte < 0x7F and byte != _BACKSLASH else f"\\x{byte:02x}" for byte in plain
    )


@lru_cache(maxsize=4096)
def _name_readings(stored: bytes, encodings: tuple[str, ...]) -> tuple[frozenset[Words], ...]:
    """Read a name in the declared set, as UTF-8 and as Latin-1: many files declare no set, or a wrong one."""
    texts = {_decoded(stored, encodings), stored.decode("latin-1")}
    if _ESCAPE not in stored:
        texts.add(stored.decode("utf-8", "replace"))
    readings = [text.split("=") for text in sorted(texts) if _LOST not in text]
    groups = max(map(len, readings))
    return tuple(
        frozenset(_words(reading[n]) for reading in readings if n < len(reading)) - {()}
        for n in range(groups)
    )


def _words(name: str) -> Words:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return tuple(strip(folded).translate(_NAME_SEPARATORS).split())
