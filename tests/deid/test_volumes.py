"""Volumes are found by layout, rewritten without the text of their headers, and listed if they cannot be used."""

import gzip
import json
import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
import SimpleITK as sitk

from mrct.core.errors import DataError
from mrct.deid.pseudonyms import demonstration
from mrct.deid.volumes import VolumeTask, anonymize_volumes, find_cases, weighting_of, write_case
from mrct.dicom.read import find_files
from mrct.leaks.phi_values import PhiValues
from mrct.leaks.value_sources import add_header

KEYS = demonstration()


def volume(path, values=None, size=(5, 4, 3), pixel=np.int16, notes=""):
    """Write a small volume with its own geometry and free text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.arange(np.prod(size)).reshape(size[::-1]) if values is None else values
    image = sitk.GetImageFromArray(np.asarray(array, pixel))
    image.SetSpacing((0.5, 0.75, 4.0))
    image.SetOrigin((-10.0, 20.0, 7.5))
    image.SetDirection((1, 0, 0, 0, -1, 0, 0, 0, -1))
    if notes:
        image.SetMetaData("ITK_FileNotes", notes)
        image.SetMetaData("aux_file", notes)
        image.SetMetaData("Comment", notes)
    sitk.WriteImage(image, str(path))
    return path


def write_all(source, layout, out):
    """Write all cases; return their results and the sorted files of the source."""
    files = find_files(source)
    return [write_case(VolumeTask(case, out, KEYS)) for case in find_cases(source, layout, files)], files


def actions(written):
    return [verdict.action for verdict in written.record.verdicts]


def test_synthrad_cases_are_written_with_geometry_and_values(tmp_path):
    for name, pixel in (("mr", np.float32), ("ct", np.int16), ("mask", np.uint8)):
        volume(tmp_path / "in" / "1BA001" / f"{name}.nii.gz", pixel=pixel)
    results, _ = write_all(tmp_path / "in", "synthrad", tmp_path / "out")
    folder = tmp_path / "out" / "images" / KEYS.patient("1BA001")
    assert sorted(path.name for path in folder.iterdir()) == ["ct.nii.gz", "mask.nii.gz", "mr.nii.gz"]
    source, result = (sitk.ReadImage(str(f / "ct.nii.gz")) for f in (tmp_path / "in" / "1BA001", folder))
    assert result.GetPixelID() == sitk.sitkFloat32
    assert np.array_equal(sitk.GetArrayFromImage(source), sitk.GetArrayFromImage(result))
    for point in ((0, 0, 0), (4, 3, 2)):
        expected = source.TransformIndexToPhysicalPoint(point)
        assert result.TransformIndexToPhysicalPoint(point) == pytest.approx(expected, abs=1e-4)
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "mask.nii.gz")))
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) == {0, 1}
    assert actions(results[0]) == ["kept"] * 3


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha", ".mhd"])
def test_free_text_of_headers_does_not_pass(tmp_path, suffix):
    for name in ("ct", "mr_T1"):
        volume(tmp_path / "in" / "Quenneville" / f"{name}{suffix}", notes="Quenneville Zebulon")
    write_all(tmp_path / "in", "rire", tmp_path / "out")
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(written) == 2
    for path in written:
        content = str(path).encode() + path.read_bytes()[:64] + gzip.decompress(path.read_bytes())
        assert b"quenneville" not in content.lower()
        assert b"zebulon" not in content.lower()


def test_rire_takes_the_folder_itself_or_its_cases_and_the_first_mr(tmp_path):
    for name in ("ct", "mr_T2", "mr_T1", "mr_PD"):
        volume(tmp_path / "alone" / f"{name}.mha")
        volume(tmp_path / "many" / "p1" / f"{name}.mha")
    (tmp_path / "alone" / "ct_T1.standard").write_text("points")
    for source in ("alone", "many"):
        results, files = write_all(tmp_path / source, "rire", tmp_path / "out" / source)
        verdicts = {files[one.source_index].name: one.action for one in results[0].record.verdicts}
        assert verdicts == {
            "ct.mha": "kept",
            "mr_PD.mha": "kept",
            "mr_T1.mha": "rejected",
            "mr_T2.mha": "rejected",
        }
        assert results[0].weighting == "any"


@pytest.mark.parametrize(
    ("name", "weighting"),
    [
        ("mr_t1.nii.gz", "t1"),
        ("mr_T1.mha", "t1"),
        ("mr_T1_rectified.mhd", "t1"),
        ("mr_T2.mha", "t2"),
        ("mr_PD.mha", "any"),
        ("mr.nii.gz", "any"),
    ],
)
def test_the_file_name_declares_the_weighting(tmp_path, name, weighting):
    assert weighting_of(tmp_path / name) == weighting


def test_a_one_slice_volume_passes(tmp_path):
    for name in ("ct", "mr"):
        volume(tmp_path / "in" / "a" / f"{name}.nii.gz", size=(6, 5, 1))
    write_all(tmp_path / "in", "synthrad", tmp_path / "out")
    result = sitk.ReadImage(str(tmp_path / "out" / "images" / KEYS.patient("a") / "ct.nii.gz"))
    assert result.GetSize() == (6, 5, 1)


def test_what_cannot_be_used_is_listed_and_the_others_go_on(tmp_path):
    for case in ("broken", "good", "lonely", "nan"):
        volume(tmp_path / "in" / case / "ct.nii.gz")
    for case in ("good", "broken"):
        volume(tmp_path / "in" / case / "mr.nii.gz")
    volume(tmp_path / "in" / "nan" / "mr.mha", np.full((3, 4, 5), np.nan), pixel=np.float32)
    (tmp_path / "in" / "broken" / "ct.nii.gz").write_bytes(b"no volume")
    results, _ = write_all(tmp_path / "in", "synthrad", tmp_path / "out")
    assert [sorted(actions(written)) for written in results] == [
        ["quarantined", "rejected"],
        ["kept", "kept"],
        ["rejected"],
        ["quarantined", "rejected"],
    ]
    assert "no MR" in results[2].record.verdicts[0].reason
    assert len(list((tmp_path / "out").rglob("*.nii.gz"))) == 2


def cut(path):
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha", ".mhd"])
@pytest.mark.parametrize("role", ["ct", "mr", "mask"])
def test_a_case_with_a_cut_volume_is_listed_and_nothing_of_it_is_written(tmp_path, capfd, suffix, role):
    for case in ("Ottoline", "whole"):
        for name in ("ct", "mr", "mask"):
            volume(tmp_path / "in" / case / f"{name}{suffix}")
    cut(tmp_path / "in" / "Ottoline" / (f"{role}.raw" if suffix == ".mhd" else f"{role}{suffix}"))
    results, files = write_all(tmp_path / "in", "synthrad", tmp_path / "out")
    reasons = {files[one.source_index].name: one.reason for one in results[0].record.verdicts}
    assert len(reasons) == 3
    for name, reason in reasons.items():
        expected = "cut off" if name.startswith(role) else f"the {role} of this case cannot be used"
        assert expected in reason
    assert actions(results[1]) == ["kept"] * 3
    assert [path.name for path in (tmp_path / "out" / "images").iterdir()] == [KEYS.patient("whole")]
    assert capfd.readouterr() == ("", "")


def test_a_damaged_extension_is_listed(tmp_path, monkeypatch):
    def fails(path, phi_values):
        raise struct.error("of a name")

    for name in ("ct", "mr"):
        volume(tmp_path / "in" / "a" / f"{name}.nii")
    monkeypatch.setattr("mrct.deid.volumes.add_header", fails)
    results, _ = write_all(tmp_path / "in", "synthrad", tmp_path / "out")
    assert {one.reason for one in results[0].record.verdicts} == {
        "the texts of its header cannot be read: export it again"
    }


def test_cases_of_the_same_name_in_two_folders_are_two_patients(tmp_path):
    for center in ("centerA", "centerB"):
        for role in ("ct", "mr"):
            volume(tmp_path / center / "001" / f"{role}.nii.gz")
    cases = find_cases(tmp_path, "synthrad", find_files(tmp_path))
    assert [case.identity for case in cases] == ["centerA/001", "centerB/001"]
    assert len({KEYS.patient(case.identity) for case in cases}) == 2
    assert cases[0].folders == (tmp_path.name, "centerA", "001")


def test_a_pseudonym_does_not_depend_on_other_cases(tmp_path):
    for role in ("ct", "mr"):
        volume(tmp_path / "1BA001" / f"{role}.nii.gz")
        volume(tmp_path / "centerA" / "001" / f"{role}.nii.gz")
    before = [case.identity for case in find_cases(tmp_path, "synthrad", find_files(tmp_path))]
    assert before == ["1BA001", "centerA/001"]
    for role in ("ct", "mr"):
        volume(tmp_path / "centerB" / "001" / f"{role}.nii.gz")
    after = [case.identity for case in find_cases(tmp_path, "synthrad", find_files(tmp_path))]
    assert after == [*before, "centerB/001"]


def test_the_source_itself_as_a_case_keeps_its_own_name_and_no_other_case_may_have_it(tmp_path):
    source = tmp_path / "p1"
    for role in ("ct", "mr"):
        volume(source / f"{role}.nii.gz")
    assert [case.identity for case in find_cases(source, "rire", find_files(source))] == ["p1"]
    volume(source / "p1" / "ct.nii.gz")
    with pytest.raises(DataError, match="of its own name") as caught:
        find_cases(source, "rire", find_files(source))
    assert "key" not in str(caught.value)


def test_suffixes_in_capitals_are_part_of_the_layout(tmp_path):
    for role in ("ct", "mr"):
        path = volume(tmp_path / "in" / "a" / f"{role}.nii.gz")
        path.rename(path.with_name(path.name.upper()))
    results, _ = write_all(tmp_path / "in", "synthrad", tmp_path / "out")
    assert actions(results[0]) == ["kept", "kept"]


def test_a_source_without_the_layout_is_an_error_that_shows_it(tmp_path):
    (tmp_path / "readme").write_text("hello")
    with pytest.raises(FileNotFoundError, match="<case>/"):
        find_cases(tmp_path, "synthrad", find_files(tmp_path))


def test_the_same_source_gives_the_same_bytes(tmp_path):
    for name in ("ct", "mr"):
        volume(tmp_path / "in" / "a" / f"{name}.nii.gz")
    contents = []
    for out in ("one", "two"):
        write_all(tmp_path / "in", "synthrad", tmp_path / out)
        contents.append([path.read_bytes() for path in sorted((tmp_path / out).rglob("*.gz"))])
    assert contents[0] == contents[1]


def nifti(path, version=1, order="<", extension=b"", code=6, **texts):
    """Write a NIfTI file (1 or 2) with free text in all text fields and in an extension."""
    common = ("descrip", "aux_file", "intent_name")
    fields = {
        1: {"data_type": (4, 10), "db_name": (14, 18)}
        | dict(zip(common, ((148, 80), (228, 24), (328, 16)), strict=True)),
        2: dict(zip(common, ((240, 80), (320, 24), (508, 16)), strict=True)),
    }[version]
    size = 348 if version == 1 else 540
    content = bytearray(size + 4)
    struct.pack_into(f"{order}i", content, 0, size)
    length = -(-(len(extension) + 8) // 16) * 16 if extension else 0
    start = size + 4 + length
    if version == 1:
        struct.pack_into(f"{order}8h", content, 40, 3, 5, 4, 3, 1, 1, 1, 1)
        struct.pack_into(f"{order}2h", content, 70, 4, 16)
        struct.pack_into(f"{order}8f", content, 76, 1, 1, 1, 1, 1, 1, 1, 1)
        struct.pack_into(f"{order}3f", content, 108, start, 1, 0)
        content[344:348] = b"n+1\0"
    else:
        content[4:12] = b"n+2\0\r\n\x1a\n"
        struct.pack_into(f"{order}2h", content, 12, 4, 16)
        struct.pack_into(f"{order}8q", content, 16, 3, 5, 4, 3, 1, 1, 1, 1)
        struct.pack_into(f"{order}8d", content, 104, 1, 1, 1, 1, 1, 1, 1, 1)
        struct.pack_into(f"{order}q2d", content, 168, start, 1, 0)
    for keyword, text in texts.items():
        offset, n_bytes = fields[keyword]
        assert len(text) <= n_bytes
        content[offset : offset + len(text)] = text.encode()
    if extension:
        content[size] = 1
        content += struct.pack(f"{order}2i", length, code) + extension.ljust(length - 8, b"\0")
    content += np.arange(60, dtype=f"{order}i2").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(bytes(content)) if path.suffix == ".gz" else bytes(content))
    return path


def phi_values_in(path):
    phi_values = PhiValues()
    add_header(path, phi_values)
    return phi_values


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    ("version", "field"),
    [(1, f) for f in ("data_type", "db_name", "descrip", "aux_file", "intent_name")]
    + [(2, f) for f in ("descrip", "aux_file", "intent_name")],
)
def test_every_text_of_a_nifti_header_is_a_phi_value(tmp_path, version, field, suffix, order):
    path = nifti(tmp_path / f"ct{suffix}", version, order, **{field: "Zebulon Qu"})
    assert phi_values_in(path).texts["zebulon"] == field


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("version", [1, 2])
def test_extensions_are_phi_values_as_text_and_as_dicom(tmp_path, version, order):
    text = nifti(tmp_path / "a.nii", version, order, extension=b"history of Quenneville")
    assert phi_values_in(text).texts["quenneville"] == "header extension"
    header = pydicom.Dataset()
    header.PatientName, header.PatientBirthDate = "Quenneville^Zebulon", "19571103"
    stream = BytesIO()
    pydicom.dcmwrite(stream, header, implicit_vr=True, little_endian=True)
    embedded = phi_values_in(nifti(tmp_path / "b.nii", version, order, extension=stream.getvalue(), code=2))
    assert embedded.texts["zebulon^quenneville"] == "PatientName"
    assert embedded.numbers["03.11.1957"] == "PatientBirthDate"


def test_names_and_comments_of_gzip_are_phi_values(tmp_path):
    plain = nifti(tmp_path / "a.nii").read_bytes()
    packed = gzip.compress(plain)
    extra = b"\4\0abcd"
    named = (
        packed[:3]
        + bytes([4 + 8 + 16])
        + packed[4:10]
        + extra
        + b"Quenneville.nii\0of Zebulon\0"
        + packed[10:]
    )
    (tmp_path / "b.nii.gz").write_bytes(named)
    assert gzip.decompress(named) == plain
    texts = phi_values_in(tmp_path / "b.nii.gz").texts
    assert (texts["quenneville"], texts["zebulon"]) == ("gzip file name", "gzip comment")


def test_the_texts_of_a_broken_file_are_phi_values_too(tmp_path):
    """The source of a sweep may hold broken files."""
    path = nifti(tmp_path / "a.nii.gz", descrip="Quenneville", extension=b"history of Zebulon")
    content = path.read_bytes()
    plain = gzip.decompress(content)
    noise = np.random.default_rng(0).bytes(99_999)
    packed = gzip.compress(plain + noise)
    for broken in (
        content[:-9],
        gzip.compress(plain[:99]) + gzip.compress(plain[99:]),
        content + b"garbage",
        packed[:50_000] + bytes(9) + packed[50_009:],
    ):
        path.write_bytes(broken)
        assert {"quenneville", "zebulon"} <= set(phi_values_in(path).texts)


@pytest.mark.parametrize(
    "key", ["Comment", "PatientName", "PatientID", "ElementDataFile", "TransmitterName", "Name of Zebulon"]
)
def test_texts_of_metaimage_are_phi_values_and_its_numbers_are_not(tmp_path, key):
    text = "Quenneville.raw" if key == "ElementDataFile" else "Quenneville"
    (tmp_path / "ct.mhd").write_text(
        f"ObjectType = Image\nNDims = 3\nDimSize = 512 512 100001\n{key} = {text}\n"
    )
    phi_values = phi_values_in(tmp_path / "ct.mhd")
    assert phi_values.texts["quenneville"] == ("header line" if " " in key else key)
    assert not phi_values.numbers


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_no_text_of_a_nifti_source_passes(tmp_path, suffix):
    for role in ("ct", "mr"):
        nifti(
            tmp_path / "in" / "Ottoline" / "1957" / f"{role}{suffix}",
            extension=b"history of Quenneville",
            descrip="Quenneville Zebulon",
            aux_file="Zebulon.txt",
            db_name="Quenneville",
            intent_name="Zebulon",
        )
    results, _ = write_all(tmp_path / "in", "synthrad", tmp_path / "out")
    assert actions(results[0]) == ["kept", "kept"]
    for path in (tmp_path / "out").rglob("*.gz"):
        content = (
            str(path.relative_to(tmp_path)).encode()
            + path.read_bytes()[:64]
            + gzip.decompress(path.read_bytes())
        )
        assert not [name for name in (b"quenneville", b"zebulon", b"ottoline") if name in content.lower()]


@pytest.mark.parametrize("secret", ["Quenneville", "Ottoline", "Brightwater"])
def test_a_text_of_header_case_or_path_in_an_output_costs_that_case_alone(tmp_path, monkeypatch, secret):
    for role in ("ct", "mr"):
        nifti(tmp_path / "in" / "Ottoline" / "Brightwater" / f"{role}.nii.gz", descrip="Quenneville")
        nifti(tmp_path / "in" / "Somewhere" / f"{role}.nii.gz")
    write = sitk.WriteImage

    def leaky(image, path, **options):
        write(image, path, **options)
        content = bytearray(gzip.decompress(Path(path).read_bytes()))
        content[148 : 148 + len(secret)] = secret.encode()
        Path(path).write_bytes(gzip.compress(bytes(content)))

    monkeypatch.setattr(sitk, "WriteImage", leaky)
    anonymize_volumes(tmp_path / "in", "synthrad", tmp_path / "out", KEYS)
    rows = pd.read_csv(tmp_path / "out" / "audit" / "files.csv", keep_default_na=False)
    assert rows.action.tolist() == ["rejected"] * 2 + ["kept"] * 2
    assert rows.reason[0].startswith("the output of file 0 would hold a text of the source: ")
    assert secret not in rows.reason[0]
    assert len(list((tmp_path / "out" / "images").iterdir())) == 1
    summary = json.loads((tmp_path / "out" / "audit" / "summary.json").read_text())
    assert (summary["patients"], summary["sweep"]["files"], summary["sweep"]["hits"]) == (1, 2, 0)


def test_a_case_in_a_folder_whose_name_is_not_utf8_is_written_and_searched(tmp_path):
    for case in ("M\udcfcller", "other"):
        for name in ("ct", "mr"):
            volume(tmp_path / "in" / "a" / f"{name}.nii.gz")
        (tmp_path / "in" / "a").rename(tmp_path / "in" / case)
    anonymize_volumes(tmp_path / "in", "synthrad", tmp_path / "out", KEYS)
    rows = pd.read_csv(tmp_path / "out" / "audit" / "files.csv", keep_default_na=False)
    assert rows.action.tolist() == ["kept"] * 4


def test_a_source_of_archives_says_what_to_do(tmp_path):
    (tmp_path / "Task1.zip").write_bytes(b"PK\x03\x04" * 10)
    with pytest.raises(FileNotFoundError, match="1 of 1 files in the source are archives"):
        anonymize_volumes(tmp_path, "synthrad", tmp_path / "out", KEYS)
