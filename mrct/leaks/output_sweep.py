"""Search the files that this program has written for the patient's own values.

Header and pixels are searched in 8-bit text, in UTF-16 and in the character set of the source file. Pixels are
searched only for texts of at least eight characters, because shorter ones occur there by chance. Words of the
vocabulary and words that this program writes itself are not leaks: "Mary" is part of PRIMARY in every file.

Limits: Values of two to five digits, and of two letters, count only as a whole element of free text. A date other than
the date of birth is searched in its spellings and inside UIDs, but not as YYYYMMDD, because a shifted date may equal
another date of the patient.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

from mrct.core.errors import RunError
from mrct.leaks.matching import Match, Matcher, number_runs, surroundings, uid_parts
from mrct.leaks.phi_values import PhiValues
from mrct.leaks.vocabulary import allows

_SHORTEST_IN_PIXELS = 8
_RUN = re.compile(r"[^\W_]+")
# Value representations of free text in Explicit VR Little Endian, in lower case (PS3.5 section 7.1.2).
_FREE_TEXT = (b"lo", b"sh", b"pn", b"lt", b"st")


class LeakError(RunError):
    """An output file holds a header value of its patient. The message names the file and the attribute only."""


def find_leak(header: bytes, pixels: bytes, phi_values: PhiValues, ours: frozenset[str]) -> str | None:
    """Search an output file for the values of its patient.

    Args:
        header: The file up to its pixels, in Explicit VR Little Endian, and names of files and folders.
        pixels: The bytes of the pixels.
        phi_values: The patient's values.
        ours: Words and numbers that this program wrote itself, in lower case (see `words_of`).

    Returns:
        The keyword of the attribute whose value is found, or None.
    """
    in_header, in_pixels, elements = _matchers(phi_values, len(phi_values))
    for content, matcher, shortest in ((header, in_header, 0), (pixels, in_pixels, _SHORTEST_IN_PIXELS)):
        lowered = content.lower()
        runs = number_runs(lowered) - ours
        parts = uid_parts(runs) - ours
        for numbers, found in ((phi_values.numbers, runs | parts), (phi_values.dates, parts)):
            leaks = [number for number in numbers.keys() & found if len(number) >= shortest]
            if leaks:
                return numbers[min(leaks)]
        for match in matcher.find(lowered):
            if isinstance(match.text, str):
                if not match.text.isascii() or not _is_ours(lowered, match, ours):
                    return phi_values.texts[match.text]
            elif match.text in phi_values.raw:
                return phi_values.raw[match.text]
            elif not _are_ours(elements[match.text], ours):
                return phi_values.short[elements[match.text]]
    return None


def words_of(texts: Iterable[str]) -> frozenset[str]:
    """Return the lower-case words of texts that this program writes."""
    return frozenset(word.lower() for text in texts for word in _RUN.findall(text))


@lru_cache(maxsize=2)
def _matchers(phi_values: PhiValues, _n_values: int) -> tuple[Matcher, Matcher, dict[bytes, str]]:
    """Return the matcher of headers, the matcher of pixels, and the short values by the whole elements they form.

    The number of values is part of the cache key, because values may be added.
    """
    elements = {pattern: text for text in phi_values.short for pattern in _whole_elements(text)}
    values: list[str | bytes] = [*phi_values.texts, *phi_values.raw]
    in_pixels = Matcher(value for value in values if len(value) >= _SHORTEST_IN_PIXELS)
    return Matcher([*values, *elements]), in_pixels, elements


def _whole_elements(text: str) -> list[bytes]:
    """Return the encoded elements of a value: VR, length and value, padded to an even length."""
    value = text.encode() + b" " * (len(text) % 2)
    return [vr + len(value).to_bytes(2, "little") + value for vr in _FREE_TEXT]


def _is_ours(lowered: bytes, match: Match, ours: frozenset[str]) -> bool:
    """Return whether all words that a match touches may occur in every output."""
    return _are_ours(surroundings(lowered, match).word.decode("ascii", "replace"), ours)


def _are_ours(text: str, ours: frozenset[str]) -> bool:
    return all(word in ours or allows(word) or allows(word, "device") for word in _RUN.findall(text))
