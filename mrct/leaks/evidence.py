"""Which finds in any file prove a leak: the judge of the project sweep.

Outside the headers that we write, words mean less: many surnames are words, many ids are numbers. A value proves
alone when it is distinctive: a UID, a number of eight digits or more, a text of two words, a word of at least six
letters that neither English (Python's own manual) nor this program's text holds. Other values prove as a whole
CSV cell, JSON string, database cell, DICOM element or part of a file name, or beside another value of the same
patient, at most 40 characters away (family and given name, a name and a date). Values that this program's own text
holds, and dates other than the birth date, prove only beside another. Shorter than eight characters counts only among
readable text, and nothing under twelve counts inside long runs of base64 or hexadecimal digits.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from mrct.leaks.matching import Hit, Matcher, locate, number_runs, uid_parts
from mrct.leaks.surroundings import is_cell, is_readable

NEAR = 40


class Value(NamedTuple):
    """What a find means: `alone` it proves, as a whole `cell` it proves; `common` words need to be adjacent."""

    keyword: str
    owners: frozenset[int]
    alone: bool
    cell: bool
    common: bool


@dataclass
class Index:
    """The values of all patients (numbered), for memory only."""

    texts: dict[str | bytes, Value] = field(default_factory=dict)
    numbers: dict[str, Value] = field(default_factory=dict)

    @cached_property
    def matcher(self) -> Matcher:
        return Matcher(self.texts)

    def __getstate__(self) -> dict[str, object]:
        return {"texts": self.texts, "numbers": self.numbers}

    def __len__(self) -> int:
        return len(self.texts) + len(self.numbers)

    @property
    def weak(self) -> int:
        """How many values do not prove alone."""
        return sum(not value.alone for value in (*self.texts.values(), *self.numbers.values()))

    def find(
        self, content: bytes, start: int = 0, end: int | None = None, cells: bool = False
    ) -> Counter[str]:
        """Attribute -> times, of the finds that begin in content[start:end]; `cells`: delimiters mean cells."""
        lowered = content.lower()
        hits = [(hit, self._value(hit)) for hit in self._hits(lowered)]
        usable = [(hit, value) for hit, value in hits if is_readable(lowered, hit)]
        proven = {
            hit for hit, value in usable if value.alone or (cells and value.cell and is_cell(lowered, hit))
        }
        proven |= _in_company(lowered, usable)
        last = len(content) if end is None else end
        return Counter(self._value(hit).keyword for hit in _outermost(proven) if start <= hit.start < last)

    def _hits(self, lowered: bytes) -> Iterator[Hit]:
        yield from self.matcher.find(lowered)
        runs = number_runs(lowered)
        yield from locate(lowered, self.numbers.keys() & (runs | uid_parts(runs)))

    def _value(self, hit: Hit) -> Value:
        value = self.texts.get(hit.text)
        return value if value is not None else self.numbers[str(hit.text)]


def _in_company(lowered: bytes, hits: list[tuple[Hit, Value]]) -> set[Hit]:
    """Finds beside a different value of the same patient; not two dates, nor two values of our own text."""
    proven: set[Hit] = set()
    ordered = sorted(hits, key=lambda pair: (pair[0].start, pair[0].end))
    for place, (hit, value) in enumerate(ordered):
        for other, neighbor in ordered[place + 1 :]:
            gap = other.start - hit.end
            if gap > NEAR * hit.step:
                break
            if gap < 0 or other.text == hit.text or not (value.cell or neighbor.cell):
                continue
            if value.common and neighbor.common and not _is_joint(lowered[hit.end : other.start]):
                continue
            if value.owners & neighbor.owners:
                proven |= {hit, other}
    return proven


def _is_joint(between: bytes) -> bool:
    """At most three separators: two everyday words are a name only where they stand together."""
    characters = between.replace(b"\0", b"")
    return len(characters) <= 3 and not any(chr(byte).isalnum() for byte in characters)


def _outermost(hits: Iterable[Hit]) -> list[Hit]:
    """Without finds that lie inside another: a name's part is not counted beside the whole."""
    kept: list[Hit] = []
    for hit in sorted(hits, key=lambda hit: (hit.start, -hit.end)):
        if not kept or hit.end > kept[-1].end:
            kept.append(hit)
    return kept
