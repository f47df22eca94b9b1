"""Many texts in many spellings, found in one pass over bytes (Aho and Corasick 1975, by pyahocorasick).

The haystack is lowered byte for byte. A text is searched in UTF-8, UTF-16 and UTF-32 of both byte orders and Latin-1,
and as JSON, HTML and URLs escape it. Numbers need no automaton: runs of digits are looked up, however many are wanted.
"""

import html
import json
import unicodedata
from collections.abc import Iterable, Iterator, Set
from typing import NamedTuple
from urllib.parse import quote, quote_plus

import ahocorasick

from mrct.leaks.phi_values import SHORTEST_NUMBER

# shorter byte strings of other scripts occur by chance
_SHORTEST_FOREIGN = 4
_DIGITS = bytes(byte if byte in b"0123456789." else ord(" ") for byte in range(256))


class Hit(NamedTuple):
    """content[start:end] holds `text`; its characters are `step` bytes apart: 1, 2 (UTF-16) or 4 (UTF-32)."""

    start: int
    end: int
    step: int
    text: str | bytes


class Matcher:
    """Finds any of the texts (str in every spelling, bytes as they are) in lowered bytes."""

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

    def find(self, lowered: bytes) -> Iterator[Hit]:
        """Every occurrence, overlapping ones included, in the order of their ends."""
        if self._is_empty:
            return
        for last, (length, step, text) in self._automaton.iter(lowered.decode("latin-1")):
            yield Hit(last + 1 - length, last + 1, step, text)


def _spellings(text: str) -> Iterator[tuple[bytes, int]]:
    """Byte patterns of a lower-case text, each with its step; capitals beyond ASCII are patterns of their own."""
    if text.isascii():
        yield text.encode(), 1
        # both byte orders: the NULs before the first character, or after the last, are left away
        yield "\0".join(text).encode(), 2
        yield "\0\0\0".join(text).encode(), 4  # text arrays of numpy
    forms = {
        unicodedata.normalize(form, case)
        for case in (text, text.upper(), text.title())
        for form in ("NFC", "NFD")
    }
    for form in sorted(forms if not text.isascii() else {text}):
        for escaped in _escaped(form):
            yield escaped.encode(), 1
        if not form.isascii():
            for encoding in ("utf-8", "utf-16-le", "utf-16-be", "latin-1"):
                raw = form.encode(encoding, "replace")
                if len(raw) >= _SHORTEST_FOREIGN and raw.decode(encoding) == form:
                    yield raw, 1


def _escaped(text: str) -> set[str]:
    """As JSON, HTML (decimal and hexadecimal) and URLs write it, where they write it differently."""
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
    """Runs of digits and dots of at least six characters, in 8-bit text, UTF-16 and UTF-32."""
    runs: set[str] = set()
    for content in (lowered.translate(_DIGITS), lowered.translate(_DIGITS, b"\0")):
        runs |= {run.decode().strip(".") for run in content.split() if len(run) >= SHORTEST_NUMBER}
    return runs


def uid_parts(runs: Iterable[str]) -> set[str]:
    """Components and leading parts of runs with three dots or more: a date inside a UID, an original UID with
    something appended."""
    parts: set[str] = set()
    for components in (run.split(".") for run in runs if run.count(".") >= 3):
        parts.update(component for component in components if len(component) >= SHORTEST_NUMBER)
        parts.update(".".join(components[:n]) for n in range(4, len(components)))
    return parts


def locate(lowered: bytes, numbers: Set[str]) -> Iterator[Hit]:
    """Where numbers that `number_runs` reported stand; inside longer runs of digits as well."""
    for number in sorted(numbers):
        for step in (1, 2, 4):
            pattern = ("\0" * (step - 1)).join(number).encode()
            start = lowered.find(pattern)
            while start >= 0:
                yield Hit(start, start + len(pattern), step, number)
                start = lowered.find(pattern, start + 1)
