"""Reading an export: what is found, and what each kind of bad file is called."""

import runpy
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.pixels.decoders import JPEG2000LosslessDecoder
from pydicom.uid import MPEG2MPML, JPEG2000Lossless, RLELossless

from mrct.dicom.read import MissingCodec, Unreadable, decode_pixels, find_files, read_dataset

factory = runpy.run_path(str(Path(__file__).with_name("phi_factory.py")))
person_dataset, save = factory["person_dataset"], factory["save"]


def test_finds_every_regular_file_at_any_depth_sorted_and_skips_broken_links(tmp_path):
    for name in ("b/deep/er/2", "a.dcm", "b/1"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    assert [str(path.relative_to(tmp_path)) for path in find_files(tmp_path)] == [
        "a.dcm",
        "b/1",
        "b/deep/er/2",
    ]


@pytest.mark.parametrize("missing", [True, False])
def test_an_empty_or_missing_folder_is_an_error_that_says_what_it_should_hold(tmp_path, missing):
    folder = tmp_path / "raw" if missing else tmp_path
    with pytest.raises(FileNotFoundError, match=r"DICOM|export") as error:
        find_files(folder)
    assert str(folder) in str(error.value)


def test_pixels_are_left_out_or_proven_whole(tmp_path):
    path = save(person_dataset(), tmp_path / "x")
    assert "PixelData" not in read_dataset(path, pixels=False)
    stored = decode_pixels(read_dataset(path, pixels=True))
    assert np.array_equal(stored.ravel(), np.arange(256) % 4096 + 1)


def test_a_file_without_the_dicm_prefix_is_read_when_its_sop_class_is_sane(tmp_path):
    path = save(person_dataset(), tmp_path / "with")
    content = path.read_bytes()
    bare = tmp_path / "without"
    start = content.index(b"\x08\x00\x05\x00")
    bare.write_bytes(content[start:])
    dataset = read_dataset(bare, pixels=True)
    assert dataset.Rows == 16
    assert decode_pixels(dataset).shape == (16, 16)


@pytest.mark.parametrize(
    "content", [b"PK\x03\x04" + b"zip" * 99, b"\0" * 400, b"hello", bytes(range(256)) * 9]
)
def test_what_is_no_dicom_is_unreadable_and_not_called_damaged(tmp_path, content):
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(Unreadable, match="not DICOM") as error:
        read_dataset(path, pixels=False)
    assert not error.value.damaged


def test_zero_bytes_say_so(tmp_path):
    (tmp_path / "x").touch()
    with pytest.raises(Unreadable, match="0 bytes"):
        read_dataset(tmp_path / "x", pixels=False)


@pytest.mark.parametrize("cut", [1, 100, 511])
def test_truncated_pixels_are_damaged_but_their_header_can_be_read(tmp_path, cut):
    path = save(person_dataset(), tmp_path / "x")
    path.write_bytes(path.read_bytes()[:-cut])
    assert read_dataset(path, pixels=False).Rows == 16
    with pytest.raises(Unreadable) as error:
        read_dataset(path, pixels=True)
    assert error.value.damaged


def test_compressed_pixels_decode_to_the_same_values(tmp_path):
    image = person_dataset()
    expected = decode_pixels(image).copy()
    image.compress(RLELossless)
    assert np.array_equal(decode_pixels(read_dataset(save(image, tmp_path / "x"), pixels=True)), expected)


def test_a_missing_codec_is_named_with_the_package_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(JPEG2000LosslessDecoder, "_available", {})
    with pytest.raises(MissingCodec, match=r"JPEG 2000.*install pylibjpeg"):
        read_dataset(_compressed_nonsense(JPEG2000Lossless, tmp_path / "x"), pixels=True)


@pytest.mark.parametrize(
    ("syntax", "message"), [(MPEG2MPML, "MPEG2.*uncompressed"), ("1.2.840.19571103", "unknown transfer")]
)
def test_a_codec_that_nobody_has_is_named_without_the_files_own_text(tmp_path, syntax, message):
    with pytest.raises(MissingCodec, match=message) as error:
        read_dataset(_compressed_nonsense(syntax, tmp_path / "x"), pixels=True)
    assert "19571103" not in error.value.reason


def _compressed_nonsense(syntax: str, path: Path) -> Path:
    image = person_dataset()
    image.file_meta.TransferSyntaxUID = syntax
    image.PixelData = pydicom.encaps.encapsulate([b"\xff\x0a" * 20])
    image["PixelData"].is_undefined_length = True
    image.save_as(path, implicit_vr=False, little_endian=True)
    return path


def test_reasons_hold_no_header_value(tmp_path, capfd):
    image = person_dataset()
    image.Rows = 4000
    with pytest.raises(Unreadable) as error:
        read_dataset(save(image, tmp_path / "x"), pixels=True)
    printed = "".join(capfd.readouterr())
    assert factory["secrets_in"]((error.value.reason + printed).encode()) == []
