"""Find many texts in bytes in one pass, and describe what surrounds a match.

Texts are found by an automaton (Aho and Corasick 1975, package pyahocorasick). The content is converted to lower case
byte by byte. A text is searched in UTF-8, in UTF-16 and UTF-32 of both byte orders, in Latin-1, and as JSON, HTML and
URLs escape it. Numbers need no automaton: the runs of digits of the content are looked up in the set of numbers.
"""

import html
import json
import unicodedata
from collections.abc import Iterable, Iterator, Set
from typing import NamedTuple
from urllib.parse import quote, quote_plus

import ahocorasick

from mrct.leaks.phi_values import SHORTEST_NUMBER

#: Shorter texts occur by chance in binary data.
SHORTEST_IN_BINARY = 8
# Shorter texts occur by chance in base64 and hexadecimal digits.
_SHORTEST_IN_CODE = 12
# Shorter byte strings of non-Latin scripts occur by chance.
_SHORTEST_FOREIGN = 4
_LONGEST_SURROUNDINGS = 256
_NEARBY = 16
_DIGITS = bytes(byte if byte in b"0123456789." else ord(" ") for byte in range(256))
_CELL_EDGES = frozenset([b"", *(bytes([edge]) for edge in b'\n\r\t,;"|\0\\')])
# Alphabet and shortest run that counts as code: base64 without a line break, and a hash in hexadecimal digits.
_CODES = (
    (frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789+/="), 200),
    (frozenset(b"0123456789abcdef"), 16),
)


class Match(NamedTuple):
    """An occurrence of `text` in content[start:end].

    `step` is the distance of its characters in bytes: 1, or 2 in UTF-16, or 4 in UTF-32.
    """

    start: int
    end: int
    step: int
    text: str | bytes


class Matcher:
    """Search for any of many texts. A str is searched in every spelling, bytes as they are."""

    def __init__(self, texts: Iterable[str | bytes]) -> None:
        patterns: dict[str, tuple[int, int, str | bytes]] = {}
        for text in texts:
            spellings = [(text, 1)] if isinstance(text, bytes) else _spellings(text)
            for pattern, step in spellings:
                key = pattern.lower().decode("latin-1")
                patterns.setdefault(key, (len(key), step, text))
        self._automaton = ahocorasick.Automaton()
        for key, value in patterns.items():
            self._automaton.add_word(key, value)
        self._automaton.make_automaton()
        self._is_empty = not patterns

    def find(self, lowered: bytes) -> Iterator[Match]:
        """Yield every occurrence in lower-case content, overlapping ones included, in the order of their ends."""
        if self._is_empty:
            return
        for last, (length, step, text) in self._automaton.iter(lowered.decode("latin-1")):
            yield Match(last + 1 - length, last + 1, step, text)


def _spellings(text: str) -> Iterator[tuple[bytes, int]]:
    """Yield the byte patterns of a lower-case text, each with its step.

    Lower-casing bytes changes ASCII letters only, so that other capitals need patterns of their own.
    """
    if text.isascii():
        yield text.encode(), 1
        # Without the NULs before the first or after the last character, a pattern fits both byte orders.
        yield "\0".join(text).encode(), 2
        yield "\0\0\0".join(text).encode(), 4
    forms = {
        unicodedata.normalize(form, case)
        for case in (text, text.upper(), text.title())
        for form in ("NFC", "NFD")
    }
    for form in sorted(forms if not text.isascii() else {text}):
        for escaped in _escaped(form):
            yield escaped.encode(), 1
        if not form.isascii():
            for encoding in ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "latin-1"):
                raw = form.encode(encoding, "replace")
                if len(raw) >= _SHORTEST_FOREIGN and raw.decode(encoding) == form:
                    yield raw, 1


def _escaped(text: str) -> set[str]:
    """Return the text as JSON, HTML (decimal and hexadecimal) and URLs write it, where that differs from the text."""
    hexadecimal = "".join(c if c.isascii() else f"&#x{ord(c):x};" for c in text)
    entities = text.encode("ascii", "xmlcharrefreplace").decode()
    spellings = {
        json.dumps(text)[1:-1],
        html.escape(text),
        entities,
        hexadecimal,
        quote(text),
        quote_plus(text),
    }
    return {spelling for spelling in spellings if spelling.isascii()} - {text}


def number_runs(lowered: bytes) -> set[str]:
    """Return the runs of digits and dots of at least `SHORTEST_NUMBER` characters, in 8-bit text, UTF-16 and UTF-32."""
    runs: set[str] = set()
    for content in (lowered.translate(_DIGITS), lowered.translate(_DIGITS, b"\0")):
        runs |= {run.decode().strip(".") for run in content.split() if len(run) >= SHORTEST_NUMBER}
    return runs


def uid_parts(runs: Iterable[str]) -> set[str]:
    """Return the components and the leading parts of runs with at least three dots.

    These parts reveal a date inside a UID, and an original UID to which something was appended.
    """
    parts: set[str] = set()
    for components in (run.split(".") for run in runs if run.count(".") >= 3):
        parts.update(component for component in components if len(component) >= SHORTEST_NUMBER)
        parts.update(".".join(components[:n]) for n in range(4, len(components)))
    return parts


def locate(lowered: bytes, numbers: Set[str]) -> Iterator[Match]:
    """Yield every occurrence of numbers that `number_runs` or `uid_parts` reported, inside longer runs as well."""
    for number in sorted(numbers):
        for step in (1, 2, 4):
            pattern = ("\0" * (step - 1)).join(number).encode()
            start = lowered.find(pattern)
            while start >= 0:
                yield Match(start, start + len(pattern), step, number)
                start = lowered.find(pattern, start + 1)


class Surroundings(NamedTuple):
    """The text around a match, decoded to one byte per character; the match lies at text[start:end]."""

    text: bytes
    start: int
    end: int

    @property
    def before(self) -> bytes:
        """The character before the match, or b"" at the beginning."""
        return self.text[max(self.start - 1, 0) : self.start]

    @property
    def after(self) -> bytes:
        """The character after the match, or b"" at the end."""
        return self.text[self.end : self.end + 1]

    @property
    def is_cell(self) -> bool:
        """Return whether a delimiter, or an end of the content, stands on both sides."""
        return self.before in _CELL_EDGES and self.after in _CELL_EDGES

    @property
    def word(self) -> bytes:
        """The match, extended to the ends of the words that it touches."""
        start, end = self.start, self.end
        while start > 0 and self.text[start - 1 : start].isalnum():
            start -= 1
        while end < len(self.text) and self.text[end : end + 1].isalnum():
            end += 1
        return self.text[start:end]

    def is_in_text(self) -> bool:
        """Return whether three quarters of the nearby characters, NULs excepted, are printable."""
        nearby = self.text[max(self.start - _NEARBY, 0) : self.start] + b" "
        nearby += self.text[self.end : self.end + _NEARBY]
        characters = nearby.replace(b"\0", b"").decode("utf-8", "replace")
        printable = sum((c.isprintable() or c.isspace()) and c != "\ufffd" for c in characters)
        return printable >= 0.75 * len(characters)

    def is_in_code(self) -> bool:
        """Return whether the match is part of a long run of base64 or hexadecimal digits."""
        for alphabet, shortest in _CODES:
            first, last = self.start, self.end
            while first > 0 and self.text[first - 1] in alphabet:
                first -= 1
            while last < len(self.text) and self.text[last] in alphabet:
                last += 1
            if last - first >= shortest and set(self.text[first:last]) <= alphabet:
                return True
        return False


def surroundings(lowered: bytes, match: Match) -> Surroundings:
    """Return the text around a match, up to 256 characters on each side."""
    reach = _LONGEST_SURROUNDINGS * match.step
    first = max(match.start - reach, match.start % match.step)
    text = lowered[first : match.end + reach : match.step]
    start = (match.start - first) // match.step
    return Surroundings(text, start, start + (match.end - match.start + match.step - 1) // match.step)


def is_readable(lowered: bytes, match: Match) -> bool:
    """Return whether a match is a word or number of its own, in text and not in binary data or code."""
    around = surroundings(lowered, match)
    if isinstance(match.text, bytes) or not match.text.isascii():
        # A name of two characters is four bytes, which occur by chance in a gigabyte of binary data.
        return match.end - match.start >= SHORTEST_IN_BINARY or around.is_cell or around.is_in_text()
    is_short = len(match.text) < SHORTEST_IN_BINARY
    for edge, neighbor in ((match.text[0], around.before), (match.text[-1], around.after)):
        if edge.isdigit() and neighbor.isdigit():
            return False
        if is_short and edge.isalnum() and neighbor.isalnum():
            return False
    if is_short and not around.is_in_text():
        return False
    return len(match.text) >= _SHORTEST_IN_CODE or not around.is_in_code()


def is_cell(lowered: bytes, match: Match) -> bool:
    """Return whether a delimiter, or an end of the content, stands on both sides of a match."""
    return surroundings(lowered, match).is_cell
