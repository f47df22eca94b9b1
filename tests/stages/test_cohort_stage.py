"""The export and the truth of a hospital of two patients, read with independent software."""

import hashlib
import json
import unicodedata
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from mrct.core.contracts import HIDING_PLACES, VIRTUAL_PAIRS, VIRTUAL_PATIENTS, VIRTUAL_SERIES
from mrct.core.errors import DataError
from mrct.core.params import ParamsError, parse
from stages import cohort
from virtual_hospital.contamination.kinds import kinds_of
from virtual_hospital.examination import random_generators
from virtual_hospital.export import Hospital, export_patient
from virtual_hospital.hiding.registry import IN_TURN, files_of_patient
from virtual_hospital.persona import draw_persona
from virtual_hospital.template import make_template, read_labels

LABELS = Path(__file__).parents[2] / "data/sample/colin27/labels.nii.gz"
PARAMS = cohort.Params(seed=7, patients=2, image_size=64, contamination=True)
KINDS = ("clean", "clean", "coronal", "derived", "flair", "localizer", "secondary_capture", "t1", "tse")


@pytest.fixture(scope="module")
def hospital(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hospital")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MRCT_WORKERS", "1")
        cohort.run(PARAMS, LABELS, folder / "cohort", folder / "cohort_truth")
    return folder


@pytest.fixture(scope="module")
def images(hospital):
    """Return {path: Dataset} of all files that can be read as an image."""
    found = {}
    for path in sorted((hospital / "cohort").rglob("*")):
        try:
            found[path] = pydicom.dcmread(path)
        except (pydicom.errors.InvalidDicomError, IsADirectoryError):
            continue
    return {path: image for path, image in found.items() if "PixelData" in image}


@pytest.fixture(scope="module")
def template():
    return make_template(read_labels(LABELS))


def _hospital(template, **changed) -> Hospital:
    params = PARAMS.model_copy(update=changed)
    return Hospital(template, params.seed, params.patients, params.image_size, params.contamination)


def _digest(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_same_bytes_from_two_processes(hospital, template, tmp_path, monkeypatch):
    monkeypatch.setenv("MRCT_WORKERS", "2")
    monkeypatch.setattr(cohort, "read_template", lambda labels: template)
    cohort.run(PARAMS, LABELS, tmp_path / "cohort", tmp_path / "cohort_truth")
    assert _digest(tmp_path) == _digest(hospital)


def test_a_patient_does_not_depend_on_the_others(hospital, template, tmp_path):
    export_patient(_hospital(template, patients=1), 0, tmp_path)
    own, all_files = _digest(tmp_path), _digest(hospital / "cohort")
    assert len(own) > 100
    assert own.items() <= all_files.items()


def test_every_kind_is_there_and_listed(hospital, images):
    listed = VIRTUAL_SERIES.read(hospital / "cohort_truth")
    for n, (_, rows) in enumerate(listed.groupby("patient_id", sort=False)):
        assert sorted(rows["kind"]) == sorted((*KINDS, *kinds_of(n)))
    assert set(listed["series_uid"]) == {image.SeriesInstanceUID for image in images.values()}
    patients = VIRTUAL_PATIENTS.read(hospital / "cohort_truth")
    assert list(patients.columns) == ["patient_id", "ct_series_uid", "mr_series_uid"]
    clean = set(listed[listed["kind"] == "clean"]["series_uid"])
    assert clean == set(listed[listed["wanted"] == "yes"]["series_uid"])
    assert clean == set(patients["ct_series_uid"]) | set(patients["mr_series_uid"])


def test_headers_tell_the_kind(hospital, images):
    kinds = VIRTUAL_SERIES.read(hospital / "cohort_truth").set_index("series_uid")["kind"]
    for image in images.values():
        kind = kinds[image.SeriesInstanceUID]
        if kind not in KINDS:
            continue  # tests/virtual_hospital/test_contamination.py
        if kind == "secondary_capture":
            assert image.BurnedInAnnotation == "YES"
            assert image.SOPClassUID == pydicom.uid.SecondaryCaptureImageStorage
            continue
        normal = np.cross(image.ImageOrientationPatient[:3], image.ImageOrientationPatient[3:])
        if kind in ("clean", "tse", "t1", "flair"):
            assert abs(normal[2]) > np.cos(np.deg2rad(20))
        if kind == "clean" and image.Modality == "MR":
            assert (image.ScanningSequence, image.EchoTrainLength) == ("SE", 1)
            assert 90 <= image.EchoTime <= 100
            assert 3500 <= image.RepetitionTime <= 5000
        if kind == "coronal":
            assert abs(normal[1]) > 0.99
        if kind == "tse":
            assert image.get("EchoTrainLength", 1) > 1 or "TSE" in image.SeriesDescription
        if kind == "flair":
            assert image.InversionTime > 2000
        if kind == "derived":
            assert list(image.ImageType)[:3] == ["DERIVED", "SECONDARY", "REFORMATTED"]
            assert image.get("BurnedInAnnotation") in ("NO", None)


def test_some_reformats_leave_open_whether_text_is_burned_in(images):
    said = {i.PatientID: i.get("BurnedInAnnotation") for i in images.values() if "REFORMATTED" in i.ImageType}
    assert sorted(map(str, said.values())) == ["NO", "None"]


def test_ct_and_mr_lie_in_different_frames_of_reference(images):
    for patient in {image.PatientID for image in images.values()}:
        frames = {(i.Modality, i.FrameOfReferenceUID) for i in images.values() if i.PatientID == patient}
        assert len(frames) == 2


def _series(images, uid):
    """Read the series with SimpleITK, sorted by GDCM, independently of the code that wrote it."""
    names = {image.SOPInstanceUID: path for path, image in images.items() if image.SeriesInstanceUID == uid}
    ordered = sorted(names.values(), key=lambda p: float(images[p].SliceLocation))
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(path) for path in ordered])
    return reader.Execute()


def _dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def _head(array, threshold):
    from scipy import ndimage

    closed = ndimage.binary_closing(np.pad(array > threshold, ((0, 0), (4, 4), (4, 4))), np.ones((1, 5, 5)))
    filled = np.stack([ndimage.binary_fill_holes(plane) for plane in closed])[:, 4:-4, 4:-4]
    return ndimage.binary_opening(filled, np.ones((1, 3, 3)))


@pytest.mark.parametrize("n", [0, 1])
def test_truth_brings_the_ct_onto_the_mr(hospital, images, n):
    row = VIRTUAL_PATIENTS.read(hospital / "cohort_truth").iloc[n]
    ct, mr = _series(images, row["ct_series_uid"]), _series(images, row["mr_series_uid"])
    matrix = np.array(json.loads((hospital / f"cohort_truth/{n}/ct_to_mr.json").read_text())["matrix"])
    np.testing.assert_allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix[:3, :3]) == pytest.approx(1.0)
    inside = VIRTUAL_PAIRS.read(hospital / f"cohort_truth/{n}")["inside_ct"].to_numpy()
    assert inside.sum() >= 10

    def agreement(mr_to_ct):
        transform = sitk.AffineTransform(3)
        transform.SetMatrix(mr_to_ct[:3, :3].ravel().tolist())
        transform.SetTranslation(mr_to_ct[:3, 3].tolist())
        moved = sitk.Resample(ct, mr, transform, sitk.sitkLinear, -1024.0, sitk.sitkFloat32)
        skin = _head(sitk.GetArrayFromImage(moved), -500.0)
        return _dice(skin[inside], _head(sitk.GetArrayFromImage(mr).astype(float), 60.0)[inside])

    wrong = np.linalg.inv(matrix)
    wrong[:3, 3] += (8.0, -8.0, 10.0)
    assert agreement(np.linalg.inv(matrix)) > 0.95
    assert agreement(wrong) < 0.93


def test_some_mr_slices_lie_outside_the_ct(hospital):
    tables = [VIRTUAL_PAIRS.read(hospital / f"cohort_truth/{n}") for n in (0, 1)]
    for table in tables:
        assert (np.diff(table["mr_position_mm"]) > 0).all()
    assert any(not table["inside_ct"].all() for table in tables)


def test_stored_values_are_hounsfield_units(hospital, images):
    uid = VIRTUAL_PATIENTS.read(hospital / "cohort_truth")["ct_series_uid"][0]
    planes = [i for i in images.values() if i.SeriesInstanceUID == uid]
    hu = np.stack([p.pixel_array * float(p.RescaleSlope) + float(p.RescaleIntercept) for p in planes])
    assert hu.min() == -1024.0
    beside_the_head = hu[:, 31:33, 2:5]
    assert beside_the_head.mean() == pytest.approx(-1000.0, abs=1.5)
    assert 1000 < np.percentile(hu[hu > 300], 90) < 2000


def _with_gantry_label(images):
    """Return an image whose hiding place in turn is GantryID, so that the rest of its header is unchanged."""
    return next(image for image in images if "GantryID" in image)


@pytest.mark.parametrize("n", [0, 1])
def test_phi_is_in_the_places_that_the_truth_names(hospital, images, n):
    persona = draw_persona(n, random_generators(PARAMS.seed, n)["persona"])
    own = {path: image for path, image in images.items() if image.PatientID == persona.patient_id}
    assert own
    assert any(persona.family.lower() in str(path.relative_to(hospital)).lower() for path in own)
    image = _with_gantry_label(own.values())
    assert str(image.PatientName) == persona.name
    assert persona.family in image.ImageComments
    step = image.RequestAttributesSequence[0].ScheduledProtocolCodeSequence[0]
    assert persona.family in step.CodeMeaning
    assert image.OriginalAttributesSequence[0].ModifiedAttributesSequence[0].PatientName == persona.name
    private = image.private_block(0x0033, "CORVINA ARCHIVE 1.0")
    assert private[0x01].value[0].PatientName == persona.name
    assert persona.patient_id in image.SOPInstanceUID
    assert image.StudyDate in image.StudyInstanceUID
    assert persona.family.encode() in image.file_meta.PrivateInformation
    vendors = [e for e in image if e.tag.is_private and e.VR == "OB"]
    assert any(persona.family.encode() in e.value for e in vendors)


def test_korean_name_is_stored_in_ir_149_and_preamble_names_the_other(images):
    korean = next(i for i in images.values() if "IR 149" in str(i.get("SpecificCharacterSet")))
    hangul = korean.PatientName.phonetic
    assert all("HANGUL" in unicodedata.name(letter) for letter in hangul.replace("^", ""))
    raw = next(p.read_bytes() for p, i in images.items() if i is korean)
    assert hangul.split("^")[0].encode("euc-kr") in raw
    western = next(i for i in images.values() if i.get("SpecificCharacterSet") == "ISO_IR 100")
    assert str(western.PatientName.family_name).encode() in western.preamble


def test_the_export_has_files_beside_the_images(hospital, images):
    names = [p.name for p in (hospital / "cohort").rglob("*") if p.is_file() and p not in images]
    expected = {s.name for n in (0, 1) for s in files_of_patient(n) if "{" not in s.name}
    assert {"IM_EMPTY", *expected} <= set(names)
    uids = [image.SOPInstanceUID for image in images.values()]
    assert len(uids) == len(set(uids)) + 1  # one image occurs twice
    assert sum(not _has_all_pixels(image) for image in images.values()) == 1  # one image is truncated


def _has_all_pixels(image):
    try:
        return image.pixel_array.shape == (image.Rows, image.Columns)
    except ValueError:
        return False


def test_the_truth_counts_the_images_of_each_hiding_place(hospital, images):
    table = HIDING_PLACES.read(hospital / "cohort_truth")
    assert list(table.columns) == ["kind", "where", "n_images"]
    counts = table.set_index("kind")["n_images"]
    assert counts.index.is_unique
    n_images = len(images) - 1  # without the copy
    assert counts["patient_name"] == counts["original_id_padded"] == n_images
    in_turn = sum(counts.get(place.kind, 0) for place in IN_TURN)
    assert in_turn == n_images - sum("ConversionType" in image for image in images.values())
    assert counts["gantry_id"] == sum("GantryID" in image for image in images.values())
    folders = {path.relative_to(hospital / "cohort").parts[0] for path in images}
    assert counts["folder_name"] + counts["file_name"] == n_images
    assert len(folders) == 2


def test_without_contamination_only_the_pair_is_there(template, tmp_path):
    patient = export_patient(_hospital(template, contamination=False, image_size=32), 1, tmp_path)
    assert [series.kind for series in patient.series] == ["clean", "clean"]
    for path in tmp_path.rglob("*.*"):
        assert pydicom.dcmread(path).pixel_array.shape == (32, 32)


@pytest.mark.parametrize(("n", "missing"), [(5, "MR"), (7, "CT")])
def test_from_eight_patients_on_one_lacks_mr_and_one_ct(template, tmp_path, n, missing):
    patient = export_patient(_hospital(template, patients=8, image_size=32), n, tmp_path / "cohort")
    assert [modality for modality in ("CT", "MR") if not patient.clean_uid(modality)] == [missing]
    assert len({series.modality for series in patient.series}) == 1
    assert patient.pair is None
    cohort.write_truth(tmp_path / "truth", [patient])
    assert not (tmp_path / "truth" / "0").exists()


def test_tilted_ge_patient_is_padded_and_signed(template, tmp_path):
    patient = export_patient(_hospital(template, contamination=False, image_size=32), 3, tmp_path)
    images = [pydicom.dcmread(p) for p in sorted(tmp_path.rglob("*.dcm"))]
    ct = [image for image in images if image.SeriesInstanceUID == patient.clean_uid("CT")]
    assert {image.Manufacturer for image in ct} == {"GE MEDICAL SYSTEMS"}
    positions = np.array([image.ImagePositionPatient for image in ct], float)
    assert np.ptp(positions[:, :2]) == pytest.approx(np.ptp(positions[0, :2]))  # x and y do not change
    assert ct[0].ImageOrientationPatient[5] == pytest.approx(np.sin(np.deg2rad(15)), abs=1e-6)
    assert ct[0].pixel_array[0, 0] == ct[0].PixelPaddingValue == -2000


def test_a_failing_patient_leaves_no_output(template, tmp_path, monkeypatch):
    monkeypatch.setenv("MRCT_WORKERS", "1")
    monkeypatch.setattr(cohort, "read_template", lambda labels: template)

    def broken(job):
        raise RuntimeError("scanner on fire")

    monkeypatch.setattr(cohort, "make_patient", broken)
    with pytest.raises(RuntimeError):
        cohort.run(PARAMS, LABELS, tmp_path / "cohort", tmp_path / "cohort_truth")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_label_map_ends_in_an_error_for_the_user(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(np.full((4, 4, 4), 9, np.uint8)), str(tmp_path / "labels.nii.gz"))
    with pytest.raises(DataError, match="labels to 9"):
        cohort.read_template(tmp_path / "labels.nii.gz")


def test_params_are_strict():
    values = {"seed": 7, "patients": 0, "image_size": 30, "contamination": True}
    with pytest.raises(ParamsError, match="patients"):
        parse(cohort.Params, values, "cohort")
