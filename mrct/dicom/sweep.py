"""The proof after writing: every output byte of a patient is searched for that patient's own header values.

Headers are searched as 8-bit text, as UTF-16 and for the raw bytes of names in other character sets; pixels
for text of at least eight characters, since shorter ones occur among numbers by chance. Words of the
vocabulary and of our own declarations are no find: "Mary" is part of PRIMARY in every file.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from pydicom import DataElement, Dataset
from pydicom._uid_dict import UID_dictionary

from mrct.dicom.vocabulary import allows

IDENTIFYING = frozenset(
    word
    for line in Path(__file__).with_name("identifying.txt").read_text(encoding="ascii").splitlines()
    if not line.startswith("#")
    for word in line.split()
)
_SHORTEST_IN_PIXELS = 8
_RUN = re.compile(r"[^\W_]+")
_NUMBER_RUN = re.compile(r"[0-9][0-9.]*")
_SEPARATORS = re.compile(r"[\s^=,;/\\_.:()\-]+")


class LeakError(RuntimeError):
    """An output file holds a header value of its patient; the message names file and attribute only."""


@dataclass
class Needles:
    """What must not be found: lower-case words and ids, numbers, UIDs, raw bytes; each with its attribute."""

    texts: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, str] = field(default_factory=dict)
    raw: dict[bytes, str] = field(default_factory=dict)

    def add_dataset(self, dataset: Dataset) -> None:
        """All identifying values at any depth, file meta included."""
        for element in _elements(dataset):
            keyword = element.keyword or "PrivateElement"
            if element.VR == "PN":
                self._add_name(element, keyword)
            elif element.VR == "UI":
                for uid in _values(element):
                    if uid not in UID_dictionary:
                        self.numbers[uid] = keyword
            elif element.keyword in IDENTIFYING and element.VR != "SQ":
                for value in _values(element):
                    self.add_text(value, keyword, shortest_part=4)
                    if element.VR == "DA":
                        self._add_date(value, keyword)

    def add_text(self, value: str, keyword: str, shortest_part: int) -> None:
        """The value as a whole, and its parts of at least `shortest_part` letters."""
        parts = {value, *_SEPARATORS.split(value)}
        for part in (part.strip().lower() for part in parts):
            if part.isdecimal() and part.isascii():
                if len(part) >= 6:
                    self.numbers[part] = keyword
            elif len(part) >= shortest_part and part.isascii():
                if not _is_common(part):
                    self.texts[part] = keyword
            elif not part.isascii():
                self._add_foreign(part, keyword)

    def _add_name(self, element: DataElement, keyword: str) -> None:
        for name in element.value if element.VM > 1 else [element.value]:
            self.add_text(str(name), keyword, shortest_part=3)
            for group in (getattr(name, "original_string", None) or b"").split(b"="):
                for part in re.split(rb"[\s^]+", group):
                    if len(part) >= 4 and not part.isascii():
                        self.raw[part] = keyword

    def _add_date(self, value: str, keyword: str) -> None:
        year, month, day = value[:4], value[4:6], value[6:8]
        if day:
            for text in (f"{day}.{month}.{year}", f"{day}{month}{year}", f"{month}{day}{year}"):
                self.numbers[text] = keyword
            for text in (f"{year}-{month}-{day}", f"{day}/{month}/{year}", f"{month}/{day}/{year}"):
                self.texts[text] = keyword

    def _add_foreign(self, part: str, keyword: str) -> None:
        for encoding in ("utf-8", "utf-16-le", "utf-16-be", "latin-1"):
            raw = part.encode(encoding, "ignore")
            if len(raw) >= 4 and not raw.isascii() and len(part) > 1:
                self.raw[raw] = keyword


def find_leak(header: bytes, pixels: bytes, needles: Needles, ours: frozenset[str]) -> str | None:
    """The attribute whose value is found, or None. `ours`: words and numbers that we wrote ourselves."""
    for raw, keyword in needles.raw.items():
        if raw in header:
            return keyword
    for content, shortest in ((header, 3), (pixels, _SHORTEST_IN_PIXELS)):
        for text in _texts(content, shortest):
            found = _find(text.lower(), needles, ours, shortest)
            if found is not None:
                return found
    return None


def _find(text: str, needles: Needles, ours: frozenset[str], shortest: int) -> str | None:
    for number in _NUMBER_RUN.findall(text):
        number = number.strip(".")
        if number in needles.numbers and number not in ours and len(number) >= shortest:
            return needles.numbers[number]
    for needle, keyword in needles.texts.items():
        start = text.find(needle) if len(needle) >= shortest else -1
        while start >= 0:
            if not _is_ours(text, start, start + len(needle), ours):
                return keyword
            start = text.find(needle, start + 1)
    return None


def _is_common(text: str) -> bool:
    """Only words of the vocabulary, perhaps with short numbers: "CT 3" names no place."""
    words = _RUN.findall(text)
    return any(map(allows, words)) and all(allows(word) or re.fullmatch(r"\d{1,3}", word) for word in words)


def _is_ours(text: str, start: int, end: int, ours: frozenset[str]) -> bool:
    """Whether every word that the find touches is a word that every output may hold."""
    while start > 0 and text[start - 1].isalnum():
        start -= 1
    while end < len(text) and text[end].isalnum():
        end += 1
    return all(
        word in ours or allows(word) or allows(word, "device") for word in _RUN.findall(text[start:end])
    )


def _texts(content: bytes, shortest: int) -> Iterator[str]:
    """Printable runs of at least `shortest` characters, as 8-bit and as UTF-16 of both byte orders."""
    # a 16-bit text that starts at an odd byte looks like one of the other byte order
    units = (("u1",), ("<u2", ">u2"), ("<u2", ">u2"))
    for pattern, spellings in zip(_printable(shortest), units, strict=True):
        if shortest >= _SHORTEST_IN_PIXELS and not any(_may_hold_text(content, unit) for unit in spellings):
            continue
        yield "\n".join(run.replace(b"\0", b"").decode("ascii") for run in pattern.findall(content))


def _may_hold_text(content: bytes, spelling: str) -> bool:
    """False only where no eight printable characters follow each other: a quick look before the slow one.

    Eight of them, or the seven that an odd start leaves of a 16-bit text, fill one aligned block of four.
    """
    units = np.frombuffer(content, spelling, len(content) // (4 * np.dtype(spelling).itemsize) * 4)
    printable = (units >= 0x20) & (units <= 0x7E)
    return bool(printable.reshape(-1, 4).all(axis=1).any()) or len(content) < 64


@cache
def _printable(shortest: int) -> tuple[re.Pattern[bytes], ...]:
    spellings = (rb"[\x20-\x7e]", rb"(?:[\x20-\x7e]\x00)", rb"(?:\x00[\x20-\x7e])")
    return tuple(re.compile(spelling + b"{%d,}" % shortest) for spelling in spellings)


def _elements(dataset: Dataset) -> Iterator[DataElement]:
    """Every readable element at any depth; one that cannot be converted is not written either."""
    for part in (getattr(dataset, "file_meta", None) or Dataset(), dataset):
        for tag in part.keys():  # noqa: SIM118  # iterating a Dataset parses every element at once
            if tag.group == 0x7FE0:
                continue
            try:
                element = part[tag]
            except Exception:  # pydicom's conversion fails in many ways on damaged values
                continue
            yield element
            if element.VR == "SQ":
                for item in element.value:
                    yield from _elements(item)


def _values(element: DataElement) -> Iterable[str]:
    values = element.value if element.VM > 1 else [element.value]
    return (str(value).strip(" \0") for value in values if value not in (None, "", b""))


def words_of(texts: Iterable[str]) -> frozenset[str]:
    """Lower-case words of our own declarations."""
    return frozenset(word.lower() for text in texts for word in _RUN.findall(text))
