"""Open files of data whose values are compressed, encoded or scattered: DICOM, SQLite, MATLAB and PNG."""

import sqlite3
import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import IO

import pydicom
from PIL import Image
from PIL.PngImagePlugin import PngImageFile
from pydicom import Dataset
from pydicom.dataelem import RawDataElement

from mrct.leaks.blocks import LARGEST_IN_MEMORY, Block, Inside
from mrct.leaks.encodings import open_text

_PIXEL_GROUP = 0x7FE0
_MATLAB_HEADER_BYTES = 128
_MATLAB_COMPRESSED = 15


def open_png(source: IO[bytes], inside: Inside) -> Iterator[Block]:
    """Extract the texts and the EXIF data. Pillow limits the size of unpacked texts."""
    with Image.open(source) as image:
        image.load()
        texts = image.text if isinstance(image, PngImageFile) else {}
        lines = [f"{key}\n{value}".encode() for key, value in texts.items()]
        exif = image.info.get("exif", b"")
    yield from inside.values([*lines, exif])


def open_dicom(source: IO[bytes], inside: Inside) -> Iterator[Block]:
    """Extract the values of all elements, pixels excepted, and open those that are containers, as a PDF document.

    Parsing inflates a deflated file as well.
    """
    dataset = pydicom.dcmread(source)
    values = [*_values(dataset.file_meta), *_values(dataset)]
    yield from inside.values(values)
    for value in values:
        if inside.is_container(value):
            yield from inside.unpack(value)


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


def open_sqlite(source: IO[bytes], inside: Inside) -> Iterator[Block]:
    """Extract every cell of every table. SQLite works on a copy in memory and cannot change the file."""
    content = source.read(LARGEST_IN_MEMORY)
    if len(content) >= LARGEST_IN_MEMORY:
        inside.note("a database is too large to be opened: only its plain bytes were searched")
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
                yield from _unpack_rows(chunk, inside)
    finally:
        database.close()


def _unpack_rows(rows: list[tuple[object, ...]], inside: Inside) -> Iterator[Block]:
    lines = []
    for row in rows:
        cells = [cell if isinstance(cell, bytes) else str(cell).encode() for cell in row if cell is not None]
        lines.append(b"\n".join(cells))
        for cell in cells:
            if inside.is_container(cell):
                yield from inside.unpack(cell)
    yield from inside.values(lines)
    yield from open_text(BytesIO(b"\n".join(lines)), inside)


def open_matlab(source: IO[bytes], inside: Inside) -> Iterator[Block]:
    """Inflate the compressed variables of a MATLAB file of level 5 (MAT-File Format, MathWorks, chapter 1)."""
    order = "<" if source.read(_MATLAB_HEADER_BYTES)[126:128] == b"IM" else ">"
    while len(tag := source.read(8)) == 8:
        kind, size = struct.unpack(f"{order}II", tag)
        if kind == _MATLAB_COMPRESSED:
            unpacker = zlib.decompressobj()
            yield from inside.unpack(unpacker.decompress(source.read(size), LARGEST_IN_MEMORY))
            if not unpacker.eof:
                inside.note("a variable of a MATLAB file is damaged or too large: only a part was searched")
        else:
            source.seek(size, 1)
