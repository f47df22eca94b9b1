"""The stage select on small anonymized folders: its outputs, one bad series, empty cohorts, volumes."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.series_factory import head_ct, smooth, stack_positions
from helpers.stage_inputs import add_series, select_params
from mrct.core import contracts, files, params
from mrct.selection.parameters import DEFAULT_PREFER, REJECTABLE
from stages.select import run


@pytest.fixture(autouse=True)
def one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MRCT_WORKERS", "1")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Write three patients: one with both images, one without MR, one whose only MR is a TSE."""
    root = tmp_path / "anonymized"
    add_series(root, "P0000000001", "S1", "CT", StudyDate="20200104")
    add_series(root, "P0000000001", "S2", "MR")
    add_series(root, "P0000000001", "S3", "MR", EchoTrainLength=15)
    add_series(
        root,
        "P0000000001",
        "S4",
        "MR",
        ImageOrientationPatient=[1, 0, 0, 0, 0, -1],
        positions=[(0, 5 * k, 0) for k in range(6)],
    )
    add_series(root, "P0000000002", "S5", "CT")
    add_series(root, "P0000000003", "S6", "CT")
    add_series(root, "P0000000003", "S7", "MR", EchoTrainLength=9, Manufacturer="Philips Medical Systems")
    files.write_json(
        root / "manifest.json", {"layout": "dicom", "registered": False, "mr_weighting": "unknown"}
    )
    return root


def digest(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_committed_lists_are_the_defaults_of_the_package() -> None:
    assert set(select_params().reject) == set(REJECTABLE)
    assert select_params().prefer == DEFAULT_PREFER


def test_outputs_follow_the_contract(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "selected"
    run(select_params(), source, out)
    table = contracts.SELECTED_SERIES.read(out)
    rules = dict(zip(table["series"], table["rule"], strict=True))
    assert rules == {"S1": "", "S2": "", "S3": "tse", "S4": "coronal", "S5": "", "S6": "", "S7": "tse"}
    assert table.loc[table["rule"] != "", "reason"].ne("").all()
    patients = contracts.SELECTED_PATIENTS.read(out).set_index("patient")
    assert patients["status"].to_dict() == {
        "P0000000001": "paired",
        "P0000000002": "unpaired",
        "P0000000003": "unpaired",
    }
    assert patients.loc["P0000000001", "days_between"] == 3
    assert sorted(path.name for path in (out / "thumbnails").iterdir())[0] == "P0000000001_S1.png"
    assert len(list((out / "thumbnails").iterdir())) == 7
    assert sorted(path.name for path in (out / "P0000000001").iterdir()) == ["ct.nii.gz", "mr.nii.gz"]
    assert not (out / "P0000000002").exists()
    assert files.read_json(out / "manifest.json") == {"registered": False}
    image = sitk.ReadImage(str(out / "P0000000001" / "ct.nii.gz"))
    assert image.GetPixelID() == sitk.sitkFloat32
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), head_ct(6) - 1024.0)
    assert image.GetOrigin() == pytest.approx((-20.0, -15.0, -40.0))


def test_equal_inputs_give_equal_bytes_for_any_number_of_workers(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(select_params(), source, tmp_path / "a")
    monkeypatch.setenv("MRCT_WORKERS", "2")
    run(select_params(), source, tmp_path / "b")
    assert digest(tmp_path / "a") == digest(tmp_path / "b")


def test_a_series_whose_pixels_fail_gives_way_to_the_next_best(source: Path, tmp_path: Path) -> None:
    paths = add_series(source, "P0000000001", "S8", "MR", positions=stack_positions(9))
    paths[4].write_bytes(paths[4].read_bytes()[:-200])
    run(select_params(), source, tmp_path / "out")
    table = contracts.SELECTED_SERIES.read(tmp_path / "out").set_index("series")
    assert table.loc["S8", "rule"] == "pixels"
    assert table.loc["S8", "reason"].startswith("slice 5 of 9: truncated")
    assert table.loc["S2", "decision"] == "kept"


def test_an_empty_cohort_stops_and_leaves_nothing(tmp_path: Path) -> None:
    source = tmp_path / "anonymized"
    add_series(source, "P0000000001", "S1", "CT")
    add_series(source, "P0000000001", "S2", "MR", EchoTrainLength=15)
    files.write_json(
        source / "manifest.json", {"layout": "dicom", "registered": False, "mr_weighting": "unknown"}
    )
    with pytest.raises(ValueError, match=r"Rule 'tse' removed 1 MR series \(Siemens 1\).*select\.accept="):
        run(select_params(), source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    run(select_params(reject=["coronal"]), source, tmp_path / "out")


def test_days_between_leave_a_patient_out(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"3 days apart.*select\.max_days_between=0"):
        run(select_params(max_days_between=2), source, tmp_path / "out")
    run(select_params(max_days_between=3), source, tmp_path / "out")


@pytest.mark.parametrize(
    ("key", "value"),
    [("reject", ["tsee"]), ("weighting", "t3"), ("max_angle_deg", -1.0), ("max_days_between", 0.5)],
)
def test_mistyped_values_are_refused(key: str, value: Any) -> None:
    with pytest.raises(params.ParamsError, match=key):
        select_params(**{key: value})


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    """Write a registered layout: one slice with a mask, one flipped stack, one case without MR, one damaged case."""
    root = tmp_path / "volumes"
    for case, (depth, direction) in {
        "Pa": (1, (1, 1)),
        "Pb": (4, (-1, -1)),
        "Pc": (4, (1, 1)),
        "Pd": (4, (1, 1)),
    }.items():
        ct, image = (sitk.GetImageFromArray(array) for array in (head_ct(depth) - 1024, smooth(depth)))
        for one in (ct, image):
            one.SetSpacing((1.0, 1.5, 3.0))
            one.SetDirection((direction[0], 0, 0, 0, direction[1], 0, 0, 0, 1))
        folder = root / "images" / case
        folder.mkdir(parents=True)
        sitk.WriteImage(ct, str(folder / "ct.nii.gz"))
        if case != "Pc":
            sitk.WriteImage(image + 1, str(folder / "mr.nii.gz"))
        if case == "Pa":
            sitk.WriteImage(sitk.Cast(image > 100, sitk.sitkUInt8), str(folder / "mask.nii.gz"))
    (root / "images" / "Pd" / "mr.nii.gz").write_bytes(b"broken")
    files.write_json(root / "manifest.json", {"layout": "volumes", "registered": True, "mr_weighting": "t1"})
    return root


def test_volumes_pass_oriented(volumes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(select_params(weighting="t1"), volumes, out)
    patients = contracts.SELECTED_PATIENTS.read(out).set_index("patient")["status"].to_dict()
    assert patients == {"Pa": "paired", "Pb": "paired", "Pc": "unpaired", "Pd": "unpaired"}
    assert files.read_json(out / "manifest.json") == {"registered": True}
    assert sorted(path.name for path in (out / "Pa").iterdir()) == ["ct.nii.gz", "mask.nii.gz", "mr.nii.gz"]
    one = sitk.ReadImage(str(out / "Pa" / "ct.nii.gz"))
    assert one.GetSize() == (20, 24, 1)
    assert sitk.ReadImage(str(out / "Pa" / "mask.nii.gz")).GetPixelID() == sitk.sitkUInt8
    flipped = sitk.ReadImage(str(out / "Pb" / "mr.nii.gz"))
    np.testing.assert_allclose(np.reshape(flipped.GetDirection(), (3, 3)), np.eye(3), atol=1e-6)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(flipped), smooth(4)[:, ::-1, ::-1] + 1)
    table = contracts.SELECTED_SERIES.read(out)
    assert table.loc[table["patient"] == "Pd", "rule"].tolist()[-1] == "unreadable"
    assert set(table.loc[table["modality"] == "MR", "weighting"]) == {"t1"}


@pytest.mark.parametrize(
    ("declared", "wanted", "key"),
    [("t1", "t2", "t1"), ("t2", "t1", "t2"), ("any", "t2", "any"), ("unknown", "t1", "any")],
)
def test_a_declared_weighting_that_is_not_wanted_names_the_key(
    volumes: Path, tmp_path: Path, declared: str, wanted: str, key: str
) -> None:
    manifest = files.read_json(volumes / "manifest.json") | {"mr_weighting": declared}
    files.write_json(volumes / "manifest.json", manifest)
    with pytest.raises(ValueError, match=rf"-S select\.weighting={key}$"):
        run(select_params(weighting=wanted), volumes, tmp_path / "out")
    run(select_params(weighting="any"), volumes, tmp_path / "out")
    assert len(contracts.SELECTED_SERIES.read(tmp_path / "out"))
