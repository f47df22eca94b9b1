"""Contact sheets: what is drawn where, and the same bytes each time."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from mrct.pairing.contact_sheets import (
    AMBER,
    PANEL,
    TILES_PER_PAGE,
    Tile,
    compose,
    contour,
    fit_view,
    gray,
    overlay,
    save_png,
    slice_picture,
)

WIDTH = 3 * PANEL + 6


def test_long_reason_stays_under_its_own_tile():
    blank = np.zeros((PANEL, WIDTH, 3), np.uint8)
    tiles = [Tile(blank, "P1", "", "many words " * 40), Tile(blank, "P2", "", "")]
    drawn = np.asarray(compose(tiles, "", "")).max(axis=2) > 40
    beside = drawn[PANEL + 76 :, 28 + WIDTH : 28 + WIDTH + 28]
    assert not beside.any()
    assert drawn[PANEL + 76 :, 28 : 28 + WIDTH].any()


def volume(array: np.ndarray, spacing: tuple[float, ...] = (1.0, 1.0, 5.0)) -> sitk.Image:
    image = sitk.GetImageFromArray(array.astype(np.float32))
    image.SetSpacing(spacing)
    return image


def patient(depth: int = 1) -> dict[str, sitk.Image]:
    """A 120 mm disc of MR with a bone ring of CT, off the middle of the image."""
    j, i = np.mgrid[:200, :260]
    radius = np.hypot(i - 150, j - 90)
    head, ring = radius < 60, (radius < 56) & (radius > 48)
    ct = np.where(ring, 900.0, np.where(head, 40.0, -1024.0))
    return {
        name: volume(np.repeat(array[None], depth, axis=0))
        for name, array in (
            ("mr", head * (200.0 + i)),
            ("ct", ct),
            ("mask", head),
            ("coverage", np.ones_like(ct)),
        )
    }


def tile(text: str = "") -> Tile:
    return Tile(np.full((PANEL, WIDTH, 3), 90, np.uint8), "P0123456789", "slice 3, +12.0 mm", text)


def test_gray_saturates_at_the_window() -> None:
    np.testing.assert_array_equal(
        gray(np.array([[-9.0, 0.0, 5.0, 10.0, 99.0]]), 0, 10)[0, :, 0], [0, 0, 127.5, 255, 255]
    )


def test_contour_is_the_rim_only() -> None:
    inside = np.zeros((60, 60), bool)
    inside[15:45, 15:45] = True
    opacity = contour(inside)
    assert opacity.shape == (20, 20)
    assert (opacity[5:15, 5] == 1).all()
    assert (opacity[7:13, 7:13] == 0).all()
    assert (opacity[:4] == 0).all()


def test_contour_of_nothing_and_of_everything_is_invisible() -> None:
    assert not contour(np.zeros((9, 9), bool)).any()
    assert not contour(np.ones((9, 9), bool)).any()


def test_overlay_marks_bone_amber_and_missing_data_red() -> None:
    bone = np.zeros((60, 60), bool)
    bone[30:, :] = True
    covered = np.ones((20, 20), bool)
    covered[:, 10:] = False
    drawn = overlay(np.full((20, 20, 3), 100.0), bone, covered)
    np.testing.assert_allclose(drawn[2, 2], 100.0)
    np.testing.assert_allclose(drawn[10, 2], 0.1 * 100 + 0.9 * AMBER, rtol=1e-5)
    assert drawn[2, 15, 0] > drawn[2, 15, 1] + 20


def test_picture_shows_the_head_centered_and_whole() -> None:
    images = patient()
    view = fit_view(images["mr"], images["mask"])
    assert view.center_index == (150, 90)
    assert view.side_mm == 119 + 16
    shown = slice_picture(images["mr"], images["ct"], images["coverage"], view).astype(int)
    assert shown.shape == (PANEL, WIDTH, 3)
    ct = shown[:, PANEL + 3 : 2 * PANEL + 3, 0]
    rows, columns = np.nonzero(ct > 200)
    for edges in (rows, columns):  # the bone's outer diameter of 112 mm in a square of 135 mm, in the middle
        assert np.ptp(edges) == pytest.approx(112 / 135 * PANEL, abs=3)
        assert edges.min() + edges.max() == pytest.approx(PANEL - 1, abs=2)
    amber = shown[:, 2 * PANEL + 6 :]
    assert (amber[..., 0] > amber[..., 2] + 60).sum() > 500


def test_patient_without_head_shows_the_whole_image() -> None:
    images = patient()
    view = fit_view(images["mr"], images["mask"] * 0)
    assert view.center_index == (129.5, 99.5)
    assert view.side_mm == 260 + 16


@pytest.mark.parametrize(("tiles", "rows"), [(1, 1), (3, 1), (4, 2), (TILES_PER_PAGE, 6)])
def test_page_grows_with_its_rows(tiles: int, rows: int) -> None:
    one = compose([tile()], "a", "b")
    sheet = compose([tile()] * tiles, "a", "b")
    assert sheet.width == one.width
    assert sheet.height - one.height == (rows - 1) * (compose([tile()] * 4, "a", "b").height - one.height)
    assert np.asarray(sheet)[0, 0].max() < 30


def test_a_second_line_of_text_makes_room() -> None:
    assert compose([tile("why")], "a", "b").height > compose([tile()], "a", "b").height


def test_same_tiles_same_bytes_without_metadata(tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        save_png(tmp_path / name, compose([tile("why not: 40 cm² of ü")] * 4, "train", "legend"))
    content = (tmp_path / "one.png").read_bytes()
    assert content == (tmp_path / "two.png").read_bytes()
    for chunk in (b"tEXt", b"iTXt", b"tIME", b"eXIf"):
        assert chunk not in content
    assert Image.open(tmp_path / "one.png").mode == "RGB"
