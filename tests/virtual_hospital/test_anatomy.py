"""The template compared with anatomy textbooks, and patients compared with the template."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage
from scipy.interpolate import BSpline

from virtual_hospital.anatomy import Build, draw_build, make_head, smooth_field, spline_matrix
from virtual_hospital.template import read_labels
from virtual_hospital.tissues import Tissue

PLAIN = Build((1.0, 1.0, 1.0), 0.0, 0.0, 3.0, 1.8, False, None)
BRAIN = (Tissue.WHITE_MATTER, Tissue.GREY_MATTER, Tissue.DEEP_GREY)


def test_brain_and_globes_have_the_size_of_a_real_head(template):
    liters = np.isin(template.labels, BRAIN).sum() * 1e-6
    assert 1.2 < liters < 1.8  # Colin27's brain with cerebellum
    globes, count = ndimage.label(template.labels == Tissue.VITREOUS)
    volumes = np.bincount(globes.ravel())[1:] / 1000
    assert count == 2
    np.testing.assert_allclose(volumes, 6.2, atol=0.7)  # an adult globe holds 6 to 7 ml


def test_the_head_is_one_connected_object(template):
    _, count = ndimage.label(template.labels > 0)
    assert count == 1
    sections = (template.labels[-30:] > 0).sum(axis=(1, 2))
    assert (np.diff(sections) <= 0).all()  # the vertex closes; the streaks of the headrest are removed


def test_no_bone_inside_the_cavity_above_the_skull_base(template):
    brain = np.isin(template.labels, (*BRAIN, Tissue.CSF, Tissue.DURA, Tissue.BLOOD))
    for k in (90, 110, 130, 150):
        deep = ndimage.binary_erosion(ndimage.binary_fill_holes(brain[k]), iterations=6)
        assert deep.sum() > 2000
        assert not (template.labels[k][deep] == Tissue.COMPACT_BONE).any()


def test_a_plain_build_gives_the_template_back(template):
    patient = make_head(template, PLAIN, np.random.default_rng(0))
    for tissue in (*BRAIN, Tissue.CSF, Tissue.CAVITY, Tissue.VITREOUS):
        np.testing.assert_array_equal(patient.labels == tissue, template.labels == tissue)
    bone = np.isin(patient.labels, (Tissue.COMPACT_BONE, Tissue.DIPLOE))
    np.testing.assert_array_equal(bone, template.labels == Tissue.COMPACT_BONE)


def test_scale_multiplies_the_head(template):
    def extent(labels, axis):
        others = tuple(a for a in range(3) if a != axis)
        return np.ptp(np.flatnonzero((labels[90:] > 0).any(axis=others)))

    wide = make_head(template, replace(PLAIN, scale=(0.9, 1.0, 1.0)), np.random.default_rng(0))
    before, after = extent(template.labels, 2), extent(wide.labels, 2)
    assert after / before == pytest.approx(0.9, abs=0.01)
    assert extent(template.labels, 1) == extent(wide.labels, 1)


def test_ventricles_grow(template):
    def ventricles(labels):
        return (labels[100:125, 85:160, 75:135] == Tissue.CSF).sum()

    sizes = [
        ventricles(make_head(template, replace(PLAIN, ventricle_growth=g), np.random.default_rng(0)).labels)
        for g in (-0.15, 0.0, 0.38)
    ]
    assert sizes[0] < 0.95 * sizes[1] < 0.95 * 0.9 * sizes[2]


def test_lesion_lies_in_the_brain_only(template):
    patient = make_head(template, replace(PLAIN, lesion=Tissue.HEMATOMA), np.random.default_rng(1))
    lesion = np.isin(patient.labels, (Tissue.HEMATOMA, Tissue.EDEMA))
    assert 2.0 < lesion.sum() / 1000 < 120.0  # ml
    assert np.isin(template.labels[lesion], BRAIN).all()


def test_scalp_is_skin_over_fat_over_muscle(head):
    crown = head.labels[-1:0:-1, 114, 104]
    seen = [int(t) for t in crown[crown > 0]]
    assert seen.index(Tissue.SKIN) < seen.index(Tissue.FAT) < seen.index(Tissue.COMPACT_BONE)


def test_builds_differ_and_repeat():
    one, again, other = (draw_build(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one == again != other


def test_unknown_labels_are_rejected(tmp_path):
    image = sitk.GetImageFromArray(np.full((4, 4, 4), 9, np.uint8))
    sitk.WriteImage(image, str(tmp_path / "labels.nii.gz"))
    with pytest.raises(ValueError, match="labels to 9"):
        read_labels(tmp_path / "labels.nii.gz")


@pytest.mark.parametrize(("length", "controls"), [(17, 4), (40, 9), (5, 7)])
def test_spline_matrix_against_scipy(length, controls):
    knots = np.arange(-3.0, controls + 1.0)
    positions = np.linspace(0.0, controls - 3, length)
    expected = np.stack([BSpline(knots, row, 3)(positions) for row in np.eye(controls)], 1)
    np.testing.assert_allclose(spline_matrix(length, controls), expected, atol=1e-6)


def test_spline_matrix_needs_four_controls():
    with pytest.raises(ValueError, match="3 control points"):
        spline_matrix(10, 3)


def test_smooth_field_is_smooth_and_of_unit_variance():
    rng = np.random.default_rng(0)
    fields = np.stack([smooth_field((60, 50, 40), 8.0, rng) for _ in range(6)])
    assert fields.std() == pytest.approx(1.0, abs=0.08)
    assert np.abs(np.diff(fields, axis=1)).mean() < 0.25
