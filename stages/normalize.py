"""normalize: whole volumes on one grid, in [-1, 1].  data/selected, data/registered, data/pairs -> data/normalized

Per patient, rows and columns are resampled to one pixel spacing and cropped or padded (never stretched) to a square
around the head. CT is scaled by the HU window, MR by a scale of its own volume, after N4 if requested. Grid, bias field
and scale are derived from the MR alone. `nyul` and `kaiser` also learn a few numbers from the training patients; the
manifest stores them, so that the MR of a new patient is normalized in the same way. Slices are not resampled along the
normal; pairs.csv lists those that are pairs, and the manifest those between them that are incomplete in CT or MR.
Outside the images CT is air and MR has its lowest value.
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
from mrct.core.contracts import AIR_HU, NORMALIZED_PAIRS, PAIRS, REJECTED_SLICES, PairRule, Split
from mrct.core.errors import DataError
from mrct.core.files import output_folder, read_json, save_array, write_json
from mrct.core.parallel import map_processes
from mrct.core.params import Section
from mrct.core.runner import run_stage
from mrct.imaging.grid import cropped_fraction, to_grid
from mrct.imaging.training_domain import SelectedAcquisitions
from mrct.imaging.volumes import read_volume, to_array
from mrct.normalization.intensity import MrScaling
from mrct.normalization.normalization import Normalization
from mrct.pairing.splits import MIN_PATIENTS, require_no_leakage

ACQUISITIONS = Path("data/selected/acquisitions.json")
REGISTERED_FOLDER = Path("data/registered")
PAIRS_FOLDER = Path("data/pairs")
OUT = Path("data/normalized")
#: If the crop removes at most this share of the head, it is the rim of the ears; if more, part of the head is lost.
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
            raise DataError("expected two numbers, the smaller one first")
        return value

    @field_validator("mr_percentiles")
    @classmethod
    def _are_percentiles(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] < 0 or value[1] > 100:
            raise DataError("percentiles lie between 0 and 100")
        return value


@dataclass(frozen=True)
class Job:
    """One patient: the registered folder, the output folder, the slices that are pairs, and the normalization.

    `incomplete` are the slices between pairs that CT or MR do not show.
    """

    source: Path
    out: Path
    split: str
    pairs: tuple[int, ...]
    incomplete: tuple[int, ...]
    normalization: Normalization


class TopLevel(Section):
    """The top-level key of params.yaml that this stage shares with training."""

    image_size: int = Field(gt=0)


def run(
    params: Params, image_size: int, acquisitions: Path, registered: Path, pairs_folder: Path, out: Path
) -> dict[str, Any]:
    """Write every patient that has pairs, and what the images of the training patients are like.

    Returns:
        The manifest.

    Raises:
        DataError: There are too few patients to train on, or one is in two splits.
    """
    require_trainable(read_json(pairs_folder / "summary.json"))
    pairs = PAIRS.read(pairs_folder)
    require_no_leakage(pairs)
    rejected = REJECTED_SLICES.read(pairs_folder)
    incomplete = rejected[rejected["rule"] == PairRule.INCOMPLETE]
    training = training_patients(pairs)
    domain = SelectedAcquisitions.from_json(read_json(acquisitions)).domain(training)
    normalization = fit_normalization(params, image_size, registered, training)
    with resume.work_folder(out) as work, output_folder(out) as folder:
        jobs = [
            Job(
                registered / patient,
                folder / patient,
                *_split_and_slices(pairs, incomplete, patient),
                normalization,
            )
            for patient in sorted(pairs["patient"].unique())
        ]
        entries = resume.map_resumable(normalize_patient, jobs, "normalize", work)
        patients = {job.source.name: entry for job, entry in zip(jobs, entries, strict=True)}
        manifest = normalization.to_json() | {"patients": patients}
        NORMALIZED_PAIRS.write(folder, pairs[["patient", "k", "split"]])
        write_json(folder / "manifest.json", manifest)
        write_json(folder / "domain.json", domain.to_json())
    return manifest


def _split_and_slices(
    pairs: pd.DataFrame, incomplete: pd.DataFrame, patient: str
) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    """Return the split of a patient, its pairs, and the incomplete slices between them."""
    rows = pairs[pairs["patient"] == patient]
    lacking = incomplete.loc[incomplete["patient"] == patient, "k"]
    between = lacking[lacking.between(rows["k"].min(), rows["k"].max())]
    return str(rows["split"].iloc[0]), tuple(map(int, rows["k"])), tuple(map(int, between))


def require_trainable(summary: Mapping[str, Any]) -> None:
    """Raise DataError if the stage `pair` found too few patients to train on."""
    if not summary["trainable"]:
        raise DataError(
            f"there is nothing to train on: {summary['reason']}. Add patients to the source until "
            f"{MIN_PATIENTS} or more have pairs; the contact sheets in data/pairs show what there is"
        )


def training_patients(pairs: pd.DataFrame) -> list[str]:
    """Return the training patients, sorted; nothing is learned from the others."""
    return sorted(pairs.loc[pairs["split"] == Split.TRAIN, "patient"].unique())


def fit_normalization(
    params: Params, image_size: int, registered: Path, patients: Sequence[str]
) -> Normalization:
    """Return the normalization for `params`; values that depend on the data are learned from the training patients.

    kaiser: both images are scaled by their range (Kaiser and Albarqouni, section 3.2). Departure: the range of CT is
    that of all training CTs together, because the range of a CT to be synthesized is unknown.
    karimzadeh: CT from -1024 to 3000 HU, MR by its maximum.
    """
    given = Normalization(
        image_size,
        params.pixel_spacing_mm,
        params.hu_window,
        MrScaling(params.mr, params.mr_percentiles, n4=params.n4),
    )
    if params.named == "karimzadeh":
        return replace(given, hu_window=(AIR_HU, 3000.0), mr_scaling=MrScaling("max", n4=params.n4))
    if params.named == "kaiser":
        ranges = map_processes(partial(ct_range, registered), patients, "range of the CTs")
        return replace(given, mr_scaling=MrScaling("minmax", n4=params.n4)).fit_hu_window(ranges)
    if params.mr == "nyul":
        find = partial(mr_landmarks, given, registered)
        return given.fit_landmarks(map_processes(find, patients, "landmarks of the MRs"))
    return given


def ct_range(registered: Path, patient: str) -> tuple[float, float]:
    """Return the lowest and the highest HU of a registered CT."""
    array = to_array(read_volume(registered / patient / "ct.nii.gz"))
    return float(array.min()), float(array.max())


def mr_landmarks(normalization: Normalization, registered: Path, patient: str) -> np.ndarray:
    """Return the intensity landmarks (12,) of a registered MR."""
    return normalization.find_landmarks(read_volume(registered / patient / "mr.nii.gz"))


def normalize_patient(job: Job) -> dict[str, Any]:
    """Write the patient's arrays on the grid and return the patient's entry in the manifest."""
    mr, ct, mask = (read_volume(job.source / f"{name}.nii.gz") for name in ("mr", "ct", "mask"))
    fitted = job.normalization.fit(mr)
    ct_hu = fitted.resample_ct(ct)
    arrays = {
        "mr": fitted.transform(mr, "MR"),
        "ct": job.normalization.transform_ct(ct_hu),
        "ct_hu": ct_hu,
        "mask": to_grid(mask, fitted.grid, fill=0.0, nearest=True).astype(np.uint8),
        "valid": np.isin(np.arange(fitted.grid.depth), job.pairs),
    }
    for name, array in arrays.items():
        save_array(job.out / f"{name}.npy", array)
    mr_low, mr_high = fitted.mr_range
    incomplete = {"incomplete": list(job.incomplete)} if job.incomplete else {}
    return incomplete | {
        "split": job.split,
        "depth": fitted.grid.depth,
        "mr_low": mr_low,
        "mr_high": mr_high,
        "slice_spacing_mm": fitted.slice_spacing_mm,
        "affine": fitted.grid.to_json()["affine"],
        "cropped_head_fraction": round(cropped_fraction(mask, fitted.grid), 6),
    }


def crop_warnings(manifest: Mapping[str, Any]) -> list[str]:
    """Return one line for each patient whose head does not fit into the grid."""
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
    manifest = run(
        parameters.load(Params, "normalize"), size, ACQUISITIONS, REGISTERED_FOLDER, PAIRS_FOLDER, OUT
    )
    print(f"normalized: {len(manifest['patients'])} patients, {size} x {size} pixels")
    for line in crop_warnings(manifest):
        print(line)


if __name__ == "__main__":
    run_stage("stages.normalize")
