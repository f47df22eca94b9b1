"""What must not be found: a patient's own header values, as words, numbers, dates and stored bytes.

Plain data for memory and for other processes; it holds what identifies a person and is never written to disk.
Values of the vocabulary ("AXIAL", "CT 3") name nobody and are left out, and so are single letters.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from itertools import chain, product

from pydicom import Dataset
from pydicom._uid_dict import UID_dictionary

from mrct.leaks.identifying import BIRTH, IDENTIFYING, MOMENTS, identifying_elements
from mrct.leaks.vocabulary import allows

# digits in a row that stand for themselves; fewer are found only as a whole element
SHORTEST_NUMBER = 6
_LONGEST = 128
_SEPARATORS = re.compile(r"[\s^=,;/\\_.:()\-]+")
_RUN = re.compile(r"[^\W_]+")
_UID = re.compile(r"[0-9.]{6,64}")
_WORD = re.compile(r"[^\W\d_]{5,}")
# PS3.5 6.1.3: text may hold tab, line feed, form feed, carriage return and escape
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_JOINTS = ("^", " ", "_", ",", ", ", "-", ".")
_MONTHS = [
    re.findall(r"\w+", names)
    for names in (
        "january february march april may june july august september october november december",
        "januar februar märz april mai juni juli august september oktober november dezember",
        "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    )
]


@dataclass(eq=False)  # known by identity, so that what is made from it can be cached
class PhiValues:
    """Lower-case value -> attribute, by how it is searched. Values are added, never taken away.

    `texts`: words, ids, spelled dates (any script); `numbers`: UIDs and runs of at least six digits; `short`: what
    is too short for that; `moments`: dates other than the birth date, as YYYYMMDD; `raw`: bytes in the file's
    own character set. A value of two attributes keeps the first one's name.
    """

    texts: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, str] = field(default_factory=dict)
    short: dict[str, str] = field(default_factory=dict)
    moments: dict[str, str] = field(default_factory=dict)
    raw: dict[bytes, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._seen: set[int] = set()  # elements of earlier files with the same bytes

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_seen": set()}  # hashes differ from process to process

    def merge(self, other: "PhiValues") -> None:
        """Adds all of `other`'s values."""
        for kind in fields(self):
            mine, theirs = getattr(self, kind.name), getattr(other, kind.name)
            mine.update({value: keyword for value, keyword in theirs.items() if value not in mine})

    def __len__(self) -> int:
        return sum(len(getattr(self, kind.name)) for kind in fields(self))

    def add_dataset(self, dataset: Dataset) -> None:
        """All identifying values at any depth, file meta included."""
        for keyword, vr, values, stored in identifying_elements(dataset, (), self._seen):
            if vr == "UI":
                self._add_uids(values, keyword)
                continue
            if vr != "PN" and keyword not in IDENTIFYING:
                continue
            for value in values:
                if _CONTROL.search(value):
                    self._add_words(value, keyword)
                elif vr in ("DA", "DT"):
                    self._add_date(value, keyword)
                elif vr == "PN":
                    self._add_name(value, keyword)
                else:
                    self.add_text(value, keyword, shortest_part=4)
            for part in chain.from_iterable(map(_stored_parts, stored)):
                self.raw.setdefault(part, keyword)

    def _add_uids(self, values: Sequence[str], keyword: str) -> None:
        for uid in values:
            if not _UID.fullmatch(uid):
                self._add_words(uid, keyword)
            elif uid not in UID_dictionary:
                self.numbers[uid] = keyword

    def _add_words(self, value: str, keyword: str) -> None:
        """Of a damaged value, which may have swallowed the next elements: words, no numbers or single letters."""
        for word in _WORD.findall(value):
            self.add_text(word, keyword, shortest_part=4)

    def add_text(self, value: str, keyword: str, shortest_part: int) -> None:
        """The value as a whole, and its parts of at least `shortest_part` letters."""
        value = value.strip().lower()
        digits = re.sub(r"[\s()+/.\-]", "", value)
        if digits.isdecimal() and digits.isascii() and len(digits) >= SHORTEST_NUMBER:
            self.numbers.setdefault(digits, keyword)  # a telephone number in any grouping
        for part in dict.fromkeys((value, *_SEPARATORS.split(value))):
            for spelling in dict.fromkeys((part, _plain(part))):
                self._add_part(spelling, keyword, shortest_part)

    def _add_part(self, part: str, keyword: str, shortest: int) -> None:
        if len(part) < 2 or len(part) > _LONGEST or _is_common(part):
            return
        if part.isdecimal() and part.isascii():
            kind = self.numbers if len(part) >= SHORTEST_NUMBER else self.short
        else:
            kind = self.texts if len(part) >= shortest or not part.isascii() else self.short
        kind.setdefault(part, keyword)

    def _add_name(self, name: str, keyword: str) -> None:
        """Its parts, and family and given name together in both orders (PS3.5 6.2.1)."""
        for group in name.split("="):
            self.add_text(group, keyword, shortest_part=3)
            components = [part.strip() for part in group.split("^")]
            for component in components:
                self.add_text(component, keyword, shortest_part=3)
            family, given = [*components, ""][:2]
            if len(family) > 1 and len(given) > 1:
                for (one, two), joint in product(((family, given), (given, family)), _JOINTS):
                    self._add_part(f"{one}{joint}{two}".lower(), keyword, shortest=4)

    def _add_date(self, value: str, keyword: str) -> None:
        digits = value.replace(".", "")[:8]
        if len(digits) < 8 or not digits.isdecimal() or not "01" <= digits[4:6] <= "12":
            return
        (self.moments if keyword in MOMENTS else self.numbers).setdefault(digits, keyword)
        for spelling in date_spellings(digits, _MONTHS if keyword == BIRTH else _MONTHS[:1]):
            is_number = re.fullmatch(r"[0-9.]+", spelling)
            (self.numbers if is_number else self.texts).setdefault(spelling, keyword)


def date_spellings(date: str, languages: Sequence[list[str]] = _MONTHS) -> list[str]:
    """How people write YYYYMMDD, in lower case; with a year of two digits only beside the month's name."""
    y, m, d = date[:4], date[4:6], date[6:8]
    day, month = str(int(d)), str(int(m))
    numeric = [f"{y}-{m}-{d}", f"{y}/{m}/{d}", f"{y}.{m}.{d}", f"{d}{m}{y}", f"{m}{d}{y}"]
    pairs = dict.fromkeys(((d, m), (day, month), (m, d), (month, day)))
    numeric += [f"{one}{joint}{two}{joint}{y}" for one, two in pairs for joint in "./-"]
    names = dict.fromkeys(
        spelling for months in languages for spelling in (months[int(m) - 1], months[int(m) - 1][:3])
    )
    spelled = []
    for name, number in product(names, dict.fromkeys((d, day))):
        spelled += [f"{number}{joint}{name}{joint}{y}" for joint in (" ", "-", "")]
        spelled += [f"{number}. {name} {y}", f"{number}-{name}-{y[2:]}", f"{number} {name} {y[2:]}"]
        spelled += [f"{name} {number}, {y}", f"{name} {number} {y}"]
    return list(dict.fromkeys(numeric + spelled))


def _plain(text: str) -> str:
    """Without accents: "müller" is found as "muller" too."""
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


def _is_common(text: str) -> bool:
    """Only words of the vocabulary, perhaps with short numbers: "CT 3" names no place."""
    words = _RUN.findall(text)
    return any(map(allows, words)) and all(allows(word) or re.fullmatch(r"\d{1,3}", word) for word in words)


def _stored_parts(value: bytes) -> list[bytes]:
    """Lower-case parts with at least four bytes, of which some are not ASCII."""
    pieces = {value, *value.split(b"="), *re.split(rb"[\s^=,\\]+", value)}
    return sorted(p.strip().lower()[:_LONGEST] for p in pieces if len(p.strip()) >= 4 and not p.isascii())
