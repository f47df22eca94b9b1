import numpy as np
import pytest
from scipy import ndimage

from mrct.imaging import masks

SPACING = (5.0, 1.0, 1.0)


def disk(shape, center_jk, radii):
    j, i = np.indices(shape)
    return ((j - center_jk[0]) / radii[0]) ** 2 + ((i - center_jk[1]) / radii[1]) ** 2 <= 1


def head_section(shape=(180, 160)):
    """(head, air) of one section at 1 mm: an oval with ears and nose; a sinus, an open nasal airway."""
    head = disk(shape, (85, 80), (70, 55))
    head |= disk(shape, (14, 80), (12, 8))  # nose
    head[80:104, 19:26] |= disk((24, 7), (12, 6), (12, 4))  # left ear: a plate 3 mm thick at its root
    head[82:86, 135:150] = True  # right ear, 4 mm thin, 15 mm off the head
    head[70:86, 147:150] = True
    air = disk(shape, (35, 65), (10, 9))  # a closed sinus
    airway = np.zeros(shape, bool)
    airway[0:45, 79:82] = True  # 3 mm wide, open at the nostril
    airway |= disk(shape, (45, 80), (14, 6))
    return head, air | (airway & head)


def ct_volume(slices=4):
    head, air = head_section()
    section = np.where(head & ~air, 40.0, -1000.0)
    skull = ndimage.binary_erosion(head, iterations=6) & ~ndimage.binary_erosion(head, iterations=12)
    section[skull & ~air] = 1000.0
    return np.repeat(section[None], slices, axis=0), np.repeat(head[None], slices, axis=0)


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


@pytest.mark.parametrize("slices", [1, 4])
def test_ct_head_has_its_cavities_and_its_ears(slices):
    hu, head = ct_volume(slices)
    found = masks.head_mask_of_ct(hu, SPACING)
    _, air = head_section()
    air[:24] = False  # the nostril may stay outside
    assert found[:, air].all()
    assert found[:, 82:86, 135:148].all()  # the thin ear
    assert dice(found, head) > 0.99


def test_table_and_head_holder_are_removed_even_where_they_touch():
    hu, head = ct_volume()
    with_table = hu.copy()
    with_table[:, 156:160, 10:150] = 150.0  # a shell 4 mm thick that touches the occiput
    with_table[:, 165:178, 0:160] = -50.0  # a table larger than the holder, apart
    found = masks.head_mask_of_ct(with_table, SPACING)
    assert not found[:, 165:178].any()
    assert not found[:, 157:160, 10:40].any()
    assert dice(found, head) > 0.985


def test_the_furrow_behind_the_ear_stays_outside():
    hu, _ = ct_volume()
    found = masks.head_mask_of_ct(hu, SPACING)
    assert not found[:, 72:80, 140:146].any()


@pytest.mark.parametrize("slices", [1, 5])
@pytest.mark.parametrize("scale", [1.0, 4000.0])
def test_mr_head_under_bias_and_rician_noise(
    slices,
    scale,
):
    rng = np.random.default_rng(1)
    _, head = ct_volume(slices)
    skull = ndimage.binary_erosion(head[0], iterations=6) & ~ndimage.binary_erosion(head[0], iterations=12)
    bias = np.linspace(0.5, 1.5, head.shape[1])[None, :, None]
    signal = np.where(head & ~skull, 1.0, 0.03 * head) * bias
    noisy = np.hypot(signal + rng.normal(0, 0.03, signal.shape), rng.normal(0, 0.03, signal.shape)) * scale
    assert dice(masks.head_mask_of_mr(noisy.astype(np.float32), SPACING), head) > 0.98


def test_mr_with_zeroed_background():
    _, head = ct_volume(2)
    rng = np.random.default_rng(2)
    image = np.where(head, rng.uniform(80, 200, head.shape), 0.0)
    assert dice(masks.head_mask_of_mr(image, SPACING), head) > 0.98


def padded_mr(bone_mm):
    """(MR, head): scalp and brain apart by dark bone, noise and a ghost beside the face, 0 beyond 20 mm of air."""
    head = disk((240, 220), (120, 110), (70, 58))
    inner = ndimage.distance_transform_edt(head)
    signal = np.where(head & ((inner <= 6) | (inner > 6 + bone_mm)), 1.0, np.where(head, 0.1, 0.0))
    signal[55:90, 150:185] += 0.09 * ~head[55:90, 150:185]  # between noise and tissue
    noise = np.random.default_rng(4).normal(0, 0.02, (2, *head.shape))
    mr = np.hypot(signal + noise[0], noise[1])
    return np.where(ndimage.distance_transform_edt(~head) < 20, mr, 0.0)[None].astype(np.float32), head


@pytest.mark.parametrize(("bone_mm", "edge"), [(1, 0), (9, 0), (9, 65)], ids=["thin", "thick", "cut open"])
def test_padding_does_not_draw_ghosts_into_the_mr_head(bone_mm, edge):
    mr, head = padded_mr(bone_mm)
    head = head[:, edge:]
    found = masks.head_mask_of_mr(mr[:, :, edge:], SPACING)[0]
    assert dice(found, head) > 0.99
    assert not (found & (ndimage.distance_transform_edt(~head) > 3)).any()


def test_dark_skin_beside_a_background_of_zeros_is_no_padding():
    head = disk((180, 160), (90, 80), (70, 58))
    signal = np.where(ndimage.distance_transform_edt(head) > 6, 1.0, 0.3)
    noisy = signal + np.random.default_rng(5).normal(0, 0.02, head.shape)
    found = masks.head_mask_of_mr(np.where(head, noisy, 0.0)[None].astype(np.float32), SPACING)[0]
    assert dice(found, head) > 0.99


@pytest.mark.filterwarnings("error")
def test_a_blank_slice_is_no_padding():
    head = ct_volume(3)[1]
    noise = np.random.default_rng(6).uniform(1, 2, head.shape)
    image = np.where(head, 100.0, noise)
    image[1] = 0.0
    found = masks.head_mask_of_mr(image, SPACING)
    assert dice(found[[0]], head[[0]]) > 0.98
    assert not found[1].any()


def test_a_spike_that_the_median_takes_away_is_no_head():
    mr = np.zeros((1, 40, 40), np.float32)
    mr[0, 20, 20] = 9.0
    with pytest.raises(masks.MaskError, match="no head"):
        masks.head_mask_of_mr(mr, SPACING)


def test_a_broken_ring_of_scalp_around_dark_bone_belongs_to_the_mr_head():
    """As T2 shows it: the scalp 4 mm thin, dark under it for 12 mm, two gaps of 4 mm in the ring."""
    head = disk((180, 160), (90, 80), (70, 58))
    inner = ndimage.distance_transform_edt(head)
    signal = np.where((inner > 0) & (inner <= 4), 0.6, 0.0) + np.where(inner > 16, 1.0, 0.0)
    signal[84:88, :60] *= inner[84:88, :60] > 16
    signal[:60, 70:74] *= inner[:60, 70:74] > 16
    noise = np.random.default_rng(3).normal(0, 0.02, (2, *head.shape))
    noisy = np.hypot(signal + noise[0], noise[1])[None].astype(np.float32)
    assert dice(masks.head_mask_of_mr(noisy, SPACING)[0], head) > 0.98


def cut_open(angle_deg, shape=(180, 160)):
    """(tissue, head) of a head whose front is cut off along a line at that angle, through wide sinuses."""
    head = disk(shape, (95, 80), (75, 60))
    j, i = np.indices(shape)
    head &= j - 45 > np.tan(np.radians(angle_deg)) * (i - 80)
    air = disk(shape, (45, 66), (22, 9)) | disk(shape, (45, 94), (22, 9))
    return head & ~air, head


@pytest.mark.parametrize("angle_deg", [0.0, 4.0, -13.0, 30.0])
def test_sinuses_opened_by_a_straight_cut_belong_to_the_head(angle_deg):
    tissue, head = cut_open(angle_deg)
    found = masks.head_mask_of_ct(np.where(tissue, 40.0, -1000.0)[None], SPACING)[0]
    assert dice(found, head) > 0.995
    assert not (found & ~ndimage.binary_dilation(head)).any()


def test_sinuses_opened_by_the_edge_of_the_image_belong_to_the_head():
    tissue, head = cut_open(0.0)
    found = masks.head_mask_of_ct(np.where(tissue, 40.0, -1000.0)[None, 46:], SPACING)[0]
    assert dice(found, head[46:]) > 0.995


def test_a_hollow_beside_the_nose_is_no_cut():
    head = disk((180, 160), (100, 80), (70, 58)) | disk((180, 160), (27, 80), (14, 9))
    found = masks.head_mask_of_ct(np.where(head, 40.0, -1000.0)[None], SPACING)[0]
    assert (found & ~head).sum() < 0.003 * head.sum()


def test_pixel_size_does_not_change_the_outline():
    hu, _ = ct_volume(1)
    coarse = masks.head_mask_of_ct(hu, SPACING)
    fine = masks.head_mask_of_ct(hu.repeat(2, axis=1).repeat(2, axis=2), (5.0, 0.5, 0.5))
    assert dice(fine, coarse.repeat(2, axis=1).repeat(2, axis=2)) > 0.99


def test_mask_touching_the_image_edge_is_not_eaten():
    hu = np.full((2, 60, 60), 40.0)
    hu[:, :, 50:] = -1000.0
    assert np.array_equal(masks.head_mask_of_ct(hu, SPACING), hu > -300)


@pytest.mark.parametrize("hu", [np.full((3, 40, 40), -1000.0), np.full((1, 40, 40), -1024.0)])
def test_air_alone_is_no_head(hu):
    with pytest.raises(masks.MaskError, match="no head"):
        masks.head_mask_of_ct(hu, SPACING)


def test_constant_mr_is_no_head():
    with pytest.raises(masks.MaskError, match="constant"):
        masks.head_mask_of_mr(np.zeros((3, 40, 40)), SPACING)


def test_dilation_and_erosion_reach_their_radius():
    point = np.zeros((1, 21, 21), bool)
    point[0, 10, 10] = True
    grown = masks.dilate(point, 4.0, (5.0, 1.0, 2.0))
    assert grown[0, 6:15, 10].all()
    assert not grown[0, 5, 10]
    assert grown[0, 10, 8:13].all()
    assert not grown[0, 10, 7]
    assert np.array_equal(masks.erode(grown, 4.0, (5.0, 1.0, 2.0))[0, 10, 10], True)
    assert not masks.dilate(np.zeros((1, 4, 4), bool), 3.0, SPACING).any()
    assert masks.erode(np.ones((1, 4, 4), bool), 3.0, SPACING).all()
