"""Tests that a model is applied only to images like those of its training, and that a patient's series are chosen."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import torch
from typer.testing import CliRunner

from helpers.series_factory import CORONAL, stack_positions, write_series
from helpers.stage_inputs import add_series, select_params
from helpers.training_domain import domain
from mrct.cli.main import app
from mrct.core import contracts, files
from mrct.core.contracts import Direction
from mrct.core.errors import DataError
from mrct.imaging.training_domain import Extent, TrainingDomain
from mrct.inference.model import Model, load_model
from mrct.inference.source import Request, Source, WrongInputError, read_source
from mrct.inference.suitability import compare_extent, describe, remarks, rules_of
from mrct.inference.synthesize import synthesize
from mrct.methods.intensity_map import IntensityMapNetwork
from mrct.normalization.intensity import MrScaling
from mrct.normalization.normalization import Normalization
from mrct.selection.parameters import Rules
from mrct.training.model_file import save_model
from stages import select

NORMALIZATION = Normalization(32, 2.0, (-1024.0, 3000.0), MrScaling("percentile", (0.5, 99.5)))
# the series of these tests are 24 x 20 pixels of 1 mm and 6 slices 5 mm apart
SIZES = {"pixel_spacing_mm": 1.0, "slice_spacing_mm": 5.0, "field_mm": 24.0}
T2_MODEL = domain(rules=Rules(), **SIZES)
T1 = {"EchoTime": 12.0, "RepetitionTime": 500.0}
FLAIR = {
    "EchoTime": 120.0,
    "RepetitionTime": 9000.0,
    "InversionTime": 2500.0,
    "ScanningSequence": ["SE", "IR"],
}


def model(stated: TrainingDomain | None = T2_MODEL, direction: Direction = Direction.MR_TO_CT) -> Model:
    return Model("identity", direction, torch.nn.Identity(), NORMALIZATION, stated)


def write_model(file: Path) -> None:
    """Write a model file of T2_MODEL."""
    state, facts = IntensityMapNetwork(4).state_dict(), (NORMALIZATION.to_json(), T2_MODEL.to_json())
    save_model(file, "intensity_map", "mr_to_ct", state, {"bins": 4}, *facts)


def mr(folder: Path, number: int = 1, **attributes: Any) -> Path:
    """Write an MR series that a T2 model takes, except for `attributes`."""
    write_series(folder, "MR", SeriesInstanceUID=f"1.2.{number}", SeriesNumber=number, **attributes)
    return folder


def head_ct(count: int = 6) -> np.ndarray:
    """Return stored values (HU + 1024) of a head of 20 x 16 pixels with a skull, in air."""
    j, i = np.indices((24, 20))
    radius = np.hypot((j - 11.5) / 10, (i - 9.5) / 8)
    noise = np.random.default_rng(0).normal(0, 5, (count, 24, 20))
    hu = np.select([radius < 0.8, radius < 0.95, radius < 1], [35.0, 700.0, 30.0], -1000.0) + noise
    return np.rint(hu + 1024).astype(np.int16)


def ct(folder: Path, number: int = 9, **attributes: Any) -> Path:
    """Write a CT series of a head."""
    attributes = {"values": head_ct(), "ConvolutionKernel": "H31s"} | attributes
    write_series(folder, "CT", SeriesInstanceUID=f"1.2.{number}", SeriesNumber=number, **attributes)
    return folder


def read(path: Path, of: Model | None = None, **options: Any) -> Source:
    return read_source(Request(path, **options), of or model())


def used(source: Source) -> str:
    """Return the name of the series that is used."""
    (one,) = [one for one in source.series if not one.reason]
    return one.name


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        (T1, "T1-weighted .TE 12 ms, TR 500 ms"),
        (FLAIR, "FLAIR: inversion time 2500 ms"),
        ({"SeriesDescription": "t2 dark fluid tra"}, "FLAIR: the word DARK FLUID"),
        ({"EchoTime": 15.0}, "proton density"),
        ({"EchoTime": None}, "weighting unknown, T2 wanted"),
        ({"ContrastBolusAgent": "Gadovist"}, "contrast-enhanced"),
        ({"EchoTrainLength": 16}, "turbo or fast spin echo: an echo train of 16"),
        ({"ScanOptions": "FS"}, "fat suppressed"),
        ({"ImageType": ["DERIVED", "SECONDARY", "MPR"]}, "not an original image"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localizer"),
        (
            {"ImageOrientationPatient": list(CORONAL), "positions": [(0, 5 * k, 0) for k in range(6)]},
            "coronal",
        ),
        ({"BodyPartExamined": "KNEE"}, "not the head: the word KNEE"),
        ({"positions": stack_positions(6, 12.0)}, "slices 12 mm apart, 5 mm in the training"),
        (
            {"positions": stack_positions(6, 2.0), "SliceThickness": 2.0},
            "slices 2 mm apart, 5 mm in the training",
        ),
        ({"PixelSpacing": [4.5, 4.5]}, "pixels of 4.5 mm, 1 mm in the training"),
        ({"PixelSpacing": [0.45, 0.45]}, "a field of 11 mm, 24 mm in the training"),
    ],
)
def test_a_series_unlike_those_of_the_training_is_refused_with_the_reason(tmp_path, attributes, reason):
    with pytest.raises(WrongInputError, match=rf"{reason}.*takes T2 MR, axial, slices 5 mm apart") as caught:
        read(mr(tmp_path / "in", **attributes))
    (found,) = caught.value.series
    assert (found.name, found.n_images, found.folder) == ("1", 6, Path())
    departures = read(tmp_path / "in", force=True).departures
    assert departures[0].split("; also")[0] in str(caught.value)


def test_a_series_like_those_of_the_training_is_taken_without_a_remark(tmp_path):
    source = read(mr(tmp_path / "in"))
    assert source.volume.GetSize() == (20, 24, 6)
    assert len(source.headers) == 6
    assert source.departures == source.notes == ()
    assert used(source) == "1"


@pytest.mark.parametrize(
    ("rules", "attributes", "taken"),
    [
        (Rules(accept=("tse",)), {"EchoTrainLength": 16}, True),
        (Rules(accept=("contrast",)), {"ContrastBolusAgent": "x"}, True),
        (Rules(), {"EchoTrainLength": 16}, False),
        (Rules(max_angle_deg=1.0), {"ImageOrientationPatient": [1, 0, 0, 0, 0.9848, 0.1736]}, False),
        (Rules(min_coverage_mm=60.0), {}, False),
        (Rules(min_field_mm=150.0), {}, False),
        (Rules(max_spacing_mm=4.0), {}, False),
    ],
)
def test_what_the_selection_of_the_training_refused_is_refused(tmp_path, rules, attributes, taken):
    path, of = mr(tmp_path / "in", **attributes), model(domain(rules=rules, **SIZES))
    if taken:
        assert used(read(path, of)) == "1"
    else:
        with pytest.raises(WrongInputError, match="is refused"):
            read(path, of)


def test_a_t1_model_takes_t1_and_no_t2(tmp_path):
    of = model(domain(weighting="t1", rules=Rules(weighting="t1"), **SIZES))
    mr(tmp_path / "t2", 1)
    mr(tmp_path / "t1", 2, **T1)
    assert [one.kind for one in read(tmp_path, of).series if not one.reason] == ["MR t1 axial"]
    with pytest.raises(WrongInputError, match="t2 by its times, T1 wanted"):
        read(tmp_path / "t2", of)


def test_a_model_of_any_weighting_takes_only_those_it_has_seen(tmp_path):
    of = model(domain(weighting="t1", rules=Rules(weighting="any", accept=("t1", "pd")), **SIZES))
    assert read(mr(tmp_path / "t1", **T1), of).departures == ()
    with pytest.raises(WrongInputError, match="t2 by its times, the training has t1 alone"):
        read(mr(tmp_path / "t2"), of)


def test_slightly_other_sizes_are_remarked(tmp_path):
    source = read(mr(tmp_path / "in", positions=stack_positions(6, 6.0), SliceThickness=6.0))
    assert source.departures == ()
    assert [note for note in source.notes if "slices 6 mm apart, 5 mm in the training" in note]


@pytest.mark.parametrize(
    ("extent", "severe", "slight"),
    [
        ({}, 0, 0),
        ({"slice_spacing_mm": 5.4}, 0, 0),  # rounding of one prescription
        ({"slice_spacing_mm": 6.0}, 0, 1),
        ({"slice_spacing_mm": 10.1}, 1, 0),
        ({"slice_spacing_mm": 2.4}, 1, 0),
        ({"pixel_spacing_mm": 0.2}, 0, 0),  # finer pixels are smoothed
        ({"pixel_spacing_mm": 2.0}, 0, 0),  # as coarse as the network's own
        ({"pixel_spacing_mm": 3.0}, 0, 1),
        ({"pixel_spacing_mm": 4.1}, 1, 0),
        ({"field_mm": 500.0}, 0, 0),  # cropped to the head
        ({"field_mm": 15.0}, 0, 1),
        ({"field_mm": 11.0, "slice_spacing_mm": 20.0}, 2, 0),
    ],
)
def test_sizes_are_compared_where_the_network_sees_them(extent, severe, slight):
    found = compare_extent(Extent(**(SIZES | extent)), model())
    assert (len(found.severe), len(found.slight)) == (severe, slight)


def _patient(root: Path) -> None:
    """Write a patient with two good MR, the second with more slices, and what select refuses, in data/anonymized."""
    head = {"positions": stack_positions(6)}
    add_series(root, "P1", "S1", "CT", **head, values=head_ct(), SeriesNumber=1, StudyDate="20200110")
    add_series(root, "P1", "S2", "MR", **head, SeriesNumber=2, StudyDate="20200110")
    add_series(root, "P1", "S3", "MR", positions=stack_positions(9), SeriesNumber=3, StudyDate="20200110")
    add_series(root, "P1", "S4", "MR", positions=stack_positions(12), SeriesNumber=4, StudyDate="20190101")
    add_series(root, "P1", "S5", "MR", **head, SeriesNumber=5, **T1)
    add_series(root, "P1", "S6", "MR", **head, SeriesNumber=6, EchoTrainLength=8)
    files.write_json(
        root / "manifest.json", {"layout": "dicom", "registered": False, "mr_weighting": "unknown"}
    )


@pytest.mark.parametrize("prefer", [("nearest_date", "more_slices"), ("more_slices",), ("last",), ("first",)])
@pytest.mark.parametrize("broken", [False, True])
def test_the_series_of_a_patient_is_the_one_that_select_chooses(tmp_path, monkeypatch, prefer, broken):
    monkeypatch.setenv("MRCT_WORKERS", "1")
    _patient(tmp_path / "a")
    if broken:
        for file in (tmp_path / "a").rglob("S[34]/04.dcm"):
            file.write_bytes(file.read_bytes()[:-200])
    select.run(select_params(prefer=list(prefer), max_days_between=0), tmp_path / "a", tmp_path / "selected")
    table = contracts.SELECTED_SERIES.read(tmp_path / "selected")
    (chosen,) = table[(table["modality"] == "MR") & (table["decision"] == "kept")]["series"]
    facts = select.SelectedAcquisitions.from_json(files.read_json(tmp_path / "selected/acquisitions.json"))
    source = read(tmp_path / "a/images", model(facts.domain(["P1"])))
    assert [one.folder.name for one in source.series if not one.reason] == [chosen]
    expected = sitk.ReadImage(str(tmp_path / "selected/P1/mr.nii.gz"))
    assert np.array_equal(sitk.GetArrayFromImage(source.volume), sitk.GetArrayFromImage(expected))
    rejected = dict(zip(table["series"], table["rule"], strict=True))
    for one in source.series:
        assert bool(one.reason) == bool(rejected[one.folder.name]) or one.kind.startswith("CT")


def test_the_domain_is_that_of_the_training_patients_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("MRCT_WORKERS", "1")
    root = tmp_path / "a"
    for n, spacing_mm in enumerate((3.0, 4.0, 7.0), 1):
        places = stack_positions(6, spacing_mm)
        add_series(root, f"P{n}", f"S{n}1", "CT", values=head_ct(), positions=places, PixelSpacing=[0.5, 0.5])
        add_series(root, f"P{n}", f"S{n}2", "MR", positions=places, PixelSpacing=[n / 2, n / 2])
    files.write_json(
        root / "manifest.json", {"layout": "dicom", "registered": False, "mr_weighting": "unknown"}
    )
    settings = select_params(accept=["tse"])
    select.run(settings, root, tmp_path / "selected")
    facts = select.SelectedAcquisitions.from_json(files.read_json(tmp_path / "selected/acquisitions.json"))
    found = facts.domain(["P1", "P2"])
    assert found.mr.slice_spacing_mm == found.ct.slice_spacing_mm == (3.0, 4.0)
    assert found.mr.pixel_spacing_mm == (0.5, 1.0)
    assert found.ct.pixel_spacing_mm == (0.5, 0.5)
    assert found.mr.field_mm == (12.0, 24.0)
    assert (found.mr.weightings, found.ct.weightings, found.mr.planes) == (("t2",), ("",), ("axial",))
    assert rules_of(found) == settings.rules()
    assert TrainingDomain.from_json(found.to_json()) == found
    with pytest.raises(DataError, match="no image is listed of P9; run the stage select again"):
        facts.domain(["P1", "P9"])


def test_no_series_fits_and_each_is_listed_with_place_and_reason(tmp_path):
    mr(tmp_path / "in/Quenneville Zebulon/a", 1, **T1)
    mr(tmp_path / "in/Quenneville Zebulon/b", 2, EchoTrainLength=8, SeriesDescription="Quenneville knee")
    ct(tmp_path / "in/ct")
    with pytest.raises(WrongInputError, match="none of 2 MR series can be used: series 1: T1") as caught:
        read(tmp_path / "in")
    found = [(one.name, one.kind, one.n_images, str(one.folder)) for one in caught.value.series]
    assert found == [
        ("1", "MR t1 axial", 6, "Quenneville Zebulon/a"),
        ("2", "MR t2 axial", 6, "Quenneville Zebulon/b"),
        ("3", "CT axial", 6, "ct"),
    ]
    # a name may stand in a path, which the user has given; it never stands in the text of an error
    assert "quenneville" not in str(caught.value).lower()
    assert all("quenneville" not in one.reason.lower() for one in caught.value.series)


def test_force_needs_one_series_and_takes_the_numbered_one(tmp_path):
    mr(tmp_path / "in/a", 1, **T1)
    mr(tmp_path / "in/b", 2, EchoTrainLength=8, **T1)
    with pytest.raises(WrongInputError, match="2 MR series; name one with --series"):
        read(tmp_path / "in", force=True)
    source = read(tmp_path / "in", force=True, series=2)
    assert source.departures == ("T1-weighted (TE 12 ms, TR 500 ms); also: tse, weighting",)
    with pytest.raises(WrongInputError, match="--series 3: the input has 2 series"):
        read(tmp_path / "in", series=3)


def test_force_changes_nothing_where_a_series_fits(tmp_path):
    mr(tmp_path / "in/a", 1, **T1)
    mr(tmp_path / "in/b", 2)
    source = read(tmp_path / "in", force=True)
    assert source.departures == ()
    assert used(source) == "2"


def test_force_takes_no_image_of_another_modality_and_no_slices_that_form_no_volume(tmp_path):
    ct(tmp_path / "ct")
    with pytest.raises(WrongInputError, match="holds 1 CT series; expected MR"):
        read(tmp_path / "ct", force=True)
    mr(tmp_path / "mr", positions=[(0, 0, z) for z in (0, 5, 25, 26, 70, 99)])
    with pytest.raises(WrongInputError, match=r"evenly spaced.*force cannot help"):
        read(tmp_path / "mr", force=True)


def test_a_forced_result_says_so_in_its_headers(tmp_path):
    path = mr(tmp_path / "in", **T1)
    done = synthesize(Request(path, force=True), tmp_path / "out", model())
    header = pydicom.dcmread(done.files[0])
    assert header.SeriesDescription == "Synthetic CT of UNSUITABLE INPUT (research use only)"
    assert len(header.SeriesDescription) <= 64
    assert header.ImageComments.startswith("UNSUITABLE INPUT, forced: T1-weighted (TE 12 ms, TR 500 ms)")
    assert "T1-weighted" in header.DerivationDescription
    assert "not for diagnosis" in header.DerivationDescription
    clean = synthesize(Request(mr(tmp_path / "t2")), tmp_path / "clean", model())
    header = pydicom.dcmread(clean.files[0])
    assert header.SeriesDescription == "Synthetic CT (research use only)"
    assert "ImageComments" not in header


def test_copies_are_counted_once(tmp_path):
    """A second download beside the first, and a part of the slices a third time."""
    mr(tmp_path / "in/mr")
    mr(tmp_path / "in/copy")
    for name in ("00.dcm", "01.dcm"):
        (tmp_path / "in" / name).write_bytes((tmp_path / "in/mr" / name).read_bytes())
    source = read(tmp_path / "in")
    assert [one.n_images for one in source.series] == [6]
    assert source.notes == ("8 files left out as copies of others",)
    assert len(source.headers) == 6


def test_files_that_share_a_uid_and_differ_are_left_out(tmp_path):
    mr(tmp_path / "in/a")
    mr(tmp_path / "in/b", values=np.full((6, 24, 20), 7, np.int16))
    mr(tmp_path / "in/c", 2)
    source = read(tmp_path / "in")
    assert [str(one.folder) for one in source.series] == ["c"]
    assert "12 files left out: their SOPInstanceUID is that of another image" in source.notes


def test_the_other_direction_compares_with_the_ct_of_the_training(tmp_path):
    of = model(direction=Direction.CT_TO_MR)
    ct(tmp_path / "in/ct", 1)
    ct(tmp_path / "in/bone", 2, ConvolutionKernel="H70h")
    mr(tmp_path / "in/mr", 3, **T1)
    source = read(tmp_path / "in", of)
    assert {str(one.folder): one.reason[:24] for one in source.series} == {
        "ct": "",
        "bone": "reconstructed with a sha",
        "mr": "MR; the model takes CT",
    }
    with pytest.raises(WrongInputError, match=r"sharp kernel.*takes CT, axial"):
        read(tmp_path / "in/bone", of)


def test_an_older_model_file_is_used_and_says_what_it_does_not_state(tmp_path):
    of = model(None)
    assert "does not state" in " ".join(read(mr(tmp_path / "t1", 1, **T1), of).notes)
    mr(tmp_path / "t2", 2)
    with pytest.raises(
        WrongInputError, match="2 MR series could be used, and the model file does not"
    ) as caught:
        read(tmp_path, of)
    assert [one.reason for one in caught.value.series] == ["could be used"] * 2
    assert [one.kind for one in read(tmp_path, of, series=2).series] == ["MR t2 axial"]
    coronal = mr(
        tmp_path / "cor",
        3,
        ImageOrientationPatient=list(CORONAL),
        positions=[(0, 5 * k, 0) for k in range(6)],
    )
    with pytest.raises(WrongInputError, match="coronal"):
        read(coronal, of)


@pytest.mark.parametrize("declared", ["t1", "unknown"])
def test_a_model_of_volumes_knows_only_the_declared_weighting(tmp_path, declared):
    of = model(domain(weighting=declared, **SIZES))
    taken = read(mr(tmp_path / "t1", EchoTrainLength=8, ContrastBolusAgent="x", **T1), of)
    assert any("do not state" in note for note in taken.notes)
    if declared == "t1":
        with pytest.raises(WrongInputError, match="T1 wanted"):
            read(mr(tmp_path / "t2"), of)
    else:
        assert read(mr(tmp_path / "t2"), of).departures == ()


def test_a_volume_file_is_compared_by_its_sizes_and_taken_as_the_wanted_kind(tmp_path):
    path = tmp_path / "MR.NII.GZ"
    image = sitk.GetImageFromArray(np.random.default_rng(0).uniform(0, 500, (6, 24, 20)).astype(np.float32))
    for spacing_mm, slices_mm in ((1.0, 5.0), (1.0, 20.0)):
        image.SetSpacing((spacing_mm, spacing_mm, slices_mm))
        sitk.WriteImage(image, str(tmp_path / "mr.nii.gz"))
        (tmp_path / "mr.nii.gz").replace(path)
        if slices_mm == 5.0:
            assert read(path).notes == (
                "MR.NII.GZ: no header says that this is T2 MR; taken as such, and of another kind the result is wrong",
            )
    with pytest.raises(WrongInputError, match=r"slices 20 mm apart, 5 mm in the training.*--force"):
        read(path)
    assert read(path, force=True).departures == ("slices 20 mm apart, 5 mm in the training",)
    with pytest.raises(WrongInputError, match="a volume file has no series"):
        read(path, series=1)


def test_what_a_model_takes_is_one_line():
    assert describe(model()) == ("T2 MR, axial, slices 5 mm apart, pixels of 1 mm, a field of 24 mm")
    wide = replace(
        model(),
        domain=T2_MODEL.model_copy(
            update={"mr": T2_MODEL.mr.model_copy(update={"field_mm": (200.0, 250.0)})}
        ),
    )
    assert describe(wide).endswith("a field of 200 to 250 mm")
    assert remarks(model()) == ()


def test_a_model_file_keeps_its_domain(tmp_path):
    file = tmp_path / "mr_to_ct.safetensors"
    write_model(file)
    assert load_model(file).domain == T2_MODEL
    assert rules_of(load_model(file).domain) == Rules()


@pytest.mark.parametrize(
    ("selection", "unknown"),
    [
        ({"weighting": 3.5}, "weighting"),
        ({"reject": ["tse", "a_rule_of_2031"]}, "a_rule_of_2031"),
        ({"prefer": ["brightest"]}, "brightest"),
        ({"min_slices": 3}, "min_slices"),
    ],
)
def test_a_model_file_of_a_newer_version_is_refused_where_its_rules_are_unknown(selection, unknown):
    newer = TrainingDomain.from_json(T2_MODEL.to_json() | {"selection": selection})
    with pytest.raises(DataError, match=f"its selection has {unknown}, which this version does not know"):
        rules_of(newer)


def test_the_command_lists_the_series_and_asks_for_force(tmp_path):
    file = tmp_path / "mr_to_ct.safetensors"
    write_model(file)
    mr(tmp_path / "in/first one", 1, **T1)
    mr(tmp_path / "in/second", 2, **FLAIR)
    arguments = ["synthesize", str(tmp_path / "in"), str(tmp_path / "out"), "--model", str(file)]
    refused = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert refused.exit_code == 1
    for text in ("first one", "second", "MR t1 axial", "MR flair axial", "FLAIR: inversion time", "--force"):
        assert text in refused.output
    assert not (tmp_path / "out").exists()
    forced = CliRunner().invoke(app, [*arguments, "--force", "--series", "1"])
    assert forced.exit_code == 0, forced.output
    assert "WARNING: forced: T1-weighted" in forced.output
    mr(tmp_path / "in/third", 3)
    arguments[2] = str(tmp_path / "good")
    chosen = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert chosen.exit_code == 0, chosen.output
    assert "6 files written" in chosen.output
    assert "third" in chosen.output


def test_a_head_ct_in_two_series_is_joined_as_select_does(tmp_path):
    places = stack_positions(16)
    ct(tmp_path / "in/base", 1, values=head_ct(8), positions=places[:8], FrameOfReferenceUID="1.7")
    ct(tmp_path / "in/vertex", 2, values=head_ct(8), positions=places[8:], FrameOfReferenceUID="1.7")
    source = read(tmp_path / "in", model(direction=Direction.CT_TO_MR))
    assert source.volume.GetSize()[2] == len(source.headers) == 16
    assert [one.reason for one in source.series] == ["", ""]
    assert "joined from the series 1 and 2, which continue each other" in source.notes
