"""Contact sheets: pages of MR | CT | overlay tiles on a dark ground, for a radiographer's quick look.

Convention: panels are shown as radiologists do, the patient's right on the left, anterior on top (the
array order of LPS volumes). The same tiles give the same PNG bytes: no time, no metadata.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
import SimpleITK as sitk
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from mrct.core.files import atomic_file
from mrct.imaging.grid import box_center, centered_grid, to_grid
from mrct.imaging.volumes import to_array
from mrct.normalization.intensity import MrScaling

PANEL = 176  # pixels a panel
COLUMNS, ROWS = 3, 6
TILES_PER_PAGE = COLUMNS * ROWS
LINE_SAMPLES = 3  # the contour is drawn on so many times finer pixels
CT_WINDOW_HU = (-160.0, 340.0)
BONE_HU = 300.0
AIR_HU = -1024.0
MR_PERCENTILES = (0.5, 99.5)
VIEW_MARGIN_MM = 8.0

GROUND = (14, 17, 22)
TEXT = (232, 234, 237)
FAINT = (139, 148, 158)
AMBER = np.array([255, 176, 46], np.float32)
RED = np.array([214, 64, 69], np.float32)
GAP, MARGIN, HEADER = 3, 28, 76
CAPTION, SECOND_LINE = 32, 17


@dataclass(frozen=True)
class Tile:
    """One slice of a patient: the picture (PANEL, 3 PANEL + gaps, 3) uint8 and its text."""

    picture: np.ndarray
    title: str
    detail: str
    faint: str = ""


@dataclass(frozen=True)
class View:
    """What of a patient is shown, and how: a square of side_mm about the continuous index (i, j)."""

    center_index: tuple[float, float]
    side_mm: float
    mr_window: tuple[float, float]


def fit_view(mr: sitk.Image, mask: sitk.Image) -> View:
    """A square around the head of all slices with a margin; the whole image where the mask is empty."""
    head = to_array(mask) > 0
    head = head if head.any() else np.ones_like(head)
    i, j = box_center(head)
    extents = [np.ptp(np.flatnonzero(head.any(axis=axes))) + 1 for axes in ((0, 1), (0, 2))]
    side_mm = max(extent * spacing for extent, spacing in zip(extents, mr.GetSpacing()[:2], strict=True))
    return View((float(i), float(j)), float(side_mm) + 2 * VIEW_MARGIN_MM, _mr_window(to_array(mr)))


def _mr_window(mr: np.ndarray) -> tuple[float, float]:
    if mr.min() == mr.max():  # no content, and this is what the sheet has to show
        return float(mr.min()), float(mr.min()) + 1.0
    scale = MrScaling("percentile", MR_PERCENTILES).fit(mr)
    return scale.low, scale.high


def slice_picture(mr: sitk.Image, ct: sitk.Image, coverage: sitk.Image, view: View) -> np.ndarray:
    """One-slice images (W, H, 1) on one grid -> their picture: MR | CT | bone outline of the CT on the MR."""
    panel, fine = (
        centered_grid(mr, np.array(view.center_index), PANEL * n, view.side_mm / (PANEL * n))
        for n in (1, LINE_SAMPLES)
    )
    mr_rgb = gray(to_grid(mr, panel, view.mr_window[0])[0], *view.mr_window)
    ct_rgb = gray(to_grid(ct, panel, AIR_HU)[0], *CT_WINDOW_HU)
    covered = to_grid(coverage, panel, 1.0, nearest=True)[0] > 0
    bone = to_grid(ct, fine, AIR_HU)[0] >= BONE_HU
    return picture(mr_rgb, ct_rgb, overlay(mr_rgb, bone, covered))


def gray(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Any unit, (H, W) -> RGB float32 (H, W, 3) in 0..255; low is black, high is white, saturating."""
    level = np.clip((values.astype(np.float32) - low) / (high - low), 0.0, 1.0) * 255.0
    return np.repeat(level[..., None], 3, axis=-1)


def contour(inside: np.ndarray, samples: int = LINE_SAMPLES) -> np.ndarray:
    """A mask on fine pixels (n samples, n samples) -> opacity (n, n) in 0..1 of its one-pixel outline."""
    edge = inside & ~ndimage.binary_erosion(inside, iterations=samples - 1, border_value=1)
    rows, columns = inside.shape[0] // samples, inside.shape[1] // samples
    share = edge.reshape(rows, samples, columns, samples).mean(axis=(1, 3))
    return np.clip(share * 1.5, 0.0, 1.0)


def overlay(mr_rgb: np.ndarray, fine_bone: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """MR with the CT's bone outline in amber, and red where one of the scans has no data; RGB 0..255."""
    tinted = np.where(covered[..., None], mr_rgb, 0.7 * mr_rgb + 0.3 * RED)
    opacity = 0.9 * contour(fine_bone)[..., None]
    return tinted * (1.0 - opacity) + AMBER * opacity


def picture(mr_rgb: np.ndarray, ct_rgb: np.ndarray, overlaid: np.ndarray) -> np.ndarray:
    """Three RGB panels side by side: uint8 (PANEL, 3 PANEL + 2 GAP, 3)."""
    gap = np.full((mr_rgb.shape[0], GAP, 3), GROUND, np.float32)
    return np.rint(np.concatenate([mr_rgb, gap, ct_rgb, gap, overlaid], axis=1)).astype(np.uint8)


def page(tiles: Sequence[Tile], title: str, subtitle: str) -> Image.Image:
    """Up to TILES_PER_PAGE tiles row by row under a header; a shorter last page is less high."""
    rows = -(-len(tiles) // COLUMNS)
    row_height = PANEL + CAPTION + SECOND_LINE * any(tile.faint for tile in tiles)
    tile_width = 3 * PANEL + 2 * GAP
    width = 2 * MARGIN + COLUMNS * tile_width + (COLUMNS - 1) * MARGIN
    sheet = Image.new("RGB", (width, HEADER + rows * row_height + MARGIN // 4), GROUND)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, 16), title, TEXT, _font(21, bold=True))
    draw.text((MARGIN, 46), subtitle, FAINT, _font(13))
    for number, tile in enumerate(tiles):
        x = MARGIN + number % COLUMNS * (tile_width + MARGIN)
        y = HEADER + number // COLUMNS * row_height
        sheet.paste(Image.fromarray(tile.picture), (x, y))
        _write_caption(draw, tile, x, y + PANEL + 5, tile_width)
    return sheet


def save_png(path: Path, sheet: Image.Image) -> None:
    """RGB PNG without metadata; the same picture gives the same bytes."""
    with atomic_file(path) as partial:
        sheet.save(partial, format="PNG", compress_level=9)


def _write_caption(draw: ImageDraw.ImageDraw, tile: Tile, x: int, y: int, width: int) -> None:
    draw.text((x, y), tile.title, TEXT, _font(13, bold=True))
    after = x + draw.textlength(tile.title + "  ", _font(13, bold=True))
    draw.text((after, y), tile.detail, TEXT, _font(13))
    draw.text((x, y + SECOND_LINE), _fitted(draw, tile.faint, width), FAINT, _font(12))


def _fitted(draw: ImageDraw.ImageDraw, text: str, width: int) -> str:
    """As many whole words as fit under a tile; the table beside the sheet has them all."""
    if draw.textlength(text, _font(12)) <= width:
        return text
    words = text.split()
    while words and draw.textlength(" ".join(words) + " …", _font(12)) > width:
        words.pop()
    return " ".join([*words, "…"])


@cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans as matplotlib brings it, so that every machine draws the same letters."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)
