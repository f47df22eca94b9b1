"""Contact sheets: every pair, the poorest match first, and every rejected slice, as MR | CT | overlay on a dark ground.

Panels are shown in radiological convention: the patient's right on the left, anterior on top, which is the array order
of LPS volumes. The same tiles give the same PNG bytes, without time or metadata.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import pandas as pd
import SimpleITK as sitk
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from mrct.core.contracts import AIR_HU, Split
from mrct.core.files import atomic_file
from mrct.imaging.grid import box_center, centered_grid, to_grid
from mrct.imaging.volumes import to_array
from mrct.normalization.intensity import MrScaling
from mrct.pairing.slices import RegisteredVolumes
from mrct.pairing.splits import patient_count

# pixels per panel
PANEL = 176
COLUMNS, ROWS = 3, 6
TILES_PER_PAGE = COLUMNS * ROWS
# the outline is drawn on pixels that are finer by this factor
LINE_SAMPLES = 3
CT_WINDOW_HU = (-160.0, 340.0)
BONE_HU = 300.0
MR_PERCENTILES = (0.5, 99.5)
VIEW_MARGIN_MM = 8.0

GROUND = (14, 17, 22)
TEXT = (232, 234, 237)
FAINT = (139, 148, 158)
AMBER = np.array([255, 176, 46], np.float32)
RED = np.array([214, 64, 69], np.float32)
GAP, MARGIN, HEADER = 3, 28, 76
CAPTION, SECOND_LINE = 32, 17

REJECTED = "rejected"
LEGEND = (
    f"each: MR | CT, {CT_WINDOW_HU[0]:.0f} to {CT_WINDOW_HU[1]:.0f} HU | "
    f"MR with the outline of the CT's bone ({BONE_HU:.0f} HU); red: no data in one scan.   "
    "The patient's right is on the left."
)


class SheetSlice(NamedTuple):
    """One slice of a contact sheet; `reason` is empty for a pair."""

    patient: str
    k: int
    position_mm: float
    quality: float
    reason: str


@dataclass(frozen=True)
class Page:
    """One contact sheet: its file name, headline and slices."""

    name: str
    title: str
    slices: tuple[SheetSlice, ...]


@dataclass(frozen=True)
class Tile:
    """One slice of a patient: `picture` (PANEL, 3 PANEL + 2 GAP, 3) uint8 and its texts."""

    picture: np.ndarray
    title: str
    detail: str
    faint: str = ""


@dataclass(frozen=True)
class View:
    """Part of a patient's slices that is shown: a square of side_mm around a continuous index (i, j)."""

    center_index: tuple[float, float]
    side_mm: float
    mr_window: tuple[float, float]


def pages(pairs: pd.DataFrame, rejected: pd.DataFrame) -> list[Page]:
    """Lay out the sheets of each split, the poorest match first, and of the rejected slices by patient and level.

    Args:
        pairs: The fields of `SheetSlice` as columns, and split.
        rejected: The same fields.
    """
    ranked = pairs.sort_values("quality", kind="stable")
    groups = {split.value: ranked[ranked["split"] == split] for split in Split} | {REJECTED: rejected}
    result = []
    for name, table in groups.items():
        slices = [SheetSlice(*row) for row in table[list(SheetSlice._fields)].itertuples(index=False)]
        what, order = ("removed slices", "") if name == REJECTED else ("pairs", "  ·  poorest match first")
        total = f"{len(slices)} {what} of {patient_count(table['patient'].nunique())}{order}"
        starts = range(0, len(slices), TILES_PER_PAGE)
        for number, start in enumerate(starts, start=1):
            title = f"{name}  ·  page {number} of {len(starts)}  ·  {total}"
            shown = tuple(slices[start : start + TILES_PER_PAGE])
            result.append(Page(f"{name}_{number:03d}.png", title, shown))
    return result


def draw_page(source: Path, sheets: Path, page: Page) -> None:
    """Write one contact sheet.

    Args:
        source: The folder with the registered volumes of each patient.
        sheets: The folder to write to.
        page: What the sheet shows; each patient's volumes are read once.
    """
    tiles: dict[int, Tile] = {}
    for patient in dict.fromkeys(here.patient for here in page.slices):
        images = RegisteredVolumes.read(source / patient)
        view = fit_view(images.mr, images.mask)
        for place, here in enumerate(page.slices):
            if here.patient == patient:
                tiles[place] = _tile(images, view, here)
    ordered = [tiles[place] for place in sorted(tiles)]
    save_png(sheets / page.name, compose(ordered, page.title, LEGEND))


def _tile(images: RegisteredVolumes, view: View, here: SheetSlice) -> Tile:
    mr, ct, coverage = (image[..., here.k : here.k + 1] for image in (images.mr, images.ct, images.coverage))
    score = "" if np.isnan(here.quality) else f"  ·  match {here.quality:.2f}"
    detail = f"slice {here.k}, {here.position_mm:+.1f} mm{score}"
    return Tile(slice_picture(mr, ct, coverage, view), here.patient, detail, here.reason)


def fit_view(mr: sitk.Image, mask: sitk.Image) -> View:
    """Return a square around the head of all slices with a margin; around the whole image if the mask is empty."""
    head = to_array(mask) > 0
    head = head if head.any() else np.ones_like(head)
    i, j = box_center(head)
    extents = [np.ptp(np.flatnonzero(head.any(axis=axes))) + 1 for axes in ((0, 1), (0, 2))]
    side_mm = max(extent * spacing for extent, spacing in zip(extents, mr.GetSpacing()[:2], strict=True))
    return View((float(i), float(j)), float(side_mm) + 2 * VIEW_MARGIN_MM, _mr_window(to_array(mr)))


def _mr_window(mr: np.ndarray) -> tuple[float, float]:
    if mr.min() == mr.max():
        # the sheet has to show that there is no content
        return float(mr.min()), float(mr.min()) + 1.0
    scale = MrScaling("percentile", MR_PERCENTILES).fit(mr)
    return scale.low, scale.high


def slice_picture(mr: sitk.Image, ct: sitk.Image, coverage: sitk.Image, view: View) -> np.ndarray:
    """Draw one-slice images (W, H, 1) on one grid: MR | CT | bone outline of the CT on the MR."""
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
    """Map values (H, W) to RGB float32 (H, W, 3) in 0..255; `low` is black, `high` is white."""
    level = np.clip((values.astype(np.float32) - low) / (high - low), 0.0, 1.0) * 255.0
    return np.repeat(level[..., None], 3, axis=-1)


def contour(inside: np.ndarray, samples: int = LINE_SAMPLES) -> np.ndarray:
    """Return the opacity (n, n) in 0..1 of the one-pixel outline of a mask on fine pixels (n samples, n samples)."""
    edge = inside & ~ndimage.binary_erosion(inside, iterations=samples - 1, border_value=1)
    rows, columns = inside.shape[0] // samples, inside.shape[1] // samples
    share = edge.reshape(rows, samples, columns, samples).mean(axis=(1, 3))
    return np.clip(share * 1.5, 0.0, 1.0)


def overlay(mr_rgb: np.ndarray, fine_bone: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """Draw the bone outline in amber on the MR, and red where one of the scans has no data; RGB 0..255."""
    tinted = np.where(covered[..., None], mr_rgb, 0.7 * mr_rgb + 0.3 * RED)
    opacity = 0.9 * contour(fine_bone)[..., None]
    return tinted * (1.0 - opacity) + AMBER * opacity


def picture(mr_rgb: np.ndarray, ct_rgb: np.ndarray, overlaid: np.ndarray) -> np.ndarray:
    """Put three RGB panels side by side: uint8 (PANEL, 3 PANEL + 2 GAP, 3)."""
    gap = np.full((mr_rgb.shape[0], GAP, 3), GROUND, np.float32)
    return np.rint(np.concatenate([mr_rgb, gap, ct_rgb, gap, overlaid], axis=1)).astype(np.uint8)


def compose(tiles: Sequence[Tile], title: str, subtitle: str) -> Image.Image:
    """Put up to TILES_PER_PAGE tiles row by row under a header; a page with fewer rows is shorter."""
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
    """Write an RGB PNG without metadata; the same picture gives the same bytes."""
    with atomic_file(path) as partial:
        sheet.save(partial, format="PNG", compress_level=9)


def _write_caption(draw: ImageDraw.ImageDraw, tile: Tile, x: int, y: int, width: int) -> None:
    draw.text((x, y), tile.title, TEXT, _font(13, bold=True))
    after = x + draw.textlength(tile.title + "  ", _font(13, bold=True))
    draw.text((after, y), tile.detail, TEXT, _font(13))
    draw.text((x, y + SECOND_LINE), _fitted(draw, tile.faint, width), FAINT, _font(12))


def _fitted(draw: ImageDraw.ImageDraw, text: str, width: int) -> str:
    """Shorten a text to the whole words that fit under a tile; the table beside the sheet has all of it."""
    if draw.textlength(text, _font(12)) <= width:
        return text
    words = text.split()
    while words and draw.textlength(" ".join(words) + " …", _font(12)) > width:
        words.pop()
    return " ".join([*words, "…"])


@cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Load DejaVu Sans from matplotlib, so that every machine draws the same letters."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)
