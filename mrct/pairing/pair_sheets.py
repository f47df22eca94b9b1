"""The contact sheets of a pair stage: every pair, the poorest match first, and every removed slice.

A page is drawn from the registered volumes `<source>/<patient>/{mr,ct,mask,coverage}.nii.gz`, which lie on one
grid; slices k along the third axis.
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import SimpleITK as sitk

from mrct.core.errors import DataError
from mrct.imaging.volumes import read_volume, same_grid
from mrct.pairing import contact_sheet
from mrct.pairing.contact_sheet import TILES_PER_PAGE
from mrct.pairing.splits import SPLITS, patient_count

IMAGES = ("mr", "ct", "mask", "coverage")
LEGEND = (
    f"each: MR | CT, {contact_sheet.CT_WINDOW_HU[0]:.0f} to {contact_sheet.CT_WINDOW_HU[1]:.0f} HU | "
    f"MR with the outline of the CT's bone ({contact_sheet.BONE_HU:.0f} HU); red: no data in one scan.   "
    "The patient's right is on the left."
)


@dataclass(frozen=True)
class Page:
    """One contact sheet: its file name, headline, and rows of patient, k, position_mm, quality, reason."""

    name: str
    title: str
    rows: tuple[tuple[str, int, float, float, str], ...]


def pages(pairs: pd.DataFrame, rejected: pd.DataFrame) -> list[Page]:
    """The sheets of each split, the poorest match first, and of the removed slices by patient and level."""
    ranked = pairs.sort_values("quality", kind="stable")
    groups = {name: ranked[ranked["split"] == name] for name in SPLITS} | {"rejected": rejected}
    result = []
    for name, table in groups.items():
        shown = table[["patient", "k", "position_mm", "quality", "reason"]]
        rows = list(shown.itertuples(index=False, name=None))
        what = "removed slices" if name == "rejected" else "pairs"
        total = f"{len(rows)} {what} of {patient_count(table['patient'].nunique())}"
        total += "" if name == "rejected" else "  ·  poorest match first"
        starts = range(0, len(rows), TILES_PER_PAGE)
        for number, start in enumerate(starts, start=1):
            title = f"{name}  ·  page {number} of {len(starts)}  ·  {total}"
            result.append(
                Page(f"{name}_{number:03d}.png", title, tuple(rows[start : start + TILES_PER_PAGE]))
            )
    return result


def draw_page(source: Path, sheets: Path, page: Page) -> None:
    """Write one contact sheet; a patient's volumes are read once a page."""
    tiles: dict[int, contact_sheet.Tile] = {}
    for patient in dict.fromkeys(row[0] for row in page.rows):
        mr, ct, mask, coverage = read_patient(source, patient)
        view = contact_sheet.fit_view(mr, mask)
        for place, (owner, k, position_mm, quality, reason) in enumerate(page.rows):
            if owner != patient:
                continue
            shown = contact_sheet.slice_picture(
                mr[..., k : k + 1], ct[..., k : k + 1], coverage[..., k : k + 1], view
            )
            score = "" if pd.isna(quality) else f"  ·  match {quality:.2f}"
            tiles[place] = contact_sheet.Tile(
                shown, patient, f"slice {k}, {position_mm:+.1f} mm{score}", reason
            )
    ordered = [tiles[place] for place in sorted(tiles)]
    contact_sheet.save_png(sheets / page.name, contact_sheet.page(ordered, page.title, LEGEND))


def read_patient(source: Path, patient: str) -> list[sitk.Image]:
    """The patient's images in the order of IMAGES; ValueError unless they lie on one grid."""
    images = [read_volume(source / patient / f"{name}.nii.gz") for name in IMAGES]
    for name, image in zip(IMAGES, images, strict=True):
        if not same_grid(image, images[0]):
            raise DataError(
                f"{patient}: {name} {image.GetSize()} does not lie on the grid of mr {images[0].GetSize()}; "
                "all four images of a patient must; rerun register"
            )
    return images
