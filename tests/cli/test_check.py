"""The dry run counts the content, decides as the stage does, and shows nothing of a patient's header."""

import shutil
from pathlib import Path

import pytest
import SimpleITK as sitk
from rich.console import Console

from helpers import series_factory, volume_factory
from helpers.series_factory import head_ct, smooth, stack_positions, write_series
from helpers.volume_factory import affine_ras, metaimage, nifti
from mrct.cli.check import check, render
from mrct.selection.parameters import REJECTABLE, Rules

SECRETS = ("Quillfeather", "QF-77123", "19700203", "1.2.777", "SECRETWORD")


@pytest.fixture(autouse=True)
def one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MRCT_WORKERS", "1")


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """Write two patients (one paired, 6 CT and 5 MR slices) among files that are not images."""
    personal = {
        "PatientName": "Quillfeather^Ada",
        "PatientID": "QF-77123",
        "PatientBirthDate": "19700203",
        "SeriesDescription": "T2 SECRETWORD",
        "ProtocolName": "SECRETWORD TSE",
        "ConvolutionKernel": "SECRETWORD",
        "Manufacturer": "SECRETWORD",
    }
    root = tmp_path / "Quillfeather"
    ct = write_series(
        root / "ct", SeriesInstanceUID="1.2.777.1", FrameOfReferenceUID="1.234567890", **personal
    )
    for path in ct:  # a name where a UID should be: pydicom warns and quotes it
        path.write_bytes(path.read_bytes().replace(b"1.234567890", b"SECRETWORD "))
    mr = personal | {"ProtocolName": "SECRETWORD"}
    places = stack_positions(5)
    write_series(root / "mr", "MR", smooth(5), places, SeriesInstanceUID="1.2.777.2", **mr)
    write_series(root / "t", "MR", smooth(5), places, SeriesInstanceUID="1.2.777.3", **personal)
    write_series(root / "other", SeriesInstanceUID="1.2.777.4", PatientID="Z9 SECRETWORD")
    report = "1.2.840.10008.5.1.4.1.1.88.11"
    write_series(root / "sr", positions=stack_positions(1), SOPClassUID=report, Modality="SR")
    plan = "1.2.840.10008.5.1.4.1.1.481.3"  # begins like MR image storage, is an RT structure set
    write_series(root / "rt", positions=stack_positions(1), SOPClassUID=plan, Modality="RTSTRUCT")
    (root / "notes.txt").write_text("SECRETWORD")
    (root / "empty").write_bytes(b"")
    return root


def shown(report: object) -> str:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(render(report))  # type: ignore[arg-type]
    return console.export_text()


def test_counts_decisions_and_expectations(export: Path) -> None:
    report = check(export, Rules())
    assert report.n_files == 6 + 5 + 5 + 6 + 1 + 1 + 2
    assert sum(report.skipped.values()) == 4
    assert (report.n_patients, report.n_paired, report.expected_pairs) == (2, 1, 5)
    assert report.problem == ""
    rules = {d.series.name: d.verdict.rule for choice in report.choices for d in choice.decisions}
    assert rules == {"1.1": "", "1.2": "", "1.3": "tse", "2.1": ""}
    assert report.disk_bytes > 0
    assert report.seconds > 0


def test_a_volume_file_among_dicom_is_listed_as_a_by_product_and_changes_nothing_else(export: Path) -> None:
    before = check(export, Rules())
    (export / "mr" / "head.nii.gz").write_bytes(b"a viewer left it here")
    after = check(export, Rules())
    assert (after.layout, after.n_files) == ("dicom", before.n_files + 1)
    assert (after.n_patients, after.n_paired) == (before.n_patients, before.n_paired)
    added = "a volume file (NIfTI, MetaImage) among DICOM, which is not used"
    assert after.skipped == before.skipped | {added: 1}


def test_a_dicom_file_among_cases_of_volumes_is_a_by_product(tmp_path: Path) -> None:
    write_cases(tmp_path)
    write_series(tmp_path / "b" / "screenshot", positions=stack_positions(1))
    report = check(tmp_path, Rules())
    assert (report.layout, report.n_patients, report.n_paired) == ("volumes", 3, 2)


def test_copies_of_images_are_counted_once(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", SeriesInstanceUID="1.1")
    write_series(tmp_path / "mr", "MR", SeriesInstanceUID="1.2")
    alone = check(tmp_path, Rules())
    shutil.copytree(tmp_path / "ct", tmp_path / "again")
    (tmp_path / "some").mkdir()
    for path in sorted((tmp_path / "mr").iterdir())[:2]:
        shutil.copy(path, tmp_path / "some")
    report = check(tmp_path, Rules())
    assert report.skipped == {"a copy of an image that another file holds": 8}
    assert [d.reason for choice in report.choices for d in choice.decisions] == ["", ""]
    assert (report.n_paired, report.expected_pairs, report.disk_bytes) == (1, 6, alone.disk_bytes)


def test_an_enhanced_file_is_one_file_and_a_series_of_its_frames(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", SeriesInstanceUID="1.1")
    path = series_factory.write_enhanced(tmp_path / "mr")
    report = check(tmp_path, Rules())
    assert (report.n_files, report.n_paired, report.expected_pairs) == (7, 1, 6)
    classic = sum(one.stat().st_size for one in (tmp_path / "ct").iterdir())
    assert report.disk_bytes == int((classic + path.stat().st_size) * 2.5)


def test_nothing_of_a_header_or_a_path_is_shown(export: Path, recwarn: pytest.WarningsRecorder) -> None:
    text = shown(check(export, Rules())) + " ".join(str(warning.message) for warning in recwarn)
    assert "tse" in text
    assert not [secret for secret in SECRETS if secret.lower() in text.lower()]
    assert str(export) not in text


def test_the_problem_names_rule_and_key(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", SeriesInstanceUID="1.1")
    write_series(tmp_path / "mr", "MR", SeriesInstanceUID="1.2", EchoTrainLength=15)
    report = check(tmp_path, Rules())
    assert "Rule 'tse' removed 1 MR series (Siemens 1)" in report.problem
    assert report.problem.split(";")[0] in shown(report).replace("\n", " ")
    relaxed = check(tmp_path, Rules(reject=tuple(name for name in REJECTABLE if name != "tse")))
    assert (relaxed.problem, relaxed.n_paired) == ("", 1)


def write_cases(root: Path) -> None:
    """Write two whole cases and one without an MR."""
    for name in (
        "a/ct.nii.gz",
        "a/mr.nii.gz",
        "a/mask.nii.gz",
        "b/CT.NII",
        "b/mr_T1.mha",
        "c/ct.nii.gz",
    ):
        values = volume_factory.head("MR" if "mr" in name else "CT")
        content = metaimage(values) if name.endswith(".mha") else nifti(values, affine_ras((0, 0, 0)))
        volume_factory.file(root / name, content)


def test_volume_cases_are_counted_with_reasons(tmp_path: Path) -> None:
    write_cases(tmp_path)
    (tmp_path / "readme").write_text("hello")
    report = check(tmp_path, Rules())
    assert (report.layout, report.n_files, report.n_patients, report.n_paired) == ("volumes", 7, 3, 2)
    assert report.skipped == {"no MR volume in this case": 1, "not part of the layout": 1}
    assert "2 of 3 patients" in shown(report)


def test_the_values_of_volumes_are_judged(tmp_path: Path) -> None:
    hu, signal = head_ct(6) - 1024, smooth(6)
    for case, (ct, mr) in {"a": (hu, signal), "b": (hu + 1024, signal), "c": (signal, hu)}.items():
        (tmp_path / case).mkdir()
        sitk.WriteImage(sitk.GetImageFromArray(ct), str(tmp_path / case / "ct.nii.gz"))
        sitk.WriteImage(sitk.GetImageFromArray(mr), str(tmp_path / case / "mr.nii.gz"))
    report = check(tmp_path, Rules())
    assert (report.layout, report.n_patients, report.n_paired) == ("volumes", 3, 1)
    reasons = " ".join(report.skipped)
    assert "subtract 1024" in reasons
    assert "a CT in HU, not an MR" in reasons


def test_a_ct_that_is_not_in_hu_gives_way_to_the_next_best(tmp_path: Path) -> None:
    write_series(tmp_path / "a", SeriesInstanceUID="1.1", values=head_ct(6) + 1024)
    write_series(tmp_path / "b", SeriesInstanceUID="1.2", PixelSpacing=[2.0, 2.0])
    write_series(tmp_path / "mr", "MR", SeriesInstanceUID="1.3")
    report = check(tmp_path, Rules())
    assert report.n_paired == 1
    rules = {d.series.name: d.verdict.rule for choice in report.choices for d in choice.decisions}
    assert rules == {"1.1": "hounsfield", "1.2": "", "1.3": ""}


def test_a_broken_volume_is_no_patient_and_its_case_is_not_shown(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "in"
    write_cases(root)
    (root / "b").rename(root / "Quillfeather")
    broken = root / "Quillfeather" / "mr_T1.mha"
    broken.write_bytes(broken.read_bytes()[:-1])
    report = check(root, Rules())
    assert (report.n_patients, report.n_paired, report.problem) == (3, 1, "")
    assert report.skipped["the file is cut off: copy or download it again"] == 1
    (root / "a" / "mr.nii.gz").write_bytes(b"")
    assert "that can be used" in check(root, Rules()).problem
    assert "Quillfeather" not in shown(report) + "".join(capfd.readouterr())


def test_persons_are_told_apart_as_anonymize_does(tmp_path: Path) -> None:
    for folder, patient in (
        ("a", "ab1"),
        ("b", "AB1"),
        ("c", "A B1"),
        ("d", "A  B1"),
        ("e", "AB1 "),
        ("f", " "),
    ):
        write_series(tmp_path / folder, SeriesInstanceUID=f"1.{ord(folder)}", PatientID=patient)
    report = check(tmp_path, Rules())
    assert report.n_patients == 4
    assert report.skipped == {"no PatientID: CT and MR cannot be assigned to a patient": 6}


def test_archives_are_named_and_a_folder_of_archives_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04" * 10)
    report = check(tmp_path, Rules())
    assert report.skipped == {"not DICOM, but a zip archive: unpack it into the source folder": 1}
    assert "1 of 1 files in the source are archives" in report.problem
    write_series(tmp_path / "ct")
    assert check(tmp_path, Rules()).skipped == report.skipped


def test_file_names_that_are_not_utf8_are_read_counted_and_not_shown(tmp_path: Path) -> None:
    write_series(tmp_path / "M\udcfcller")
    report = check(tmp_path, Rules())
    assert report.n_patients == 1
    assert "6 paths are not UTF-8" in report.notes[0]
    assert "\udcfc" not in shown(report)


def test_a_folder_without_images_says_so(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("hello")
    assert "no CT or MR" in check(tmp_path, Rules()).problem
    (tmp_path / "none").mkdir()
    with pytest.raises(FileNotFoundError, match="empty"):
        check(tmp_path / "none", Rules())
