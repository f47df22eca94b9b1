"""The identifying values of a patient, in every form that the scanner searches for.

Values that consist of known words (vocabulary.txt), such as "AXIAL" or "CT 3", identify nobody and are left out, as are
single letters.
"""

import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, product

from pydicom import Dataset
from pydicom._uid_dict import UID_dictionary

from mrct.leaks.identifying import BIRTH, DATES, IDENTIFYING, IdentifyingElement, identifying_elements
from mrct.leaks.vocabulary import allows

#: A shorter run of digits counts only where it fills a whole element or cell.
SHORTEST_NUMBER = 6

_LONGEST = 128
_SEPARATORS = re.compile(r"[\s^=,;/\\_.:()\-]+")
_RUN = re.compile(r"[^\W_]+")
_UID = re.compile(r"[0-9.]{6,64}")
_WORD = re.compile(r"[^\W\d_]{5,}")
# PS3.5 section 6.1.3 allows tab, line feed, form feed, carriage return and escape in text.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_NAME_SEPARATORS = ("^", " ", "_", ",", ", ", "-", ".")
# Letters that Unicode does not decompose, as their base letters.
_BASE_LETTERS = str.maketrans(
    {"ß": "ss", "ø": "o", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d", "ð": "d", "þ": "th"}
)
# The transliteration of German, Danish, Norwegian and Swedish, as in passports (ICAO Doc 9303-3, section 6).
_TRANSLITERATED = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe"})
_MONTHS = [
    re.findall(r"\w+", names)
    for names in (
        "january february march april may june july august september october november december",
        "januar februar märz april mai juni juli august september oktober november dezember",
        "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    )
]


@dataclass(eq=False)
class PhiValues:
    """The identifying values of one patient: lower-case value -> keyword of the attribute that holds it.

    A value that several attributes hold keeps the keyword of the first one. Values are added and never removed. They
    are sent between processes and must not be written to disk. Two objects are equal only if they are the same object,
    so that results computed from one can be cached.

    Attributes:
        texts: Words, ids and spelled dates, in any script.
        numbers: UIDs and runs of at least `SHORTEST_NUMBER` digits.
        short: Texts and numbers that are too short for `texts` and `numbers`.
        dates: Dates other than the date of birth, as YYYYMMDD.
        raw: Lower-case bytes in the character set of the file, where they are not ASCII.
    """

    texts: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, str] = field(default_factory=dict)
    short: dict[str, str] = field(default_factory=dict)
    dates: dict[str, str] = field(default_factory=dict)
    raw: dict[bytes, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Hashes of the elements read so far: most files of a series repeat the same ones.
        self._seen: set[int] = set()

    def __getstate__(self) -> dict[str, object]:
        # Hashes of text differ between processes.
        return {**self.__dict__, "_seen": set()}

    def __len__(self) -> int:
        return len(self.texts) + len(self.numbers) + len(self.short) + len(self.dates) + len(self.raw)

    def items(self) -> Iterator[tuple[str | bytes, str]]:
        """Yield (value, keyword) of every kind. A value of two kinds occurs twice."""
        for kind in (self.texts, self.numbers, self.dates):
            yield from kind.items()
        yield from self.raw.items()
        yield from self.short.items()

    def merge(self, other: "PhiValues") -> None:
        """Add all values of `other`."""
        for mine, theirs in (
            (self.texts, other.texts),
            (self.numbers, other.numbers),
            (self.short, other.short),
            (self.dates, other.dates),
        ):
            mine.update({value: keyword for value, keyword in theirs.items() if value not in mine})
        self.raw.update({value: keyword for value, keyword in other.raw.items() if value not in self.raw})

    def add_dataset(self, dataset: Dataset) -> None:
        """Add the identifying values of a dataset, of its nested sequences and of its file meta information."""
        for element in identifying_elements(dataset, (), self._seen):
            if element.vr == "UI":
                self._add_uids(element.values, element.keyword)
                continue
            if element.vr != "PN" and element.keyword not in IDENTIFYING:
                continue
            for value in element.values:
                self._add_value(value, element)
            for part in chain.from_iterable(map(_stored_parts, element.stored)):
                self.raw.setdefault(part, element.keyword)

    def add_text(self, value: str, keyword: str, shortest_part: int) -> None:
        """Add a text as a whole, and its parts.

        Args:
            value: The text, in any case.
            keyword: Name of the attribute that a finding shows.
            shortest_part: Parts with fewer letters count as `short`.
        """
        if any("\ud800" <= character <= "\udfff" for character in value):
            # a file name that is not UTF-8 (PEP 383): its bytes, and their text in Latin-1
            for stored in _stored_parts(os.fsencode(value)):
                self.raw.setdefault(stored, keyword)
            value = os.fsencode(value).decode("latin-1")
        value = value.strip().lower()
        digits = re.sub(r"[\s()+/.\-]", "", value)
        if digits.isdecimal() and digits.isascii() and len(digits) >= SHORTEST_NUMBER:
            # A telephone number is searched without its grouping.
            self.numbers.setdefault(digits, keyword)
        for part in dict.fromkeys((value, *_SEPARATORS.split(value))):
            for spelling in _spellings(part):
                self._add_part(spelling, keyword, shortest_part)

    def _add_value(self, value: str, element: IdentifyingElement) -> None:
        if _CONTROL.search(value):
            self._add_words(value, element.keyword)
        elif element.vr in ("DA", "DT"):
            self._add_date(value, element.keyword)
        elif element.vr == "PN":
            self._add_name(value, element.keyword)
        else:
            self.add_text(value, element.keyword, shortest_part=4)

    def _add_uids(self, values: Sequence[str], keyword: str) -> None:
        for uid in values:
            if not _UID.fullmatch(uid):
                self._add_words(uid, keyword)
            elif uid not in UID_dictionary:
                self.numbers[uid] = keyword

    def _add_words(self, value: str, keyword: str) -> None:
        """Add only the words of a damaged value: it may contain bytes of the elements that follow it."""
        for word in _WORD.findall(value):
            self.add_text(word, keyword, shortest_part=4)

    def _add_part(self, part: str, keyword: str, shortest: int) -> None:
        if len(part) < 2 or len(part) > _LONGEST or _is_common(part):
            return
        if part.isdecimal() and part.isascii():
            kind = self.numbers if len(part) >= SHORTEST_NUMBER else self.short
        else:
            kind = self.texts if len(part) >= shortest or not part.isascii() else self.short
        kind.setdefault(part, keyword)

    def _add_name(self, name: str, keyword: str) -> None:
        """Add the components of a name, and family and given name together in both orders (PS3.5 section 6.2.1)."""
        for group in name.split("="):
            self.add_text(group, keyword, shortest_part=3)
            components = [part.strip() for part in group.split("^")]
            for component in components:
                self.add_text(component, keyword, shortest_part=3)
            family, given = [*components, ""][:2]
            if len(family) > 1 and len(given) > 1:
                for (first, last), separator in product(((family, given), (given, family)), _NAME_SEPARATORS):
                    self._add_part(f"{first}{separator}{last}".lower(), keyword, shortest=4)

    def _add_date(self, value: str, keyword: str) -> None:
        digits = value.replace(".", "")[:8]
        if len(digits) < 8 or not digits.isdecimal() or not "01" <= digits[4:6] <= "12":
            return
        (self.dates if keyword in DATES else self.numbers).setdefault(digits, keyword)
        for spelling in date_spellings(digits, _MONTHS if keyword == BIRTH else _MONTHS[:1]):
            is_number = re.fullmatch(r"[0-9.]+", spelling)
            (self.numbers if is_number else self.texts).setdefault(spelling, keyword)


def date_spellings(date: str, languages: Sequence[list[str]] = _MONTHS) -> list[str]:
    """Return the usual spellings of a date, in lower case.

    A year of two digits occurs only next to the name of a month.

    Args:
        date: YYYYMMDD.
        languages: The twelve names of the months, for each language.
    """
    y, m, d = date[:4], date[4:6], date[6:8]
    day, month = str(int(d)), str(int(m))
    numeric = [f"{y}-{m}-{d}", f"{y}/{m}/{d}", f"{y}.{m}.{d}", f"{d}{m}{y}", f"{m}{d}{y}"]
    pairs = dict.fromkeys(((d, m), (day, month), (m, d), (month, day)))
    numeric += [f"{first}{separator}{second}{separator}{y}" for first, second in pairs for separator in "./-"]
    names = dict.fromkeys(
        spelling for months in languages for spelling in (months[int(m) - 1], months[int(m) - 1][:3])
    )
    spelled = []
    for name, number in product(names, dict.fromkeys((d, day))):
        spelled += [f"{number}{separator}{name}{separator}{y}" for separator in (" ", "-", "")]
        spelled += [f"{number}. {name} {y}", f"{number}-{name}-{y[2:]}", f"{number} {name} {y[2:]}"]
        spelled += [f"{name} {number}, {y}", f"{name} {number} {y}"]
    return list(dict.fromkeys(numeric + spelled))


def _spellings(text: str) -> list[str]:
    """Return a lower-case text as it is, without accents ("uber" for "über"), and transliterated ("ueber")."""
    if text.isascii():
        return [text]
    transliterated = unicodedata.normalize("NFC", text).translate(_TRANSLITERATED)
    return list(dict.fromkeys((text, _without_accents(text), _without_accents(transliterated))))


def _without_accents(text: str) -> str:
    text = text.translate(_BASE_LETTERS)
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


def _is_common(text: str) -> bool:
    """Return whether a text consists of known words and numbers of up to three digits, as "CT 3"."""
    words = _RUN.findall(text)
    return any(map(allows, words)) and all(allows(word) or re.fullmatch(r"\d{1,3}", word) for word in words)


def _stored_parts(value: bytes) -> list[bytes]:
    """Return the lower-case parts of at least four bytes that are not pure ASCII."""
    parts = {value, *value.split(b"="), *re.split(rb"[\s^=,\\]+", value)}
    return sorted(p.strip().lower()[:_LONGEST] for p in parts if len(p.strip()) >= 4 and not p.isascii())
