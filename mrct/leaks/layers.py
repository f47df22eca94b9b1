"""A file's bytes as they lie, and everything inside: compressed streams, archives, images' texts, databases, DICOM.

Bounded: blocks of a few MB with overlapping edges; what is unpacked from one file counts against a budget, and a part
is opened again (an archive in an archive) only when it fits into memory and lies at most four deep.
What cannot be opened is noted with its reason and never ends the run; its plain bytes are searched all the same.
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
from io import BytesIO
from typing import BinaryIO
from urllib.parse import unquote_to_bytes

import pydicom
from PIL import Image
from pydicom import Dataset
from pydicom.dataelem import RawDataElement

from mrct.leaks.blocks import Block, Budget, TooMuchError, plain_blocks, whole_block

_IN_MEMORY = 128 << 20
_DEEPEST = 4
_DATA_URI = re.compile(rb"data:[\w/+.-]*(?:;[\w=.+-]+)*;base64,([A-Za-z0-9+/=%\s]{16,})")


def haystacks(source: BinaryIO, budget: Budget, depth: int = 0) -> Iterator[Block]:
    """Blocks of a seekable stream, then of what is inside it."""
    yield from plain_blocks(source.read, budget, unpacked=depth > 0)
    source.seek(0)
    head = source.read(512)
    for recognizes, open_parts, what in _CONTAINERS:
        if not recognizes(head):
            continue
        source.seek(0)
        if depth >= _DEEPEST:
            if open_parts is _data_uris:
                continue  # any text may be a page
            budget.notes.append(f"{what} more than {_DEEPEST} deep: only its plain bytes were searched")
            continue
        try:
            yield from open_parts(source, budget, depth + 1)
        except TooMuchError:
            budget.notes.append(
                f"{what} holds more than may be unpacked from one file; the rest was not searched"
            )
        except (
            Exception
        ) as error:  # every library fails in its own ways on damaged files; the text may quote them
            budget.notes.append(f"{what} cannot be read to its end ({type(error).__name__})")


def _part(source: BinaryIO, budget: Budget, depth: int) -> Iterator[Block]:
    """A part of a container; opened again where it fits into memory."""
    content = source.read(_IN_MEMORY)
    if len(content) < _IN_MEMORY:
        yield from haystacks(BytesIO(content), budget, depth)
    else:
        budget.notes.append("a part is too large to be opened again: its plain bytes were searched")
        first = BytesIO(content)
        yield from plain_blocks(lambda size: first.read(size) or source.read(size), budget, unpacked=True)


def _compressed(opener: Callable[[BinaryIO], BinaryIO]) -> Callable[[BinaryIO, Budget, int], Iterator[Block]]:
    def parts(source: BinaryIO, budget: Budget, depth: int) -> Iterator[Block]:
        with opener(source) as stream:
            yield from _part(stream, budget, depth)

    return parts


def _zlib(source: BinaryIO, budget: Budget, depth: int) -> Iterator[Block]:
    """A bare zlib stream; two bytes alone do not make one, so that what fails at once was none."""
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(source.read(), _IN_MEMORY)
    except zlib.error:
        return
    if unpacker.unconsumed_tail:
        budget.notes.append("a zlib stream is too large: only its first part was searched")
    yield from haystacks(BytesIO(content), budget, depth)


def _zip(source: BinaryIO, budget: Budget, depth: int) -> Iterator[Block]:
    with zipfile.ZipFile(source) as archive:
        for member in archive.infolist():
            if member.flag_bits & 1:
                budget.notes.append("an encrypted part of a zip archive")
            elif not member.is_dir():
                with archive.open(member) as stream:
                    yield from _part(stream, budget, depth)  # type: ignore[arg-type]


def _tar(source: BinaryIO, budget: Budget, depth: int) -> Iterator[Block]:
    with tarfile.open(fileobj=source, mode="r:") as archive:
        for member in archive:
            stream = archive.extractfile(member) if member.isfile() else None
            if stream is not None:
                yield from _part(stream, budget, depth)  # type: ignore[arg-type]


def _png(source: BinaryIO, budget: Budget, depth: int) -> Iterator[Block]:
    """Texts and EXIF; Pillow bounds what they unpack to."""
    with Image.open(source) as image:
        image.load()
        texts = [f"{key}\n{value}".encode() for key, value in getattr(image, "text", {}).items()]
        exif = image.info.get("exif", b"")
    yield whole_block(b"\n".join([*texts, exif]), budget)


def _dicom(source: BinaryIO, budget: Budget, depth: int) -> Iterator[Block]:
    """The values of all elements, one a line; parsed, so that a deflated file is seen as well."""
    dataset = pydicom.dcmread(source)
    yield whole_block(b"\n".join([b"", *_values(dataset.file_meta), *_values(dataset)]), budget)


def _values(dataset: Dataset) -> Iterator[bytes]:
    for tag in sorted(dataset.keys()):
        raw = dataset.get_item(tag)
        if isinstance(raw, RawDataElement) and raw.VR != "SQ" and isinstance(raw.value, bytes):
            yield raw.value.rstrip(b" \0") if tag.group != 0x7FE0 else b""
        elif dataset[tag].VR == "SQ":
            for item in dataset[tag].value:
                yield from _values(item)
        else:
            yield str(dataset[tag].value).encode()


def _sqlite(source: BinaryIO, budget: Budget, depth: int) -> Iterator[Block]:
    """Every cell of every table, from a copy in memory: the file itself is not opened for writing."""
    content = source.read(_IN_MEMORY)
    if len(content) >= _IN_MEMORY:
        budget.notes.append("a database is too large to be opened: its plain bytes were searched")
        return
    # a copy in memory has no write-ahead log: say so in the header (bytes 18 and 19)
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
                yield from _rows(chunk, budget, depth)
    finally:
        database.close()


def _rows(rows: list[tuple[object, ...]], budget: Budget, depth: int) -> Iterator[Block]:
    lines = []
    for row in rows:
        cells = [cell if isinstance(cell, bytes) else str(cell).encode() for cell in row if cell is not None]
        lines.append(b"\n".join(cells))
        for cell in cells:
            if any(recognizes(cell[:512]) for recognizes, _, _ in _CONTAINERS):
                yield from haystacks(BytesIO(cell), budget, depth)
    yield whole_block(b"\n".join([b"", *lines, b""]), budget)


def _data_uris(source: BinaryIO, budget: Budget, depth: int) -> Iterator[Block]:
    """What a page carries in base64 (images, fonts, plots)."""
    content = source.read(_IN_MEMORY)
    for match in _DATA_URI.finditer(content):
        encoded = re.sub(rb"\s", b"", unquote_to_bytes(match[1])).rstrip(b"=")
        decoded = base64.b64decode(encoded[: len(encoded) // 4 * 4 + (len(encoded) % 4 > 1) * 4] + b"===")
        yield from haystacks(BytesIO(decoded), budget, depth)


def _starts(*magic: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(magic)


def _is_text(head: bytes) -> bool:
    """Perhaps a page, JSON or notebook: what has no NUL near its beginning."""
    return bool(head) and b"\0" not in head


_CONTAINERS: tuple[tuple[Callable[[bytes], bool], Callable[..., Iterator[Block]], str], ...] = (
    (_starts(b"\x1f\x8b"), _compressed(lambda source: gzip.GzipFile(fileobj=source)), "a gzip stream"),  # type: ignore[arg-type,return-value]
    (_starts(b"BZh"), _compressed(bz2.BZ2File), "a bzip2 stream"),  # type: ignore[arg-type,return-value]
    (_starts(b"\xfd7zXZ"), _compressed(lzma.LZMAFile), "an xz stream"),  # type: ignore[arg-type,return-value]
    (_starts(b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"), _zlib, "a zlib stream"),
    (_starts(b"PK\3\4", b"PK\5\6"), _zip, "a zip archive"),
    (lambda head: head[257:262] == b"ustar", _tar, "a tar archive"),
    (_starts(b"\x89PNG"), _png, "a PNG image"),
    (lambda head: head[128:132] == b"DICM", _dicom, "a DICOM file"),
    (_starts(b"SQLite format 3\0"), _sqlite, "a database"),
    (_is_text, _data_uris, "a page"),
)
