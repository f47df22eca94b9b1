"""normalize: whole volumes on one grid, in [-1, 1].  data/registered, data/pairs -> data/normalized

Per patient: rows and columns to pixel_spacing_mm, cropped or padded (never stretched) to image_size about the
head of the MR; CT by the HU window, MR by a scale of its own whole volume, after N4 where asked. Grid, bias
field and scale come from the MR alone (and, for `nyul` and `kaiser`, from a few numbers of the training
patients that the manifest carries), so that inference on a new patient repeats them. Slices stay as they are; pairs.csv
says which are pairs. Outside the images CT is air and MR its lowest value: -1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field, field_validator

from mrct.core import params as parameters
from mrct.core import resume
from mrct.core.errors import DataError
from mrct.core.files import output_folder, read_json, read_table, save_array, write_json, write_table
from mrct.core.parallel import map_processes
from mrct.core.params import Section
from mrct.core.runner import run_stage
from mrct.imaging.grid import cropped_fraction, make_grid, to_grid
from mrct.imaging.volumes import read_volume, to_array
from mrct.normalization.bias import without_bias
from mrct.normalization.intensity import MrScaling, hu_to_signed, landmarks, learn_landmarks
from mrct.pairing.splits import MIN_PATIENTS, require_no_leakage

REGISTERED = Path("data/registered")
PAIRS = Path("data/pairs")
OUT = Path("data/normalized")
AIR_HU = -1024.0
# a crop of less is the rim of the ears; more takes part of the head from training and test
TOLERATED_CROP = 0.001


class Params(Section):
    """The section `normalize`."""

    pixel_spacing_mm: float = Field(gt=0)
    named: Literal["", "kaiser", "karimzadeh"]
    hu_window: tuple[float, float]
    mr: Literal["percentile", "minmax", "zscore", "nyul"]
    mr_percentiles: tuple[float, float]
    n4: bool

    @field_validator("hu_window", "mr_percentiles")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not value[0] < value[1]:
            raise DataError("the first number must be the smaller one")
        return value

    @field_validator("mr_percentiles")
    @classmethod
    def _are_percentiles(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] < 0 or value[1] > 100:
            raise DataError("percentiles lie between 0 and 100")
        return value


@dataclass(frozen=True)
class Intensities:
    """What becomes [-1, 1]: the CT's HU window and the MR's scaling."""

    hu_window: tuple[float, float]
    mr: MrScaling


@dataclass(frozen=True)
class Job:
    """One patient: his registered folder, the folder to write, the slices that are pairs, the grid's pixels."""

    source: Path
    out: Path
    split: str
    pairs: tuple[int, ...]
    intensities: Intensities
    image_size: int
    pixel_spacing_mm: float


class TopLevel(Section):
    """The key at the top of params.yaml that this stage shares with training."""

    image_size: int = Field(gt=0)


def run(params: Params, image_size: int, registered: Path, pairs_folder: Path, out: Path) -> dict[str, Any]:
    """Write every patient that has pairs; returns the manifest. ValueError if nothing can be trained."""
    require_trainable(read_json(pairs_folder / "summary.json"))
    pairs = read_table(pairs_folder / "pairs.csv")
    require_no_leakage(pairs)
    intensities = learn_intensities(params, registered, training_patients(pairs))
    with resume.work_folder(out) as work, output_folder(out) as folder:
        grid = (image_size, params.pixel_spacing_mm)
        jobs = [
            Job(
                registered / patient, folder / patient, *_split_and_slices(pairs, patient), intensities, *grid
            )
            for patient in sorted(pairs["patient"].unique())
        ]
        entries = resume.map_resumable(normalize_patient, jobs, "normalize", work)
        manifest = {
            "image_size": image_size,
            "pixel_spacing_mm": params.pixel_spacing_mm,
            "hu_window": list(intensities.hu_window),
            "mr": intensities.mr.to_json(),
            "patients": {job.source.name: entry for job, entry in zip(jobs, entries, strict=True)},
        }
        write_table(folder / "pairs.csv", pairs[["patient", "k", "split"]])
        write_json(folder / "manifest.json", manifest)
    return manifest


def _split_and_slices(pairs: pd.DataFrame, patient: str) -> tuple[str, tuple[int, ...]]:
    rows = pairs[pairs["patient"] == patient]
    return str(rows["split"].iloc[0]), tuple(map(int, rows["k"]))


def require_trainable(summary: Mapping[str, Any]) -> None:
    """ValueError if `pair` found too few patients: here the training data begin."""
    if not summary["trainable"]:
        raise DataError(
            f"there is nothing to train on: {summary['reason']}. Add patients to the source until "
            f"{MIN_PATIENTS} or more have pairs; the contact sheets in data/pairs show what there is"
        )


def training_patients(pairs: pd.DataFrame) -> list[str]:
    """Sorted; nothing is ever learnt from the others."""
    return sorted(pairs.loc[pairs["split"] == "train", "patient"].unique())


def learn_intensities(params: Params, registered: Path, patients: Sequence[str]) -> Intensities:
    """The rules of `params`; what they leave to the data is learnt from the training patients.

    kaiser: both images by their range (Kaiser and Albarqouni, section 3.2). Departure: the CT's range is that
    of all training CTs together, because a range of his own, which inference does not know, would take HU
    from every patient. karimzadeh: CT -1024 to 3000 HU, MR by its maximum.
    """
    if params.named == "karimzadeh":
        return Intensities((AIR_HU, 3000.0), MrScaling("max", n4=params.n4))
    if params.named == "kaiser":
        ranges = map_processes(partial(ct_range, registered), patients, "range of the CTs")
        window = (max(AIR_HU, min(low for low, _ in ranges)), max(high for _, high in ranges))
        return Intensities(window, MrScaling("minmax", n4=params.n4))
    scaling = MrScaling(params.mr, params.mr_percentiles, n4=params.n4)
    if params.mr == "nyul":
        find = partial(mr_landmarks, scaling, registered)
        found = map_processes(find, patients, "landmarks of the MRs")
        scaling = replace(scaling, landmarks=learn_landmarks(found))
    return Intensities(params.hu_window, scaling)


def ct_range(registered: Path, patient: str) -> tuple[float, float]:
    """The lowest and the highest HU of a registered CT."""
    array = to_array(read_volume(registered / patient / "ct.nii.gz"))
    return float(array.min()), float(array.max())


def mr_landmarks(scaling: MrScaling, registered: Path, patient: str) -> np.ndarray:
    """(12,) intensity landmarks of a registered MR."""
    mr = read_volume(registered / patient / "mr.nii.gz")
    return landmarks(to_array(without_bias(mr) if scaling.n4 else mr), scaling.percentiles)


def normalize_patient(job: Job) -> dict[str, Any]:
    """Write the patient's arrays on the grid; returns his entry in the manifest."""
    mr, ct, mask = (read_volume(job.source / f"{name}.nii.gz") for name in ("mr", "ct", "mask"))
    grid = make_grid(mr, job.image_size, job.pixel_spacing_mm)
    mr = without_bias(mr) if job.intensities.mr.n4 else mr
    scale = job.intensities.mr.fit(to_array(mr))
    ct_hu = to_grid(ct, grid, fill=AIR_HU)
    arrays = {
        "mr": scale.to_signed(to_grid(mr, grid, fill=scale.low)),
        "ct": hu_to_signed(ct_hu, job.intensities.hu_window),
        "ct_hu": ct_hu,
        "mask": to_grid(mask, grid, fill=0.0, nearest=True).astype(np.uint8),
        "valid": np.isin(np.arange(grid.depth), job.pairs),
    }
    for name, array in arrays.items():
        save_array(job.out / f"{name}.npy", array)
    return {
        "split": job.split,
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
    run_stage("stages.normalize")
