"""Decide which matches in a file of any kind prove a leak.

Many surnames are words, and many ids are numbers, so that a match alone often means nothing. A value proves a leak
alone if it is distinctive: a UID, a number of at least eight digits, a text of two words of which one is uncommon, or
an uncommon word of at least six letters. A word is common if Python's help texts (pydoc_data.topics) or the vocabulary
contain it.

Any other value proves a leak as a whole CSV cell, JSON string, database cell, DICOM element or part of a file name, or
within `MAX_GAP` characters of another value of the same patient (family and given name, a name and a date). Values in
the source code of this program, and dates other than the date of birth, prove a leak only beside another value.

A match of fewer than eight characters counts only in readable text. A match of fewer than twelve characters does not
count inside a long run of base64 or hexadecimal digits.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from pydoc_data.topics import topics

from mrct.leaks.identifying import BIRTH
from mrct.leaks.matching import (
    SHORTEST_IN_BINARY,
    Match,
    Matcher,
    is_cell,
    is_readable,
    locate,
    number_runs,
    uid_parts,
)
from mrct.leaks.phi_values import SHORTEST_NUMBER, PhiValues
from mrct.leaks.vocabulary import allows

#: Largest distance, in characters, of two values that together prove a leak.
MAX_GAP = 40
_LONGEST_SEPARATOR = 3
_SHORTEST = 3
_SHORTEST_WORD = 6
_WORD = re.compile(r"[^\W\d_]+")
_NUMBER = re.compile(rf"[0-9.]{{{SHORTEST_NUMBER},}}")
# Attributes of free text, in which single words of any kind occur.
_PROSE = re.compile("Comments|Address|Telecom|Note|Comment|descrip|extension|History|Occupation|Location")
# Words in the names of many hospitals and machines.
_GENERIC = frozenset(
    _WORD.findall("""
    hospital clinic clinics university medical center centre radiology department institute imaging neurology
    neuroradiology oncology surgery health general central national regional city saint street avenue scanner
    workstation console server archive patient anonymous unknown phantom volunteer subject doctor professor
""")
)


@dataclass(frozen=True)
class IndexedValue:
    """A value, and the conditions under which a match of it proves a leak.

    Attributes:
        keyword: The attribute that holds the value.
        owners: Numbers of the patients with this value.
        proves_alone: Whether every match is a leak.
        proves_as_cell: Whether a match that fills a cell is a leak.
        is_common: Whether all words are English or known: two such values prove a leak only if they are adjacent.
    """

    keyword: str
    owners: frozenset[int]
    proves_alone: bool
    proves_as_cell: bool
    is_common: bool


@dataclass
class Index:
    """The values of all patients, prepared for the search. It must not be written to disk."""

    texts: dict[str | bytes, IndexedValue] = field(default_factory=dict)
    numbers: dict[str, IndexedValue] = field(default_factory=dict)

    @cached_property
    def _matcher(self) -> Matcher:
        return Matcher(self.texts)

    def __getstate__(self) -> dict[str, object]:
        # Building an automaton takes less time than sending it to another process.
        return {"texts": self.texts, "numbers": self.numbers}

    def __len__(self) -> int:
        return len(self.texts) + len(self.numbers)

    @property
    def n_weak(self) -> int:
        """Number of values that do not prove a leak alone."""
        return sum(not value.proves_alone for value in (*self.texts.values(), *self.numbers.values()))

    def find(
        self, content: bytes, start: int = 0, end: int | None = None, cells: bool = False
    ) -> Counter[str]:
        """Count the leaks in a content by attribute.

        Args:
            content: Bytes of any kind. All of it is searched.
            start: Only matches that begin in content[start:end] are counted.
            end: See `start`.
            cells: Whether delimiters separate whole values, as in a table.

        Returns:
            Keyword of the attribute -> number of leaks.
        """
        lowered = content.lower()
        matches = [(match, self._value(match)) for match in self._matches(lowered)]
        usable = [(match, value) for match, value in matches if is_readable(lowered, match)]
        proven = {
            match
            for match, value in usable
            if value.proves_alone or (cells and value.proves_as_cell and is_cell(lowered, match))
        }
        proven |= _proven_by_proximity(lowered, usable)
        last = len(content) if end is None else end
        return Counter(
            self._value(match).keyword for match in _outermost(proven) if start <= match.start < last
        )

    def _matches(self, lowered: bytes) -> Iterator[Match]:
        yield from self._matcher.find(lowered)
        runs = number_runs(lowered)
        yield from locate(lowered, self.numbers.keys() & (runs | uid_parts(runs)))

    def _value(self, match: Match) -> IndexedValue:
        value = self.texts.get(match.text)
        return value if value is not None else self.numbers[str(match.text)]


def _proven_by_proximity(lowered: bytes, matches: list[tuple[Match, IndexedValue]]) -> set[Match]:
    """Return the matches within `MAX_GAP` characters of a different value of the same patient.

    At least one of the two must be a value that proves a leak as a cell, so that two dates, or two values in the source
    code of this program, do not prove a leak.
    """
    proven: set[Match] = set()
    ordered = sorted(matches, key=lambda pair: (pair[0].start, pair[0].end))
    for place, (match, value) in enumerate(ordered):
        for other, neighbor in ordered[place + 1 :]:
            gap = other.start - match.end
            if gap > MAX_GAP * match.step:
                break
            if gap < 0 or other.text == match.text or not (value.proves_as_cell or neighbor.proves_as_cell):
                continue
            if value.is_common and neighbor.is_common and not _is_separator(lowered[match.end : other.start]):
                continue
            if value.owners & neighbor.owners:
                proven |= {match, other}
    return proven


def _is_separator(between: bytes) -> bool:
    """Return whether no letter or digit, and at most three characters, stand between two common words."""
    characters = between.replace(b"\0", b"")
    return len(characters) <= _LONGEST_SEPARATOR and not any(chr(byte).isalnum() for byte in characters)


def _outermost(matches: Iterable[Match]) -> list[Match]:
    """Drop the matches that lie inside another one: a part of a name is not counted beside the whole name."""
    kept: list[Match] = []
    for match in sorted(matches, key=lambda match: (match.start, -match.end)):
        if not kept or match.end > kept[-1].end:
            kept.append(match)
    return kept


def build_index(patients: Sequence[PhiValues]) -> Index:
    """Build the index of the values of several patients. A value of several patients belongs to each of them."""
    keywords: dict[str | bytes, str] = {}
    owners: dict[str | bytes, set[int]] = {}
    for number, phi_values in enumerate(patients):
        for value, keyword in phi_values.items():
            if _is_searchable(value, keyword):
                keywords.setdefault(value, keyword)
                owners.setdefault(value, set()).add(number)
    in_program = _in_program(keywords)
    index = Index()
    for value, keyword in keywords.items():
        indexed = _classify(value, keyword, frozenset(owners[value]), value in in_program)
        if isinstance(value, str) and _NUMBER.fullmatch(value):
            index.numbers[value] = indexed
        else:
            index.texts[value] = indexed
    return index


def _is_searchable(value: str | bytes, keyword: str) -> bool:
    """Return whether a value is long enough. UIDs of software (ImplementationClassUID) identify nobody."""
    shortest = _SHORTEST + (isinstance(value, str) and value.isdecimal())
    return len(value) >= shortest and not keyword.endswith("ClassUID")


def _classify(value: str | bytes, keyword: str, owners: frozenset[int], in_program: bool) -> IndexedValue:
    """Apply the rules of the module's docstring to one value."""
    if isinstance(value, bytes):
        is_long = len(value) >= _SHORTEST_WORD
        return IndexedValue(keyword, owners, proves_alone=is_long, proves_as_cell=True, is_common=False)
    words = _WORD.findall(value)
    is_common = bool(words) and all(word in _english() or allows(word) for word in words)
    is_date = keyword.endswith(("Date", "DateTime", "Calendar"))
    is_vague = in_program or (is_date and keyword != BIRTH)
    if is_date:
        is_distinctive = False
    elif not words:
        is_distinctive = sum(map(str.isdigit, value)) >= SHORTEST_IN_BINARY
    elif len(words) > 1:
        is_distinctive = "^" in value or not is_common
    else:
        is_prose = words[0] == value and bool(_PROSE.search(keyword))
        is_distinctive = len(value) >= _SHORTEST_WORD and not is_common and not is_prose
    return IndexedValue(
        keyword,
        owners,
        proves_alone=is_distinctive and not is_vague,
        proves_as_cell=not is_vague and (bool(words) or len(value) >= SHORTEST_NUMBER),
        is_common=is_common,
    )


def _in_program(values: Iterable[str | bytes]) -> set[str | bytes]:
    """Return the values that the source code of this program contains: a match may be a copy of the program."""
    text = _program_text()
    values = list(values)
    runs = number_runs(text)
    found: set[str | bytes] = {value for value in values if value in runs}
    return found | {match.text for match in Matcher(values).find(text) if is_readable(text, match)}


@cache
def _program_text() -> bytes:
    root = Path(__file__).parents[2]
    paths = (path for package in ("mrct", "virtual_hospital") for path in (root / package).rglob("*"))
    files = sorted(path for path in paths if path.is_file() and path.suffix != ".pyc")
    try:
        about = str(metadata("mrct")).encode()
    except PackageNotFoundError:
        # The program runs from a source folder and is not installed.
        about = b""
    return b"\n".join([about, *(path.read_bytes() for path in files)]).lower()


@cache
def _english() -> frozenset[str]:
    return _GENERIC | frozenset(_WORD.findall(" ".join(topics.values()).lower()))
