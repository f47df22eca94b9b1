"""Several scans under one SeriesInstanceUID, from the raw export to the volumes; `mrct check` says the same."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread

from helpers.series_factory import stack_positions, write_series
from helpers.stage_inputs import select_params
from mrct.cli.check import check
from mrct.core import contracts
from mrct.deid.deidentify import Options
from mrct.deid.export import anonymize_export
from mrct.imaging.volumes import read_volume
from stages import select
from stages.anonymize import demonstration

LEVELS = 9


def level_values(shift: int, count: int = LEVELS, first_mm: float = -40.0) -> np.ndarray:
    """Return slices whose value is 10 times their level in mm above -40, plus a shift that tells the scan."""
    ramp = np.arange(20, dtype=np.int16)
    return np.stack(
        [np.tile(ramp + int(10 * (first_mm + 40 + 5 * k)) + shift, (24, 1)) for k in range(count)]
    )


def add(
    source: Path, name: str, modality: str, shift: int, first_mm: float = -40.0, **attributes: Any
) -> None:
    """Write a scan of the export; all lie in one folder, so that file names are mixed."""
    uid = attributes.pop("uid", "1.2.3.4")
    shared = {
        "PatientID": "7",
        "PatientName": "Doe^Jane",
        "FrameOfReferenceUID": "1.9",
        "SeriesInstanceUID": uid,
    }
    folder = source / name
    paths = write_series(
        folder,
        modality,
        values=level_values(shift, first_mm=first_mm),
        positions=stack_positions(LEVELS, origin=(-20.0, -15.0, first_mm)),
        **shared | attributes,
    )
    for path in paths:
        _rename_instance(path, f"{uid}.{ord(name)}.{path.stem}")


def _rename_instance(path: Path, uid: str) -> None:
    dataset = dcmread(path)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
    dataset.save_as(path)


T1 = {"EchoTime": 12.0, "RepetitionTime": 500.0}
# scans as (modality, shift, attributes); the first CT and the first MR are the wanted ones
EXPORTS = {
    "CT and MR, one UID, same places": [("CT", 100, {}), ("MR", 300, {})],
    "CT and MR, one UID, places between": [("CT", 100, {}), ("MR", 300, {"first_mm": -37.5})],
    "T1 and T2 at the same places": [("CT", 100, {"uid": "1.2.3.5"}), ("MR", 300, {}), ("MR", 600, T1)],
    "T1 and T2 at places between": [
        ("CT", 100, {"uid": "1.2.3.5"}),
        ("MR", 300, {}),
        ("MR", 600, T1 | {"first_mm": -37.5}),
    ],
    "before and after contrast agent": [
        ("CT", 100, {"uid": "1.2.3.5"}),
        ("MR", 300, {}),
        ("MR", 600, {"ContrastBolusAgent": "GADAVIST"}),
    ],
    "two kernels": [
        ("CT", 100, {"ConvolutionKernel": "H31s"}),
        ("CT", 900, {"ConvolutionKernel": "H70h", "first_mm": 5.0}),
        ("MR", 300, {"uid": "1.2.3.5"}),
    ],
    "series numbers": [("CT", 100, {"SeriesNumber": 1}), ("CT", 900, {"SeriesNumber": 2}), ("MR", 300, {})],
    "two scans by acquisition number": [
        ("CT", 100, {"uid": "1.2.3.5", "AcquisitionNumber": 1}),
        ("CT", 900, {"uid": "1.2.3.5", "AcquisitionNumber": 2}),
        ("MR", 300, {}),
    ],
}  # fmt: skip


def run(source: Path, root: Path) -> list[tuple[str, int, str, str]]:
    """Run anonymize and select; return (modality, slices, decision, rule) of each series, sorted."""
    anonymize_export(source, root / "anonymized", demonstration(), Options(1000, False))
    select.run(select_params(), root / "anonymized", root / "selected")
    table = contracts.SELECTED_SERIES.read(root / "selected")
    columns = ["modality", "n_slices", "decision", "rule"]
    return sorted(map(tuple, table[columns].itertuples(index=False)))


def checked(source: Path) -> list[tuple[str, int, str, str]]:
    report = check(source, select_params().rules())
    decisions = [one for choice in report.choices for one in choice.decisions]
    return sorted(
        (one.series.modality, len(one.series.instances), str(one.outcome), one.verdict.rule)
        for one in decisions
    )


@pytest.mark.parametrize("scans", EXPORTS.values(), ids=EXPORTS)
def test_each_volume_holds_one_scan_and_check_says_the_same(tmp_path: Path, scans: list) -> None:
    for name, (modality, shift, attributes) in zip("cabd", scans, strict=False):
        add(tmp_path / "raw", name, modality, shift, **attributes)
    rows = run(tmp_path / "raw", tmp_path)
    assert [row[:3] for row in rows if row[2] == "kept"] == [("CT", 9, "kept"), ("MR", 9, "kept")]
    assert len(rows) == len(scans)
    assert checked(tmp_path / "raw") == rows
    [patient] = (tmp_path / "selected").glob("P*")
    for kind, shift, offset in (("ct", 100, -1024.0), ("mr", 300, 0.0)):
        first_mm = next(a.get("first_mm", -40.0) for m, s, a in scans if s == shift)
        volume = read_volume(patient / f"{kind}.nii.gz")
        assert volume.GetOrigin()[2] == first_mm
        expected = level_values(shift, first_mm=first_mm) + offset
        np.testing.assert_array_equal(sitk.GetArrayFromImage(volume), expected)


def test_two_scans_that_nothing_tells_apart_are_refused_with_the_reason(tmp_path: Path) -> None:
    """The instance numbers of both start at 1, and the time of day does not outlive de-identification."""
    raw = tmp_path / "raw"
    add(raw, "c", "CT", 100, uid="1.2.3.5")
    add(raw, "d", "CT", 500, uid="1.2.3.6")
    add(raw, "e", "CT", 900, uid="1.2.3.6")
    add(raw, "m", "MR", 300)
    assert ("CT", 18, "rejected", "geometry") in run(raw, tmp_path)
    assert ("CT", 18, "rejected", "geometry") in checked(raw)
    reasons = contracts.SELECTED_SERIES.read(tmp_path / "selected")["reason"]
    assert reasons.str.contains("several scans in one series, which no header value tells apart").any()


def test_the_two_halves_of_a_head_are_listed_and_used(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    add(raw, "c", "CT", 100, uid="1.2.3.5")
    add(raw, "d", "CT", 100, first_mm=5.0, uid="1.2.3.6")
    add(raw, "m", "MR", 300)
    assert run(raw, tmp_path)[:2] == [("CT", 9, "kept", "")] * 2
    [patient] = (tmp_path / "selected").glob("P*")
    volume = sitk.GetArrayFromImage(read_volume(patient / "ct.nii.gz"))
    np.testing.assert_array_equal(volume, level_values(100, 18) - 1024.0)
