"""Texts of a NIfTI or MetaImage file that no image needs: notes, names of other files, extensions.

Fields: NIfTI-1 (nifti1.h, Cox 2004) and NIfTI-2 (nifti2.h, 2011); extensions follow the header, each with its size, its
code (2 is DICOM) and bytes. gzip: name and comment of RFC 1952. MetaImage: `key = value` lines before the data.
"""

import gzip
import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import pydicom
import SimpleITK as sitk

from mrct.leaks.phi_values import PhiValues

SUFFIXES = (".nii.gz", ".nii", ".mha", ".mhd")
_LARGEST_HEADER = 16 << 20
_DICOM_EXTENSION = 2
# name: offset and length, by the header's own size
_FIELDS = {
    348: {
        "data_type": (4, 10),
        "db_name": (14, 18),
        "descrip": (148, 80),
        "aux_file": (228, 24),
        "intent_name": (328, 16),
    },
    540: {"descrip": (240, 80), "aux_file": (320, 24), "intent_name": (508, 16)},
}
# keys of MetaImage that hold numbers and fixed words
_GEOMETRY = re.compile(
    r"ObjectType|NDims|BinaryData\w*|CompressedData\w*|TransformMatrix|Offset|Origin|Position|Orientation|Center\w*"
    r"|AnatomicalOrientation|Element(?!DataFile)\w*|DimSize|HeaderSize|Modality|Rotation|Color|(?:Parent)?ID"
)
_ITK_GEOMETRY = ("qform_code_name", "sform_code_name")


def is_volume(path: Path) -> bool:
    """By its name."""
    return path.name.lower().endswith(SUFFIXES)


def volume_phi_values(path: Path) -> PhiValues:
    """All free text of the volume's header, and the names of its folder and file."""
    phi_values = PhiValues()
    add_header(path, phi_values)
    phi_values.add_text(path.parent.name, "case folder", shortest_part=4)
    stem = next(path.name[: -len(suffix)] for suffix in SUFFIXES if path.name.lower().endswith(suffix))
    phi_values.add_text(stem, "file name", shortest_part=4)
    return phi_values


def add_header(path: Path, phi_values: PhiValues) -> None:
    """Adds what the header says, read as it lies on the disk: no library shows all of it."""
    with path.open("rb") as stream:
        zipped = stream.read(2) == b"\x1f\x8b"
        stream.seek(0)
        start = stream.read(4096)
        if zipped:
            _add_texts(_gzip_texts(start), phi_values)
        stream.seek(0)
        head = gzip.GzipFile(fileobj=stream).read(_LARGEST_HEADER) if zipped else stream.read(_LARGEST_HEADER)
    if path.name.lower().endswith((".mha", ".mhd")):
        _add_texts(_metaimage_texts(head), phi_values)
    else:
        _add_nifti(head, phi_values)


def add_metadata(image: sitk.Image, phi_values: PhiValues) -> None:
    """Adds what SimpleITK has read of the header."""
    texts = ((key, image.GetMetaData(key)) for key in image.GetMetaDataKeys() if key not in _ITK_GEOMETRY)
    _add_texts(texts, phi_values)


def _add_texts(texts: Iterator[tuple[str, str]], phi_values: PhiValues) -> None:
    for keyword, text in texts:
        phi_values.add_text(text, keyword, shortest_part=4)


def _gzip_texts(start: bytes) -> Iterator[tuple[str, str]]:
    """FNAME and FCOMMENT, after FEXTRA (RFC 1952, 2.3)."""
    flags, position = start[3], 10
    if flags & 4:
        position += 2 + int.from_bytes(start[10:12], "little")
    for flag, keyword in ((8, "gzip file name"), (16, "gzip comment")):
        if flags & flag:
            end = start.find(b"\0", position)
            yield keyword, start[position:end].decode("latin-1")
            position = end + 1


def _metaimage_texts(head: bytes) -> Iterator[tuple[str, str]]:
    for line in head.split(b"\n")[:1000]:
        key, _, value = line.decode("utf-8", "replace").partition("=")
        if key.strip().isidentifier() and not _GEOMETRY.fullmatch(key.strip()):
            yield key.strip(), value.strip().removesuffix(".raw").removesuffix(".zraw")
        if key.strip() == "ElementDataFile":
            return


def _add_nifti(head: bytes, phi_values: PhiValues) -> None:
    order = "<" if head[:4] in (b"\x5c\1\0\0", b"\x1c\2\0\0") else ">"
    (size,) = struct.unpack(f"{order}i", head[:4])
    for keyword, (offset, length) in _FIELDS.get(size, {}).items():
        text = head[offset : offset + length].partition(b"\0")[0].decode("utf-8", "replace")
        phi_values.add_text(text, keyword, shortest_part=4)
    for code, content in _extensions(head, size, order):
        if code == _DICOM_EXTENSION:
            with suppress(Exception):  # damaged: its readable words are taken below
                phi_values.add_dataset(pydicom.dcmread(BytesIO(content), force=True))
        for words in re.findall(rb"[\x20-\x7e\x80-\xff]{4,}", content):
            phi_values.add_text(words.decode("utf-8", "replace"), "header extension", shortest_part=4)


def _extensions(head: bytes, size: int, order: str) -> Iterator[tuple[int, bytes]]:
    """(code, bytes) while the header says that there are more."""
    position = size + 4
    if head[size : size + 1] in (b"", b"\0"):
        return
    format_ = ">f" if order == ">" else "<f"
    end = (
        int(struct.unpack(format_, head[108:112])[0])
        if size == 348
        else struct.unpack(f"{order}q", head[168:176])[0]
    )
    while position + 8 <= min(end, len(head)):
        length, code = struct.unpack(f"{order}ii", head[position : position + 8])
        if length < 8:
            return
        yield code, head[position + 8 : position + length].rstrip(b"\0")
        position += length
