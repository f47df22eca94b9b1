"""Difficult series of real hospitals, one test per trap (28 to 42): the stage decides and gives the reason."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from pydicom import dcmread

from helpers import series_factory
from helpers.series_factory import (
    CORONAL,
    SAGITTAL,
    head_ct,
    items,
    smooth,
    stack_positions,
    write_enhanced,
    write_series,
)
from mrct.core import contracts, files, params
from stages.select import Params, run

# the series of these tests are 24 pixels wide and a few slices high
SMALL = {"min_coverage_mm": 0.0, "min_field_mm": 0.0}


class Hospital:
    """One patient's series, with a plain CT (C) and a plain axial T2 (M) that the stage can always pair."""

    def __init__(self, root: Path) -> None:
        self.source, self.out = root / "anonymized", root / "selected"
        files.write_json(
            self.source / "manifest.json",
            {"layout": "dicom", "registered": False, "mr_weighting": "unknown"},
        )

    def plain(self) -> "Hospital":
        self.add("C", "CT", positions=stack_positions(9), SeriesNumber=1)
        self.add("M", "MR", positions=stack_positions(9), SeriesNumber=1)
        return self

    def folder(self, name: str) -> Path:
        return self.source / "images" / "P0000000001" / "T1" / name

    def add(self, name: str, modality: str, **attributes: Any) -> None:
        write_series(self.folder(name), modality, SeriesInstanceUID=f"1.{ord(name[0])}", **attributes)

    def select(self, **changes: Any) -> pd.DataFrame:
        """Run the stage and return series.csv by series."""
        settings = params.parse(Params, params.read()["select"] | SMALL | changes, "select")
        run(settings, self.source, self.out)
        return contracts.SELECTED_SERIES.read(self.out).set_index("series")


@pytest.fixture
def hospital(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hospital:
    monkeypatch.setenv("MRCT_WORKERS", "1")
    return Hospital(tmp_path)


def tilted(degrees: float) -> tuple[list[float], list[Any]]:
    """Return cosines and positions of nine axial slices rotated about x."""
    angle = np.radians(degrees)
    normal = np.array([0.0, -np.sin(angle), np.cos(angle)])
    return [1, 0, 0, 0, float(np.cos(angle)), float(np.sin(angle))], [5.0 * k * normal for k in range(9)]


def test_trap_28_a_localizer_labelled_original_is_told_by_its_geometry(hospital: Hospital) -> None:
    planes = [series_factory.AXIAL, CORONAL, SAGITTAL]
    hospital.plain().add(
        "L",
        "MR",
        positions=stack_positions(9),
        each=lambda k: {"ImageOrientationPatient": list(planes[k // 3])},
    )
    hospital.add("X", "MR", positions=stack_positions(5, spacing_mm=20.0))
    table = hospital.select()
    assert table.loc[["L", "X"], "rule"].tolist() == ["localizer", "localizer"]
    assert table.loc["L", "reason"] == "localizer: 3 orientations in one series"
    assert table.loc["X", "reason"] == "localizer: 5 slices 20 mm apart"


def test_trap_29_a_coronal_series_named_axial_is_coronal(hospital: Hospital) -> None:
    places = [(0.0, 5.0 * k, 0.0) for k in range(9)]
    hospital.plain().add(
        "K", "MR", positions=places, ImageOrientationPatient=list(CORONAL), SeriesDescription="AX T2"
    )
    table = hospital.select()
    assert table.loc["K", ["plane", "rule"]].tolist() == ["coronal", "coronal"]


def test_trap_30_a_tilt_within_tolerance_is_kept_and_its_angle_listed(hospital: Hospital) -> None:
    hospital.add("C", "CT", positions=stack_positions(9))
    for name, degrees in (("A", 29.0), ("B", 31.0)):
        cosines, places = tilted(degrees)
        hospital.add(name, "MR", positions=places, ImageOrientationPatient=cosines)
    table = hospital.select()
    assert table.loc["A", ["decision", "angle_deg"]].tolist() == ["kept", pytest.approx(29.0, abs=0.01)]
    assert table.loc["B", "rule"] == "oblique"
    assert "31.0° from axial" in table.loc["B", "reason"]


def test_trap_31_flair_named_t2_is_told_by_its_inversion_time(hospital: Hospital) -> None:
    hospital.plain().add(
        "F", "MR", SeriesDescription="AX T2", InversionTime=2500.0, EchoTime=120.0, RepetitionTime=9000.0
    )
    table = hospital.select()
    assert table.loc["F", "reason"] == "FLAIR: inversion time 2500 ms suppresses CSF"


def test_trap_32_echo_planar_and_diffusion_without_weighting_look_t2_and_are_refused(
    hospital: Hospital,
) -> None:
    hospital.plain().add("D", "MR", DiffusionBValue=0.0)
    hospital.add("E", "MR", ScanningSequence=["EP", "SE"])
    hospital.add("G", "MR", SequenceName="*ep_b0", ScanningSequence="SE")
    table = hospital.select()
    assert table.loc[["D", "E", "G"], "rule"].tolist() == ["dwi", "epi", "dwi"]
    assert table.loc["E", "weighting"] == "t2"  # by its times; it is rejected for its readout
    relaxed = hospital.select(accept=["epi"])
    assert relaxed.loc["E", "rule"] == "not_chosen"
    assert relaxed.loc["D", "rule"] == "dwi"


def test_trap_33_t1_named_t2_is_told_by_its_times(hospital: Hospital) -> None:
    hospital.plain().add("T", "MR", SeriesDescription="AX T2", EchoTime=12.0, RepetitionTime=560.0)
    table = hospital.select()
    assert table.loc["T", ["weighting", "rule"]].tolist() == ["t1", "t1"]
    assert table.loc["T", "reason"] == "T1-weighted (TE 12 ms, TR 560 ms)"


def test_trap_34_without_times_the_weighting_is_unknown_whatever_the_name(hospital: Hospital) -> None:
    hospital.plain().add("U", "MR", SeriesDescription="AX T2 SE", EchoTime=None, RepetitionTime=None)
    table = hospital.select()
    assert table.loc["U", ["weighting", "rule"]].tolist() == ["unknown", "weighting"]


def test_trap_35_post_contrast_is_told_by_the_agent_and_by_the_name(hospital: Hospital) -> None:
    hospital.plain().add("A", "MR", ContrastBolusAgent="Gadovist")
    hospital.add("B", "MR", SeriesDescription="AX T2 POST GD")
    hospital.add("D", "CT", SeriesDescription="HEAD W CONTRAST")
    hospital.add("W", "CT", SeriesDescription="HEAD W/O CONTRAST", ContrastBolusAgent="NONE")
    table = hospital.select()
    assert table.loc[["A", "B", "D"], "rule"].tolist() == ["contrast"] * 3
    assert table.loc["W", "rule"] == "not_chosen"


@pytest.mark.parametrize(
    "attributes",
    [
        {"ImageType": ["DERIVED", "SECONDARY", "MPR"]},
        {"ImageType": ["ORIGINAL", "PRIMARY", "MIP"]},
        {"ImageType": ["ORIGINAL", "PRIMARY", "ADC"]},
        {"SeriesDescription": "AX T2 MPR"},
        {"SliceThickness": 20.0},
        {"SourceImageSequence": items(ReferencedSOPClassUID=series_factory.SOP_CLASSES["MR"])},
    ],
)
def test_trap_36_what_was_computed_from_images_is_no_original(hospital: Hospital, attributes: dict) -> None:
    hospital.plain().add("R", "MR", **attributes)
    assert hospital.select().loc["R", "rule"] == "derived"


def test_trap_36_raw_data_as_the_source_of_an_original_does_not_make_it_derived(hospital: Hospital) -> None:
    raw = items(ReferencedSOPClassUID="1.3.12.2.1107.5.9.1")
    hospital.plain().add("O", "CT", SourceImageSequence=raw)
    assert hospital.select().loc["O", "rule"] == "not_chosen"


def test_trap_37_a_cohort_of_turbo_spin_echoes_stops_and_says_which_key_relaxes_it(
    hospital: Hospital,
) -> None:
    hospital.add("C", "CT")
    hospital.add("A", "MR", EchoTrainLength=15, Manufacturer="Philips Medical Systems")
    hospital.add("B", "MR", EchoTrainLength=None, SequenceName="*tse2d1_15")
    hospital.add(
        "G", "MR", EchoTrainLength=None, Manufacturer="GE MEDICAL SYSTEMS", ScanOptions=["FAST_GEMS"]
    )
    with pytest.raises(
        ValueError, match=r"Rule 'tse' removed 3 MR series \(GE 1, Philips 1, Siemens 1\)"
    ) as stop:
        hospital.select()
    assert str(stop.value).endswith("-S 'select.accept=[tse]'.")
    assert (hospital.select(accept=["tse"])["decision"] == "kept").sum() == 2


def test_trap_38_the_echoes_of_one_series_are_parted_by_echo_time(hospital: Hospital) -> None:
    hospital.add("C", "CT")
    both = [place for place in stack_positions(6) for _ in range(2)]
    hospital.add(
        "D",
        "MR",
        values=np.repeat(smooth(6), 2, axis=0),
        positions=both,
        RepetitionTime=3000.0,
        each=lambda k: {"EchoTime": (15.0, 95.0)[k % 2]},
    )
    table = hospital.select()
    assert table.loc["D-e1", ["weighting", "rule"]].tolist() == ["pd", "pd"]
    assert table.loc["D-e2", ["weighting", "decision"]].tolist() == ["t2", "kept"]


def test_trap_38_magnitude_and_phase_of_one_series_are_parted_by_image_type(hospital: Hospital) -> None:
    hospital.add("C", "CT")
    hospital.add(
        "D",
        "MR",
        values=np.repeat(smooth(6), 2, axis=0),
        positions=[place for place in stack_positions(6) for _ in range(2)],
        each=lambda k: {"ImageType": ["ORIGINAL", "PRIMARY", "MP"[k % 2]]},
    )
    table = hospital.select()
    assert table.loc["D-i1", "decision"] == "kept"
    assert table.loc["D-i2", "rule"] == "phase"


def test_trap_39_a_soft_kernel_is_chosen_and_the_bone_kernel_listed(hospital: Hospital) -> None:
    hospital.plain().add("B", "CT", positions=stack_positions(20), ConvolutionKernel="H70h")
    hospital.add("S", "CT", positions=stack_positions(7), ConvolutionKernel="H31s")
    table = hospital.select()
    assert table.loc["S", "decision"] == "kept"
    assert table.loc["B", "reason"] == "reconstructed with a sharp kernel, as for bone or lung"
    reason = hospital.select(accept=["sharp_kernel"]).loc["B", "reason"]
    assert reason.startswith("series S of this patient was chosen; this one has a sharp kernel, a better one")


@pytest.mark.parametrize(
    ("prefer", "winner", "why"),
    [
        (["more_slices", "first"], "Y", "has 9 usable slices, a better one 18 (by more_slices)"),
        (["more_coverage", "first"], "Z", "covers 45 mm, a better one 72 mm (by more_coverage)"),
        (["finer_pixels"], "M", ""),
        (["first"], "M", "comes first"),
        (["last"], "Z", "comes last"),
    ],
)
def test_trap_40_of_repeats_one_is_chosen_by_the_list_and_the_others_say_what_decided(
    hospital: Hospital, prefer: list, winner: str, why: str
) -> None:
    hospital.plain()
    hospital.add("Y", "MR", positions=stack_positions(18, 2.5), SeriesNumber=2, PixelSpacing=[2.0, 2.0])
    hospital.add("Z", "MR", positions=stack_positions(9, 8.0), SeriesNumber=3, PixelSpacing=[2.0, 2.0])
    table = hospital.select(prefer=prefer)
    mr = table[table["modality"] == "MR"]
    assert mr.index[mr["decision"] == "kept"].tolist() == [winner]
    other = mr.loc["M" if winner != "M" else "Y"]
    assert other["rule"] == "not_chosen"
    assert f"series {winner} of this patient was chosen" in other["reason"]
    assert why in other["reason"]


def test_trap_41_an_enhanced_file_of_one_stack_is_a_series_like_any_other(hospital: Hospital) -> None:
    order = [3, 0, 5, 1, 4, 2]  # frames may be in any order
    slope = items(RescaleSlope=2.0, RescaleIntercept=10.0)
    places = [stack_positions(6)[k] for k in order]
    write_enhanced(
        hospital.folder("E"),
        values=smooth(6)[order],
        positions=places,
        each=lambda k: {"PixelValueTransformationSequence": slope} if order[k] == 2 else {},
    )
    write_enhanced(hospital.folder("C"), "CT")
    table = hospital.select()
    assert table["decision"].tolist() == ["kept", "kept"]
    assert table.loc["E", ["weighting", "te_ms", "n_slices", "slice_spacing_mm"]].tolist() == [
        "t2",
        100,
        6,
        5,
    ]
    expected = smooth(6).astype(np.float32)
    expected[2] = 2 * expected[2] + 10
    made = sitk.ReadImage(str(hospital.out / "P0000000001" / "mr.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(made), expected)
    assert made.GetOrigin() == pytest.approx(stack_positions(6)[0])
    made = sitk.ReadImage(str(hospital.out / "P0000000001" / "ct.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(made), head_ct(6) - 1024.0)


def test_trap_41_echoes_of_an_enhanced_file_are_parted(hospital: Hospital) -> None:
    hospital.add("C", "CT")
    write_enhanced(
        hospital.folder("E"),
        values=np.repeat(smooth(6), 2, axis=0),
        positions=[place for place in stack_positions(6) for _ in range(2)],
        each=lambda k: {"MREchoSequence": items(EffectiveEchoTime=(15.0, 95.0)[k % 2])},
    )
    table = hospital.select()
    assert table.loc["E-e1", "rule"] == "pd"
    assert table.loc["E-e2", "decision"] == "kept"


@pytest.mark.parametrize(
    ("each", "changes", "rule"),
    [
        ({"FrameContentSequence": "time"}, {}, "perfusion"),
        ({}, {"EchoPlanarPulseSequence": "YES"}, "epi"),
        ({}, {"TimeOfFlightContrast": "YES"}, "angiography"),
        ({}, {"AcquisitionContrast": "DIFFUSION"}, "dwi"),
        ({}, {"AcquisitionContrast": "FLUID_ATTENUATED"}, "flair"),
        ({}, {"ComplexImageComponent": "PHASE"}, "phase"),
        ({"MRDiffusionSequence": "b1000"}, {}, "dwi"),
        # Philips writes b0 to every image, diffusion or not
        ({"MRDiffusionSequence": "b0"}, {}, "not_chosen"),
        ({"MRTimingAndRelatedParametersSequence": "turbo"}, {}, "tse"),
        ({"MRImageFrameTypeSequence": "derived"}, {}, "derived"),
    ],
)
def test_trap_41_what_functional_groups_say_meets_the_same_rules(
    hospital: Hospital, each: dict, changes: dict, rule: str
) -> None:
    groups: dict[str, Callable[[int], Any]] = {
        "time": lambda k: items(TemporalPositionIndex=k + 1),
        "b1000": lambda k: items(DiffusionBValue=1000.0),
        "b0": lambda k: items(DiffusionBValue=0.0),
        "turbo": lambda k: items(RepetitionTime=4000.0, RFEchoTrainLength=16),
        "derived": lambda k: items(FrameType=["DERIVED", "PRIMARY", "T2", "NONE"]),
    }
    path = write_enhanced(
        hospital.plain().folder("E"), each=lambda k: {name: groups[what](k) for name, what in each.items()}
    )
    dataset = dcmread(path)
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)
    assert hospital.select().loc["E", "rule"] == rule


def test_trap_41_frames_without_functional_groups_are_refused(hospital: Hospital) -> None:
    path = write_enhanced(hospital.plain().folder("E"))
    dataset = dcmread(path)
    del dataset.PerFrameFunctionalGroupsSequence
    dataset.save_as(path)
    table = hospital.select()
    assert table.loc["E", "rule"] == "multiframe"
    assert (hospital.out / "thumbnails" / "P0000000001_E.png").is_file()


def test_trap_42_a_mosaic_is_refused(hospital: Hospital) -> None:
    hospital.plain().add("S", "MR", ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"])
    assert hospital.select().loc["S", "rule"] == "mosaic"


def test_a_scan_in_time_is_refused_by_its_repeated_positions(hospital: Hospital) -> None:
    hospital.plain().add("T", "CT", values=np.tile(smooth(6), (5, 1, 1)), positions=stack_positions(6) * 5)
    assert hospital.select().loc["T", "reason"] == "time series: every slice was imaged 5 times"


def test_another_body_part_is_refused_and_the_head_in_a_name_wins(hospital: Hospital) -> None:
    hospital.plain().add("K", "MR", BodyPartExamined="KNEE", SeriesDescription="AX T2")
    hospital.add("H", "MR", BodyPartExamined="NECK", SeriesDescription="AX T2 BRAIN")
    hospital.add("S", "MR", BodyPartExamined="HEAD", SeriesDescription="AX T2 C SPINE")
    table = hospital.select()
    assert table.loc[["K", "S"], "rule"].tolist() == ["body_part", "body_part"]
    assert table.loc["H", "rule"] == "not_chosen"


def test_a_mistyped_rule_or_preference_names_the_nearest(hospital: Hospital) -> None:
    with pytest.raises(params.ParamsError, match=r"reject\.1 = 'angiografy'; did you mean 'angiography'\?"):
        hospital.select(reject=["tse", "angiografy"])
    with pytest.raises(params.ParamsError, match=r"accept\.0 = 'tsee'; did you mean 'tse'\?"):
        hospital.select(accept=["tsee"])
    with pytest.raises(params.ParamsError, match=r"prefer\.0 = 'softkernel'; did you mean 'soft_kernel'\?"):
        hospital.select(prefer=["softkernel"])
