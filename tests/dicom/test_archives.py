"""Archives in an export are named with what to do; documents, volumes and images are none."""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile

import pytest

from mrct.dicom.archives import HEAD_BYTES, advice, archive_reason, archive_reason_of
from mrct.dicom.errors import Unreadable
from mrct.dicom.read import read_dataset


def zipped(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return stream.getvalue()


def tarred(form: int = tarfile.PAX_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        archive.addfile(tarfile.TarInfo("a.dcm"), io.BytesIO())
    return stream.getvalue()


def old_tar() -> bytes:
    """Make a header of the seventh edition of Unix: no word "ustar"."""
    block = bytearray(tarred(tarfile.USTAR_FORMAT)[:512])
    block[257:] = bytes(len(block) - 257)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


ARCHIVES = {
    "a zip archive": [zipped("a.dcm"), zipped(), b"PK\x07\x08PK\x03\x04", b"PK\x03\x04" * 100],
    "a tar archive": [tarred(), tarred(tarfile.GNU_FORMAT), old_tar()],
    "a compressed tar archive (gzip)": [gzip.compress(tarred())],
    "a compressed tar archive (bzip2)": [bz2.compress(tarred())],
    "a compressed tar archive (xz)": [lzma.compress(tarred())],
    "a gzip file": [gzip.compress(b"x" * 600), gzip.compress(b"x" * 600)[:40], b"\x1f\x8b\x08damaged"],
    "a 7z archive": [b"7z\xbc\xaf\x27\x1c\0\4" + bytes(100)],
    "a rar archive": [b"Rar!\x1a\x07\0" + bytes(100), b"Rar!\x1a\x07\1\0" + bytes(100)],
    "a zstandard file": [b"\x28\xb5\x2f\xfd" + bytes(100)],
    "a disc image": [bytes(32768) + b"\1CD001\1" + bytes(2041)],
}


@pytest.mark.parametrize(
    ("kind", "content"),
    [(kind, one) for kind, many in ARCHIVES.items() for one in many],
    ids=lambda value: value if isinstance(value, str) else "file",  # the bytes hold the time of the test
)
def test_an_archive_is_named_with_what_to_do_under_any_file_name(tmp_path, kind, content):
    path = tmp_path / "IM0001"
    path.write_bytes(content)
    expected = f"not DICOM, but {kind}: unpack it into the source folder"
    assert archive_reason_of(path) == archive_reason(content[:HEAD_BYTES]) == expected
    with pytest.raises(Unreadable) as error:
        read_dataset(path, pixels=False)
    assert (error.value.reason, error.value.damaged) == (expected, False)


NIFTI = struct.pack("<i", 348).ljust(344, b"\0") + b"n+1\0" + bytes(200)


@pytest.mark.parametrize(
    "content",
    [
        zipped("[Content_Types].xml", "word/document.xml"),
        zipped("mimetype", "content.xml"),
        zipped("META-INF/MANIFEST.MF"),
        gzip.compress(NIFTI),
        NIFTI,
        gzip.compress(b"ObjectType = Image\n" + bytes(600)),
        b"",
        b"text" * 200,
        bytes(600),
        bytes(128) + b"DICM" + bytes(400),
    ],
    ids=lambda content: "file",
)  # fmt: skip
def test_documents_volumes_and_other_files_are_no_archives(content):
    assert archive_reason(content) == ""


def test_the_advice_counts_the_archives_of_a_source():
    reason = archive_reason(zipped("a"))
    assert advice({}) == advice({"not DICOM": 3}) == ""
    assert "3 of 3 files in the source are archives, which are not opened. Unpack them" in advice({reason: 3})
    assert "3 of 5 files in the source are archives" in advice({reason: 3, "not DICOM": 2})


def test_a_pipe_is_not_opened(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe")
    assert archive_reason_of(tmp_path / "pipe") == archive_reason_of(tmp_path / "gone") == ""
