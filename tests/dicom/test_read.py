"""Reading an export: the files that are found, and the reason for each kind of bad file."""

import os
import resource
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.pixels.decoders import JPEG2000LosslessDecoder
from pydicom.uid import MPEG2MPML, DeflatedExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from helpers import phi_factory
from helpers.phi_factory import person_dataset, save
from mrct.dicom.decoding import decode_pixels
from mrct.dicom.errors import MissingCodec, Unreadable
from mrct.dicom.read import find_files, read_dataset


def test_finds_everything_that_is_no_folder_at_any_depth_sorted(tmp_path):
    for name in ("b/deep/er/2", "a.dcm", "b/1"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    (tmp_path / "linked").symlink_to(tmp_path / "b")
    os.mkfifo(tmp_path / "pipe")
    assert [str(path.relative_to(tmp_path)) for path in find_files(tmp_path)] == [
        "a.dcm",
        "b/1",
        "b/deep/er/2",
        "broken",
        "linked",
        "pipe",
    ]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.symlink_to(path.parent / "nowhere"), "broken link"),
        (lambda path: path.symlink_to(path), "broken link"),
        (lambda path: path.symlink_to(path.parent), "link to a folder"),
        (os.mkfifo, "not a regular file"),
        (Path.mkdir, "folder"),
    ],
)
def test_what_is_no_file_is_unreadable_and_says_why(tmp_path, make, reason):
    make(tmp_path / "x")
    with pytest.raises(Unreadable, match=reason) as error:
        read_dataset(tmp_path / "x", pixels=True)
    assert not error.value.damaged


def test_a_folder_that_may_not_be_opened_is_listed_itself(tmp_path, monkeypatch):
    (tmp_path / "a").touch()
    (tmp_path / "closed").mkdir()
    honest = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "denied", str(path))
        return honest(path)

    monkeypatch.setattr(os, "scandir", refuse)  # permissions do not restrict root, which runs many tests
    assert [path.name for path in find_files(tmp_path)] == ["a", "closed"]


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
    assert phi_factory.secrets_in((error.value.reason + printed).encode()) == []


def _deflated(image, path: Path, change=lambda data: data) -> Path:
    """Write the image in the deflated transfer syntax, with its compressed bytes passed through `change`."""
    plain = save(image, path)
    content = plain.read_bytes()
    image.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    start = 144 + pydicom.dcmread(plain).file_meta.FileMetaInformationGroupLength
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    data = packer.compress(change(content[start:])) + packer.flush()
    image.save_as(path, enforce_file_format=True)
    meta_end = 144 + pydicom.dcmread(path).file_meta.FileMetaInformationGroupLength
    path.write_bytes(path.read_bytes()[:meta_end] + data)
    return path


@pytest.mark.parametrize("pixels", [True, False])
def test_a_deflated_file_is_read_as_any_other(tmp_path, pixels):
    dataset = read_dataset(_deflated(person_dataset(), tmp_path / "x"), pixels)
    assert dataset.PatientID == person_dataset().PatientID
    assert dataset.get("PixelData") == (person_dataset().PixelData if pixels else None)


def test_deflated_data_that_expand_beyond_measure_are_refused_before_they_fill_the_memory(tmp_path):
    bomb = _deflated(person_dataset(), tmp_path / "x", lambda data: data + bytes(80 << 20))
    assert bomb.stat().st_size < 200_000
    tracemalloc.start()
    with pytest.raises(Unreadable, match="beyond any image"):
        read_dataset(bomb, pixels=False)
    # twice the limit: the growing output of zlib is copied once
    assert tracemalloc.get_traced_memory()[1] < 150 << 20
    tracemalloc.stop()


def test_truncated_deflated_data_are_damaged(tmp_path):
    path = _deflated(person_dataset(), tmp_path / "x")
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(Unreadable, match="truncated") as error:
        read_dataset(path, pixels=False)
    assert error.value.damaged


def test_a_claimed_length_of_four_gigabytes_is_not_allocated(tmp_path):
    path = save(person_dataset(), tmp_path / "x")
    content = path.read_bytes()
    start = content.index(b"\x10\x00\x10\x00PN") + 4
    path.write_bytes(content[:start] + b"UT\0\0\xfe\xff\xff\xff" + content[start + 4 :])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "PixelData" not in read_dataset(path, pixels=True)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB
