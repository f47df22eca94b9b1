"""Defacing: an ellipsoid head with a face that is a ball, whose planes are known in closed form, and virtual heads."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mrct.imaging import masks, volumes
from mrct.registration import deface
from mrct.registration.alignment import AlignedPair
from virtual_hospital import ct as virtual_ct
from virtual_hospital.anatomy import draw_build, make_head
from virtual_hospital.geometry import pose, rotation_matrix, sample, scanner_to_head_index, stack
from virtual_hospital.template import make_template, read_labels

LABELS = Path(__file__).parents[2] / "data/sample/colin27/labels.nii.gz"
BRAIN = np.array([64.0, 82.0, 70.0])  # half axes of the cavity, mm
SKULL, SCALP = BRAIN + 7.0, BRAIN + 13.0
FACE_DEG, FACE_MM, FACE_RADIUS_MM = 45.0, 100.0, 30.0
FACE_CENTER = FACE_MM * np.array([0.0, -np.cos(np.radians(FACE_DEG)), -np.sin(np.radians(FACE_DEG))])
angle_deg = st.floats(-20.0, 20.0)


def depth_mm(angle_deg):
    """Compute the depth of the ball's center behind the plane touching the brain whose normal is at this angle."""
    angle = np.radians(angle_deg)
    support = np.hypot(BRAIN[1] * np.cos(angle), BRAIN[2] * np.sin(angle))
    return FACE_MM * np.cos(angle - np.radians(FACE_DEG)) - support


class EggHead:
    """CT of brain, skull and scalp, three ellipsoids, with a ball for a face at FACE_DEG below the front.

    bool (D, H, W): `inside(half_axes)`, `ball`, and `face`, the ball outside the scalp. The head is turned
    about its center, the point (0, 0, 0).
    """

    def __init__(self, angles=(0.0, 0.0, 0.0), spacing_mm=4.0, bottom_mm=-125.0, pixel_mm=2.0):
        self.rotation = rotation_matrix(angles)
        shape = (int((125.0 - bottom_mm) / spacing_mm), int(260 / pixel_mm), int(240 / pixel_mm))
        matrix = np.diag([pixel_mm, pixel_mm, spacing_mm, 1.0])
        matrix[:3, 3] = (pixel_mm / 2 - 120.0, -145.0, bottom_mm)
        k, j, i = np.indices(shape)
        self.points = np.stack([i, j, k], -1) @ matrix[:3, :3].T + matrix[:3, 3]
        self.own = self.points @ self.rotation
        self.ball = np.linalg.norm(self.own - FACE_CENTER, axis=-1) <= FACE_RADIUS_MM
        self.face = self.ball & ~self.inside(SCALP)
        self.hu = np.full(shape, -1000.0, np.float32)
        for region, value in ((self.ball, 60), (self.inside(SCALP), -90), (self.inside(SKULL), 1000)):
            self.hu[region] = value
        self.hu[self.inside(BRAIN)] = 35
        self.matrix = matrix

    def inside(self, half_axes):
        return ((self.own / half_axes) ** 2).sum(-1) <= 1.0

    @property
    def ct(self):
        return volumes.from_array(self.hu, self.matrix)

    @property
    def head(self):
        return volumes.like(self.inside(SCALP) | self.face, self.ct)

    def plane(self):
        return deface.face_plane(self.ct, self.head)

    def distance_mm(self, plane):
        """From the brain's surface, in closed form, to the plane: the ellipsoid's support function."""
        return plane.offset_mm - np.linalg.norm(BRAIN * (self.rotation.T @ plane.normal))


def find_head(ct):
    return volumes.like(masks.head_mask_of_ct(volumes.to_array(ct), volumes.spacing_kji_mm(ct)), ct)


def test_the_plane_touches_the_ellipsoid_at_the_margin_and_faces_the_face():
    egg = EggHead(spacing_mm=2.0)
    # without the scalp, which would also count
    plane = deface.face_plane(egg.ct, volumes.like(egg.ball, egg.ct))
    half_voxel_mm = np.abs(plane.normal).sum()
    # voxels at the edge are part bone, so that the cavity falls short by up to one of them
    assert -2 * half_voxel_mm < egg.distance_mm(plane) - deface.MARGIN_MM - half_voxel_mm < 0.2
    assert np.linalg.norm(plane.normal) == pytest.approx(1.0)
    assert abs(plane.normal[0]) < 0.02
    chosen_deg = np.degrees(np.arctan2(-plane.normal[2], -plane.normal[1]))
    assert depth_mm(chosen_deg) > depth_mm(np.arange(35.0, 86.0)).max() - 1.0
    assert max(depth_mm(35.0), depth_mm(85.0)) < depth_mm(chosen_deg) - 2.0  # the ends would be wrong


@settings(max_examples=8, deadline=None, derandomize=True, phases=[Phase.generate])
@given(st.tuples(angle_deg, angle_deg, angle_deg), st.floats(1.0, 5.0))
def test_a_head_however_turned_and_sliced_keeps_its_brain_and_loses_its_face(angles, spacing_mm):
    egg = EggHead(angles, spacing_mm, pixel_mm=3.0)
    plane = egg.plane()
    gone = plane.face_side(egg.ct)
    assert not (gone & egg.inside(BRAIN)).any()
    assert 1.0 < egg.distance_mm(plane) < deface.MARGIN_MM + 5.0
    assert gone[egg.face].mean() > 0.99
    assert abs((egg.rotation.T @ plane.normal)[0]) < 0.1


def test_the_mirrored_head_has_the_mirrored_plane():
    egg = EggHead((6.0, -9.0, 12.0))
    mirrored = EggHead((6.0, 9.0, -12.0))
    one, other = egg.plane(), mirrored.plane()
    assert other.normal * (-1, 1, 1) == pytest.approx(one.normal, abs=0.03)
    assert other.offset_mm == pytest.approx(one.offset_mm, abs=1.0)


def test_the_plane_does_not_depend_on_the_run():
    one, other = EggHead((3.0, 4.0, 5.0)).plane(), EggHead((3.0, 4.0, 5.0)).plane()
    assert (one.normal == other.normal).all()
    assert one.offset_mm == other.offset_mm


def test_ct_mr_mask_and_coverage_end_at_one_plane_and_air_goes_too():
    egg = EggHead()
    plane, full = egg.plane(), np.ones(egg.hu.shape, bool)
    noise = np.random.default_rng(0).uniform(1, 9, egg.hu.shape).astype(np.float32)
    mask = volumes.to_array(egg.head) > 0
    heads = {"ct_head": full, "mr_head": mask, "ct_filled": ~full, "mr_filled": ~full}
    pair = AlignedPair(grid=egg.ct, ct=egg.hu, mr=noise, mask=mask, coverage=full, **heads)
    defaced, percent = deface.remove_face(pair, plane)
    gone = egg.points @ plane.normal > plane.offset_mm
    assert (defaced.ct == np.where(gone, -1024, egg.hu)).all()
    assert (defaced.mr == np.where(gone, 0, noise)).all()
    assert (defaced.mask == (mask & ~gone)).all()
    assert (defaced.coverage == ~gone).all()
    assert (defaced.ct_head == ~gone).all()
    assert (defaced.mr_head == (mask & ~gone)).all()
    assert percent == pytest.approx(100 * (mask & gone).sum() / mask.sum())
    assert defaced.ct.dtype == defaced.mr.dtype == np.float32


def test_seen_from_the_front_the_skin_of_the_face_is_gone_and_the_forehead_is_as_it_was():
    egg = EggHead()
    gone = egg.plane().face_side(egg.ct)
    before = np.argmax(egg.hu > -300, axis=1) * 2.0
    after = np.argmax((egg.hu > -300) & ~gone, axis=1) * 2.0  # 0 where nothing is left
    face, forehead = egg.face.any(axis=1) & (after > 0), egg.points[:, 0, :, 2] > 10.0
    assert ((after - before)[face] > 4.0).mean() > 0.97
    assert np.median((after - before)[face]) > 20.0
    assert (after == before)[forehead].all()


def test_the_plane_moves_with_its_space():
    matrix = pose((10.0, -20.0, 30.0), (5.0, -7.0, 11.0))
    plane = deface.Plane(np.array([0.6, -0.8, 0.0]), 3.0)
    grid = volumes.from_array(np.zeros((5, 6, 7), np.float32), matrix @ np.diag([2.0, 3.0, 4.0, 1.0]))
    k, j, i = np.indices((5, 6, 7)).reshape(3, -1)
    before = np.stack([2.0 * i, 3.0 * j, 4.0 * k], axis=1)  # these points, moved, are the grid's voxels
    expected = (before @ plane.normal > plane.offset_mm).reshape(5, 6, 7)
    assert 0 < expected.sum() < expected.size
    assert (plane.moved(matrix).face_side(grid) == expected).all()


def test_slices_above_the_eyes_lose_next_to_nothing():
    egg = EggHead(bottom_mm=15.0)
    gone = egg.plane().face_side(egg.ct)
    assert not (gone & egg.inside(BRAIN)).any()
    assert gone[egg.inside(SCALP)].mean() < 0.01


def test_what_lies_below_a_ct_of_the_head_cap_is_removed_from_a_longer_mr():
    plane = EggHead(bottom_mm=15.0).plane()
    whole = EggHead()
    assert plane.face_side(whole.ct)[whole.face].all()


def craniectomy(egg):
    """A hole of 8 cm in the forehead's left, where soft tissue lies on the brain."""
    hole = np.linalg.norm(egg.own - (45.0, -65.0, 30.0), axis=-1) < 40.0
    egg.hu[hole & egg.inside(SKULL) & ~egg.inside(BRAIN)] = 40


def metal(egg):
    """A clip in the brain and its streaks."""
    away = egg.points - (20.0, -30.0, 10.0)
    slab, angle = np.abs(away[..., 2]) < 6.0, np.arctan2(away[..., 1], away[..., 0])
    egg.hu += np.where(slab, 600.0 * np.sin(9.0 * angle), 0.0).astype(np.float32)
    egg.hu[np.linalg.norm(away, axis=-1) < 5.0] = 3000


def sinuses(egg):
    """Air where the frontal and sphenoid sinuses lie."""
    for center in ((0.0, -86.0, 0.0), (0.0, -40.0, -62.0)):
        egg.hu[(np.linalg.norm(egg.own - center, axis=-1) < 12.0) & ~egg.inside(BRAIN)] = -950


@pytest.mark.parametrize("change", [craniectomy, metal, sinuses])
def test_what_surgeons_metal_and_air_do_to_a_ct_does_not_mislead_the_plane(change):
    egg = EggHead()
    change(egg)
    gone = egg.plane().face_side(egg.ct)
    assert not (gone & egg.inside(BRAIN)).any()
    assert gone[egg.face].mean() > 0.99


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda hu: np.full_like(hu, -1000), "0 ml of brain"),
        (lambda hu: hu[30:31], r"over 4 mm found .* wanted 300 to 3000 ml over at least 30 mm"),
        (lambda hu: np.where(hu > -200, 40, hu), "bone makes 0%"),
        (lambda hu: hu + 1024, "ml of brain"),
    ],
    ids=["air", "one slice", "no skull", "not HU"],
)
def test_a_ct_without_a_brain_in_a_skull_is_an_error(spoil, words):
    egg = EggHead()
    spoiled = volumes.from_array(spoil(egg.hu).astype(np.float32), egg.matrix)
    with pytest.raises(deface.DefaceError, match=words):
        deface.face_plane(spoiled, egg.head)


@pytest.fixture(scope="module")
def virtual_head():
    rng = np.random.default_rng(2)
    return make_head(make_template(read_labels(LABELS)), draw_build(rng), rng)


@pytest.mark.parametrize(
    ("angles", "spacing_mm", "bottom_mm"), [((0, 0, 0), 5.0, -94.0), ((-15, 12, 16), 3.0, -70.0)]
)
def test_a_virtual_patient_keeps_the_brain_and_loses_eyes_and_nose(
    virtual_head, angles, spacing_mm, bottom_mm
):
    head_to_ct = pose(angles, (0.0, 0.0, 0.0))
    slices = int((95.0 - bottom_mm) / spacing_mm)
    center = np.array([0.0, -10.0, (95.0 + bottom_mm) / 2])
    grid = stack(np.eye(3), center, (slices, 130, 130), 2.0, spacing_mm, spacing_mm)
    hu = virtual_ct.acquire(virtual_head, grid, head_to_ct, 4.0, np.random.default_rng(0))
    labels = sample(virtual_head.labels, grid, scanner_to_head_index(head_to_ct), 0, nearest=True)
    ct = volumes.from_array(hu, grid.index_to_mm)
    plane = deface.face_plane(ct, find_head(ct))
    points = (
        np.argwhere(np.ones(hu.shape, bool))[:, ::-1] @ grid.index_to_mm[:3, :3].T + grid.index_to_mm[:3, 3]
    )
    depth_mm = (plane.offset_mm - points @ plane.normal).reshape(hu.shape)
    right, posterior, up = ((points @ head_to_ct[:3, :3]).T).reshape(3, *hu.shape)
    # below MNI -72 the template repeats its lowest section; thin parts are optic nerves and stray labels
    brain = np.isin(labels, (1, 2, 3, 10, 13, 14, 15, 16, 17, 18, 19)) & (up > -72)
    core = largest_piece(brain, grid)
    assert core.sum() > 0.9 * brain.sum()
    assert depth_mm[core].min() > 1.0
    solid = labels > 0
    skin = solid & ~ndimage.binary_erosion(solid, border_value=1)
    face = skin & (np.abs(right) < 50) & (posterior < -45) & (up < -30)  # the upper lids lie at -27
    assert face.sum() > 200
    assert (depth_mm[face] < 0).mean() > 0.97
    assert (depth_mm[skin & (up > 10)] > 0).all()


def largest_piece(brain, grid):
    """The largest piece after an opening with 3 mm."""
    sampling = (grid.spacing_mm, grid.pixel_spacing_mm, grid.pixel_spacing_mm)
    deep = ndimage.distance_transform_edt(brain, sampling=sampling) > 3.0
    pieces, _ = ndimage.label(deep)
    largest = pieces == 1 + np.bincount(pieces.ravel())[1:].argmax()
    return brain & (ndimage.distance_transform_edt(~largest, sampling=sampling) <= 3.0)
