"""Unpack a file into blocks of bytes: its plain bytes, and the content of every container in it.

Containers are compressed streams, archives, documents, images, DICOM files, databases and encoded text, nested up to
eight deep. Memory is bounded: plain bytes come in blocks of a few megabytes with overlapping edges, the content that is
unpacked from one file counts against a budget, and a container inside a container is opened only if it fits into
memory. A container that cannot be opened is noted with a reason, and so is content that is compressed or encrypted in
another way (module `opaque`). Its plain bytes are still searched.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, NamedTuple

from mrct.leaks import archives, data_files, documents, encodings, opaque
from mrct.leaks.blocks import Block, Budget, Inside, UnpackLimitError, plain_blocks

# A picture in a letter in an archive in a mail in a compressed mailbox is five deep.
_DEEPEST = 8


class _Ends(NamedTuple):
    """The first and the last bytes of a content."""

    head: bytes
    tail: bytes


@dataclass(frozen=True)
class _Container:
    """A format.

    Attributes:
        name: Its name in a note.
        recognizes: A test of its first and last bytes.
        open: The function that unpacks it.
    """

    name: str
    recognizes: Callable[[_Ends], bool]
    open: Callable[[IO[bytes], Inside], Iterator[Block]]


def unpack(source: IO[bytes], budget: Budget, depth: int = 0) -> Iterator[Block]:
    """Yield the blocks of a stream, then those of every container in it.

    Args:
        source: A seekable stream, at its beginning.
        budget: Limits what is unpacked, and collects notes on what could not be opened.
        depth: Number of containers that enclose the stream.
    """
    yield from plain_blocks(source.read, budget, unpacked=depth > 0)
    ends, sample = _read_ends(source)
    containers = [container for container in _CONTAINERS if container.recognizes(ends)]
    if not containers:
        if kind := opaque.recognize(*ends):
            budget.notes.append(f"{kind}: only its plain bytes were searched")
        elif opaque.looks_compressed(ends.head, sample):
            budget.notes.append(
                "compressed or encrypted data of an unknown kind: only the plain bytes were searched"
            )
        containers = [container for container in _TEXTS if container.recognizes(ends)]
    elif depth >= _DEEPEST:
        budget.notes += [
            f"{one.name} more than {_DEEPEST} deep: only its plain bytes were searched" for one in containers
        ]
    if depth < _DEEPEST:
        inside = Inside(budget, depth + 1, unpack, is_container)
        for container in containers:
            source.seek(0)
            yield from _open(container, source, inside)


def _open(container: _Container, source: IO[bytes], inside: Inside) -> Iterator[Block]:
    try:
        with inside.attempt(container.name):
            yield from container.open(source, inside)
    except UnpackLimitError:
        inside.note(
            f"{container.name} holds more than may be unpacked from one file; the rest was not searched"
        )


def _read_ends(source: IO[bytes]) -> tuple[_Ends, bytes]:
    """Return the ends of a stream and a sample from its middle."""
    size = source.seek(0, os.SEEK_END)
    read = []
    for start, length in (
        (0, opaque.HEAD_BYTES),
        (max(size - opaque.TAIL_BYTES, 0), opaque.TAIL_BYTES),
        (max((size - opaque.SAMPLE_BYTES) // 2, 0), opaque.SAMPLE_BYTES),
    ):
        source.seek(start)
        read.append(source.read(length))
    return _Ends(read[0], read[1]), read[2]


def is_container(content: bytes) -> bool:
    """Return whether a content has the magic number of a container, or of a format that is not opened."""
    ends = _Ends(content[: opaque.HEAD_BYTES], content[-opaque.TAIL_BYTES :])
    return any(container.recognizes(ends) for container in _CONTAINERS) or opaque.recognize(*ends) is not None


def _starts_with(*magic: bytes) -> Callable[[_Ends], bool]:
    return lambda ends: ends.head.startswith(magic)


def _is_zip(ends: _Ends) -> bool:
    """Return whether a content starts or ends as a zip archive does; a program may stand before the archive."""
    return ends.head.startswith((b"PK\3\4", b"PK\5\6", b"PK\7\x08")) or ends.tail[-22:-18] == b"PK\5\6"


_CONTAINERS = (
    _Container("a gzip stream", _starts_with(b"\x1f\x8b\x08"), archives.open_gzip),
    _Container("a bzip2 stream", lambda ends: archives.is_bzip2(ends.head), archives.open_bzip2),
    _Container("an xz stream", _starts_with(b"\xfd7zXZ\0"), archives.open_lzma),
    _Container("an LZMA stream", lambda ends: archives.is_lzma_alone(ends.head), archives.open_lzma),
    _Container("a Zstandard stream", lambda ends: archives.is_zstandard(ends.head), archives.open_zstandard),
    _Container(
        "a zlib stream", _starts_with(b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"), archives.open_zlib
    ),
    _Container("a zip archive", _is_zip, archives.open_zip),
    _Container("a 7z archive", _starts_with(b"7z\xbc\xaf\x27\x1c"), archives.open_7z),
    _Container("a tar archive", lambda ends: archives.is_tar(ends.head), archives.open_tar),
    _Container("a PDF document", lambda ends: b"%PDF-" in ends.head[:1024], documents.open_pdf),
    _Container("a PNG image", _starts_with(b"\x89PNG\r\n"), data_files.open_png),
    _Container("a DICOM file", lambda ends: ends.head[128:132] == b"DICM", data_files.open_dicom),
    _Container("a database", _starts_with(b"SQLite format 3\0"), data_files.open_sqlite),
    _Container("a MATLAB file", _starts_with(b"MATLAB 5.0 MAT-file"), data_files.open_matlab),
)
# What may be any text. Of texts that are too deep nothing is noted, because most hold nothing encoded.
_TEXTS = (
    _Container("a text", lambda ends: encodings.is_text(ends.head), encodings.open_text),
    _Container("a mail", lambda ends: documents.is_mail(ends.head), documents.open_mail),
)
