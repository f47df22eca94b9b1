"""Blocks of bytes that are searched, the budget of one file, and what an opener may do with the content it unpacks."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import IO, NamedTuple, Protocol

from mrct.core.errors import DataError

BLOCK_BYTES = 4 << 20
#: Content of at least this size is not opened as a container, because containers are opened in memory.
LARGEST_IN_MEMORY = 128 << 20
# The overlap of two blocks is longer than any value with its surroundings.
_OVERLAP_BYTES = 1024
# Separators of the parts of a name.
_NAME_SEPARATORS = (b"_", b"-", b".", b" ", b"/", b"\\")
_JSON = re.compile(rb"\s*[\[{]")
# A table: a first line of several short fields, and a second line with the same number of fields.
_FIELD = rb'[^\n,;\t"]{0,60}|"[^"\n]{0,60}"'
_TABLE = re.compile(rb"(?:(?:%b)[,;\t])+(?:%b)\r?\n(?:(?:%b)[,;\t])+(?:%b)\r?(?:\n|$)" % ((_FIELD,) * 4))


class Block(NamedTuple):
    """A part of a file's content. Adjacent blocks overlap: matches that begin in content[start:end] belong to this one.

    `cells`: delimiters separate whole values, as in a table. `repeats`: the text may occur in another block of the same
    file as well.
    """

    content: bytes
    start: int
    end: int
    cells: bool
    repeats: bool = False


class UnpackLimitError(DataError):
    """The content that was unpacked from one file exceeds the budget."""


@dataclass
class Budget:
    """A limit on what is unpacked from one file, and notes on what could not be opened.

    Attributes:
        bytes_left: Number of bytes that may still be unpacked.
        notes: Reasons why something could not be opened; they contain no value.
    """

    bytes_left: int = 4 << 30
    notes: list[str] = field(default_factory=list)

    def spend(self, size: int) -> None:
        """Count unpacked bytes.

        Raises:
            UnpackLimitError: The budget is exceeded.
        """
        self.bytes_left -= size
        if self.bytes_left < 0:
            raise UnpackLimitError("more was unpacked from one file than is allowed")


class Readable(Protocol):
    """A stream that is read forwards."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, or b"" at the end."""


@dataclass(frozen=True)
class Inside:
    """The inside of a container: an opener passes on what it finds, and notes what it cannot open.

    Attributes:
        budget: The budget of the file.
        depth: Number of containers around the content.
        open: `containers.unpack`.
        is_container: Returns whether a content is a container.
    """

    budget: Budget
    depth: int
    open: Callable[[IO[bytes], Budget, int], Iterator[Block]]
    is_container: Callable[[bytes], bool]

    def note(self, reason: str) -> None:
        """Note that something was not searched, or only in part."""
        self.budget.notes.append(reason)

    def unpack(self, content: bytes, repeats: bool = False) -> Iterator[Block]:
        """Yield the blocks of a content and of the containers in it."""
        for block in self.open(BytesIO(content), self.budget, self.depth):
            yield block._replace(repeats=block.repeats or repeats)

    def member(self, source: Readable) -> Iterator[Block]:
        """Yield the blocks of a stream. Containers in it are opened only if it fits into memory."""
        content = source.read(LARGEST_IN_MEMORY)
        if len(content) < LARGEST_IN_MEMORY:
            yield from self.unpack(content)
            return
        self.note("a part is too large to be opened again: only its plain bytes were searched")
        first = BytesIO(content)
        yield from plain_blocks(
            lambda size: first.read(size) or source.read(size), self.budget, unpacked=True
        )

    def values(self, lines: Iterable[bytes]) -> Iterator[Block]:
        """Yield the values that a parser extracted as one block, one value per line."""
        content = b"\n".join([b"", *lines, b""])
        self.budget.spend(len(content))
        yield Block(content, 0, len(content), cells=True, repeats=True)

    def names(self, names: Iterable[str]) -> Iterator[Block]:
        """Yield the names of members, and their parts as values of their own."""
        whole = [name.encode(errors="replace") for name in names]
        parts = b"\n".join(whole)
        for separator in _NAME_SEPARATORS:
            parts = parts.replace(separator, b"\n")
        yield from self.values([*whole, parts])

    @contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """Go on if reading `what` fails in any way, and note that it is damaged, or which package is missing."""
        try:
            yield
        except UnpackLimitError:
            raise
        except ModuleNotFoundError as error:
            self.note(
                f"{what}: only its plain bytes were searched, because the package {error.name} is not installed "
                "(pip install -e '.[sweep]' -c constraints.txt)"
            )
        except Exception as error:  # each library fails in its own ways on damaged files
            # The text of the error may quote the file; its type does not.
            self.note(f"{what} cannot be read to its end ({type(error).__name__})")


def plain_blocks(read: Callable[[int], bytes], budget: Budget, unpacked: bool) -> Iterator[Block]:
    """Yield the bytes of a stream in overlapping blocks; what was unpacked counts against the budget."""
    before, current = b"", read(BLOCK_BYTES)
    cells = _has_cells(current)
    while current:
        following = read(BLOCK_BYTES)
        if unpacked:
            budget.spend(len(current))
        content = before + current + following[:_OVERLAP_BYTES]
        yield Block(content, len(before), len(before) + len(current), cells)
        before, current = current[-_OVERLAP_BYTES:], following


def _has_cells(head: bytes) -> bool:
    """Return whether a content looks like JSON or a table."""
    return bool(_JSON.match(head[:64]) or _TABLE.match(head[:8192]))
