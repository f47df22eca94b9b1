"""Several scans under one SeriesInstanceUID, from the raw export to the volumes; `mrct check` says the same."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread

from helpers.series_factory import head_ct, stack_positions, write_series
from helpers.stage_inputs import select_params
from mrct.cli.check import check
from mrct.core import contracts
from mrct.deid.deidentify import Options
from mrct.deid.export import anonymize_export
from mrct.imaging.volumes import read_volume
from stages import select
from stages.anonymize import demonstration

LEVELS = 9
# shifts of two CTs, in HU
CT, OTHER_CT = 5, 25


def level_values(modality: str, shift: int, count: int = LEVELS, first_mm: float = -40.0) -> np.ndarray:
    """Return stored slices of a head whose values rise by 0.4 per mm above -40, plus a shift that tells the scan."""
    values = head_ct(count)
    within = values > 1000  # tissue, within a skull that lies in air
    levels = (0.4 * (first_mm + 40 + 5 * np.arange(count))).round().astype(np.int16)[:, None, None]
    tissue = levels + np.arange(20, dtype=np.int16) + np.int16(shift)
    if modality == "MR":
        return np.where(within, tissue, 3).astype(np.int16)
    return np.where(within & (values < 1200), 1024 + tissue, values).astype(np.int16)


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
        values=level_values(modality, shift, first_mm=first_mm),
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
    "CT and MR, one UID, same places": [("CT", CT, {}), ("MR", 300, {})],
    "CT and MR, one UID, places between": [("CT", CT, {}), ("MR", 300, {"first_mm": -37.5})],
    "T1 and T2 at the same places": [("CT", CT, {"uid": "1.2.3.5"}), ("MR", 300, {}), ("MR", 600, T1)],
    "T1 and T2 at places between": [
        ("CT", CT, {"uid": "1.2.3.5"}),
        ("MR", 300, {}),
        ("MR", 600, T1 | {"first_mm": -37.5}),
    ],
    "before and after contrast agent": [
        ("CT", CT, {"uid": "1.2.3.5"}),
        ("MR", 300, {}),
        ("MR", 600, {"ContrastBolusAgent": "GADAVIST"}),
    ],
    "two kernels": [
        ("CT", CT, {"ConvolutionKernel": "H31s"}),
        ("CT", OTHER_CT, {"ConvolutionKernel": "H70h", "first_mm": 5.0}),
        ("MR", 300, {"uid": "1.2.3.5"}),
    ],
    "series numbers": [("CT", CT, {"SeriesNumber": 1}), ("CT", OTHER_CT, {"SeriesNumber": 2}), ("MR", 300, {})],
    "two scans by acquisition number": [
        ("CT", CT, {"uid": "1.2.3.5", "AcquisitionNumber": 1}),
        ("CT", OTHER_CT, {"uid": "1.2.3.5", "AcquisitionNumber": 2}),
        ("MR", 300, {}),
    ],
}  # fmt: skip


REFUSED = [("CT", CT, {"uid": "1.2.3.5"}), ("CT", OTHER_CT, {"uid": "1.2.3.5"}), ("MR", 300, {})]
HALVES = [("CT", CT, {"uid": "1.2.3.5"}), ("CT", CT, {"uid": "1.2.3.6", "first_mm": 5.0}), ("MR", 300, {})]
PATIENTS = EXPORTS | {"two scans with one header": REFUSED, "base and vertex": HALVES}


class Results:
    """The outcome of `check` and of the stage for all exports, each of which is a patient."""

    def __init__(self, root: Path) -> None:
        for number, scans in enumerate(PATIENTS.values()):
            for name, (modality, shift, attributes) in zip("cabd", scans, strict=False):
                who = {"PatientID": f"70{number}", "StudyInstanceUID": f"1.2.{number}"}
                uid = f"{attributes.get('uid', '1.2.3.4')}.{number}"
                add(root / "raw" / str(number), name, modality, shift, **attributes | who | {"uid": uid})
        anonymize_export(root / "raw", root / "anonymized", demonstration(), Options(1000, False))
        select.run(select_params(), root / "anonymized", root / "selected")
        self.folder = root / "selected"
        self.table = contracts.SELECTED_SERIES.read(self.folder)
        self.checked = check(root / "raw", select_params().rules()).choices

    @staticmethod
    def pseudonym(case: str) -> str:
        return demonstration().patient(f"70{list(PATIENTS).index(case)}")

    def volume(self, case: str, kind: str) -> sitk.Image:
        return read_volume(self.folder / self.pseudonym(case) / f"{kind}.nii.gz")

    def rows(self, case: str) -> list[tuple[str, int, str, str]]:
        """Return (modality, slices, decision, rule) of each series of the stage's table, sorted."""
        own = self.table[self.table["patient"] == self.pseudonym(case)]
        columns = ["modality", "n_slices", "decision", "rule"]
        return sorted(map(tuple, own[columns].itertuples(index=False)))

    def rows_of_check(self, case: str) -> list[tuple[str, int, str, str]]:
        """Return the same of the dry run, which orders patients by PatientID."""
        choice = self.checked[list(PATIENTS).index(case)]
        return sorted(
            (one.series.modality, len(one.series.instances), str(one.outcome), one.verdict.rule)
            for one in choice.decisions
        )


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return Results(tmp_path_factory.mktemp("mixed"))


@pytest.mark.parametrize("case", EXPORTS)
def test_each_volume_holds_one_scan(results: Results, case: str) -> None:
    kept = [row[:3] for row in results.rows(case) if row[2] == "kept"]
    assert kept == [("CT", 9, "kept"), ("MR", 9, "kept")]
    assert len(results.rows(case)) == len(EXPORTS[case])
    for kind, shift, offset in (("ct", CT, -1024.0), ("mr", 300, 0.0)):
        first_mm = next(changes.get("first_mm", -40.0) for _, own, changes in EXPORTS[case] if own == shift)
        volume = results.volume(case, kind)
        assert volume.GetOrigin()[2] == first_mm
        expected = level_values(kind.upper(), shift, first_mm=first_mm) + offset
        np.testing.assert_array_equal(sitk.GetArrayFromImage(volume), expected)


@pytest.mark.parametrize("case", PATIENTS)
def test_the_dry_run_says_the_same(results: Results, case: str) -> None:
    assert results.rows_of_check(case) == results.rows(case)


def test_two_scans_that_nothing_tells_apart_are_refused_with_the_reason(results: Results) -> None:
    """The instance numbers of both start at 1, and the time of day does not outlive de-identification."""
    assert results.rows("two scans with one header")[0] == ("CT", 18, "rejected", "geometry")
    assert (
        results.table["reason"]
        .str.contains("several scans in one series, which no header value tells apart")
        .any()
    )


def test_the_two_halves_of_a_head_are_listed_and_used(results: Results) -> None:
    assert results.rows("base and vertex")[:2] == [("CT", 9, "kept", "")] * 2
    volume = sitk.GetArrayFromImage(results.volume("base and vertex", "ct"))
    np.testing.assert_array_equal(volume, level_values("CT", CT, 18) - 1024.0)
