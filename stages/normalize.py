"""normalize: whole volumes on one grid, in [-1, 1].  data/registered, data/pairs -> data/normalized

Per patient: rows and columns to pixel_spacing_mm, cropped or padded (never stretched) to image_size about the
head of the MR; CT by the HU window, MR by a scale of its own whole volume. Both the grid and the scale come
from the MR alone, so that inference on a new patient repeats them. Slices stay as they are; pairs.csv
says which are pairs. Outside the images CT is air and MR its lowest value: -1.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field, field_validator

from mrct import params as parameters
from mrct.files import output_folder, read_json, read_table, save_array, write_json, write_table
from mrct.imaging.grid import cropped_fraction, make_grid, to_grid
from mrct.imaging.intensity import fit_mr_scale, hu_to_signed
from mrct.imaging.splits import MIN_PATIENTS, require_no_leakage
from mrct.imaging.volumes import read_volume, to_array
from mrct.parallel import map_processes
from mrct.params import Section

REGISTERED = Path("data/registered")
PAIRS = Path("data/pairs")
OUT = Path("data/normalized")
AIR_HU = -1024.0
# a crop of less is the rim of the ears; more takes part of the head from training and test
TOLERATED_CROP = 0.001


class Params(Section):
    """The section `normalize`."""

    pixel_spacing_mm: float = Field(gt=0)
    hu_window: tuple[float, float]
    mr: Literal["percentile", "minmax"]
    mr_percentiles: tuple[float, float]

    @field_validator("hu_window", "mr_percentiles")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not value[0] < value[1]:
            raise ValueError("the first number must be the smaller one")
        return value

    @field_validator("mr_percentiles")
    @classmethod
    def _are_percentiles(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] < 0 or value[1] > 100:
            raise ValueError("percentiles lie between 0 and 100")
        return value


class TopLevel(Section):
    """The key at the top of params.yaml that this stage shares with training."""

    image_size: int = Field(gt=0)


def run(params: Params, image_size: int, registered: Path, pairs_folder: Path, out: Path) -> dict[str, Any]:
    """Write every patient that has pairs; returns the manifest. ValueError if nothing can be trained."""
    require_trainable(read_json(pairs_folder / "summary.json"))
    pairs = read_table(pairs_folder / "pairs.csv")
    require_no_leakage(pairs)
    patients = sorted(pairs["patient"].unique())
    with output_folder(out) as folder:
        work = partial(normalize_patient, params, image_size, registered, folder, pairs)
        entries = map_processes(work, patients, "normalizing")
        manifest = {
            "image_size": image_size,
            "pixel_spacing_mm": params.pixel_spacing_mm,
            "hu_window": list(params.hu_window),
            "mr": {"method": params.mr, "percentiles": list(params.mr_percentiles)},
            "patients": dict(zip(patients, entries, strict=True)),
        }
        write_table(folder / "pairs.csv", pairs[["patient", "k", "split"]])
        write_json(folder / "manifest.json", manifest)
    return manifest


def require_trainable(summary: Mapping[str, Any]) -> None:
    """ValueError if `pair` found too few patients: here the training data begin."""
    if not summary["trainable"]:
        raise ValueError(
            f"there is nothing to train on: {summary['reason']}. Add patients to the source until "
            f"{MIN_PATIENTS} or more have pairs; the contact sheets in data/pairs show what there is"
        )


def normalize_patient(
    params: Params, image_size: int, registered: Path, out: Path, pairs: pd.DataFrame, patient: str
) -> dict[str, Any]:
    """Write the patient's arrays; returns its entry in the manifest."""
    mr, ct, mask = (read_volume(registered / patient / f"{name}.nii.gz") for name in ("mr", "ct", "mask"))
    scale = fit_mr_scale(to_array(mr), params.mr, params.mr_percentiles)
    grid = make_grid(mr, image_size, params.pixel_spacing_mm)
    ct_hu = to_grid(ct, grid, fill=AIR_HU)
    rows = pairs[pairs["patient"] == patient]
    arrays = {
        "mr": scale.to_signed(to_grid(mr, grid, fill=scale.low)),
        "ct": hu_to_signed(ct_hu, params.hu_window),
        "ct_hu": ct_hu,
        "mask": to_grid(mask, grid, fill=0.0, nearest=True).astype(np.uint8),
        "valid": np.isin(np.arange(grid.depth), rows["k"]),
    }
    for name, array in arrays.items():
        save_array(out / patient / f"{name}.npy", array)
    return {
        "split": str(rows["split"].iloc[0]),
        "depth": grid.depth,
        "mr_low": scale.low,
        "mr_high": scale.high,
        "slice_spacing_mm": grid.spacing_mm()[2],
        "affine": grid.to_json()["affine"],
        "cropped_head_fraction": round(cropped_fraction(mask, grid), 6),
    }


def crop_warnings(manifest: Mapping[str, Any]) -> list[str]:
    """One line for each patient whose head does not fit into the grid."""
    size, spacing = manifest["image_size"], manifest["pixel_spacing_mm"]
    return [
        f"WARNING: {patient}: {100 * entry['cropped_head_fraction']:.1f} % of the head lies outside "
        f"{size} x {size} pixels of {spacing:g} mm; raise image_size or normalize.pixel_spacing_mm"
        for patient, entry in manifest["patients"].items()
        if entry["cropped_head_fraction"] > TOLERATED_CROP
    ]


def main() -> None:
    """Run with params.yaml on the pipeline's folders."""
    size = parameters.load(TopLevel).image_size
    manifest = run(parameters.load(Params, "normalize"), size, REGISTERED, PAIRS, OUT)
    print(f"normalized: {len(manifest['patients'])} patients, {size} x {size} pixels")
    for line in crop_warnings(manifest):
        print(line)


if __name__ == "__main__":
    main()
