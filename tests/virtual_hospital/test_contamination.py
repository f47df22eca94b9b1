"""Unwanted series: the default cohort has all kinds, and each has the properties of its kind."""

import itertools
import warnings

import numpy as np
import pydicom
import pytest

from virtual_hospital.contamination.kinds import (
    DEVELOPMENT_KINDS,
    DEVELOPMENT_PER_PATIENT,
    HELD_OUT_KINDS,
    HELD_OUT_PER_PATIENT,
    MAKERS,
    kinds_of,
)
from virtual_hospital.contamination.mr_series import KINDS as MR_KINDS
from virtual_hospital.contamination.mr_series import REPEATS, without_slices
from virtual_hospital.elements import save
from virtual_hospital.examination import NO_CLEAN, NO_MODALITY, clean_ct
from virtual_hospital.geometry import Poses, pose, regrid, stack
from virtual_hospital.headers import Acquisition
from virtual_hospital.images import make_images
from virtual_hospital.mr import Sequence, spoiled_echo_signal
from virtual_hospital.persona import draw_persona
from virtual_hospital.scanners import GE_MR, PHILIPS_MR, SIEMENS_CT, SIEMENS_MR, SIEMENS_PET
from virtual_hospital.series import Session

PATIENTS = 18  # params.yaml
SIZE = 32
SCANNERS = {"siemens": SIEMENS_MR, "philips": PHILIPS_MR, "ge": GE_MR}


@pytest.fixture(scope="module")
def session(head):
    rng = np.random.default_rng(3)
    poses = Poses(pose((2.0, -1.0, 3.0), (1.0, 5.0, 20.0)), pose((-4.0, 2.0, 1.0), (2.0, 3.0, -8.0)))
    return Session(head, poses, clean_ct(head, poses, SIZE, 0.0, rng), SIZE, "siemens", "siemens", rng)


@pytest.fixture(scope="module")
def made(session):
    """Make {kind: Series} of every kind."""
    return {kind: maker(session) for kind, maker in MAKERS.items()}


def _images(series, vendor="siemens"):
    scanner = {"CT": SIEMENS_CT, "PT": SIEMENS_PET}.get(series.modality, SCANNERS[vendor])
    return list(make_images(Acquisition(series, draw_persona(1, np.random.default_rng(1)), scanner, 7, 1, 1)))


def test_every_kind_is_in_the_default_cohort_although_two_patients_lack_a_modality(made):
    there = {
        kind for n in range(PATIENTS) for kind in kinds_of(n) if NO_MODALITY.get(n) != made[kind].modality
    }
    assert there == set(MAKERS)


def test_every_kind_is_listed_once():
    listed = (*DEVELOPMENT_KINDS, *HELD_OUT_KINDS)
    assert len(listed) == len(set(listed))
    assert set(listed) == set(MAKERS)


def test_at_the_size_of_the_paper_every_kind_is_there_at_least_four_times():
    turns = list(itertools.chain.from_iterable(kinds_of(n) for n in range(87)))
    assert len(turns) == 87 * (DEVELOPMENT_PER_PATIENT + HELD_OUT_PER_PATIENT)
    assert min(turns.count(kind) for kind in MAKERS) >= 4
    assert NO_CLEAN.keys().isdisjoint(range(PATIENTS))


def test_every_kind_makes_a_series_of_its_name_with_images_that_can_be_read(made, tmp_path):
    for kind, series in made.items():
        assert series.kind == kind
        assert series.wanted in ("acceptable", "no")
        images = _images(series)
        frames = sum(int(image.get("NumberOfFrames", 1)) for image in images)
        assert frames == sum(len(values) for values in series.values)
        for values, grid in zip(series.values, series.grids, strict=True):
            assert values.shape == grid.shape
            assert np.ptp(values) > 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            save(images[0], tmp_path / kind)
        assert np.ptp(pydicom.dcmread(tmp_path / kind).pixel_array) > 0


def _normals(series):
    return np.array([grid.normal for grid in series.grids])


def test_planes_and_angles_are_those_of_the_table(made):
    for kind, row in MR_KINDS.items():
        normals = _normals(made[kind])
        if row.plane == "axial":
            degrees = np.rad2deg(np.arccos(normals[:, 2]))
            assert degrees == pytest.approx(row.angle_deg, abs=1e-6)
        if row.plane == "three":
            assert np.abs(normals).max(axis=0) == pytest.approx(1.0)
    assert abs(_normals(made["coronal_named_axial"])[0, 1]) == pytest.approx(1.0)
    assert any("AX" in name for name in MR_KINDS["coronal_named_axial"].names["philips"])
    assert abs(_normals(made["ct_reformat_original"])[0, 1]) == pytest.approx(1.0)
    assert made["ct_reformat_original"].image_type[0] == "ORIGINAL"


def _positions(series):
    return sorted(
        round(float(grid.position(k) @ grid.normal), 3) for grid in series.grids for k in range(grid.shape[0])
    )


@pytest.mark.parametrize("kind", ["missing_slices", "ct_missing_slices"])
def test_a_missing_slice_leaves_a_gap_of_twice_and_of_three_times_the_spacing(made, kind):
    series = made[kind]
    steps = np.diff(_positions(series)) / series.grids[0].spacing_mm
    assert sorted(set(np.rint(steps).astype(int))) == [1, 2, 3]


@pytest.mark.parametrize(
    ("kind", "times"),
    [("duplicated_slices", 2), ("ct_duplicated_slices", 2), ("dual_echo", 2), ("perfusion", REPEATS),
     ("ct_perfusion", REPEATS), ("ct_bolus_tracking", REPEATS)],
)  # fmt: skip
def test_positions_come_as_often_as_the_kind_says(made, kind, times):
    positions = _positions(made[kind])
    assert all(positions.count(position) == times for position in positions)


def test_two_thicknesses_touch_and_do_not_overlap(made):
    fine, coarse = made["ct_two_thicknesses"].grids
    end = float(fine.position(fine.shape[0] - 1) @ fine.normal) + fine.thickness_mm / 2
    begin = float(coarse.position(0) @ coarse.normal) - coarse.thickness_mm / 2
    assert (fine.thickness_mm, coarse.thickness_mm) == (2.5, 10.0)
    assert begin == pytest.approx(end)


def test_headers_hold_and_lack_what_the_kind_says(made):
    silent = _images(made["no_timing"])[0]
    assert not {"EchoTime", "RepetitionTime", "ScanningSequence", "EchoTrainLength"} & set(silent.dir())
    assert {image.InstanceNumber for image in _images(made["same_instance_number"])} == {1}
    assert {float(image.EchoTime) for image in _images(made["dual_echo"])} == {20.0, 90.0}
    assert made["dual_echo"].wanted_te_ms == 90
    assert _images(made["pet"])[0].SOPClassUID == pydicom.uid.PositronEmissionTomographyImageStorage
    assert "ContrastBolusAgent" not in _images(made["ct_contrast_name"])[0]
    assert _images(made["ct_contrast_tag"])[0].SeriesDescription.startswith("Head 5.0 routine")
    follow_up, first = _images(made["follow_up"])[0], _images(made["t2_contrast"])[0]
    assert follow_up.StudyInstanceUID != first.StudyInstanceUID
    assert follow_up.StudyDate > first.StudyDate


def test_a_mosaic_shows_every_slice_once(made):
    tiles = made["mosaic"].values[0][0]
    size = tiles.shape[0] // 4
    parts = tiles.reshape(4, size, 4, size).swapaxes(1, 2).reshape(16, -1)
    assert len({part.tobytes() for part in parts}) == 16


def test_the_multiframe_series_holds_its_geometry_in_functional_groups(made):
    (image,) = _images(made["multiframe"])
    grid = made["multiframe"].grids[0]
    assert "ImagePositionPatient" not in image
    frames = image.PerFrameFunctionalGroupsSequence
    assert len(frames) == image.NumberOfFrames == grid.shape[0]
    found = [frame.PlanePositionSequence[0].ImagePositionPatient for frame in frames]
    np.testing.assert_allclose(
        np.array(found, float), [grid.position(k) for k in range(len(frames))], atol=1e-5
    )
    assert frames[0].MREchoSequence[0].EffectiveEchoTime == 95.0


@pytest.mark.parametrize("vendor", sorted(SCANNERS))
def test_names_are_the_vendors_own(vendor):
    names = [row.names[vendor] for row in MR_KINDS.values()]
    assert all(len(parts) == 3 and parts[0] for parts in names)
    assert ("t2_se_tra" in {parts[0] for parts in names}) == (vendor == "siemens")


def test_spoiled_echo_is_largest_at_the_ernst_angle_and_a_spin_echo_s_recovery_at_90():
    tissue = [np.array(value) for value in (1.0, 1000.0, 1e9)]
    angles = np.arange(1.0, 91.0)
    signals = [float(spoiled_echo_signal(*tissue, Sequence(50.0, 0.0, 1, None, a))) for a in angles]
    assert angles[np.argmax(signals)] == round(np.rad2deg(np.arccos(np.exp(-0.05))))
    assert signals[-1] == pytest.approx(1 - np.exp(-0.05))


def test_without_slices_removes_the_named_slices_and_no_other(made):
    series = made["sagittal_t2"]
    left = without_slices(series, (0, 4))
    kept = [k for k in range(series.grids[0].shape[0]) if k not in (0, 4)]
    np.testing.assert_array_equal(np.concatenate(left.values), series.values[0][kept])


def test_another_grid_of_a_gantry_keeps_its_tilt_and_its_middle():
    tilted = stack(
        pose((15.0, 0, 0), (0, 0, 0))[:3, :3],
        np.array([1.0, 2.0, 3.0]),
        (9, 8, 8),
        2.0,
        5.0,
        5.0,
        np.array([0, 0, 1.0]),
    )
    other = regrid(tilted, 16, 21, 2.5, 2.5)
    np.testing.assert_allclose(other.normal, tilted.normal)
    np.testing.assert_allclose(other.index_to_mm @ (7.5, 7.5, 10.0, 1.0), (1.0, 2.0, 3.0, 1.0), atol=1e-9)
