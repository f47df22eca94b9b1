"""Read the identifying values of patients from DICOM files, volumes and CSV tables.

Volumes hold free text that the image does not need: notes, names of other files, extensions. The header is parsed
here, because no library returns all of it. The fields are those of NIfTI-1 (nifti1.h, Cox 2004), NIfTI-2 (nifti2.h,
2011), gzip (RFC 1952) and MetaImage (`key = value` lines before the data).
"""

import csv
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import pydicom

from mrct.core.files import is_volume_file, volume_stem, volume_suffix
from mrct.core.parallel import map_processes
from mrct.dicom.errors import Unreadable
from mrct.dicom.identity import read_patient_id
from mrct.dicom.read import read_dataset
from mrct.leaks.phi_values import PhiValues

_FILES_PER_CHUNK = 256
_LARGEST_TABLE = 64 << 20
_LARGEST_HEADER = 16 << 20
# zlib's number for data in the frame of gzip
_GZIP_FRAME = 31
_GZIP_PART = 4096
# Header size -> name of the field -> (offset, length).
_NIFTI_FIELDS = {
    348: {
        "data_type": (4, 10),
        "db_name": (14, 18),
        "descrip": (148, 80),
        "aux_file": (228, 24),
        "intent_name": (328, 16),
    },
    540: {"descrip": (240, 80), "aux_file": (320, 24), "intent_name": (508, 16)},
}
# A header extension with this code holds DICOM attributes.
_DICOM_EXTENSION = 2
# Keys of MetaImage that hold numbers or fixed words.
_GEOMETRY = re.compile(
    r"ObjectType|NDims|BinaryData\w*|CompressedData\w*|TransformMatrix|Offset|Origin|Position|Orientation|Center\w*"
    r"|AnatomicalOrientation|Element(?!DataFile)\w*|DimSize|HeaderSize|Modality|Rotation|Color|(?:Parent)?ID"
)


def read_patients(files: Sequence[Path], description: str) -> list[PhiValues]:
    """Read the values of every patient in a list of files.

    DICOM files belong to one patient if their PatientID is equal, volumes if they lie in one folder. In a CSV table
    each row is a patient and the name of the column is the attribute. Files that cannot be read are skipped.

    Args:
        files: DICOM files, volumes and CSV tables.
        description: Label of the progress bar.

    Returns:
        One object per patient with values, in the order of the files.
    """
    chunks = [
        list(files[start : start + _FILES_PER_CHUNK]) for start in range(0, len(files), _FILES_PER_CHUNK)
    ]
    patients: dict[str, PhiValues] = {}
    for found in map_processes(_read_chunk, chunks, description):
        for patient, phi_values in found.items():
            patients.setdefault(patient, PhiValues()).merge(phi_values)
    return [phi_values for phi_values in patients.values() if len(phi_values)]


def _read_chunk(files: list[Path]) -> dict[str, PhiValues]:
    patients: dict[str, PhiValues] = {}
    for path in files:
        try:
            if is_volume_file(path):
                patients.setdefault(f"case {path.parent}", PhiValues()).merge(_read_volume(path))
            elif path.suffix.lower() == ".csv":
                _add_table(path, patients)
            else:
                dataset = read_dataset(path, pixels=False)
                patient = read_patient_id(dataset) or str(path)
                patients.setdefault(patient, PhiValues()).add_dataset(dataset)
        except Unreadable:
            # The file is not DICOM and holds no header.
            continue
        except Exception:  # damaged files fail in many ways
            continue
    return patients


def _add_table(path: Path, patients: dict[str, PhiValues]) -> None:
    if path.stat().st_size > _LARGEST_TABLE:
        return
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as stream:
        for number, row in enumerate(csv.DictReader(stream)):
            phi_values = patients.setdefault(f"{path} row {number}", PhiValues())
            for column, value in row.items():
                if column and isinstance(value, str):
                    phi_values.add_text(value, column, shortest_part=4)


def _read_volume(path: Path) -> PhiValues:
    """Read the free text of a volume's header, and the names of its folder and file."""
    phi_values = PhiValues()
    add_header(path, phi_values)
    phi_values.add_text(path.parent.name, "case folder", shortest_part=4)
    phi_values.add_text(volume_stem(path), "file name", shortest_part=4)
    return phi_values


def add_header(path: Path, phi_values: PhiValues) -> None:
    """Add the free text of a volume's header to `phi_values`.

    Args:
        path: NIfTI (also with gzip) or MetaImage.
        phi_values: Receives the texts, under the names of the header's fields.
    """
    with path.open("rb") as stream:
        is_zipped = stream.read(2) == b"\x1f\x8b"
        stream.seek(0)
        start = stream.read(4096)
        if is_zipped:
            _add_texts(_gzip_texts(start), phi_values)
        stream.seek(0)
        head = stream.read(_LARGEST_HEADER)
    if is_zipped:
        head = _unzipped(head)
    if volume_suffix(path) in (".mha", ".mhd"):
        _add_texts(_metaimage_texts(head), phi_values)
    else:
        _add_nifti(head, phi_values)


def _unzipped(content: bytes) -> bytes:
    """Return what can be read of gzip data, up to `_LARGEST_HEADER`: a file that is damaged later has a header too."""
    head = bytearray()
    inflater = zlib.decompressobj(wbits=_GZIP_FRAME)
    with suppress(zlib.error):
        for start in range(0, len(content), _GZIP_PART):
            part = content[start : start + _GZIP_PART]
            while part and len(head) < _LARGEST_HEADER:
                if inflater.eof:  # the next member
                    inflater = zlib.decompressobj(wbits=_GZIP_FRAME)
                head += inflater.decompress(part, _LARGEST_HEADER - len(head))
                part = inflater.unused_data
    return bytes(head)


def _add_texts(texts: Iterator[tuple[str, str]], phi_values: PhiValues) -> None:
    for keyword, text in texts:
        phi_values.add_text(text, keyword, shortest_part=4)


def _gzip_texts(start: bytes) -> Iterator[tuple[str, str]]:
    """Yield FNAME and FCOMMENT, which follow FEXTRA (RFC 1952 section 2.3)."""
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
        key, _, value = (part.strip() for part in line.decode("utf-8", "replace").partition("="))
        if not _GEOMETRY.fullmatch(key):
            # a key that is no word is free text itself, which no message may show
            yield (
                key if key.isidentifier() else "header line",
                value.removesuffix(".raw").removesuffix(".zraw"),
            )
        if key == "ElementDataFile":
            return


def _add_nifti(head: bytes, phi_values: PhiValues) -> None:
    order = "<" if head[:4] in (b"\x5c\1\0\0", b"\x1c\2\0\0") else ">"
    (size,) = struct.unpack(f"{order}i", head[:4])
    for keyword, (offset, length) in _NIFTI_FIELDS.get(size, {}).items():
        text = head[offset : offset + length].partition(b"\0")[0].decode("utf-8", "replace")
        phi_values.add_text(text, keyword, shortest_part=4)
    for code, content in _nifti_extensions(head, size, order):
        if code == _DICOM_EXTENSION:
            # A damaged dataset raises an error. Its readable words are added below.
            with suppress(Exception):
                phi_values.add_dataset(pydicom.dcmread(BytesIO(content), force=True))
        for words in re.findall(rb"[\x20-\x7e\x80-\xff]{4,}", content):
            phi_values.add_text(words.decode("utf-8", "replace"), "header extension", shortest_part=4)


def _nifti_extensions(head: bytes, size: int, order: str) -> Iterator[tuple[int, bytes]]:
    """Yield (code, content) of the extensions, which lie between the header and the offset of the voxels."""
    if head[size : size + 1] in (b"", b"\0"):
        return
    if size == 348:
        end = int(struct.unpack(f"{order}f", head[108:112])[0])
    else:
        end = struct.unpack(f"{order}q", head[168:176])[0]
    position = size + 4
    while position + 8 <= min(end, len(head)):
        length, code = struct.unpack(f"{order}ii", head[position : position + 8])
        if length < 8:
            return
        yield code, head[position + 8 : position + length].rstrip(b"\0")
        position += length
