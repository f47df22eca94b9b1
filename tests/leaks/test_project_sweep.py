"""`mrct sweep` finds a value in each kind of container, and finds nothing in clean ones."""

import base64
import bz2
import gzip
import io
import json
import lzma
import os
import random
import sqlite3
import string
import subprocess
import tarfile
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, MRImageStorage

from helpers.phi_factory import person_dataset, save
from mrct.leaks import blocks, containers
from mrct.leaks.evidence import build_index
from mrct.leaks.phi_values import PhiValues
from mrct.leaks.project_sweep import Hit, sweep_project

NAME = "Quenneville"


@pytest.fixture(autouse=True)
def _one_process(monkeypatch):
    monkeypatch.setenv("MRCT_WORKERS", "1")


@pytest.fixture
def raw(tmp_path):
    save(person_dataset(), tmp_path / "raw" / "1")
    return tmp_path / "raw"


@pytest.fixture
def project(tmp_path):
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


def plain(text, path):
    path.write_text(f"notes\nabout {text}\n")


def utf16(text, path):
    path.write_text(f"about {text}", encoding="utf-16")


def gz(text, path):
    path.write_bytes(gzip.compress(f"about {text}".encode()))


def gz_name(text, path):
    with path.open("wb") as stream, gzip.GzipFile(text, "wb", fileobj=stream) as zipped:
        zipped.write(b"nothing")


def bz(text, path):
    path.write_bytes(bz2.compress(text.encode()))


def xz(text, path):
    path.write_bytes(lzma.compress(text.encode()))


def bare_zlib(text, path):
    path.write_bytes(zlib.compress(f"about {text}".encode()))


def zipped(text, path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/b.txt", f"about {text}" * 9)


def zip_member_name(text, path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{text}/b.txt", "nothing")


def tar_gz_in_zip(text, path):
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as archive:
        content = gzip.compress(text.encode())
        member = tarfile.TarInfo("x.gz")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.tar.gz", inner.getvalue())


def png_text(text, path, compressed=False):
    texts = PngInfo()
    texts.add_text("Comment", f"about {text} " * 5, zip=compressed)
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(path, "png", pnginfo=texts)


def png_compressed_text(text, path):
    png_text(text, path, compressed=True)


def png_international_text(text, path):
    texts = PngInfo()
    texts.add_itxt("Comment", f"about {text} " * 5, zip=True)
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(path, "png", pnginfo=texts)


def png_exif(text, path):
    exif = Image.Exif()
    exif[0x010E] = text
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(path, "png", exif=exif)


def page_with_image(text, path):
    image = io.BytesIO()
    png_compressed_text(text, image)
    uri = base64.b64encode(image.getvalue()).decode()
    path.write_text(f'<html><img src="data:image/png;base64,{uri}"></html>')


def json_escapes(text, path):
    path.write_text(json.dumps({"a": f"{text} M\u00fcller"}))


def url_escapes(text, path):
    path.write_text(f"file:///data/{text.replace(' ', '%20')}%20Nemo/1")


def deflated_dicom(text, path):
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID, image.PatientName = MRImageStorage, "1.2.3.4", text
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    image.save_as(path, enforce_file_format=True)


def nifti_gz(text, path):
    header = bytearray(352)
    header[:4] = (348).to_bytes(4, "little")
    header[148 : 148 + len(text)] = text.encode()
    path.write_bytes(gzip.compress(bytes(header) + bytes(1000)))


def npy(text, path):
    np.save(path.open("wb"), np.array([text]))


def npz(text, path):
    np.savez_compressed(path.open("wb"), a=np.array([text] * 9))


def safetensors(text, path):
    header = json.dumps({"__metadata__": {"run": text}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + np.random.default_rng(0).bytes(5000))


def database(text, path):
    connection = sqlite3.connect(path)
    connection.execute('CREATE TABLE "a b" (x, y)')
    connection.execute('INSERT INTO "a b" VALUES (?, ?)', (1, f"about {text}"))
    connection.commit()
    connection.close()


def zlib_in_database(text, path):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE a (x)")
    connection.execute("INSERT INTO a VALUES (?)", (zlib.compress(f"about {text}".encode()),))
    connection.commit()
    connection.close()


def deleted_from_database(text, path):
    database(text, path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA secure_delete = OFF")
    connection.execute('DELETE FROM "a b"')
    connection.commit()
    connection.close()


def write_ahead_log(text, path):
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE a (x)")
    connection.execute("INSERT INTO a VALUES (?)", (f"about {text}",))
    connection.commit()
    log = path.with_name(path.name + "-wal").read_bytes()
    connection.close()
    path.unlink()
    path.write_bytes(log)


CONTAINERS = [
    *(plain, utf16, gz, gz_name, bz, xz, bare_zlib, zipped, zip_member_name, tar_gz_in_zip, png_text),
    *(png_compressed_text, png_international_text, png_exif, page_with_image, json_escapes, url_escapes),
    *(deflated_dicom, nifti_gz, npy, npz, safetensors, database, zlib_in_database, deleted_from_database),
    write_ahead_log,
]


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_planted_name_is_found_and_a_clean_file_is_not(project, raw, container):
    container("Nobody", project / "file")
    report = sweep_project([project], raw)
    assert (report.hits, report.unsearched) == ([], [])
    assert report.n_files == 1
    (project / "file").unlink()
    container(NAME, project / "file")
    report = sweep_project([project], raw)
    assert {hit.attribute for hit in report.hits} == {"PatientName"}
    assert {hit.place for hit in report.hits} == {str(project / "file")}
    assert NAME not in str(report)


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, "-C", str(folder), *arguments], check=True, capture_output=True)


@pytest.mark.parametrize("packed", [False, True])
def test_a_value_in_the_history_of_a_repository_is_found(project, raw, packed):
    git(project, "init", "-q")
    (project / "a.txt").write_text("clean")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "one")
    assert sweep_project([project], raw).hits == []
    gz(NAME, project / "b.gz")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "two")
    git(project, "rm", "-q", "b.gz")
    git(project, "commit", "-qm", "three")
    if packed:
        git(project, "gc", "-q")
    report = sweep_project([project], raw)
    assert [hit.attribute for hit in report.hits] == ["PatientName"]
    assert "git blob" in report.hits[0].place


def test_a_name_of_a_file_or_folder_is_found_and_not_shown(project, raw):
    (project / "Zebulon_QUENNEVILLE").mkdir()
    (project / "Zebulon_QUENNEVILLE" / "clean.txt").write_text(NAME)
    os.symlink("/nowhere/quenneville/x", project / "link")
    report = sweep_project([project], raw)
    assert len(report.hits) == 3
    text = str(report).lower()
    assert "quenneville" not in text
    assert "zebulon" not in text
    assert any("its name" in hit.place for hit in report.hits)
    assert any("link points" in hit.place for hit in report.hits)


def test_the_source_is_skipped_and_its_equal_copy_elsewhere_is_a_leak(project, raw):
    (project / "cache").mkdir()
    inside = raw.rename(project / "raw")
    assert sweep_project([project], inside).hits == []
    (project / "cache" / "ab12").write_bytes((inside / "1").read_bytes())
    assert sweep_project([project], inside).hits != []
    report = sweep_project([project], inside, [inside])
    assert report.hits == []
    assert report.n_copies == 1


def test_the_listing_that_dvc_keeps_of_an_ignored_folder_is_no_leak(project, raw):
    (raw / "1").rename(raw / NAME)
    rows = json.dumps([{"md5": "0" * 32, "relpath": NAME}])
    (project / "ab.dir").write_text(rows)
    assert sweep_project([project], raw).hits != []
    assert sweep_project([project], raw, [raw]).hits == []


def test_virtual_environments_are_left_out_and_named(project, raw):
    (project / "env").mkdir()
    (project / "env" / "pyvenv.cfg").touch()
    (project / "env" / "a.txt").write_text(NAME)
    report = sweep_project([project], raw)
    assert report.hits == []
    assert "virtual environment" in report.left_out[0]


def test_hard_links_count_once(project, raw):
    (project / "a.txt").write_text(NAME)
    os.link(project / "a.txt", project / "b.txt")
    assert len(sweep_project([project], raw).hits) == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (gzip.compress(bytes(9999), mtime=0)[:-9], "gzip"),
        (b"PK\3\4" + b"x" * 99, "zip"),
        (b"SQLite format 3\0" + b"x " * 100, "database"),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 99, "PNG"),
    ],
)
def test_damaged_files_are_listed_and_their_plain_bytes_searched(project, raw, content, reason):
    (project / "bad").write_bytes(content)
    (project / "good.txt").write_text(NAME)
    report = sweep_project([project], raw)
    assert [reason in one.reason for one in report.unsearched] == [True]
    assert len(report.hits) == 1
    (project / "bad").write_bytes(content + NAME.encode())
    assert len(sweep_project([project], raw).hits) == 2


def test_decompression_bombs_stop_at_the_budget():
    bomb = io.BytesIO(gzip.compress(bytes(20 << 20)))
    budget = containers.Budget(bytes_left=5 << 20)
    read = sum(block.end - block.start for block in containers.unpack(bomb, budget))
    assert read < 6 << 20
    assert "more than may be unpacked" in budget.notes[0]


def test_archives_too_deep_are_noted():
    content = b"deep"
    for _ in range(9):
        content = gzip.compress(content)
    budget = containers.Budget()
    assert len(list(containers.unpack(io.BytesIO(content), budget))) == 9
    assert "deep" in budget.notes[0]


def test_a_match_across_the_edge_of_two_blocks_counts_once(project, raw, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 4096)
    for start in (4090, 4096, 8186):
        (project / "big").write_bytes(b"." * start + NAME.encode() + b"." * 9000)
        assert [hit.count for hit in sweep_project([project], raw).hits] == [1]


def index_of(**values):
    phi_values = PhiValues()
    phi_values.add_dataset(person_dataset(**values))
    return build_index([phi_values])


@pytest.mark.parametrize(
    ("text", "cells", "is_found"),
    [
        ("a baker at the park", False, False),
        ("Baker^Anna", False, True),
        ("baker, anna", False, True),
        ("the baker said something to someone", False, False),
        ("Baker, born 19571103", False, True),
        ("Baker " + "-" * 60 + " 19571103", False, False),
        ("id,name\n7,Baker\n", True, True),
        ("id,name\n7,baker paper\n", True, False),
        ("19571103", False, False),
        ("primary summary", False, False),
        ("MRN-774411", False, True),
        ("20200229", True, False),
        ("1.2.3.774411.8.1", False, True),
        ("d41d8cd9mrn774411e800998ecf8427e", False, False),
    ],
)
def test_weak_values_count_beside_another_value_or_as_a_cell(text, cells, is_found):
    index = index_of(PatientName="Baker^Anna")
    assert (
        bool(index.find(f"so {text} it is".encode() if not cells else text.encode(), cells=cells)) == is_found
    )


def test_values_of_two_patients_do_not_count_beside_each_other():
    patients = []
    for name, number in (("Baker^Anna", "48213"), ("Park^Min", "31842")):
        phi_values = PhiValues()
        phi_values.add_text(name.split("^")[0], "PatientName", 3)
        phi_values.add_text(number, "PatientID", 4)
        patients.append(phi_values)
    index = build_index(patients)
    assert not index.find(b"so baker and 31842 it is")
    assert index.find(b"so baker and 48213 it is")


def test_random_bytes_and_base64_are_no_leaks():
    rng = random.Random(0)
    phi_values = PhiValues()
    for _ in range(3000):
        phi_values.add_text(
            "".join(rng.choices(string.ascii_lowercase, k=rng.randint(3, 7))), "PatientName", 3
        )
        phi_values.add_text("".join(rng.choices(string.digits, k=rng.randint(6, 9))), "PatientID", 3)
    index = build_index([phi_values])
    noise = np.random.default_rng(0).bytes(1 << 19)
    assert not index.find(noise)
    assert not index.find(base64.b64encode(noise))
    assert not index.find(
        b"\n".join(noise[i : i + 16].hex().encode() for i in range(0, 1 << 15, 16)), cells=True
    )


def test_a_number_in_a_hash_and_a_short_word_in_binary_data_are_no_leaks():
    index = index_of(PatientID="48213765", PatientName="Qavzor^Bo")
    assert index.find(b"id48213765x")
    assert not index.find(b"d41d8cd9f48213765e800998ecf8427e")
    assert index.find(b"by qavzor, yesterday")
    assert index.find("张小东 qavzor 张小东".encode())
    assert not index.find(b"\x93\x01\xfe\x8a\x11\xb1qavzor\xb3\x02\x9c\xff\x90\x8b")


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_a_distinctive_name_is_found_among_any_bytes(before, after):
    index = _INDEX
    assert index.find(before + b"\0" + b"quenneville, zebulon" + b"\0" + after)["PatientName"] >= 1


_INDEX = index_of()


def test_tables_and_volumes_are_sources_too(project, tmp_path):
    (tmp_path / "people").mkdir()
    (tmp_path / "people" / "list.csv").write_text("name,number\nBrightwater Ottoline,998877665\n")
    (project / "a.txt").write_text("of Brightwater")
    report = sweep_project([project], tmp_path / "people")
    assert report.hits == [Hit(str(project / "a.txt"), "name", 1)]


def test_a_source_without_values_is_an_error(project, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "a.txt").write_text("hello")
    with pytest.raises(ValueError, match="no patient's value"):
        sweep_project([project], tmp_path / "empty")
    with pytest.raises(FileNotFoundError):
        sweep_project([project / "none"], tmp_path / "empty")


def test_two_processes_find_what_one_finds(project, raw, monkeypatch):
    for number in range(3):
        (project / f"{number}.txt").write_text(NAME * number)
    monkeypatch.setattr("mrct.leaks.project_sweep._FILES_PER_TASK", 1)
    one = sweep_project([project], raw).hits
    monkeypatch.setenv("MRCT_WORKERS", "2")
    assert sweep_project([project], raw).hits == one


def test_a_short_name_of_another_script_counts_in_text_and_not_among_numbers():
    """Three Korean characters are six bytes, which occur by chance in gigabytes of numbers."""
    name = "김아름".encode("euc-kr")
    index = build_index([PhiValues(raw={name: "PatientName"})])
    noise = np.random.default_rng(0).integers(128, 255, 64, dtype=np.uint8).tobytes()
    assert not index.find(noise + name + noise)
    assert index.find(b"the patient " + name + b" came")
    assert index.find(noise + b"\n" + name + b"," + noise)
