"""Stored values survive every encoding, and everything that is not a stored value is removed."""

import os
import signal
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLossless,
    RLELossless,
)

from helpers.phi_factory import person_dataset, secrets_in
from mrct.deid.deidentify import Options, deidentify
from mrct.deid.pseudonyms import demonstration
from mrct.dicom import decoding
from mrct.dicom.decoding import PixelFormat, decode_pixels, make_native
from mrct.dicom.errors import DecoderError, Unreadable
from mrct.dicom.pixels import without_unused_bits
from mrct.dicom.read import read_dataset

NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
FORMATS = {
    "signed 12 of 16 bits": ("<i2", 12),
    "unsigned 12 of 16 bits": ("<u2", 12),
    "unsigned 16 bits": ("<u2", 16),
    "signed 16 bits": ("<i2", 16),
    "8 bits": ("<u1", 8),
    "8 bits, odd number of pixels": ("<u1", 8),
}


def image_of(values: np.ndarray, bits_stored: int, **changes) -> pydicom.Dataset:
    """Make an image of the person with these stored values ([frames,] rows, columns)."""
    image = person_dataset(
        BitsAllocated=values.dtype.itemsize * 8,
        BitsStored=bits_stored,
        HighBit=bits_stored - 1,
        PixelRepresentation=int(values.dtype.kind == "i"),
        **changes,
    )
    image.Rows, image.Columns = values.shape[-2:]
    if values.ndim == 3:
        image.NumberOfFrames = len(values)
    content = values.tobytes()
    image.add_new("PixelData", "OB" if values.itemsize == 1 else "OW", content + b"\0" * (len(content) % 2))
    return image


def values_of(name: str) -> tuple[np.ndarray, int]:
    """Return (32, 32) or (33, 33) values that use the whole range of the format, and the bits stored."""
    kind, bits = FORMATS[name]
    dtype, size = np.dtype(kind), 33 if "odd" in name else 32
    low = -(2 ** (bits - 1)) if dtype.kind == "i" else 0
    return np.linspace(low, low + 2**bits - 1, size * size).astype(dtype).reshape(size, size), bits


def stored_as(image: pydicom.Dataset, syntax: str, path: Path) -> Path:
    """Write the file in a transfer syntax with pydicom."""
    if syntax in (RLELossless, JPEG2000Lossless):
        image.compress(syntax)
    elif syntax == JPEGLossless:
        frame = lossless_jpeg(image.pixel_array)
        image.add_new("PixelData", "OB", encapsulate([frame + b"\0" * (len(frame) % 2)]))
        image["PixelData"].is_undefined_length = True
    elif syntax == ExplicitVRBigEndian:
        values = image.pixel_array
        swapped = values.astype(values.dtype.newbyteorder(">")).tobytes()
        swapped += b"\0" * (len(swapped) % 2)
        if values.itemsize == 1:  # written as words
            swapped = np.frombuffer(swapped, "<u2").byteswap().tobytes()
        image.add_new("PixelData", "OW", swapped)
    image.file_meta.TransferSyntaxUID = syntax
    image.save_as(path, enforce_file_format=True)
    return path


def lossless_jpeg(values: np.ndarray) -> bytes:
    """Encode by process 14, predictor 1 (ITU-T T.81 annex H), with a code of five bits for every category."""
    bits = 8 * values.itemsize
    unsigned = values.astype(np.int64) & (2**bits - 1)
    left = np.roll(unsigned, 1, axis=1)
    left[1:, 0] = unsigned[:-1, 0]
    left[0, 0] = 2 ** (bits - 1)
    code = ""
    for difference in ((unsigned - left + 2**15) % 2**16 - 2**15).ravel().tolist():
        category = 16 if difference == -(2**15) else abs(difference).bit_length()
        code += f"{category:05b}"
        if 0 < category < 16:
            code += f"{difference if difference > 0 else difference + 2**category - 1:0{category}b}"
    code += "1" * (-len(code) % 8)
    scan = int(code, 2).to_bytes(len(code) // 8, "big").replace(b"\xff", b"\xff\0")
    rows, columns = (size.to_bytes(2, "big") for size in values.shape)
    frame = b"\xff\xc3\0\x0b" + bytes([bits]) + rows + columns + b"\1\1\x11\0"
    table = b"\xff\xc4\0\x24\0" + bytes([0, 0, 0, 0, 17] + [0] * 11) + bytes(range(17))
    return b"\xff\xd8" + frame + table + b"\xff\xda\0\x08\1\1\0\1\0\0" + scan + b"\xff\xd9"


def written(path: Path) -> pydicom.Dataset:
    """De-identify a file, write it, and read the result with pydicom alone."""
    result, stream = (
        deidentify(read_dataset(path, pixels=True), demonstration(), Options()).dataset,
        BytesIO(),
    )
    result.ensure_file_meta()
    result.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    result.save_as(stream, enforce_file_format=True)
    assert secrets_in(stream.getvalue()) == []
    return pydicom.dcmread(BytesIO(stream.getvalue()))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "syntax", [*NATIVE, RLELossless, JPEG2000Lossless, JPEGLossless], ids=lambda syntax: syntax.keyword
)
def test_stored_values_survive_every_encoding(tmp_path, syntax, name):
    values, bits = values_of(name)
    result = written(stored_as(image_of(values, bits), syntax, tmp_path / "x"))
    assert np.array_equal(result.pixel_array, values)
    assert (result.BitsAllocated, result.BitsStored, result.HighBit) == (values.itemsize * 8, bits, bits - 1)
    assert len(result.PixelData) == values.nbytes + values.nbytes % 2
    assert "LossyImageCompression" not in result


def test_jpeg_ls_decodes_to_the_published_values():
    compressed = Path(get_testdata_file("MR_small_jpeg_ls_lossless.dcm"))
    plain = pydicom.dcmread(get_testdata_file("MR_small.dcm"))
    assert np.array_equal(decode_pixels(read_dataset(compressed, pixels=True)), plain.pixel_array)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless, JPEG2000Lossless])
def test_frames_keep_their_order(tmp_path, syntax):
    values = np.stack([np.full((32, 32), number, "<u2") for number in (7, 3, 900)])
    assert np.array_equal(
        written(stored_as(image_of(values, 16), syntax, tmp_path / "x")).pixel_array, values
    )


def test_inverted_images_stay_inverted(tmp_path):
    values, bits = values_of("unsigned 12 of 16 bits")
    image = image_of(values, bits, PhotometricInterpretation="MONOCHROME1")
    result = written(stored_as(image, ExplicitVRLittleEndian, tmp_path / "x"))
    assert result.PhotometricInterpretation == "MONOCHROME1"
    assert np.array_equal(result.pixel_array, values)


def test_a_lossy_past_is_declared(tmp_path):
    values = np.full((16, 16), 100, "<u1")
    result = written(_baseline(values, tmp_path / "x"))
    assert result.LossyImageCompression == "01"
    assert abs(result.pixel_array.astype(int) - 100).max() <= 1


def _baseline(values: np.ndarray, path: Path) -> Path:
    from PIL import Image

    stream = BytesIO()
    Image.fromarray(values).save(stream, "JPEG", comment=b"Quenneville")
    frame = stream.getvalue()
    image = image_of(values, 8)
    image.add_new("PixelData", "OB", encapsulate([frame + b"\0" * (len(frame) % 2)]))
    image["PixelData"].is_undefined_length = True
    image.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    image.save_as(path, enforce_file_format=True)
    return path


@given(st.data(), st.integers(1, 16), st.booleans())
def test_bits_above_bits_stored_are_cleared_and_the_values_below_are_exact(data, bits, signed):
    kind = "i" if signed else "u"
    low = -(2 ** (bits - 1)) if signed else 0
    values = data.draw(arrays(f"<{kind}2", 24, elements=st.integers(low, low + 2**bits - 1)))
    junk = data.draw(arrays("<u2", 24)) << bits if bits < 16 else np.zeros(24, "<u2")
    form = PixelFormat(4, 6, 1, 16, bits, signed)
    kept = values.view("<u2") & (2**bits - 1)
    assert without_unused_bits((kept | junk).astype("<u2").tobytes(), form) == values.tobytes()


def test_pixels_without_anything_to_clear_are_not_copied():
    pixels = np.array([-5, 3, 2047, -2048], "<i2").tobytes()
    assert without_unused_bits(pixels, PixelFormat(2, 2, 1, 16, 12, True)) is pixels


def test_a_name_in_unused_bits_is_gone_without_any_overlay_element(tmp_path):
    values, bits = values_of("unsigned 12 of 16 bits")
    text = np.frombuffer(b"".join(bytes([c >> 4, c & 15]) for c in b"Quenneville"), "u1").astype("<u2")
    junk = np.zeros(1024, "<u2")
    junk[: len(text)] = text << 12
    image = image_of(values | junk.reshape(32, 32), bits)
    result = written(stored_as(image, ExplicitVRLittleEndian, tmp_path / "x"))
    assert np.frombuffer(result.PixelData, "<u2").max() < 4096
    assert np.array_equal(result.pixel_array, values)


@pytest.mark.parametrize("signed", [True, False])
def test_the_padding_value_loses_the_bits_that_its_pixels_lose(tmp_path, signed):
    values = np.full((16, 16), 63536, "<u2")  # -2000 in 16 bits
    values[4:12, 4:12] = 40
    image = image_of(values.view("<i2") if signed else values, 12)
    image.add_new("PixelPaddingValue", "SS" if signed else "US", -2000 if signed else 63536)
    result = written(stored_as(image, ExplicitVRLittleEndian, tmp_path / "x"))
    assert result.pixel_array[0, 0] == result.PixelPaddingValue == (-2000 if signed else 63536 % 4096)
    assert result.pixel_array[5, 5] == 40


@pytest.mark.parametrize(
    ("changes", "reason", "damaged"),
    [
        ({"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}, "BitsAllocated", False),
        ({"BitsAllocated": 12, "BitsStored": 12, "HighBit": 11}, "BitsAllocated", False),
        ({"BitsAllocated": 64}, "BitsAllocated", False),
        ({"BitsAllocated": 0}, "BitsAllocated", False),
        ({"BitsAllocated": None}, "BitsAllocated", True),
        ({"BitsStored": 17}, "BitsStored", True),
        ({"BitsStored": 0}, "BitsStored", True),
        ({"BitsStored": 12}, "HighBit", False),  # HighBit 15: the values would be in other bits
        ({"PixelRepresentation": None}, "PixelRepresentation", True),
        ({"PixelRepresentation": 2}, "PixelRepresentation", True),
        ({"Rows": 0}, "Rows", True),
        ({"Columns": None}, "Columns", True),
        ({"Rows": 65535, "Columns": 65535}, "truncated", True),
        ({"NumberOfFrames": 10**9}, "truncated", True),
        ({"NumberOfFrames": -1}, "NumberOfFrames", True),
        ({"SamplesPerPixel": 3}, "color", False),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "color", False),
        ({"PhotometricInterpretation": "RGB"}, "PhotometricInterpretation", True),
        ({"PhotometricInterpretation": None}, "PhotometricInterpretation", True),
        ({"PixelData": None}, "no pixels", True),
    ],
)
def test_what_is_no_grey_image_or_contradicts_itself_is_refused_with_the_attribute(changes, reason, damaged):
    with pytest.raises(Unreadable, match=reason) as error:
        make_native(person_dataset(**changes))
    assert error.value.damaged == damaged


@pytest.mark.parametrize("keyword", ["FloatPixelData", "DoubleFloatPixelData"])
def test_float_pixels_are_a_computed_map(keyword):
    image = person_dataset(PixelData=None)
    setattr(image, keyword, b"\0" * 2048)
    with pytest.raises(Unreadable, match="float pixels"):
        make_native(image)


@pytest.mark.parametrize("changes", [{"NumberOfFrames": 10**9}, {"Rows": 65535, "Columns": 65535}])
@pytest.mark.parametrize("syntax", [JPEG2000Lossless, RLELossless])
def test_compressed_pixels_that_claim_gigabytes_are_refused_before_they_are_decoded(syntax, changes):
    image = person_dataset(size=32)
    image.compress(syntax)
    for keyword, value in changes.items():
        setattr(image, keyword, value)
    with pytest.raises(Unreadable, match="2 GiB"):
        make_native(image)


def test_fewer_frames_than_the_header_says_are_damage():
    image = person_dataset(size=32)
    image.compress(JPEG2000Lossless)
    image.NumberOfFrames = 3
    with pytest.raises(Unreadable, match="cannot be decoded"):
        make_native(image)


def _endless() -> pydicom.Dataset:
    """Make an image with zero columns in its frame header, which makes libjpeg loop forever (pylibjpeg-libjpeg 2.5)."""
    image = pydicom.dcmread(get_testdata_file("MR_small_jpeg_ls_lossless.dcm"))
    content = bytearray(image.PixelData)
    columns = content.index(b"\xff\xf7") + 7
    content[columns : columns + 2] = b"\0\0"
    image.PixelData = bytes(content)
    return image


def test_a_decoder_that_does_not_end_is_ended_and_the_next_image_decodes(monkeypatch):
    monkeypatch.setattr(decoding, "FRAME_SECONDS", 0.3)
    with pytest.raises(Unreadable, match="cannot be decoded"):
        make_native(_endless())
    whole = pydicom.dcmread(get_testdata_file("MR_small_jpeg_ls_lossless.dcm"))
    assert make_native(whole).n_bytes == len(whole.PixelData)


def test_a_frame_that_is_too_slow_ends_its_decoder(monkeypatch):
    image = image_of(np.random.default_rng(0).integers(0, 2**16, (512, 512), "<u2"), 16)
    image.compress(JPEG2000Lossless)
    monkeypatch.setattr(decoding, "FRAME_SECONDS", 0.001)
    with pytest.raises(Unreadable, match="cannot be decoded"):
        make_native(image)


def test_a_decoder_that_crashes_takes_nothing_with_it():
    image = person_dataset(size=32)
    expected = image.pixel_array.copy()
    image.compress(JPEG2000Lossless)
    _decoded(image)
    os.kill(decoding._running[os.getpid()].pid, signal.SIGSEGV)
    for _ in range(2):  # the dead process may be noticed before or after the request
        try:
            decoded = _decoded(image)
        except DecoderError:
            continue
    assert np.array_equal(np.frombuffer(decoded, "<u2").reshape(32, 32), expected)


def _decoded(image: pydicom.Dataset) -> bytes:
    form = PixelFormat(rows=32, columns=32, frames=1, bits_allocated=16, bits_stored=16, signed=False)
    return decoding.decode_stream(bytes(image.PixelData), JPEG2000Lossless, form, "MONOCHROME2")
