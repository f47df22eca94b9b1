"""Content in blocks with overlapping edges, and the budget of what may be unpacked from one file."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from mrct.core.errors import DataError

BLOCK = 4 << 20
# longer than any value and its surroundings
MARGIN = 1024
_JSON = re.compile(rb"\s*[\[{]")
# a first line of several short fields, and a second one with as many
_FIELD = rb'[^\n,;\t"]{0,60}|"[^"\n]{0,60}"'
_TABLE = re.compile(rb"(?:(?:%b)[,;\t])+(?:%b)\r?\n(?:(?:%b)[,;\t])+(?:%b)\r?(?:\n|$)" % ((_FIELD,) * 4))


class Block(NamedTuple):
    """Finds that begin in content[start:end] are this block's; `cells`: delimiters separate whole values.

    `repeats`: the plain bytes of the same file may show the same text.
    """

    content: bytes
    start: int
    end: int
    cells: bool
    repeats: bool = False


class TooMuchError(DataError):
    """More was unpacked from a file than one file may hold."""


@dataclass
class Budget:
    """Bytes that may still be unpacked, and what could not be opened: reasons that name no value."""

    bytes_left: int = 4 << 30
    n_bytes: int = 0
    notes: list[str] = field(default_factory=list)

    def spend(self, size: int) -> None:
        self.bytes_left -= size
        if self.bytes_left < 0:
            raise TooMuchError


def plain_blocks(read: Callable[[int], bytes], budget: Budget, unpacked: bool) -> Iterator[Block]:
    """The plain bytes, in overlapping blocks."""
    before, current = b"", read(BLOCK)
    cells = has_cells(current)
    while current:
        following = read(BLOCK)
        if unpacked:
            budget.spend(len(current))
        budget.n_bytes += len(current)
        content = before + current + following[:MARGIN]
        yield Block(content, len(before), len(before) + len(current), cells)
        before, current = current[-MARGIN:], following


def has_cells(head: bytes) -> bool:
    """Whether the content looks like JSON or a table, where a delimiter ends a value."""
    return bool(_JSON.match(head[:64]) or _TABLE.match(head[:8192]))


def whole_block(content: bytes, budget: Budget) -> Block:
    budget.spend(len(content))
    return Block(content, 0, len(content), cells=True, repeats=True)
