import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from helpers import rire
from helpers.stage_inputs import head_pair, register_params, write_selected
from mrct.core import contracts, params
from mrct.core.contracts import RegistrationStatus, SelectionStatus
from mrct.imaging import volumes
from mrct.registration import alignment, deface
from mrct.registration.alignment import RigidRegistration
from stages import register

SAMPLE = Path(__file__).parents[2] / "data" / "sample" / "rire_001"
ROOT = Path(__file__).parents[2]
AIR = {"ct": -1024, "mr": 0, "mask": 0, "coverage": 0}


def read(out, patient, name):
    return volumes.to_array(volumes.read_volume(out / patient / f"{name}.nii.gz"))


def patients(out):
    return contracts.REGISTERED_PATIENTS.read(out).set_index("patient")


def test_registered_source_passes_through_unchanged(tmp_path):
    ct, mr = head_pair()
    source = write_selected(tmp_path / "selected", {"P01": (ct, mr)})
    register.run(register_params(), source, tmp_path / "out")
    assert np.array_equal(read(tmp_path / "out", "P01", "mr"), volumes.to_array(mr))
    assert np.array_equal(read(tmp_path / "out", "P01", "ct"), np.maximum(volumes.to_array(ct), -1024))
    assert json.loads((tmp_path / "out/P01/ct_to_mr.json").read_text())["matrix"] == np.eye(4).tolist()
    assert read(tmp_path / "out", "P01", "coverage").all()
    row = patients(tmp_path / "out").loc["P01"]
    assert row["status"] == RegistrationStatus.REGISTERED
    assert row["similarity"] > 0.5
    assert row["overlap"] > 0.95
    assert row["rotation_deg"] == row["translation_mm"] == 0.0
    assert np.isnan(row["spread_mm"])  # nothing was registered


def test_one_slice_passes(tmp_path):
    source = write_selected(tmp_path / "selected", {"P01": head_pair(slices=1)})
    register.run(register_params(), source, tmp_path / "out")
    mask = read(tmp_path / "out", "P01", "mask")
    assert mask.shape == (1, 96, 96)
    assert mask.sum() == pytest.approx(np.pi * 40 * 32, rel=0.03)


def test_pixel_types_and_padding(tmp_path):
    ct, mr = head_pair()
    padded = volumes.to_array(ct)
    padded[:, :4] = -3024.0
    source = write_selected(tmp_path / "selected", {"P01": (volumes.like(padded, ct), mr)})
    register.run(register_params(), source, tmp_path / "out")
    assert read(tmp_path / "out", "P01", "ct").min() == -1024.0
    for name, kind in (("ct", sitk.sitkFloat32), ("mr", sitk.sitkFloat32), ("mask", sitk.sitkUInt8)):
        assert sitk.ReadImage(str(tmp_path / f"out/P01/{name}.nii.gz")).GetPixelID() == kind
    assert sitk.ReadImage(str(tmp_path / "out/P01/coverage.nii.gz")).GetPixelID() == sitk.sitkUInt8


def test_coverage_ends_where_either_image_ends_and_the_mask_goes_on(tmp_path):
    ct, _ = head_pair(slices=6, bottom_mm=10.0)
    _, mr = head_pair(slices=8)
    blank = volumes.to_array(mr)
    blank[7] = 0.0  # a padded slice holds no data
    source = write_selected(tmp_path / "selected", {"P01": (ct, volumes.like(blank, mr))})
    register.run(register_params(), source, tmp_path / "out")
    assert read(tmp_path / "out", "P01", "coverage").any(axis=(1, 2)).tolist() == [False] * 2 + [True] * 5 + [
        False
    ]
    assert (read(tmp_path / "out", "P01", "ct")[:2] == -1024).all()
    assert (read(tmp_path / "out", "P01", "mask").sum(axis=(1, 2)) > 3500).all()


def test_grid_names_the_image_that_keeps_its_slices(tmp_path):
    ct, _ = head_pair(slices=6, bottom_mm=10.0)
    _, mr = head_pair(slices=8)
    source = write_selected(tmp_path / "selected", {"P01": (ct, mr)})
    register.run(register_params(grid="ct"), source, tmp_path / "out")
    assert np.array_equal(read(tmp_path / "out", "P01", "ct"), volumes.to_array(ct))
    assert read(tmp_path / "out", "P01", "mr").shape == (6, 96, 96)


def test_mask_of_the_source_is_used(tmp_path):
    source = write_selected(tmp_path / "selected", {"P01": head_pair()})
    drawn = np.zeros((6, 96, 96), np.uint8)
    drawn[:, 30:60, 30:60] = 1
    volumes.write_volume(source / "P01" / "mask.nii.gz", volumes.like(drawn, head_pair()[1]))
    register.run(register_params(), source, tmp_path / "out")
    assert np.array_equal(read(tmp_path / "out", "P01", "mask"), drawn)


def test_failures_are_listed_and_the_others_go_on(tmp_path):
    ct, mr = head_pair()
    noise = volumes.like(np.random.default_rng(0).uniform(0, 100, (6, 96, 96)).astype(np.float32), mr)
    air = volumes.like(np.full((6, 96, 96), -1000, np.float32), ct)
    pairs = {
        "P01": (ct, mr),
        "P02": (air, mr),
        "P03": (ct, noise),
        "P04": (ct, head_pair(bottom_mm=20.0)[1]),
        "P05": (ct, mr),
    }
    source = write_selected(tmp_path / "selected", pairs)
    (source / "P05" / "mr.nii.gz").write_bytes(b"no image")
    register.run(register_params(), source, tmp_path / "out")
    table = patients(tmp_path / "out")
    assert table["status"].tolist() == [RegistrationStatus.REGISTERED] + [RegistrationStatus.FAILED] * 4
    for patient, words in (
        ("P02", "no head"),
        ("P03", "min_similarity"),
        ("P04", "min_overlap"),
        ("P05", "no NIfTI file"),
    ):
        assert words in table.loc[patient, "reason"]
        assert not (tmp_path / "out" / patient).exists()
    assert table.loc["P04", "overlap"] == pytest.approx(1 / 3, abs=0.05)


def test_nobody_registered_is_an_error_and_leaves_nothing(tmp_path):
    source = write_selected(tmp_path / "selected", {"P01": head_pair()})
    with pytest.raises(ValueError, match=r"all 1 patients(.|\n)*P01(.|\n)*register\.min_overlap"):
        register.run(register_params(min_similarity=9.0), source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nobody_paired_is_an_error(tmp_path):
    source = write_selected(tmp_path / "selected", {"P01": head_pair()}, status=SelectionStatus.UNPAIRED)
    with pytest.raises(ValueError, match="no patient has both"):
        register.run(register_params(), source, tmp_path / "out")


def test_method_none_is_refused_on_an_unregistered_source(tmp_path):
    source = write_selected(tmp_path / "selected", {"P01": head_pair()}, registered=False)
    with pytest.raises(ValueError, match=r"register\.method to rigid"):
        register.run(register_params(), source, tmp_path / "out")


def test_the_real_patient_end_to_end_twice_with_the_same_bytes(tmp_path):
    pair = [volumes.read_volume(SAMPLE / f"{name}.nii.gz") for name in ("ct", "mr_t1")]
    source = write_selected(tmp_path / "selected", {"P01": pair}, registered=False)
    for out in ("one", "two"):
        register.run(register_params(method="rigid"), source, tmp_path / out)
    for path in sorted((tmp_path / "one").rglob("*.*")):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()
    matrix = np.array(json.loads((tmp_path / "one/P01/ct_to_mr.json").read_text())["matrix"])
    truth = rire.read_standard(SAMPLE / "ct_T1.standard")
    assert rire.corner_error_mm(matrix, *truth).mean() <= 2.5
    assert 0 < patients(tmp_path / "one").loc["P01", "spread_mm"] < 2.5
    mask, coverage = read(tmp_path / "one", "P01", "mask") > 0, read(tmp_path / "one", "P01", "coverage") > 0
    covered = [(coverage[k] & mask[k]).sum() / mask[k].sum() for k in range(26)]
    assert min(covered[:16]) > 0.95
    assert max(covered[22:]) < 0.05  # the CT's top ends between the MR's slices 16 and 21
    areas_cm2 = mask.sum(axis=(1, 2)) * 0.125**2
    assert areas_cm2[:16].min() > 150
    assert areas_cm2.max() < 350


def test_a_patient_lying_the_other_way_round_is_registered_and_said(tmp_path):
    ct, mr = (volumes.read_volume(SAMPLE / f"{name}.nii.gz") for name in ("ct", "mr_t1"))
    half_turn = np.diag([-1.0, 1.0, -1.0, 1.0])
    turned = volumes.to_lps(volumes.from_array(volumes.to_array(ct), half_turn @ volumes.affine(ct)))
    source = write_selected(tmp_path / "selected", {"P01": (turned, mr)}, registered=False)
    register.run(register_params(method="rigid"), source, tmp_path / "out")
    row = patients(tmp_path / "out").loc["P01"]
    assert row["status"] == RegistrationStatus.REGISTERED
    assert "patient position" in row["reason"]
    matrix = np.array(json.loads((tmp_path / "out/P01/ct_to_mr.json").read_text())["matrix"])
    truth = rire.read_standard(SAMPLE / "ct_T1.standard")
    assert rire.corner_error_mm(matrix @ half_turn, *truth).mean() <= 2.5


def real_pair():
    return [volumes.read_volume(SAMPLE / f"{name}.nii.gz") for name in ("ct", "mr_t1")]


def register_as(monkeypatch, folder, matrix, same_frame=False, spread_mm=0.5, **changes):
    """Return the row of the real patient as if the registration had found `matrix`; write `folder`/P01."""
    monkeypatch.setattr(
        alignment, "register_pair", lambda pair, fixed: RigidRegistration(matrix, fixed, spread_mm)
    )
    source = write_selected(folder / "selected", {"P01": real_pair()}, registered=False)
    chosen = register_params(
        method="rigid", min_similarity=0.0, min_overlap=0.0, **{"max_residual_mm": 1000.0, **changes}
    )
    return register.register_patient(register.Job(source / "P01", folder / "P01", chosen, same_frame))


def test_defacing_takes_one_half_space_from_all_four_images_and_nothing_else(tmp_path, monkeypatch):
    plain = register_as(monkeypatch, tmp_path / "plain", np.eye(4), grid="ct")
    row = register_as(monkeypatch, tmp_path / "defaced", np.eye(4), grid="ct", deface=True)
    before, after = (
        {name: read(tmp_path / run, "P01", name) for name in AIR} for run in ("plain", "defaced")
    )
    pair = alignment.make_pair(*real_pair())
    gone = deface.face_plane(pair.ct.volume, pair.ct.head).face_side(pair.ct.volume)
    for name, air in AIR.items():
        assert (after[name][gone] == air).all()
        assert np.array_equal(after[name][~gone], before[name][~gone])
    assert gone[0, 45, 130]  # the tip of the nose
    assert not gone[:, 130, 128].any()  # the middle of the brain, from the skull base to the vertex
    head = before["mask"] > 0
    assert row["removed_face_percent"] == pytest.approx(100 * head[gone].sum() / head.sum(), abs=0.01)
    assert 3 < row["removed_face_percent"] < 12
    assert row == {**plain, "removed_face_percent": row["removed_face_percent"]}
    assert plain["removed_face_percent"] is None


def test_on_the_grid_of_the_mr_the_plane_follows_the_ct(tmp_path, monkeypatch):
    matrix = np.eye(4)
    matrix[:3, 3] = (0.0, 20.0, 12.0)
    register_as(monkeypatch, tmp_path, matrix, deface=True)
    ct, mr = real_pair()
    pair = alignment.make_pair(ct, mr)
    gone = deface.face_plane(pair.ct.volume, pair.ct.head).face_side(ct)
    after = read(tmp_path, "P01", "mr") == 0  # 20 mm are 16 rows, 12 mm are 3 slices
    assert after[3:, 16:][gone[:-3, :-16]].all()
    assert not after[3:, 16:][~gone[:-3, :-16]].mean() > 0.1


def test_who_cannot_be_defaced_is_listed_and_left_out(tmp_path, monkeypatch):
    upside_down = np.diag([-1.0, 1.0, -1.0, 1.0])
    row = register_as(monkeypatch, tmp_path, upside_down, deface=True)
    assert row["status"] == RegistrationStatus.FAILED
    assert "patient position" in row["reason"]
    assert not (tmp_path / "P01").exists()
    pairs = {"P01": real_pair(), "P02": [image[:, :, 8:9] for image in real_pair()]}
    source = write_selected(tmp_path / "selected", pairs)
    register.run(
        register_params(deface=True, min_similarity=0.0, max_residual_mm=1000.0), source, tmp_path / "out"
    )
    table = patients(tmp_path / "out")
    assert table["status"].tolist() == [RegistrationStatus.REGISTERED, RegistrationStatus.FAILED]
    assert table.loc["P02", "reason"].startswith("defacing:")
    assert not (tmp_path / "out/P02").exists()


def test_params_file_holds_exactly_these_keys():
    assert params.load(register.Params, "register", ROOT / "params.yaml").method == "rigid"
    with pytest.raises(params.ParamsError, match="min_overlap"):
        register_params(min_overlpa=0.5)


@pytest.mark.parametrize(
    ("shift_mm", "same_frame", "doubted"), [(9, True, True), (9, False, False), (3, True, False)]
)
def test_trap_51_one_frame_of_reference_is_checked_not_believed(
    tmp_path, monkeypatch, shift_mm, same_frame, doubted
):
    """The headers claim that the scans are registered; if registration disagrees, the row says what to check."""
    matrix = np.eye(4)
    matrix[0, 3] = shift_mm
    row = register_as(monkeypatch, tmp_path, matrix, same_frame=same_frame)
    assert row["status"] == RegistrationStatus.REGISTERED
    assert ("one frame of reference, yet registration moved the CT by 9.0 mm" in row["reason"]) is doubted


def test_skin_that_lies_too_far_apart_is_listed(tmp_path, monkeypatch):
    row = register_as(monkeypatch, tmp_path, np.eye(4), max_residual_mm=6.0)  # as delivered, tens of mm off
    assert row["status"] == RegistrationStatus.FAILED
    assert row["residual_edge_mm"] > 6.0
    assert "register.max_residual_mm allows 6 mm" in row["reason"]


@pytest.mark.parametrize(
    ("limit_mm", "status"),
    [
        (3.5, RegistrationStatus.FAILED),
        (4.2, RegistrationStatus.REGISTERED),
        (0.0, RegistrationStatus.REGISTERED),
    ],
)
def test_registration_that_other_starts_do_not_confirm_is_listed(tmp_path, monkeypatch, limit_mm, status):
    row = register_as(monkeypatch, tmp_path, np.eye(4), spread_mm=4.123456, max_spread_mm=limit_mm)
    assert row["status"] == status
    assert row["spread_mm"] == 4.1235
    assert (tmp_path / "P01").exists() is (status == RegistrationStatus.REGISTERED)
    said = "from other starts and parts of the head end 4.1 mm apart, register.max_spread_mm allows 3.5 mm"
    assert (said in row["reason"]) is (status == RegistrationStatus.FAILED)


def test_skin_far_apart_in_a_source_that_claims_to_be_registered_is_remarked(tmp_path):
    (ct, _), (_, mr) = head_pair(), head_pair(shift_i=16)
    settings = register_params(max_residual_mm=0.0, min_overlap=0.0, min_similarity=0.0)
    pairs = {"P01": (ct, mr), "P02": head_pair()}
    register.run(settings, write_selected(tmp_path / "selected", pairs), tmp_path / "out")
    table = patients(tmp_path / "out")
    assert table.loc["P01", "residual_edge_mm"] == pytest.approx(32.0, abs=2.0)
    assert "mm apart in CT and MR" in table.loc["P01", "reason"]
    assert table.loc["P02", "reason"] == ""
