"""Archives in an export: they are not opened, and the reason says what they are and what to do."""

import bz2
import lzma
import tarfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

#: How much of a file tells what it is.
HEAD_BYTES = 1 << 16

_BEFORE = "not DICOM, but "
_ADVICE = ": unpack it into the source folder"
# first bytes of the formats (zip: APPNOTE 4.3; the second one is an empty archive, the third a part of several)
_FIRST_BYTES = {
    b"PK\x03\x04": "a zip archive",
    b"PK\x05\x06": "a zip archive",
    b"PK\x07\x08": "a zip archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a rar archive",
    b"MSCF\0\0\0\0": "a cabinet archive",
    b"\x1f\x8b\x08": "a gzip file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ\0": "an xz file",
    b"\x28\xb5\x2f\xfd": "a zstandard file",
}
_TAR = "a tar archive"
_TAR_BLOCK = 512
# the first volume descriptor of a disc image (ISO 9660, sector 16)
_DISC, _DISC_PLACE = b"CD001", 16 * 2048 + 1
# first entries of office documents and program archives, which are zip files too
_NO_EXPORT = (b"[Content_Types].xml", b"_rels/", b"mimetype", b"META-INF/")
# NIfTI-1 and 2 (`magic`), MetaImage
_VOLUMES = ((344, b"n+1\0"), (344, b"ni1\0"), (4, b"n+2\0"), (0, b"ObjectType"), (0, b"NDims"))


def archive_reason(head: bytes) -> str:
    """Return the reason why an archive is not read; "" if the file is no archive.

    Office documents and compressed volumes are none.

    Args:
        head: First `HEAD_BYTES` of the file.
    """
    kind = next((name for first, name in _FIRST_BYTES.items() if head.startswith(first)), "")
    if kind == "a zip archive" and head[30:].startswith(_NO_EXPORT):
        return ""
    unpacked = _unpacked(head)
    if any(unpacked.startswith(mark, place) for place, mark in _VOLUMES):
        return ""
    if _is_tar(unpacked):
        kind = f"a compressed tar archive ({kind.split()[1]})" if kind else _TAR
    if head.startswith(_DISC, _DISC_PLACE):
        kind = "a disc image"
    return f"{_BEFORE}{kind}{_ADVICE}" if kind else ""


def archive_reason_of(path: Path) -> str:
    """Return `archive_reason` of a file; "" for what is no file or cannot be read."""
    if not path.is_file():  # opening a pipe would block
        return ""
    try:
        with path.open("rb") as stream:
            return archive_reason(stream.read(HEAD_BYTES))
    except OSError:
        return ""


def _unpacked(head: bytes) -> bytes:
    """Return the first bytes of a compressed file, or of one that is not compressed."""
    unpack = {
        b"\x1f\x8b": lambda: zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, _TAR_BLOCK),
        b"BZ": lambda: bz2.BZ2Decompressor().decompress(head, _TAR_BLOCK),
        b"\xfd7": lambda: lzma.LZMADecompressor().decompress(head, _TAR_BLOCK),
    }.get(head[:2])
    if unpack is None:
        return head[:_TAR_BLOCK]
    with suppress(zlib.error, lzma.LZMAError, OSError, EOFError):
        return unpack()
    return b""


def _is_tar(block: bytes) -> bool:
    """Return whether the block is a header of tar; its checksum tells (POSIX.1-1988)."""
    try:
        return bool(tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape"))
    except tarfile.HeaderError:
        return False


def advice(reasons: Mapping[str, int]) -> str:
    """Return what to do about the archives of a source from which nothing could be used; "" if there are none.

    Args:
        reasons: Reason -> number of files.
    """
    count = sum(n for reason, n in reasons.items() if reason.startswith(_BEFORE) and reason.endswith(_ADVICE))
    if not count:
        return ""
    files = sum(reasons.values())
    return f"\n{count} of {files} files in the source are archives, which are not opened. Unpack them there."
