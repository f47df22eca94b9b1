"""select on patients of which one series is wrong: its values, its rescale, or the program's failure on it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from helpers.series_factory import head_ct, smooth
from helpers.stage_inputs import add_series, select_params
from mrct.cli.check import check
from mrct.core import contracts, files
from mrct.core.contracts import AIR_HU
from mrct.core.errors import RunError
from mrct.selection import chosen, rules
from mrct.selection.parameters import Rules
from stages.select import run

PATIENT = "P0000000001"


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a patient with a CT (S1) and an MR (S2), which are second to any series of finer pixels."""
    monkeypatch.setenv("MRCT_WORKERS", "1")
    root = tmp_path / "anonymized"
    add_series(root, PATIENT, "S1", "CT", PixelSpacing=[2.0, 2.0])
    add_series(root, PATIENT, "S2", "MR", PixelSpacing=[2.0, 2.0])
    manifest = {"layout": "dicom", "registered": False, "mr_weighting": "unknown"}
    files.write_json(root / "manifest.json", manifest)
    return root


def selected(source: Path) -> pd.DataFrame:
    run(select_params(), source, source.parent / "out")
    return contracts.SELECTED_SERIES.read(source.parent / "out").set_index("series")


def checked(source: Path) -> dict[str, str]:
    """Return the rules of the dry run, by the rule's series in their order."""
    [choice] = check(source / "images", Rules()).choices
    return {f"S{n}": decision.verdict.rule for n, decision in enumerate(choice.decisions, 1)}


BAD: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "offset": ("CT", {"values": head_ct(6) + 1024}, "hounsfield", "subtract 1024"),
    "wrap": (
        "CT",
        {"values": (head_ct(6) - 1024) % 4096, "RescaleIntercept": 0},
        "hounsfield",
        "subtract 4096",
    ),
    "air at 0": ("CT", {"values": np.maximum(head_ct(6), 1024)}, "hounsfield", "no air around a head in HU"),
    "an MR": ("CT", {"values": smooth(6) + 1100}, "hounsfield", "no air"),
    "slope 0": ("CT", {"RescaleSlope": 0}, "rescale", "slope is 0"),
    "Z_EFF": ("CT", {"RescaleType": "Z_EFF"}, "rescale", "atomic"),
    "part": (
        "CT",
        {"each": lambda k: {"RescaleIntercept": None} if k == 3 else {}},
        "rescale",
        "1 of 6 slices: no rescale",
    ),
    "MR of one value": ("MR", {"values": np.full_like(smooth(6), 7)}, "signal", "constant"),
    "a CT": ("MR", {"values": head_ct(6) - 1024}, "signal", "not an MR"),
    "MR slope in a part": (
        "MR",
        {"each": lambda k: {"RescaleSlope": 2.0, "RescaleIntercept": 0.0} if k < 3 else {}},
        "rescale",
        "a rescale slope in only 3 of 6 slices",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_series_with_wrong_values_gives_way_and_is_listed_by_stage_and_dry_run(
    source: Path, name: str
) -> None:
    modality, attributes, rule, reason = BAD[name]
    add_series(source, PATIENT, "S3", modality, **attributes)
    table = selected(source)
    assert table["rule"].to_dict() == {"S1": "", "S2": "", "S3": rule}
    assert reason in table.loc["S3", "reason"]
    assert checked(source) == table["rule"].to_dict()


def test_clipped_bone_is_a_remark_on_a_kept_series(source: Path) -> None:
    add_series(source, PATIENT, "S3", "CT", values=np.minimum(head_ct(6), 1024 + 80))
    table = selected(source)
    assert table.loc["S3", ["decision", "reason"]].tolist() == [
        "kept",
        "bone is clipped: all values end at 80 HU",
    ]


@pytest.mark.parametrize("step", ["build_volume", "series_thumbnail", "judge"])
def test_an_unexpected_error_with_one_series_is_its_reason_without_its_text(
    source: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    add_series(source, PATIENT, "S3", "CT")
    real, calls = getattr(chosen, step), []

    def once(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 1:  # the CT is read first
            raise KeyError("Quillfeather")
        return real(*args)

    monkeypatch.setattr(chosen, step, once)
    table = selected(source)
    assert table["rule"].to_dict() == {"S1": "", "S2": "", "S3": "failed"}
    assert table.loc["S3", "reason"].startswith("KeyError at ")
    assert "mrct/selection/chosen.py:" in table.loc["S3", "reason"]
    assert "Quillfeather" not in table.to_csv()


def test_a_rule_that_fails_on_a_header_rejects_that_series_alone(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_series(source, PATIENT, "S3", "MR", SeriesDescription="odd")
    real = rules.turbo_spin_echo

    def fail(instance: Any) -> str:
        if instance.description == "odd":
            raise OverflowError("odd")
        return real(instance)

    monkeypatch.setattr(rules, "turbo_spin_echo", fail)
    table = selected(source)
    assert table["rule"].to_dict() == {"S1": "", "S2": "", "S3": "failed"}


def test_a_series_that_cannot_be_grouped_does_not_take_the_others_with_it(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_series(source, PATIENT, "S3", "MR")
    real = chosen.group

    def fail(instances: Any, key: Any) -> Any:
        if any(one.path.parent.name == "S3" for one in instances):
            raise ZeroDivisionError
        return real(instances, key)

    monkeypatch.setattr(chosen, "group", fail)
    assert selected(source)["rule"].to_dict() == {"S1": "", "S2": "", "S3": "failed"}


def test_an_error_that_is_not_about_the_series_stops_the_run(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(item: Any) -> Any:
        raise RunError("no space left")

    monkeypatch.setattr(chosen, "build_volume", fail)
    with pytest.raises(RunError, match="no space left"):
        selected(source)


def test_padding_of_a_volume_becomes_air_and_exchanged_volumes_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MRCT_WORKERS", "1")
    root = tmp_path / "volumes"
    hu = (head_ct(6) - 1024).astype(np.float32)
    padded = hu.copy()
    padded[:, 0] = -3024
    for case, (ct, mr) in {
        "Pa": (padded, smooth(6)),
        "Pb": (smooth(6), hu),
        "Pc": (hu / 1000, smooth(6)),
    }.items():
        (root / "images" / case).mkdir(parents=True)
        sitk.WriteImage(sitk.GetImageFromArray(ct), str(root / "images" / case / "ct.nii.gz"))
        sitk.WriteImage(sitk.GetImageFromArray(mr), str(root / "images" / case / "mr.nii.gz"))
    files.write_json(root / "manifest.json", {"layout": "volumes", "registered": True, "mr_weighting": "t1"})
    run(select_params(weighting="t1"), root, tmp_path / "out")
    table = contracts.SELECTED_SERIES.read(tmp_path / "out")
    assert table["rule"].tolist() == ["", "", "hounsfield", "signal", "hounsfield", ""]
    kept = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out/Pa/ct.nii.gz")))
    np.testing.assert_array_equal(kept, np.maximum(padded, AIR_HU))
    patients = contracts.SELECTED_PATIENTS.read(tmp_path / "out").set_index("patient")
    assert patients["status"].to_dict() == {"Pa": "paired", "Pb": "unpaired", "Pc": "unpaired"}
    assert "MR: a CT in HU, not an MR" in patients.loc["Pb", "reason"]


def test_volumes_that_do_not_fit_together_are_refused_by_stage_and_dry_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MRCT_WORKERS", "1")
    root, hu, signal = tmp_path / "volumes", (head_ct(6) - 1024).astype(np.float32), smooth(6)
    empty = np.zeros(hu.shape, np.uint8)
    for case, (mr, mask, pixel_mm) in {
        "Pa": (signal, None, 10.0),
        "Pb": (hu / 2000 + 0.5, None, 10.0),
        "Pc": (signal, empty, 10.0),
        "Pd": (signal, None, 1.0),
    }.items():
        (root / "images" / case).mkdir(parents=True)
        for name, array in {"ct": hu, "mr": mr, "mask": mask}.items():
            if array is not None:
                image = sitk.GetImageFromArray(array)
                image.SetSpacing((pixel_mm, pixel_mm, 5.0))
                sitk.WriteImage(image, str(root / "images" / case / f"{name}.nii.gz"))
    files.write_json(root / "manifest.json", {"layout": "volumes", "registered": True, "mr_weighting": "t1"})
    settings = select_params(weighting="t1", min_field_mm=150.0)
    run(settings, root, tmp_path / "out")
    reasons = contracts.SELECTED_PATIENTS.read(tmp_path / "out").set_index("patient")["reason"]
    assert reasons["Pa"] == ""
    assert "the CT in other units" in reasons["Pb"]
    assert "mask: it is empty" in reasons["Pc"]
    assert "a field of view of 24 mm cuts the head" in reasons["Pd"]
    report = check(root / "images", settings.rules())
    assert (report.n_patients, report.n_paired) == (4, 1)
    assert sum("CT in other units" in reason for reason in report.skipped) == 1
