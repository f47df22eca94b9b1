"""The proof after writing: every output byte of a patient is searched for that patient's own header values.

Header and pixels are searched in 8-bit text, UTF-16 and the file's own character set; pixels only for texts of at
least eight characters, since shorter ones occur among numbers by chance. Words of the vocabulary and of our own
declarations are no find: "Mary" is part of PRIMARY in every file.
Limits: values of two to five digits or two letters count only as a whole element of free text; a date other
than the birth date is searched as people write it and inside UIDs, since a shifted YYYYMMDD may equal another.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

from mrct.core.errors import RunError
from mrct.leaks.matching import Hit, Matcher, number_runs, uid_parts
from mrct.leaks.phi_values import PhiValues
from mrct.leaks.vocabulary import allows

__all__ = ["LeakError", "PhiValues", "find_leak", "words_of"]

_SHORTEST_IN_PIXELS = 8
_RUN = re.compile(r"[^\W_]+")
# value representations of free text in Explicit VR Little Endian, which is what we write (PS3.5 7.1.2)
_FREE_TEXT = (b"lo", b"sh", b"pn", b"lt", b"st")
_REACH = 64


class LeakError(RunError):
    """An output file holds a header value of its patient; the message names file and attribute only."""


def find_leak(header: bytes, pixels: bytes, phi_values: PhiValues, ours: frozenset[str]) -> str | None:
    """The attribute whose value is found, or None. `ours`: words and numbers that we wrote ourselves."""
    in_header, in_pixels, elements = _matchers(phi_values, len(phi_values))
    for content, matcher, shortest in ((header, in_header, 0), (pixels, in_pixels, _SHORTEST_IN_PIXELS)):
        lowered = content.lower()
        runs = number_runs(lowered) - ours
        parts = uid_parts(runs) - ours
        for numbers, found in ((phi_values.numbers, runs | parts), (phi_values.moments, parts)):
            leaks = [number for number in numbers.keys() & found if len(number) >= shortest]
            if leaks:
                return numbers[min(leaks)]
        for hit in matcher.find(lowered):
            if isinstance(hit.text, str):
                if not hit.text.isascii() or not _is_ours(lowered, hit, ours):
                    return phi_values.texts[hit.text]
            elif hit.text in phi_values.raw:
                return phi_values.raw[hit.text]
            elif not _are_ours(elements[hit.text], ours):
                return phi_values.short[elements[hit.text]]
    return None


@lru_cache(maxsize=2)
def _matchers(phi_values: PhiValues, _size: int) -> tuple[Matcher, Matcher, dict[bytes, str]]:
    """For headers and for pixels; and the short values by the elements that hold nothing else. The size tells
    whether values were added since."""
    elements = {pattern: text for text in phi_values.short for pattern in _whole_elements(text)}
    values: list[str | bytes] = [*phi_values.texts, *phi_values.raw]
    in_pixels = Matcher(value for value in values if len(value) >= _SHORTEST_IN_PIXELS)
    return Matcher([*values, *elements]), in_pixels, elements


def _whole_elements(text: str) -> list[bytes]:
    """VR, length and value, padded to an even length."""
    value = text.encode() + b" " * (len(text) % 2)
    return [vr + len(value).to_bytes(2, "little") + value for vr in _FREE_TEXT]


def _is_ours(lowered: bytes, hit: Hit, ours: frozenset[str]) -> bool:
    """Whether every word that the find touches is a word that every output may hold."""
    first = max(hit.start - _REACH * hit.step, hit.start % hit.step)
    text = lowered[first : hit.end + _REACH * hit.step : hit.step].decode("ascii", "replace")
    start = (hit.start - first) // hit.step
    end = start + len(str(hit.text))
    while start > 0 and text[start - 1].isalnum():
        start -= 1
    while end < len(text) and text[end].isalnum():
        end += 1
    return _are_ours(text[start:end], ours)


def _are_ours(text: str, ours: frozenset[str]) -> bool:
    return all(word in ours or allows(word) or allows(word, "device") for word in _RUN.findall(text))


def words_of(texts: Iterable[str]) -> frozenset[str]:
    """Lower-case words of our own declarations."""
    return frozenset(word.lower() for text in texts for word in _RUN.findall(text))
