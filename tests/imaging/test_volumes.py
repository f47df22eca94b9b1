import gzip
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from mrct.core.errors import WriteError
from mrct.imaging import volumes
from mrct.imaging.stored_volume import VolumeError


def ramp(shape=(6, 8, 10), spacing=(1.0, 2.0, 4.0), origin=(-5.0, 7.0, 30.0)):
    """A float volume whose values are linear in x, y and z: linear interpolation reproduces it exactly."""
    volume = sitk.Image(shape[::-1], sitk.sitkFloat32)
    volume.SetSpacing(spacing)
    volume.SetOrigin(origin)
    k, j, i = np.indices(shape)
    points = volumes.transform_points(
        volumes.affine(volume), np.stack([i, j, k], axis=-1).reshape(-1, 3).astype(float)
    )
    return volumes.like((points @ [1.0, 0.5, 0.25]).reshape(shape).astype(np.float32), volume)


def rigid(angles_deg, translation):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
    matrix[:3, 3] = translation
    return matrix


def test_affine_agrees_with_simpleitk():
    volume = ramp()
    volume.SetDirection(Rotation.from_euler("xyz", [10, -20, 30], degrees=True).as_matrix().ravel().tolist())
    expected = volume.TransformIndexToPhysicalPoint((9, 3, 5))
    assert volumes.transform_points(volumes.affine(volume), np.array([[9.0, 3, 5]]))[0] == pytest.approx(
        expected
    )


def test_file_round_trip_keeps_values_and_places(tmp_path):
    volume = ramp()
    volumes.write_volume(tmp_path / "a" / "v.nii.gz", volume)
    again = volumes.read_volume(tmp_path / "a" / "v.nii.gz")
    assert np.array_equal(volumes.to_array(again), volumes.to_array(volume))
    assert volumes.same_grid(again, volume)


def test_same_volume_gives_same_bytes_and_no_header_text(tmp_path):
    volume = ramp()
    volume.SetMetaData("descrip", "HONG GILDONG")
    for name in ("one.nii.gz", "two.nii.gz"):
        volumes.write_volume(tmp_path / name, volume)
    assert (tmp_path / "one.nii.gz").read_bytes() == (tmp_path / "two.nii.gz").read_bytes()
    assert b"HONG" not in gzip.decompress((tmp_path / "one.nii.gz").read_bytes())


@pytest.mark.parametrize("name", ["CT.NII.GZ", "ct.Nii", "ct.Mha", "CT.MHD"])
def test_suffixes_in_capitals_are_written_under_the_name_that_was_asked_for(tmp_path, name):
    """ITK writes and reads lower case; it is the oracle of the format."""
    (tmp_path / name.lower()).write_text("another file")
    volumes.write_volume(tmp_path / name, ramp())
    assert (tmp_path / name).is_file()
    assert (tmp_path / name.lower()).read_text() == "another file"
    assert len(list(tmp_path.iterdir())) == (3 if name == "CT.MHD" else 2)
    assert np.array_equal(volumes.to_array(volumes.read_volume(tmp_path / name)), volumes.to_array(ramp()))
    lower = (tmp_path / name).rename(tmp_path / f"new{name[2:].lower()}")
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(lower))), volumes.to_array(ramp()))


@pytest.mark.parametrize("name", ["ct.nrrd", "ct", "ct.nii.zip", ".nii"])
def test_an_unknown_suffix_is_refused_before_anything_is_written(tmp_path, name):
    with pytest.raises(VolumeError, match=r"unknown suffix.*\.nii\.gz, \.nii, \.mha, \.mhd"):
        volumes.write_volume(tmp_path / "new" / name, ramp())
    assert not (tmp_path / "new").exists()


def test_a_volume_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    def full(image, path, **options):
        Path(path).write_bytes(b"half")
        raise RuntimeError(path)

    monkeypatch.setattr(sitk, "WriteImage", full)
    with pytest.raises(WriteError, match=r"^ct\.nii\.gz: cannot be written"):
        volumes.write_volume(tmp_path / "ct.nii.gz", ramp())
    assert list(tmp_path.iterdir()) == []


def test_reading_turns_any_axes_to_lps(tmp_path):
    stored = sitk.DICOMOrient(ramp(), "SAR")
    sitk.WriteImage(stored, str(tmp_path / "v.nii.gz"))
    again = volumes.read_volume(tmp_path / "v.nii.gz")
    assert np.allclose(np.reshape(again.GetDirection(), (3, 3)), np.eye(3), atol=1e-5)
    assert np.array_equal(volumes.to_array(again), volumes.to_array(ramp()))


def test_unusable_files_are_named_without_their_path(tmp_path):
    (tmp_path / "broken.nii.gz").write_bytes(b"no image")
    flat = sitk.GetImageFromArray(np.zeros((4, 5), np.float32))
    sitk.WriteImage(flat, str(tmp_path / "flat.mha"))
    bad = volumes.to_array(ramp())
    bad[0, 0, 0] = np.nan
    sitk.WriteImage(volumes.like(bad, ramp()), str(tmp_path / "nan.mha"))
    for name, reason in (
        ("broken.nii.gz", "no NIfTI"),
        ("flat.mha", "one scalar 3D"),
        ("nan.mha", "1 of 480"),
    ):
        with pytest.raises(VolumeError, match=reason) as caught:
            volumes.read_volume(tmp_path / name)
        assert name in str(caught.value)
        assert str(tmp_path) not in str(caught.value)


@given(st.tuples(*[st.floats(-80, 80)] * 3), st.tuples(*[st.floats(-100, 100)] * 3))
def test_matrix_and_transform_are_inverse(angles, translation):
    matrix = rigid(angles, translation)
    assert np.allclose(volumes.to_matrix(volumes.to_transform(matrix)), matrix, atol=1e-9)


def test_matrix_of_a_centered_transform_maps_the_same_points():
    transform = sitk.Euler3DTransform((10.0, 20.0, -30.0), 0.1, -0.2, 0.3, (4.0, 5.0, 6.0))
    point = (1.0, -2.0, 3.0)
    mapped = volumes.transform_points(volumes.to_matrix(transform), np.array([point]))[0]
    assert mapped == pytest.approx(transform.TransformPoint(point))


@given(st.floats(0, 180), st.sampled_from("xyz"))
def test_rotation_angle(angle, axis):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler(axis, angle, degrees=True).as_matrix()
    assert volumes.rotation_deg(matrix) == pytest.approx(angle, abs=1e-4)


def test_resampling_moves_points_in_the_named_direction():
    moving = ramp()
    shifted = volumes.resample_onto(moving, moving, rigid((0, 0, 0), (2.0, 0, 0)), outside=-999.0)
    values, before = volumes.to_array(shifted), volumes.to_array(moving)
    assert np.allclose(values[:, :, 2:], before[:, :, :-2], atol=1e-4)
    assert (values[:, :, :1] == -999.0).all()


def test_resampling_a_linear_ramp_through_a_rotation_is_exact():
    moving = ramp((20, 20, 20), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))
    grid = ramp((4, 4, 4), (1.0, 1.0, 1.0), (18.0, 18.0, 18.0))
    matrix = rigid((0, 0, 20), (1.0, -2.0, 3.0))
    got = volumes.to_array(volumes.resample_onto(moving, grid, matrix, np.nan))
    k, j, i = np.indices(got.shape)
    points = np.stack([i, j, k], axis=-1).reshape(-1, 3) + 18.0
    expected = volumes.transform_points(np.linalg.inv(matrix), points) @ [1.0, 0.5, 0.25]
    assert np.allclose(got.ravel(), expected, atol=1e-3)


def test_a_single_slice_reaches_over_its_thickness():
    single = ramp((1, 8, 8), (1.0, 1.0, 5.0), (0.0, 0.0, 0.0))
    thin = ramp((7, 8, 8), (1.0, 1.0, 1.0), (0.0, 0.0, -3.0))
    got = volumes.to_array(volumes.resample_onto(single, thin, np.eye(4), np.nan))
    assert np.isnan(got[0]).all()
    assert np.isfinite(got[1:6]).all()


def test_matching_resolution_gives_the_target_width():
    line = np.zeros((41, 1, 1), np.float32)
    line[20] = 1.0
    blurred = volumes.to_array(
        volumes.match_resolution(volumes.from_array(line, np.diag([1.0, 1, 1, 1])), (5.0, 1.0, 1.0))
    )[:, 0, 0]
    variance = (blurred * (np.arange(41) - 20.0) ** 2).sum()
    # 24 mm^2 of FWHM^2 were missing: 5^2 - 1^2
    assert variance * volumes.FWHM_PER_SIGMA**2 == pytest.approx(24.0, rel=0.03)
    assert blurred.sum() == pytest.approx(1.0, abs=1e-5)


def test_coarsening_keeps_the_box_and_the_places():
    fine = ramp((20, 24, 30), (0.5, 0.5, 3.0), (-7.0, 3.0, 11.0))
    coarse = volumes.coarsened(fine, 1.0)
    assert coarse.GetSize() == (15, 12, 20)
    assert coarse.GetSpacing() == pytest.approx((1.0, 1.0, 3.0))
    inner = volumes.to_array(coarse)[:, 3:-3, 3:-3]
    k, j, i = np.indices((20, 12, 15))
    indices = np.stack([i, j, k], axis=-1)[:, 3:-3, 3:-3].astype(float)
    expected = volumes.transform_points(volumes.affine(coarse), indices) @ [1.0, 0.5, 0.25]
    assert np.allclose(inner, expected, atol=0.02)


def test_coarsening_takes_one_slice():
    assert volumes.coarsened(ramp((1, 8, 8), (0.5, 0.5, 1.0)), 4.0).GetSize() == (1, 1, 1)


def test_same_grid_sees_a_small_shift_and_a_small_turn():
    volume, shifted, turned = ramp(), ramp(), ramp((6, 80, 100))
    shifted.SetOrigin((-5.0, 7.0, 30.1))
    turned.SetDirection(Rotation.from_euler("z", 0.1, degrees=True).as_matrix().ravel().tolist())
    assert volumes.same_grid(volume, ramp())
    assert not volumes.same_grid(volume, shifted)
    assert not volumes.same_grid(turned, ramp((6, 80, 100)))
    assert not volumes.same_grid(volume, ramp((5, 8, 10)))
