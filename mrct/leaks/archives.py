"""Open compressed streams and archives: gzip, bzip2, xz, LZMA, Zstandard, zlib, zip, tar and 7z."""

import bz2
import gzip
import lzma
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import IO

from mrct.leaks.blocks import LARGEST_IN_MEMORY, Block, Inside, UnpackLimitError

_TAR_BLOCK_BYTES = 512


def open_gzip(source: IO[bytes], inside: Inside) -> Iterator[Block]:
    """Unpack all members of a gzip file (RFC 1952). The name in its header belongs to the plain bytes."""
    with gzip.GzipFile(fileobj=source) as stream:
        yield from inside.member(stream)


def open_bzip2(source: IO[bytes], inside: Inside) -> Iterator[Block]:
    """Unpack all streams of a bzip2 file."""
    with bz2.BZ2File(source) as stream:
        yield from inside.member(stream)


def is_bzip2(head: bytes) -> bool:
    """Return whether a content starts with the header of a bzip2 file and of its first block, or of none."""
    return head[:3] == b"BZh" and head[4:10] in (b"\x31\x41\x59\x26\x53\x59", b"\x17\x72\x45\x38\x50\x90")


def open_lzma(source: IO[bytes], inside: Inside) -> Iterator[Block]:
    """Unpack an xz file, or the older format LZMA alone."""
    with lzma.LZMAFile(source) as stream:
        yield from inside.member(stream)


def is_lzma_alone(head: bytes) -> bool:
    """Return whether a content starts with a header that the encoder of xz writes for LZMA alone.

    The format has no magic number: properties 0x5D, a dictionary of 2^n or 2^n + 2^(n-1) bytes, and a size that is
    unknown or below 256 GiB, as xz checks it (liblzma, alone_decoder.c).
    """
    if len(head) < 14 or head[0] != 0x5D:
        return False
    dictionary, size = int.from_bytes(head[1:5], "little"), head[5:13]
    digits = f"{dictionary:b}"
    is_written = dictionary >= 1 << 12 and digits.rstrip("0") in ("1", "11")
    return is_written and (size == b"\xff" * 8 or int.from_bytes(size, "little") < 1 << 38)


def is_zstandard(head: bytes) -> bool:
    """Return whether a content starts with a frame of Zstandard, or with a skippable frame before it."""
    return head[:4] == b"\x28\xb5\x2f\xfd" or (
        head[1:4] == b"\x2a\x4d\x18" and head[:1] in b"PQRSTUVWXYZ[\\]^_"
    )


def open_zstandard(source: IO[bytes], inside: Inside) -> Iterator[Block]:
    """Unpack all frames of a Zstandard file (RFC 8878); skippable frames belong to the plain bytes."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd

    with zstd.ZstdFile(source) as stream:
        yield from inside.member(stream)


def open_zlib(source: IO[bytes], inside: Inside) -> Iterator[Block]:
    """Unpack a bare zlib stream. Its two bytes of header occur in other files, so that a failure is not noted."""
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(source.read(), LARGEST_IN_MEMORY)
    except zlib.error:
        return
    if unpacker.unconsumed_tail:
        inside.note("a zlib stream is too large: only its first part was searched")
    yield from inside.unpack(content)


def open_zip(source: IO[bytes], inside: Inside) -> Iterator[Block]:
    """Unpack the members of a zip archive. One that cannot be read does not hide the others."""
    with zipfile.ZipFile(source) as archive:
        yield from inside.names(archive.namelist())
        for member in archive.infolist():
            if member.flag_bits & 1:
                inside.note("an encrypted part of a zip archive was not searched")
            elif not member.is_dir():
                with inside.attempt("a part of a zip archive"), archive.open(member) as stream:
                    yield from inside.member(stream)


def is_tar(head: bytes) -> bool:
    """Return whether a content starts with a header of tar: the magic number, or in older archives the checksum."""
    header = head[:_TAR_BLOCK_BYTES]
    if header[257:262] == b"ustar":
        return True
    stored = header[148:156].strip(b" \0")
    if len(header) < _TAR_BLOCK_BYTES or not stored or stored.strip(b"01234567"):
        return False
    return int(stored, 8) == sum(header[:148]) + 8 * ord(" ") + sum(header[156:])


def open_tar(source: IO[bytes], inside: Inside) -> Iterator[Block]:
    """Unpack the members of a tar archive."""
    with tarfile.open(fileobj=source, mode="r:") as archive:
        names = []
        for member in archive:
            names.append(member.name)
            stream = archive.extractfile(member) if member.isfile() else None
            if stream is not None:
                yield from inside.member(stream)
        yield from inside.names(names)
        source.seek(archive.offset)
    # The module tarfile takes a damaged header in the middle for the end.
    while rest := source.read(1 << 20):
        if rest.strip(b"\0"):
            inside.note("a tar archive goes on after its end: of the rest only the plain bytes were searched")
            return


def open_7z(source: IO[bytes], inside: Inside) -> Iterator[Block]:
    """Unpack the members of a 7z archive, and the names in its compressed header."""
    from py7zr import SevenZipFile
    from py7zr.exceptions import PasswordRequired
    from py7zr.io import BytesIOFactory

    try:
        with SevenZipFile(source, max_extract_size=inside.budget.bytes_left) as archive:
            members = archive.list()
            yield from inside.names(member.filename for member in members)
            if archive.needs_password():
                inside.note("an encrypted 7z archive was not searched, except for the names in it")
                return
            sizes = {member.filename: member.uncompressed for member in members if not member.is_directory}
            if sum(sizes.values()) > inside.budget.bytes_left:
                raise UnpackLimitError("the members are larger than the budget")
            for names in _fitting(sizes, inside):
                factory = BytesIOFactory(LARGEST_IN_MEMORY)
                archive.extract(targets=names, factory=factory)
                archive.reset()
                for product in factory.products.values():
                    yield from inside.unpack(product.read())
    except PasswordRequired:
        inside.note("an encrypted 7z archive was not searched")


def _fitting(sizes: dict[str, int], inside: Inside) -> Iterator[Sequence[str]]:
    """Yield groups of members that fit into memory together. A larger member is noted."""
    group: list[str] = []
    total = 0
    for name, size in sizes.items():
        if size >= LARGEST_IN_MEMORY:
            inside.note("a part of a 7z archive is too large to be opened and was not searched")
            continue
        if total + size > LARGEST_IN_MEMORY:
            yield group
            group, total = [], 0
        group.append(name)
        total += size
    if group:
        yield group
