"""Unpack a file into blocks of bytes: its plain bytes, and the content of every container in it.

Containers are compressed streams, archives, PNG images, DICOM files, SQLite databases and data URIs, nested up to
four deep. Memory is bounded: plain bytes come in blocks of a few megabytes with overlapping edges, the content that is
unpacked from one file counts against a budget, and a container inside a container is opened only if it fits into
memory. A container that cannot be opened is noted with a reason, and its plain bytes are still searched.
"""

import base64
import bz2
import gzip
import lzma
import re
import sqlite3
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import IO, NamedTuple, Protocol
from urllib.parse import unquote_to_bytes

import pydicom
from PIL import Image
from PIL.PngImagePlugin import PngImageFile
from pydicom import Dataset
from pydicom.dataelem import RawDataElement

from mrct.core.errors import DataError

BLOCK_BYTES = 4 << 20
# The overlap of two blocks is longer than any value with its surroundings.
_OVERLAP_BYTES = 1024
_LARGEST_IN_MEMORY = 128 << 20
_DEEPEST = 4
_HEAD_BYTES = 512
_PIXEL_GROUP = 0x7FE0
_JSON = re.compile(rb"\s*[\[{]")
# A table: a first line of several short fields, and a second line with the same number of fields.
_FIELD = rb'[^\n,;\t"]{0,60}|"[^"\n]{0,60}"'
_TABLE = re.compile(rb"(?:(?:%b)[,;\t])+(?:%b)\r?\n(?:(?:%b)[,;\t])+(?:%b)\r?(?:\n|$)" % ((_FIELD,) * 4))
_DATA_URI = re.compile(rb"data:[\w/+.-]*(?:;[\w=.+-]+)*;base64,([A-Za-z0-9+/=%\s]{16,})")


class Block(NamedTuple):
    """A part of a file's content. Adjacent blocks overlap: matches that begin in content[start:end] belong to this one.

    `cells`: delimiters separate whole values, as in a table. `repeats`: the text may occur in the plain bytes of the
    same file as well.
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


def unpack(source: IO[bytes], budget: Budget, depth: int = 0) -> Iterator[Block]:
    """Yield the blocks of a stream, then those of every container in it.

    Args:
        source: A seekable stream, at its beginning.
        budget: Limits what is unpacked, and collects notes on what could not be opened.
        depth: Number of containers that enclose the stream.
    """
    yield from _plain_blocks(source.read, budget, unpacked=depth > 0)
    source.seek(0)
    head = source.read(_HEAD_BYTES)
    for container in _CONTAINERS:
        if not container.recognizes(head):
            continue
        source.seek(0)
        if depth >= _DEEPEST:
            # Any text may contain data URIs, so that a note would say nothing.
            if container.open is not _open_data_uris:
                budget.notes.append(
                    f"{container.name} more than {_DEEPEST} deep: only its plain bytes were searched"
                )
            continue
        try:
            yield from container.open(source, budget, depth + 1)
        except UnpackLimitError:
            budget.notes.append(
                f"{container.name} holds more than may be unpacked from one file; the rest was not searched"
            )
        except Exception as error:  # each library fails in its own ways on damaged files
            # The text of the error may quote the file; its type does not.
            budget.notes.append(f"{container.name} cannot be read to its end ({type(error).__name__})")


def _plain_blocks(read: Callable[[int], bytes], budget: Budget, unpacked: bool) -> Iterator[Block]:
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


def _whole_block(content: bytes, budget: Budget) -> Block:
    """Return the values that a parser extracted as one block, one value per line."""
    budget.spend(len(content))
    return Block(content, 0, len(content), cells=True, repeats=True)


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def _unpack_member(source: _Readable, budget: Budget, depth: int) -> Iterator[Block]:
    """Unpack one member of a container. Containers in it are opened only if it fits into memory."""
    content = source.read(_LARGEST_IN_MEMORY)
    if len(content) < _LARGEST_IN_MEMORY:
        yield from unpack(BytesIO(content), budget, depth)
    else:
        budget.notes.append("a part is too large to be opened again: only its plain bytes were searched")
        first = BytesIO(content)
        yield from _plain_blocks(lambda size: first.read(size) or source.read(size), budget, unpacked=True)


def _open_gzip(source: IO[bytes], budget: Budget, depth: int) -> Iterator[Block]:
    with gzip.GzipFile(fileobj=source) as stream:
        yield from _unpack_member(stream, budget, depth)


def _open_bzip2(source: IO[bytes], budget: Budget, depth: int) -> Iterator[Block]:
    with bz2.BZ2File(source) as stream:
        yield from _unpack_member(stream, budget, depth)


def _open_xz(source: IO[bytes], budget: Budget, depth: int) -> Iterator[Block]:
    with lzma.LZMAFile(source) as stream:
        yield from _unpack_member(stream, budget, depth)


def _open_zlib(source: IO[bytes], budget: Budget, depth: int) -> Iterator[Block]:
    """Unpack a bare zlib stream. Its two bytes of header occur in other files, so that a failure is not noted."""
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(source.read(), _LARGEST_IN_MEMORY)
    except zlib.error:
        return
    if unpacker.unconsumed_tail:
        budget.notes.append("a zlib stream is too large: only its first part was searched")
    yield from unpack(BytesIO(content), budget, depth)


def _open_zip(source: IO[bytes], budget: Budget, depth: int) -> Iterator[Block]:
    with zipfile.ZipFile(source) as archive:
        for member in archive.infolist():
            if member.flag_bits & 1:
                budget.notes.append("an encrypted part of a zip archive was not searched")
            elif not member.is_dir():
                with archive.open(member) as stream:
                    yield from _unpack_member(stream, budget, depth)


def _open_tar(source: IO[bytes], budget: Budget, depth: int) -> Iterator[Block]:
    with tarfile.open(fileobj=source, mode="r:") as archive:
        for member in archive:
            stream = archive.extractfile(member) if member.isfile() else None
            if stream is not None:
                yield from _unpack_member(stream, budget, depth)


def _open_png(source: IO[bytes], budget: Budget, depth: int) -> Iterator[Block]:
    """Extract the texts and the EXIF data. Pillow limits the size of unpacked texts."""
    with Image.open(source) as image:
        image.load()
        texts = image.text if isinstance(image, PngImageFile) else {}
        lines = [f"{key}\n{value}".encode() for key, value in texts.items()]
        exif = image.info.get("exif", b"")
    yield _whole_block(b"\n".join([*lines, exif]), budget)


def _open_dicom(source: IO[bytes], budget: Budget, depth: int) -> Iterator[Block]:
    """Extract the values of all elements, pixels excepted. Parsing inflates a deflated file as well."""
    dataset = pydicom.dcmread(source)
    yield _whole_block(b"\n".join([b"", *_values(dataset.file_meta), *_values(dataset)]), budget)


def _values(dataset: Dataset) -> Iterator[bytes]:
    for tag in sorted(dataset.keys()):
        raw = dataset.get_item(tag)
        if isinstance(raw, RawDataElement) and raw.VR != "SQ" and isinstance(raw.value, bytes):
            yield raw.value.rstrip(b" \0") if tag.group != _PIXEL_GROUP else b""
        elif dataset[tag].VR == "SQ":
            for item in dataset[tag].value:
                yield from _values(item)
        else:
            yield str(dataset[tag].value).encode()


def _open_sqlite(source: IO[bytes], budget: Budget, depth: int) -> Iterator[Block]:
    """Extract every cell of every table. SQLite works on a copy in memory and cannot change the file."""
    content = source.read(_LARGEST_IN_MEMORY)
    if len(content) >= _LARGEST_IN_MEMORY:
        budget.notes.append("a database is too large to be opened: only its plain bytes were searched")
        return
    # The copy has no write-ahead log, and bytes 18 and 19 of the header must say so.
    content = content[:18] + b"\1\1" + content[20:]
    database = sqlite3.connect(":memory:")
    try:
        database.deserialize(content)
        database.text_factory = bytes
        names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (name,) in names:
            quoted = name.decode().replace('"', '""')
            rows = database.execute(f'SELECT * FROM "{quoted}"')
            while chunk := rows.fetchmany(1000):
                yield from _unpack_rows(chunk, budget, depth)
    finally:
        database.close()


def _unpack_rows(rows: list[tuple[object, ...]], budget: Budget, depth: int) -> Iterator[Block]:
    lines = []
    for row in rows:
        cells = [cell if isinstance(cell, bytes) else str(cell).encode() for cell in row if cell is not None]
        lines.append(b"\n".join(cells))
        for cell in cells:
            if any(container.recognizes(cell[:_HEAD_BYTES]) for container in _CONTAINERS):
                yield from unpack(BytesIO(cell), budget, depth)
    yield _whole_block(b"\n".join([b"", *lines, b""]), budget)


def _open_data_uris(source: IO[bytes], budget: Budget, depth: int) -> Iterator[Block]:
    """Decode the base64 data in a page: images, fonts, plots."""
    content = source.read(_LARGEST_IN_MEMORY)
    for match in _DATA_URI.finditer(content):
        encoded = re.sub(rb"\s", b"", unquote_to_bytes(match[1])).rstrip(b"=")
        # Whole groups of four characters, and a rest of two or three. A rest of one character encodes no byte.
        length = len(encoded) // 4 * 4 + (len(encoded) % 4 > 1) * 4
        yield from unpack(BytesIO(base64.b64decode(encoded[:length] + b"===")), budget, depth)


def _starts_with(*magic: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(magic)


def _is_text(head: bytes) -> bool:
    """Return whether a content may be a page, JSON or a notebook."""
    return bool(head) and b"\0" not in head


class _Container(NamedTuple):
    """A format: a test of its first bytes, the function that unpacks it, and its name in a note."""

    recognizes: Callable[[bytes], bool]
    open: Callable[[IO[bytes], Budget, int], Iterator[Block]]
    name: str


_CONTAINERS = (
    _Container(_starts_with(b"\x1f\x8b"), _open_gzip, "a gzip stream"),
    _Container(_starts_with(b"BZh"), _open_bzip2, "a bzip2 stream"),
    _Container(_starts_with(b"\xfd7zXZ"), _open_xz, "an xz stream"),
    _Container(_starts_with(b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"), _open_zlib, "a zlib stream"),
    _Container(_starts_with(b"PK\3\4", b"PK\5\6"), _open_zip, "a zip archive"),
    _Container(lambda head: head[257:262] == b"ustar", _open_tar, "a tar archive"),
    _Container(_starts_with(b"\x89PNG"), _open_png, "a PNG image"),
    _Container(lambda head: head[128:132] == b"DICM", _open_dicom, "a DICOM file"),
    _Container(_starts_with(b"SQLite format 3\0"), _open_sqlite, "a database"),
    _Container(_is_text, _open_data_uris, "a page"),
)
