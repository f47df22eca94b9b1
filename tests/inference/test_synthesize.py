"""Tests of a model on a new patient: geometry and HU in DICOM and NIfTI; wrong inputs are refused."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import torch
from typer.testing import CliRunner

from helpers.training_domain import domain
from mrct.cli.main import app
from mrct.core.contracts import Direction
from mrct.core.errors import DataError, OutputExistsError
from mrct.dicom.write import write_synthetic_series
from mrct.imaging.volumes import affine, read_volume
from mrct.inference.model import Model, load_model
from mrct.inference.source import Request, WrongInputError
from mrct.inference.synthesize import Synthesized, translate_volume
from mrct.inference.synthesize import synthesize as synthesize_request
from mrct.methods.intensity_map import IntensityMapNetwork
from mrct.networks.whole_volume import VolumeNetwork
from mrct.normalization.intensity import MrScaling
from mrct.normalization.normalization import Normalization
from mrct.selection.parameters import Rules
from mrct.training.model_file import save_model
from virtual_hospital.geometry import Grid
from virtual_hospital.images import to_multiframe

NORMALIZATION = Normalization(64, 4.0, (-1024.0, 3000.0), MrScaling("percentile", (0.5, 99.5)))
DOMAIN = domain(rules=Rules(), pixel_spacing_mm=3.0, field_mm=180.0)
ORIGINAL = {
    "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
    "Manufacturer": "SIEMENS",
    "SeriesDescription": "x",
}
SCANNED = {
    "MR": ORIGINAL
    | {"EchoTime": 100.0, "RepetitionTime": 4000.0, "EchoTrainLength": 1, "ScanningSequence": "SE"},
    "CT": ORIGINAL | {"ConvolutionKernel": "H31s"},
}


@pytest.fixture
def model_file(tmp_path) -> Path:
    """An intensity map that turns the darkest MR into air and the brightest into 1000 HU, linearly."""
    network = IntensityMapNetwork(256)
    hu = torch.linspace(-1024, 1000, 256)
    network.table.copy_((hu + 1024) / 4024 * 2 - 1)
    file = tmp_path / "mr_to_ct.safetensors"
    save_model(
        file,
        "intensity_map",
        "mr_to_ct",
        network.state_dict(),
        {"bins": 256},
        NORMALIZATION.to_json(),
        DOMAIN.to_json(),
    )
    return file


@pytest.fixture
def mr() -> sitk.Image:
    """A bright ball in noise, 10 slices of 60 x 50 pixels, off center and slightly oblique."""
    z, y, x = np.mgrid[:10, :50, :60]
    ball = ((x - 28) / 20) ** 2 + ((y - 26) / 18) ** 2 + ((z - 5) / 8) ** 2 < 1
    array = np.where(ball, 600.0, 5.0) + np.random.default_rng(0).uniform(0, 20, ball.shape)
    image = sitk.GetImageFromArray(array.astype(np.float32))
    image.SetSpacing((3.0, 3.0, 5.0))
    image.SetOrigin((-90.0, -60.0, 30.0))
    tilt = sitk.Euler3DTransform((0.0, 0.0, 0.0), 0.05, 0.0, 0.03)
    image.SetDirection(tilt.GetMatrix())
    return image


@pytest.mark.parametrize(
    "change",
    [{"direction": "pet_to_ct"}, {"normalization": {"image_size": 64}}, {"domain": {"selection": None}}],
    ids=["direction", "normalization", "domain"],
)
def test_a_header_that_this_version_does_not_know_is_an_error_that_names_the_file(tmp_path, change):
    header = {"direction": "mr_to_ct", "normalization": NORMALIZATION.to_json(), "domain": DOMAIN.to_json()}
    header |= change
    save_model(tmp_path / "odd.safetensors", "intensity_map", weights={}, config={"bins": 2}, **header)
    with pytest.raises(DataError, match=r"odd\.safetensors: its header"):
        load_model(tmp_path / "odd.safetensors")


def test_synthetic_mr_lies_between_0_and_1000_on_the_voxels_of_the_ct(mr):
    """An identity: the CT's HU window becomes the range of the MR."""
    model = Model("identity", Direction.CT_TO_MR, torch.nn.Identity(), NORMALIZATION)
    ct = mr * 2.0 - 1024.0
    synthetic = translate_volume(ct, model)
    assert np.allclose(affine(synthetic), affine(ct))
    values = sitk.GetArrayFromImage(synthetic)
    assert values.min() >= 0
    assert values[5, 26, 28] == pytest.approx(1000 * 2 * 610 / 4024, rel=0.03)


def _dicom(folder: Path, image: sitk.Image, modality: str, **attributes) -> Path:
    """Write a series as a scanner does; `attributes` change its headers."""
    for file in write_synthetic_series(image, None, folder, modality):
        header = pydicom.dcmread(file)
        header.PatientID = "A1"
        header.update(SCANNED[modality] | attributes)
        del header.DerivationDescription
        header.save_as(file)
    return folder


def synthesize(path: Path, out: Path, model: Model, **options) -> Synthesized:
    return synthesize_request(Request(path, **options), out, model)


def test_nifti_keeps_the_grid_and_gives_hu(tmp_path, mr, model_file):
    sitk.WriteImage(mr, str(tmp_path / "mr.nii.gz"))
    files = synthesize(tmp_path / "mr.nii.gz", tmp_path / "ct.nii.gz", load_model(model_file)).files
    out, source = read_volume(files[0]), read_volume(tmp_path / "mr.nii.gz")
    assert out.GetSize() == source.GetSize()
    assert np.allclose(out.GetOrigin(), source.GetOrigin(), atol=1e-3)
    assert np.allclose(out.GetDirection(), source.GetDirection(), atol=1e-5)
    hu = sitk.GetArrayFromImage(out)
    assert hu[5, 26, 28] > 800
    assert hu[5, 2, 2] < -900


def test_a_network_of_volumes_sees_the_whole_volume_and_how_far_apart_its_slices_are(mr):
    class Whole(VolumeNetwork):
        def translate_volume(self, volume, slice_spacing_mm, device, others):
            assert volume.shape == (10, 64, 64)
            assert slice_spacing_mm == pytest.approx(5.0)
            return np.asarray(volume)

    model = Model("whole", Direction.MR_TO_CT, Whole(), NORMALIZATION)
    hu = sitk.GetArrayFromImage(translate_volume(mr, model))
    assert hu[5, 26, 28] > 2000
    assert hu[5, 2, 2] < -900


def test_dicom_in_dicom_out_at_the_same_places(tmp_path, mr, model_file):
    source = _dicom(tmp_path / "in", mr, "MR")
    files = synthesize(source, tmp_path / "out", load_model(model_file)).files
    assert len(files) == 10
    headers = sorted((pydicom.dcmread(f) for f in files), key=lambda d: float(d.ImagePositionPatient[2]))
    reference = sorted(
        (pydicom.dcmread(f) for f in source.iterdir()), key=lambda d: float(d.ImagePositionPatient[2])
    )
    for synthetic, real in zip(headers, reference, strict=True):
        assert synthetic.Modality == "CT"
        assert np.allclose(synthetic.ImagePositionPatient, real.ImagePositionPatient, atol=0.01)
        assert np.allclose(synthetic.ImageOrientationPatient, real.ImageOrientationPatient, atol=1e-4)
        assert synthetic.StudyInstanceUID == real.StudyInstanceUID
        assert synthetic.SeriesInstanceUID != real.SeriesInstanceUID
    hu = headers[5].pixel_array * float(headers[5].RescaleSlope) + float(headers[5].RescaleIntercept)
    assert hu[26, 28] > 800
    assert hu[2, 2] < -900


def _enhanced(folder: Path, image: sitk.Image) -> Path:
    """The series as one enhanced file, as the virtual hospital writes it."""
    files = sorted(_dicom(folder.with_name("classic"), image, "MR").iterdir())
    headers = [pydicom.dcmread(file) for file in files]
    headers[0].update({"EchoTime": 100.0, "RepetitionTime": 4000.0, "EchoTrainLength": 1, "FlipAngle": 90.0})
    headers[0].RescaleType = "US"
    assert all(element.tag for element in headers[0])  # pydicom parses an element on access
    grid = Grid(affine(image), image.GetSize()[::-1], image.GetSpacing()[2])
    whole = to_multiframe(headers[0], grid, np.stack([header.pixel_array for header in headers]))
    folder.mkdir()
    whole.save_as(folder / "enhanced.dcm")
    return folder


def test_an_enhanced_file_gives_what_its_slices_would(tmp_path, mr, model_file):
    source, model = _enhanced(tmp_path / "enhanced", mr), load_model(model_file)
    files = synthesize(source, tmp_path / "out", model).files
    reference = synthesize(tmp_path / "classic", tmp_path / "expected", model).files
    uids = {pydicom.dcmread(source / "enhanced.dcm").SOPInstanceUID}
    assert len(files) == len(reference) == 10
    for number, pair in enumerate(zip(files, reference, strict=True), 1):
        found, expected = map(pydicom.dcmread, pair)
        assert np.allclose(found.ImagePositionPatient, expected.ImagePositionPatient, atol=1e-4)
        assert np.abs(found.pixel_array.astype(int) - expected.pixel_array).max() <= 1
        assert found.StudyInstanceUID == expected.StudyInstanceUID
        assert {item.ReferencedSOPInstanceUID for item in found.SourceImageSequence} == uids
        assert [item.ReferencedFrameNumber for item in found.SourceImageSequence] == [number]
        assert "ReferencedFrameNumber" not in expected.SourceImageSequence[0]
    # the path of the file is accepted as well
    assert synthesize(source / "enhanced.dcm", tmp_path / "again", model).files


def test_a_multi_frame_file_that_does_not_place_its_frames_is_refused(tmp_path, mr, model_file):
    file = _enhanced(tmp_path / "enhanced", mr) / "enhanced.dcm"
    image = pydicom.dcmread(file)
    del image.PerFrameFunctionalGroupsSequence
    image.save_as(file)
    with pytest.raises(WrongInputError, match="frames have no own geometry"):
        synthesize(file, tmp_path / "out", load_model(model_file))


def test_the_input_alone_decides(tmp_path, mr, model_file):
    """Another gain of the receiver gives the same CT: the MR scale is the volume's own."""
    model = load_model(model_file)
    once, again = (sitk.GetArrayFromImage(translate_volume(image, model)) for image in (mr, mr * 3.0))
    assert np.abs(once - again).max() < 20


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder, mr: _dicom(folder, mr, "CT"), "holds 1 CT series; expected MR"),
        (lambda folder, mr: _dicom(folder, _coronal(mr), "MR"), "coronal"),
        (lambda folder, mr: folder, "no such file"),
        (lambda folder, mr: _with(folder, "notes.txt"), "no DICOM image of CT or MR .files read: 1"),
        (
            lambda folder, mr: _with(folder, "mr.nrrd") / "mr.nrrd",
            "no DICOM image of CT or MR .files read: 1",
        ),
        (lambda folder, mr: folder.mkdir() or folder, "no DICOM image of CT or MR .files read: 0"),
        (
            lambda folder, mr: (
                _dicom(_dicom(folder / "a", mr, "MR").parent / "b", mr, "MR", PatientID="Q").parent
            ),
            "images of 2 PatientIDs; expected one patient",
        ),
    ],
    ids=["a CT given as MR", "coronal", "missing", "no DICOM", "unknown suffix", "empty", "two patients"],
)
def test_wrong_input_is_refused_with_the_reason(tmp_path, mr, model_file, make, message):
    with pytest.raises(WrongInputError, match=message):
        synthesize(make(tmp_path / "in", mr), tmp_path / "out", load_model(model_file))
    assert not (tmp_path / "out").exists()


def _with(folder: Path, name: str) -> Path:
    folder.mkdir()
    (folder / name).write_text("no image")
    return folder


def _coronal(image: sitk.Image) -> sitk.Image:
    turned = sitk.Image(image)
    turned.SetDirection((1, 0, 0, 0, 0, 1, 0, -1, 0))
    return turned


def test_a_ct_volume_given_as_mr_is_refused(tmp_path, mr, model_file):
    sitk.WriteImage(mr - 1024.0, str(tmp_path / "ct.nii.gz"))
    with pytest.raises(WrongInputError, match="a CT in HU, not an MR"):
        synthesize(tmp_path / "ct.nii.gz", tmp_path / "out.nii.gz", load_model(model_file))


def test_a_full_output_folder_is_left_alone(tmp_path, mr, model_file):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("kept")
    with pytest.raises(FileExistsError, match="not empty"):
        synthesize(_dicom(tmp_path / "in", mr, "MR"), tmp_path / "out", load_model(model_file))


@pytest.mark.parametrize("name", ["ct.nrrd", "ct.dcm", "ct.gz", "ct.NII.zip", "Dr.Smith"])
def test_an_unknown_suffix_of_the_output_is_refused(tmp_path, mr, model_file, name):
    with pytest.raises(DataError, match=r"is no suffix of a volume file.*\.nii\.gz, \.nii, \.mha, \.mhd"):
        synthesize(_dicom(tmp_path / "in", mr, "MR"), tmp_path / name, load_model(model_file))
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["ct", "scan.2", "2024.05", ".ct"])
def test_a_name_without_suffix_is_a_new_folder(tmp_path, mr, model_file, name):
    synthesize(_dicom(tmp_path / "in", mr, "MR"), tmp_path / name, load_model(model_file))
    assert len(list((tmp_path / name).glob("*.dcm"))) == 10


@pytest.mark.parametrize("name", ["ct.NII.GZ", "CT.Nii", "ct.MHA"])
def test_a_known_suffix_may_be_in_capitals(tmp_path, mr, model_file, name):
    (file,) = synthesize(_dicom(tmp_path / "in", mr, "MR"), tmp_path / name, load_model(model_file)).files
    assert file == tmp_path / name
    assert read_volume(file).GetSize() == (60, 50, 10)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "in", "mr_to_ct.safetensors"])


def test_no_file_is_overwritten(tmp_path, mr, model_file):
    path = tmp_path / "mr.nii.gz"
    sitk.WriteImage(mr, str(path))
    before = path.read_bytes()
    with pytest.raises(OutputExistsError, match="exists"):
        synthesize(path, path, load_model(model_file))
    assert path.read_bytes() == before


def test_command_line(tmp_path, mr, model_file):
    source = _dicom(tmp_path / "in", mr, "MR")
    arguments = ["synthesize", str(source), str(tmp_path / "out"), "--model", str(model_file)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "10 files written" in result.output
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 1
    assert "not empty" in again.output


def test_a_slice_that_the_source_lacks_is_not_invented(tmp_path, mr, model_file):
    """Neither in DICOM, where no image has its level, nor in a volume, where it is air."""
    source = _dicom(tmp_path / "in", mr, "MR")
    lost = sorted(source.iterdir())[4]
    level = pydicom.dcmread(lost).ImagePositionPatient
    lost.unlink()
    written = synthesize(source, tmp_path / "out", load_model(model_file))
    files = written.files
    assert "1 missing slice interpolated, never used as a pair" in written.notes
    real = {
        tuple(map(float, one.ImagePositionPatient)): one for one in map(pydicom.dcmread, source.iterdir())
    }
    made = {tuple(map(float, one.ImagePositionPatient)): one for one in map(pydicom.dcmread, files)}
    assert len(made) == 9
    at = np.array(sorted(made))
    assert at == pytest.approx(np.array(sorted(real)), abs=0.01)
    assert np.linalg.norm(at - np.array(level, float), axis=1).min() > 4.9
    sources = {one.SourceImageSequence[0].ReferencedSOPInstanceUID for one in made.values()}
    assert sources == {one.SOPInstanceUID for one in real.values()}
    files = synthesize(source, tmp_path / "ct.nii.gz", load_model(model_file)).files
    hu = sitk.GetArrayFromImage(read_volume(files[0]))
    assert np.flatnonzero((hu == -1024).all(axis=(1, 2))).tolist() == [4]
