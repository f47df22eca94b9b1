"""pair: same-level slice pairs, split by patient.  data/registered -> data/pairs

Each slice of a registered patient is a pair or is listed with the rule that removed it: incomplete (one
scan does not show the head there), empty (hardly any head, or an image without content) or beyond_quota.
Patients, never slices, go to train, validation and test. Contact sheets show every pair, and every slice
that was removed. With fewer than three patients everything is written, as split "train", and
summary.json says that nothing can be trained on it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import SimpleITK as sitk  # noqa: N813
from pydantic import Field

from mrct import params as parameters
from mrct.files import output_folder, read_table, write_json, write_table
from mrct.imaging import contact_sheet
from mrct.imaging.contact_sheet import TILES_PER_PAGE
from mrct.imaging.pairing import KEYS, Rules, judge_slices
from mrct.imaging.splits import (
    MIN_PATIENTS,
    SPLITS,
    patient_count,
    require_no_leakage,
    split_patients,
    too_few,
)
from mrct.imaging.volumes import read_volume, same_grid
from mrct.parallel import map_processes
from mrct.params import Section

SOURCE = Path("data/registered")
OUT = Path("data/pairs")
IMAGES = ("mr", "ct", "mask", "coverage")
PAIR_COLUMNS = ["patient", "k", "split", "position_mm", "head_area_cm2", "coverage"]
LEGEND = (
    f"each: MR | CT, {contact_sheet.CT_WINDOW_HU[0]:.0f} to {contact_sheet.CT_WINDOW_HU[1]:.0f} HU | "
    f"MR with the outline of the CT's bone ({contact_sheet.BONE_HU:.0f} HU); red: no data in one scan.   "
    "The patient's right is on the left."
)


class Params(Section):
    """What makes a pair, and how patients are split."""

    seed: int
    min_coverage: float = Field(ge=0, le=1)
    min_head_area_cm2: float = Field(ge=0)
    max_per_patient: int = Field(ge=0)
    validation_fraction: float = Field(gt=0, lt=1)
    test_fraction: float = Field(gt=0, lt=1)


@dataclass(frozen=True)
class Page:
    """One contact sheet: its file name, headline, and rows of patient, k, position_mm, reason."""

    name: str
    title: str
    rows: tuple[tuple[str, int, float, str], ...]


def run(params: Params, source: Path, out: Path) -> dict[str, Any]:
    """Judge every slice, split the patients, draw the sheets; returns the content of summary.json."""
    patients = registered_patients(source)
    rules = Rules(params.min_coverage, params.min_head_area_cm2, params.max_per_patient)
    slices = pd.concat(map_processes(partial(judge_patient, source, rules), patients, "judging slices"))
    require_pairs(slices, params)
    pairs, rejected = slices[slices["rule"] == ""], slices[slices["rule"] != ""]
    counts = {str(patient): int(n) for patient, n in pairs.groupby("patient").size().items()}
    split = split_patients(counts, params.seed, params.validation_fraction, params.test_fraction)
    pairs = pairs.assign(split=pairs["patient"].map(split))
    require_no_leakage(pairs)
    summary = summarize(patients, pairs, rejected)
    with output_folder(out) as folder:
        write_table(folder / "pairs.csv", pairs[PAIR_COLUMNS])
        write_table(folder / "rejected.csv", rejected[["patient", "k", "rule", "reason"]])
        splits = [(patient, name, counts[patient]) for patient, name in split.items()]
        write_table(folder / "splits.csv", pd.DataFrame(splits, columns=["patient", "split", "n_pairs"]))
        write_json(folder / "summary.json", summary)
        sheets = folder / "contact_sheets"
        map_processes(partial(draw_page, source, sheets), pages(pairs, rejected), "contact sheets")
    return summary


def registered_patients(source: Path) -> list[str]:
    """Sorted patients with status registered; ValueError when there is none."""
    table = read_table(source / "patients.csv")
    patients = sorted(table.loc[table["status"] == "registered", "patient"])
    if not patients:
        raise ValueError(
            f"{source}/patients.csv: none of {len(table)} patients is registered; its column reason says "
            "why; the keys are register.min_overlap and register.min_similarity"
        )
    return patients


def judge_patient(source: Path, rules: Rules, patient: str) -> pd.DataFrame:
    """The patient's slices as `judge_slices` tells, with the column patient in front."""
    mr, ct, mask, coverage = read_patient(source, patient)
    table = judge_slices(mr, ct, mask, coverage, rules)
    table.insert(0, "patient", patient)
    return table


def read_patient(source: Path, patient: str) -> list[sitk.Image]:
    """The patient's images in the order of IMAGES; ValueError unless they lie on one grid."""
    images = [read_volume(source / patient / f"{name}.nii.gz") for name in IMAGES]
    for name, image in zip(IMAGES, images, strict=True):
        if not same_grid(image, images[0]):
            raise ValueError(
                f"{patient}: {name} {image.GetSize()} does not lie on the grid of mr {images[0].GetSize()}; "
                "all four images of a patient must; rerun register"
            )
    return images


def require_pairs(slices: pd.DataFrame, params: Params) -> None:
    """ValueError if no slice is a pair: counts per rule, and the key of the rule that removed most."""
    if (slices["rule"] == "").any():
        return
    counts = slices["rule"].value_counts()
    worst = str(counts.index[0])
    example = slices.loc[slices["rule"] == worst].iloc[0]
    raise ValueError(
        f"no pair is left of {len(slices)} slices of {patient_count(slices['patient'].nunique())}: "
        + ", ".join(f"{n} {rule}" for rule, n in counts.items())
        + f". The rule {worst!r} removed most (e.g. {example['patient']}, slice {example['k']}: "
        f"{example['reason']}); pair.{KEYS[worst]} relaxes it, now {getattr(params, KEYS[worst])}"
    )


def summarize(patients: Sequence[str], pairs: pd.DataFrame, rejected: pd.DataFrame) -> dict[str, Any]:
    """Counts per split and rule, patients without a pair, and whether there is enough to train."""
    found = pairs["patient"].nunique()
    trainable = bool(found >= MIN_PATIENTS)
    by_split = {name: pairs[pairs["split"] == name] for name in SPLITS}
    return {
        "trainable": trainable,
        "reason": "" if trainable else too_few(found),
        "slices": len(pairs) + len(rejected),
        "pairs": len(pairs),
        "patients": found,
        "patients_without_pairs": sorted(set(patients) - set(pairs["patient"])),
        "splits": {
            name: {"patients": rows["patient"].nunique(), "pairs": len(rows)}
            for name, rows in by_split.items()
        },
        "rejected": {rule: int((rejected["rule"] == rule).sum()) for rule in KEYS},
    }


def pages(pairs: pd.DataFrame, rejected: pd.DataFrame) -> list[Page]:
    """The sheets of each split and of the removed slices, in the order of patient and slice."""
    groups = {name: pairs[pairs["split"] == name] for name in SPLITS} | {"rejected": rejected}
    result = []
    for name, table in groups.items():
        rows = list(table[["patient", "k", "position_mm", "reason"]].itertuples(index=False, name=None))
        what = "removed slices" if name == "rejected" else "pairs"
        total = f"{len(rows)} {what} of {patient_count(table['patient'].nunique())}"
        starts = range(0, len(rows), TILES_PER_PAGE)
        for number, start in enumerate(starts, start=1):
            title = f"{name}  ·  page {number} of {len(starts)}  ·  {total}"
            result.append(
                Page(f"{name}_{number:03d}.png", title, tuple(rows[start : start + TILES_PER_PAGE]))
            )
    return result


def draw_page(source: Path, sheets: Path, page: Page) -> None:
    """Write one contact sheet; a patient's volumes are read once a page."""
    tiles = []
    for patient in dict.fromkeys(row[0] for row in page.rows):
        mr, ct, mask, coverage = read_patient(source, patient)
        view = contact_sheet.fit_view(mr, mask)
        for _, k, position_mm, reason in (row for row in page.rows if row[0] == patient):
            shown = contact_sheet.slice_picture(
                mr[..., k : k + 1], ct[..., k : k + 1], coverage[..., k : k + 1], view
            )
            tiles.append(contact_sheet.Tile(shown, patient, f"slice {k}, {position_mm:+.1f} mm", reason))
    contact_sheet.save_png(sheets / page.name, contact_sheet.page(tiles, page.title, LEGEND))


def main() -> None:
    """Run with params.yaml on the pipeline's folders."""
    summary = run(parameters.load(Params, "pair"), SOURCE, OUT)
    splits = summary["splits"].items()
    counts = ", ".join(
        f"{split['pairs']} {name} ({patient_count(split['patients'])})" for name, split in splits
    )
    removed = ", ".join(f"{n} {rule}" for rule, n in summary["rejected"].items())
    print(f"pairs: {counts}; removed: {removed}")
    if not summary["trainable"]:
        print(f"NOTE: nothing can be trained on this: {summary['reason']}.")
        print(f"      {OUT} is complete, contact sheets too; the next stage, normalize, will refuse.")


if __name__ == "__main__":
    main()
