"""Odd header values through select, register, pair and the dry run: each becomes a listed reason, and nothing stops.

MRCT_MUTATIONS=1000 runs as many; the tests of every change run fewer.
"""

import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from helpers.header_mutations import Mutation, mutated, mutations, used_keywords
from helpers.series_factory import make_dataset
from helpers.stage_inputs import register_params, select_params
from mrct.cli.check import check
from mrct.core import contracts, files, params
from mrct.core.contracts import RegistrationStatus, SelectionStatus
from stages import pair, register, select

pytestmark = pytest.mark.filterwarnings("ignore")
COUNT, SEED, SLICES, SIZE, PIXEL_MM, STEP_MM = (
    int(os.environ.get("MRCT_MUTATIONS", 25)),
    15,
    12,
    40,
    6.0,
    12.0,
)


def head(modality: str) -> np.ndarray:
    """Make an ellipsoid head with skull, brain and a lateral mark, (D, H, W) stored values."""
    k, j, i = np.indices((SLICES, SIZE, SIZE))
    x, y, z = (i - SIZE / 2) * PIXEL_MM, (j - SIZE / 2) * PIXEL_MM, (k - SLICES / 2 + 0.5) * STEP_MM
    radius = (x / 75) ** 2 + (y / 95) ** 2 + (z / 80) ** 2
    mark = (x > 20) & (x < 45) & (abs(y) < 20)
    brain, bone, air = (1064, 1924, 24) if modality == "CT" else (600, 60, 10)
    values = np.where(radius < 0.75, brain + 0.3 * x + 0.2 * y + 100 * mark, np.where(radius < 1, bone, air))
    return values.astype(np.uint16)


def write_patient(
    folder: Path, mutation: Mutation | None, plain: dict[str, list[Path]]
) -> dict[str, list[Path]]:
    """Write CT and MR; a series without the mutation is a link to the plain one. Return the files by modality."""
    written: dict[str, list[Path]] = {}
    for number, modality in enumerate(("CT", "MR"), 1):
        values = head(modality)
        series = {"PixelSpacing": [PIXEL_MM, PIXEL_MM], "SliceThickness": STEP_MM, "AcquisitionNumber": 1}
        series |= {"SeriesInstanceUID": f"1.2.{number}", "SeriesNumber": number}
        for k in range(SLICES):
            path = folder / "T1" / modality / f"{k:02d}.dcm"
            path.parent.mkdir(parents=True, exist_ok=True)
            written.setdefault(modality, []).append(path)
            if mutation is None or mutation.applies(modality, k):
                position = (-SIZE / 2 * PIXEL_MM, -SIZE / 2 * PIXEL_MM, (k - SLICES / 2 + 0.5) * STEP_MM)
                image = make_dataset(modality, values[k], position, **series, InstanceNumber=k + 1)
                image.SOPInstanceUID = f"1.2.{number}.{k}"
                image.file_meta = FileMetaDataset()
                image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
                image.PatientID = folder.name
                stream = BytesIO()
                image.save_as(stream, enforce_file_format=True)
                path.write_bytes(mutated(stream.getvalue(), mutation) if mutation else stream.getvalue())
            else:
                os.link(plain[modality][k], path)
    return written


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> tuple[Path, dict[str, Mutation]]:
    """Write data/anonymized with one unchanged patient and one per mutation."""
    root = tmp_path_factory.mktemp("mutated")
    images = root / "anonymized" / "images"
    plain = write_patient(images / "P0000000000", None, {})
    found = {}
    for number, mutation in enumerate(mutations(SEED, COUNT, SLICES), 1):
        found[f"P{number:010x}"] = mutation
        write_patient(images / f"P{number:010x}", mutation, plain)
    manifest = {"layout": "dicom", "registered": False, "mr_weighting": "unknown"}
    files.write_json(root / "anonymized" / "manifest.json", manifest)
    return root, found


@pytest.fixture(scope="module")
def selected(cohort) -> Path:
    root, _ = cohort
    select.run(select_params(max_spacing_mm=0.0), root / "anonymized", root / "selected")
    return root / "selected"


def test_the_mutations_cover_every_attribute_that_is_used(cohort):
    assert len(used_keywords()) > 60
    assert {"RescaleSlope", "ImagePositionPatient", "PixelPaddingValue", "EchoTime"} <= set(used_keywords())


def test_every_patient_and_series_is_listed_with_a_reason(cohort, selected):
    _, odd = cohort
    patients = contracts.SELECTED_PATIENTS.read(selected).set_index("patient")
    assert set(patients.index) == {"P0000000000", *odd}
    assert patients.loc["P0000000000", "status"] == SelectionStatus.PAIRED
    unpaired = patients[patients["status"] != SelectionStatus.PAIRED]
    assert (unpaired["reason"] != "").all()
    series = contracts.SELECTED_SERIES.read(selected)
    assert (series.loc[series["decision"] != "kept", "reason"] != "").all()
    assert patients["status"].eq(SelectionStatus.PAIRED).mean() > 0.4


def test_no_real_slice_of_a_selected_ct_has_other_values(cohort, selected):
    """A slice that an odd value makes unusable is missing, and interpolated levels are marked."""
    _, odd = cohort
    plain = np.unique(values(selected / "P0000000000" / "ct.nii.gz"))
    for patient, mutation in odd.items():
        path, filled = (selected / patient / name for name in ("ct.nii.gz", "ct_filled.nii.gz"))
        if path.is_file():
            real = values(filled).max(axis=(1, 2)) == 0 if filled.is_file() else slice(None)
            assert np.isin(values(path)[real], plain).all(), mutation


def values(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def test_registration_and_pairing_list_what_they_cannot_use(cohort, selected, tmp_path):
    """Mutations that leave voxels and grid as they were are the plain patient once more, and are left out."""
    distinct = {}
    for row in contracts.SELECTED_PATIENTS.read(selected).itertuples():
        if row.status == SelectionStatus.PAIRED:
            content = b"".join(
                (selected / row.patient / f"{name}.nii.gz").read_bytes() for name in ("ct", "mr")
            )
            distinct.setdefault(content, row)
    table = contracts.SELECTED_PATIENTS.read(selected)
    kept = table[table["patient"].isin([row.patient for row in distinct.values()])]
    source = tmp_path / "selected"
    source.mkdir()
    for patient in kept["patient"]:
        (source / patient).symlink_to(selected / patient)
    contracts.SELECTED_PATIENTS.write(source, kept)
    files.write_json(source / "manifest.json", {"registered": False})
    register.run(register_params(method="rigid"), source, tmp_path / "registered")
    registered = contracts.REGISTERED_PATIENTS.read(tmp_path / "registered").set_index("patient")
    assert set(registered.index) == set(kept["patient"])
    assert registered.loc["P0000000000", "status"] == RegistrationStatus.REGISTERED
    assert (registered.loc[registered["status"] == RegistrationStatus.FAILED, "reason"] != "").all()
    pair.run(params.load(pair.Params, "pair"), tmp_path / "registered", tmp_path / "pairs")


def test_the_dry_run_reports_every_patient(cohort):
    root, odd = cohort
    report = check(root / "anonymized" / "images", select_params(max_spacing_mm=0.0).rules())
    assert report.n_files == 2 * SLICES * (len(odd) + 1)
