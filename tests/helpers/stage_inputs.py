"""Small inputs of the stages select, register, pair and normalize, and their parameters."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import SimpleITK as sitk

from helpers.series_factory import write_series
from helpers.training_domain import selected_acquisitions
from mrct.core import contracts, files, params
from mrct.core.contracts import SelectionStatus
from mrct.imaging import volumes
from stages import normalize, register, select

PARAMS_FILE = Path(__file__).parents[2] / "params.yaml"

# --- select -----------------------------------------------------------------

# the series of these tests are 24 pixels wide and a few slices high
SMALL = {"min_coverage_mm": 0.0, "min_field_mm": 0.0}


def select_params(**changes: Any) -> select.Params:
    """Read the parameters of select for series of 24 pixels and a few slices."""
    return params.parse(select.Params, params.read(PARAMS_FILE)["select"] | SMALL | changes, "select")


def add_series(source: Path, patient: str, series: str, modality: str, **attributes: Any) -> list[Path]:
    """Write a series of a patient into data/anonymized."""
    folder = source / "images" / patient / f"T{modality}" / series
    return write_series(folder, modality, SeriesInstanceUID=f"1.{series[1:]}", **attributes)


# --- register ----------------------------------------------------------------


def register_params(**changes: Any) -> register.Params:
    """Make the parameters of register for images that are registered already."""
    values = {"method": "none", "grid": "mr", "min_overlap": 0.5, "min_similarity": 0.1}
    values |= {"max_residual_mm": 6.0, "max_spread_mm": 0.0, "deface": False, **changes}
    return params.parse(register.Params, values, "register")


def head_pair(slices: int = 6, shift_i: int = 0, bottom_mm: float = 0.0) -> tuple[sitk.Image, sitk.Image]:
    """Make CT and MR of one egg-shaped head with 2 mm pixels and 5 mm slices, with skull and ventricle."""
    index_to_lps = np.diag([2.0, 2.0, 5.0, 1.0])
    index_to_lps[2, 3] = bottom_mm
    j, i = np.indices((96, 96))
    radius = np.hypot((j - 48) / 40, (i - shift_i - 48) / 32)
    ct, mr = np.full((96, 96), -1000.0), np.zeros((96, 96))
    for outer, hu, intensity in ((1.0, 20, 300), (0.9, 900, 30), (0.8, 35, 180), (0.3, 5, 500)):
        ct[radius <= outer], mr[radius <= outer] = hu, intensity
    noise = np.random.default_rng(1).normal(0, 5, (2, slices, 96, 96))
    return (
        volumes.from_array((ct + noise[0]).astype(np.float32), index_to_lps),
        volumes.from_array(np.abs(mr + noise[1]).astype(np.float32), index_to_lps),
    )


def write_selected(
    folder: Path,
    pairs: dict[str, tuple[sitk.Image, sitk.Image]],
    registered: bool = True,
    status: SelectionStatus = SelectionStatus.PAIRED,
    same_frame: bool = False,
) -> Path:
    """Write a data/selected folder with {patient: (ct, mr)}."""
    for patient, (ct, mr) in pairs.items():
        volumes.write_volume(folder / patient / "ct.nii.gz", ct)
        volumes.write_volume(folder / patient / "mr.nii.gz", mr)
    columns = {"status": status, "days_between": 0, "same_frame": same_frame, "reason": ""}
    table = pd.DataFrame({"patient": list(pairs), **columns})
    contracts.SELECTED_PATIENTS.write(folder, table)
    files.write_json(folder / "manifest.json", {"registered": registered})
    return folder


# --- normalize ---------------------------------------------------------------

NORMALIZE_PARAMS = normalize.Params(
    pixel_spacing_mm=2.0,
    named="",
    hu_window=(-1024.0, 3000.0),
    mr="percentile",
    mr_percentiles=(0.5, 99.5),
    n4=False,
)
PATIENTS = {"P0000000001": "train", "P0000000002": "validation", "P0000000003": "test"}
RADIUS = 40


def write_registered(folder: Path, center: tuple[int, int], depth: int) -> None:
    """Write a head of 80 mm around (i, j) in a 100 x 120 mm image of 1 mm pixels; the CT holds -3024 and metal."""
    j, i = np.mgrid[:120, :100]
    head = np.repeat((np.hypot(i - center[0], j - center[1]) <= RADIUS)[None], depth, axis=0)
    rng = np.random.default_rng(depth)
    ct = np.where(head, rng.normal(40, 5, head.shape), -1000.0)
    ct[:, 0, 0], ct[:, center[1], center[0]] = -3024.0, 9000.0
    mr = np.where(head, rng.normal(500, 60, head.shape), rng.rayleigh(5, head.shape))
    folder.mkdir(parents=True)
    for name, array in {"mr": mr, "ct": ct, "mask": head}.items():
        image = sitk.GetImageFromArray(array.astype(np.uint8 if name == "mask" else np.float32))
        image.SetSpacing((1.0, 1.0, 4.0))
        image.SetOrigin((-50.0, -60.0, 12.0))
        sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))


def pair_row(patient: str, k: int, split: str) -> dict[str, object]:
    numbers = {"position_mm": 4.0 * k, "head_area_cm2": 50.0, "coverage": 1.0}
    scores = {"quality": 0.2, "mask_overlap": 1.0, "edge_agreement": 0.5}
    return {"patient": patient, "k": k, "split": split} | numbers | scores


def write_cohort(root: Path, trainable: bool = True) -> None:
    """Write data/registered, data/pairs and data/selected/acquisitions.json of three patients."""
    files.write_json(root / "selected/acquisitions.json", selected_acquisitions(list(PATIENTS)))
    for number, patient in enumerate(PATIENTS):
        write_registered(root / "registered" / patient, (48 + number, 60 - number), depth=1 + 2 * number)
    rows = [
        pair_row(p, k, s) for n, (p, s) in enumerate(PATIENTS.items()) for k in range(1 + 2 * n) if k != 1
    ]
    (root / "pairs").mkdir()
    contracts.PAIRS.write(root / "pairs", rows)
    contracts.REJECTED_SLICES.write(root / "pairs", [])
    reason = "" if trainable else "2 patients with pairs, and training needs at least 3: one each to train on"
    (root / "pairs" / "summary.json").write_text(json.dumps({"trainable": trainable, "reason": reason}))


def run_normalize(
    root: Path, settings: normalize.Params = NORMALIZE_PARAMS, image_size: int = 64, out: str = "out"
) -> dict[str, Any]:
    """Run the stage on what `write_cohort` has written."""
    places = (root / "selected/acquisitions.json", root / "registered", root / "pairs", root / out)
    return normalize.run(settings, image_size, *places)
