"""Damaged DICOM files, reproducible by their seed: bytes of whole images, mutated as by archives and attackers."""

import random
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from io import BytesIO

import pydicom
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, generate_frames
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from helpers.phi_factory import person_dataset

Mutation = Callable[[random.Random, Dataset], Dataset | bytes]
_VRS = [b"PN", b"UI", b"SQ", b"OB", b"OW", b"UN", b"UT", b"DS", b"IS", b"US", b"AT", b"FD", b"??", b"\0\0"]
_LENGTHS = [0, 1, 3, 0xFFFF, 0xFFFE, 0xFFFFFFFF, 0xFFFFFFFE, 0x7FFFFFFF, 0xF0000001]


def mutants(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield the name of a mutation and the file, `count` times; each file is the only image of a different person."""
    rng = random.Random(seed)
    for number in range(count):
        name = rng.choice(sorted(MUTATIONS))
        image = person_dataset(rng.choice(["CT", "MR"]), 1, 32)
        image.PatientID = f"MRN-774411-{seed}-{number}"
        image.SOPInstanceUID = f"1.2.3.774411.{seed}.{number}"
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        result = MUTATIONS[name](rng, image)
        yield name, result if isinstance(result, bytes) else to_bytes(result)


def to_bytes(image: Dataset) -> bytes:
    """Return the file, as far as pydicom can write it."""
    stream = BytesIO()
    image.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def damaged_bytes(rng: random.Random, content: bytes) -> bytes:
    """Change a few bits, bytes or runs of the content, anywhere or in element headers."""
    data = bytearray(content)
    area = len(data) if rng.random() < 0.4 else min(len(data), 2600)
    for _ in range(rng.choice([1, 1, 2, 5, 30])):
        place = rng.randrange(132, area) if area > 140 else rng.randrange(max(area, 1))
        kind = rng.randrange(5)
        if kind == 0:
            data[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[place] = rng.choice([0, 0xFF, 0x7F, rng.randrange(256)])
        elif kind == 2:
            del data[place : place + rng.randrange(1, 9)]
        elif kind == 3:
            data[place:place] = rng.randbytes(rng.randrange(1, 9))
        else:
            data[place : place + 4] = data[place - 8 : place - 4]
        area = min(area, len(data))
    return bytes(data)


def _flip(rng: random.Random, image: Dataset) -> bytes:
    return damaged_bytes(rng, to_bytes(image))


def _truncate(rng: random.Random, image: Dataset) -> bytes:
    content = to_bytes(image)
    return content[: rng.choice([rng.randrange(len(content)), rng.randrange(200), len(content) - 1])]


def _headers(content: bytes) -> list[int]:
    """Guess the positions of explicit VR element headers with a short length."""
    vrs = {vr.encode() for vr in ("LO", "SH", "PN", "UI", "DS", "IS", "CS", "DA", "TM", "US", "LT", "AS")}
    return [i for i in range(132, min(len(content), 4000) - 8) if content[i + 4 : i + 6] in vrs]


def _wrong_vr(rng: random.Random, image: Dataset) -> bytes:
    data = bytearray(to_bytes(image))
    for place in rng.sample(_headers(bytes(data)), 2):
        data[place + 4 : place + 6] = rng.choice(_VRS)
    return bytes(data)


def _wrong_length(rng: random.Random, image: Dataset) -> bytes:
    data = bytearray(to_bytes(image))
    place, length = rng.choice(_headers(bytes(data))), rng.choice(_LENGTHS)
    if rng.random() < 0.5:
        data[place + 6 : place + 8] = struct.pack("<H", length & 0xFFFF)
    else:
        data[place + 4 : place + 8] = rng.choice([b"UN", b"OB", b"UT", b"SQ", b"UC"]) + b"\0\0"
        data[place + 8 : place + 8] = struct.pack("<I", length)
    return bytes(data)


def _pixel_length(rng: random.Random, image: Dataset) -> bytes:
    data = bytearray(to_bytes(image))
    place = data.rindex(b"\xe0\x7f\x10\x00OW") + 8
    data[place : place + 4] = struct.pack("<I", rng.choice([*_LENGTHS, 2047, 2049]))
    return bytes(data)


def _nested(rng: random.Random, image: Dataset) -> Dataset:
    item = Dataset()
    item.PatientName = "Quenneville^Zebulon"
    for _ in range(rng.choice([3, 50, 100])):
        outer = Dataset()
        outer.ReferencedImageSequence = Sequence([item])
        outer["ReferencedImageSequence"].is_undefined_length = rng.random() < 0.5
        item = outer
    image.SourceImageSequence = Sequence([item])
    return image


def _endless_nesting(rng: random.Random, image: Dataset) -> bytes:
    """Make nested items and sequences of undefined length that may never end."""
    depth, closed = rng.choice([5, 50, 500, 5000]), rng.random() < 0.5
    opening = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    closing = b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    content = to_bytes(image)
    place = content.rindex(b"\xe0\x7f\x10\x00OW")
    return content[:place] + opening * depth + closing * (depth * closed) + content[place:]


def _with(content: bytes, tag: str | tuple[int, int], vr: str, value: bytes) -> bytes:
    """Insert one more element before the pixels; of two elements with the same tag, readers use the last."""
    number = Tag(tag)
    header = struct.pack("<HH", number.group, number.element) + vr.encode()
    length = struct.pack("<H", len(value)) if len(value) < 1 << 16 and vr not in ("SQ", "UN") else None
    header += length or b"\0\0" + struct.pack("<I", len(value))
    place = content.rindex(b"\xe0\x7f\x10\x00OW")
    return content[:place] + header + value + content[place:]


def _one_of(tags: list[str], vr: str, values: list[bytes]) -> Mutation:
    def mutation(rng: random.Random, image: Dataset) -> bytes:
        return _with(to_bytes(image), rng.choice(tags), vr, rng.choice(values))

    return mutation


_numbers = _one_of(
    [
        "PixelSpacing",
        "ImagePositionPatient",
        "SliceThickness",
        "RescaleSlope",
        "EchoTime",
        "KVP",
        "NumberOfFrames",
    ],
    "DS",
    [
        b"nan ",
        b"inf ",
        b"1e999 ",
        b"0,5\\0,5 ",
        b"--3 ",
        b"-0.5\\-0.5",
        b"Quenneville",
        b"1\\" * 20000,
        b"\xff\xfe",
    ],
)


def _sizes(rng: random.Random, image: Dataset) -> Dataset:
    for keyword in rng.sample(
        ["Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"], rng.choice([1, 2])
    ):
        setattr(image, keyword, rng.choice([0, 1, 12, 13, 31, 64, 4095, 65535]))
    if rng.random() < 0.4:
        image.NumberOfFrames = rng.choice([0, -1, 3, 10**9, 2**31 - 1])
    return image


def _characters(rng: random.Random, image: Dataset) -> bytes:
    charsets = [b"ISO_IR 192", b"GB18030 ", b"ISO 2022 IR 149", b"nonsense", b"\\\\\\ISO 2022 IR 87", b"\xff"]
    content = _with(to_bytes(image), "SpecificCharacterSet", "CS", rng.choice(charsets))
    text = rng.choice([b"\xc3\x28\xa0\xa1", b"\x1b$)CQuenneville\xff", b"\x1b$B!!!", rng.randbytes(64)])
    tag = rng.choice(["PatientName", "SeriesDescription", "ProtocolName"])
    return _with(content, tag, "LO", b"Quenneville " + text)


def _private(rng: random.Random, image: Dataset) -> bytes:
    content = to_bytes(image)
    for element in (0x10, 0x10FF, 0x1000, rng.randrange(0x10, 0xFFFF)):
        value = rng.choice([b"Quenneville ", b"SIEMENS CSA HEADER", rng.randbytes(40)])
        content = _with(content, (0x0029, element), rng.choice(["LO", "UN", "SQ"]), value)
    return content


def _two_pixels(rng: random.Random, image: Dataset) -> bytes:
    second = image.PixelData[: rng.choice([0, 100, 2048])]
    return to_bytes(image) + b"\xe0\x7f\x10\x00OW\0\0" + struct.pack("<I", len(second)) + second


def _deflated(rng: random.Random, image: Dataset) -> bytes:
    """Deflate the file: complete, as a bomb of 200 MB, or damaged."""
    content = to_bytes(image)
    packer = zlib.compressobj(1, wbits=-zlib.MAX_WBITS)
    packed = packer.compress(content[_meta_end(content) :])
    packed += packer.flush(zlib.Z_FULL_FLUSH) + _deflated_zeros(rng.choice([2, 2, 200]))
    image.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    content = to_bytes(image)
    return content[: _meta_end(content)] + (packed if rng.random() < 0.5 else damaged_bytes(rng, packed))


@cache
def _deflated_zeros(n_mib: int) -> bytes:
    """Return the end of a deflated stream: so many MiB of zeros."""
    packer = zlib.compressobj(1, wbits=-zlib.MAX_WBITS)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(n_mib)) + packer.flush()


def _meta_end(content: bytes) -> int:
    """Return the end of the file meta information, from its group length element after preamble and prefix."""
    return 144 + struct.unpack("<I", content[140:144])[0]


@cache
def _streams() -> dict[str, tuple[str, int, bytes]]:
    """Return a complete compressed frame for each decoder: transfer syntax, size, stream."""
    found = {}
    for syntax in (JPEG2000Lossless, RLELossless):
        image = person_dataset("CT", 1, 32)
        image.compress(syntax)
        found[syntax.keyword] = (syntax, 32, next(generate_frames(image.PixelData, number_of_frames=1)))
    jpeg_ls = pydicom.dcmread(get_testdata_file("MR_small_jpeg_ls_lossless.dcm"))
    stream = next(generate_frames(jpeg_ls.PixelData, number_of_frames=1))
    return found | {"JPEGLS": (jpeg_ls.file_meta.TransferSyntaxUID, 64, stream)}


def _compressed(rng: random.Random, image: Dataset) -> bytes:
    """Damage the stream, its fragments or its offset table."""
    syntax, size, stream = _streams()[rng.choice(sorted(_streams()))]
    image.Rows = image.Columns = size
    kind = rng.randrange(4)
    if kind < 2:
        stream = damaged_bytes(rng, b"\0" * 132 + stream)[132:]
    n_fragments = 4 if kind == 2 else 1
    pixels = encapsulate([stream + b"\0" * (len(stream) % 2)], fragments_per_frame=n_fragments)
    image.add_new("PixelData", "OB", pixels)
    image["PixelData"].is_undefined_length = True
    image.file_meta.TransferSyntaxUID = syntax
    if rng.random() < 0.2:
        image.Rows, image.NumberOfFrames = rng.choice([1, 33, 65535]), rng.choice([1, 7, 10**6])
    content = bytearray(to_bytes(image))
    if kind == 3:
        place = content.rindex(pixels) + rng.randrange(20)
        content[place : place + 4] = struct.pack("<I", rng.choice(_LENGTHS))
    return bytes(content)


def _syntax(rng: random.Random, image: Dataset) -> bytes:
    """Declare a transfer syntax other than that of the bytes."""
    wrong = rng.choice([b"1.2.840.10008.1.2\0", b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.5", b"9.9", b""])
    return to_bytes(image).replace(b"1.2.840.10008.1.2.1\0", wrong.ljust(20, b"\0"), 1)


MUTATIONS: dict[str, Mutation] = {
    "flip": _flip,
    "truncate": _truncate,
    "wrong_vr": _wrong_vr,
    "wrong_length": _wrong_length,
    "pixel_length": _pixel_length,
    "nested": _nested,
    "endless_nesting": _endless_nesting,
    "numbers": _numbers,
    "sizes": _sizes,
    "characters": _characters,
    "private": _private,
    "two_pixels": _two_pixels,
    "deflated": _deflated,
    "compressed": _compressed,
    "syntax": _syntax,
    "dates": _one_of(
        ["StudyDate", "AcquisitionDateTime", "PatientBirthDate"],
        "DA",
        [b"99999999", b"\xff" * 8, b"19571103-", b"0\\" * 99],
    ),
    "uids": _one_of(
        ["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"],
        "UI",
        [b"Quenneville\0", b"\\\\\\", b"1." * 9000, b"\xff\xff"],
    ),
    "short_number": _one_of(
        ["SamplesPerPixel", "Rows", "BitsStored", "PixelRepresentation"], "US", [b"\1", b"", b"\1\0\0"]
    ),
}
