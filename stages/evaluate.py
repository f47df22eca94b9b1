"""evaluate: one method on the test patients.  data/normalized, models/<method> -> reports/metrics/<method>

Translates whole test volumes. Computes metrics per slice and per patient (the SynthRAD convention in HU inside the
head, the paper's 8-bit convention on whole slices), and their mean over patients with a bootstrap interval over
patients. Each test patient is scored once, and nothing is chosen by the scores. An impossible value of a metric is an
error.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mrct.core.contracts import PATIENT_METRICS, SLICE_METRICS, Split
from mrct.core.errors import DataError
from mrct.core.files import output_folder, save_array, write_json
from mrct.core.params import Section, load
from mrct.core.runner import run_stage
from mrct.inference.model import Model, load_model
from mrct.metrics.checks import require_bounds, require_disjoint
from mrct.metrics.grey import grey_metrics, mr_overlap
from mrct.metrics.hu import bone_iou, head_region, volume_metrics
from mrct.metrics.image import intersection_over_union
from mrct.metrics.statistics import bootstrap_interval, mean_over_slices
from mrct.normalization.normalization import Normalization
from mrct.terminal import track
from mrct.tracking import attempt, record
from mrct.training.dataset import NormalizedData, Patient, open_normalized

#: The metrics that `dvc exp show` lists, one column each; summary.json has all.
KEY_FIGURES = {
    "mr_to_ct": ("mae_hu", "psnr_db", "ssim", "ssim_2d", "iou_head", "iou_bone_300hu"),
    "ct_to_mr": ("mae_8bit", "psnr_8bit_db", "ssim_8bit", "iou_otsu"),
}
Row = dict[str, Any]


class Params(Section):
    """The section `evaluate` of params.yaml."""

    bootstrap_samples: int
    seed: int
    bone_hu: tuple[float, ...]
    windows_8bit_hu: dict[str, tuple[float, float]]


def synthetic_ct_rows(params: Params, patient: Patient, synthetic: np.ndarray) -> tuple[list[Row], Row]:
    """Score a synthetic CT (D, H, W) in HU: one row per paired slice, and the metrics of the patient's volume."""
    rows = []
    heads = head_region(synthetic), head_region(patient.ct_hu)
    for k in np.flatnonzero(patient.valid):
        predicted, real, mask = synthetic[k], patient.ct_hu[k], patient.mask[k] > 0
        row = volume_metrics(predicted[None], real[None], mask[None])
        row |= {"iou_head": intersection_over_union(heads[0][k], heads[1][k])}
        row |= bone_iou(predicted, real, params.bone_hu)
        for name, window in params.windows_8bit_hu.items():
            row |= grey_metrics(predicted, real, window, name)
        rows.append({"direction": "mr_to_ct", "patient": patient.name, "k": int(k), **row})
    valid = patient.valid
    volume = volume_metrics(synthetic[valid], patient.ct_hu[valid], patient.mask[valid] > 0)
    volume |= {"iou_head": intersection_over_union(heads[0][valid], heads[1][valid])}
    volume |= bone_iou(synthetic[valid], patient.ct_hu[valid], params.bone_hu)
    return rows, {"direction": "mr_to_ct", "patient": patient.name, **volume}


def synthetic_mr_rows(patient: Patient, synthetic: np.ndarray) -> tuple[list[Row], Row]:
    """Score a synthetic MR (D, H, W) in [0, 1]: one row per paired slice, and the overlaps of the patient's volume."""
    real = Normalization.inverse_transform_mr(patient.mr)
    rows = []
    for k in np.flatnonzero(patient.valid):
        row = grey_metrics(synthetic[k], real[k], (0.0, 1.0)) | mr_overlap(synthetic[k][None], real[k][None])
        rows.append({"direction": "ct_to_mr", "patient": patient.name, "k": int(k), **row})
    valid = patient.valid
    volume = mr_overlap(synthetic[valid], real[valid])
    return rows, {"direction": "ct_to_mr", "patient": patient.name, **volume}


def patient_table(slices: pd.DataFrame, volumes: pd.DataFrame) -> pd.DataFrame:
    """Return one row per patient: metrics of the volume where they are defined, otherwise the mean over the slices."""
    keys = ["direction", "patient"]
    means = mean_over_slices(slices).set_index(keys)
    # the mean of per-slice bounds is not a bound: bounds are kept per slice and per volume only
    means = means.drop(columns=[c for c in means.columns if c.endswith("_bound_db")])
    if "ssim" in volumes:
        means = means.drop(columns="ssim_2d", errors="ignore")
    return volumes.set_index(keys).combine_first(means).reset_index()


def summarize(params: Params, patients: pd.DataFrame, method: str) -> dict[str, Any]:
    """Compute mean and 95 % interval over patients of every metric, per direction."""
    summary: dict[str, Any] = {"method": method, "n_patients": int(patients["patient"].nunique())}
    for direction, rows in patients.groupby("direction"):
        summary[str(direction)] = {}
        for column in rows.columns.drop(["direction", "patient"]):
            if column.endswith("_bound_db") or not rows[column].notna().any():
                continue
            mean, low, high = bootstrap_interval(
                rows[column].to_numpy(), params.bootstrap_samples, params.seed
            )
            summary[str(direction)][column] = {"mean": mean, "low": low, "high": high}
    return summary


def split_members(data: NormalizedData, split: str) -> set[str]:
    """Return the patients of a split, of the manifest (used in testing) and of the pairs (used in training)."""
    return {patient.name for patient in data.split(split)} | {
        patient for patient, _ in data.split_pairs(split)
    }


def key_figures(summary: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return the means of a few metrics of each direction."""
    return {
        direction: {name: summary[direction][name]["mean"] for name in names if name in summary[direction]}
        for direction, names in KEY_FIGURES.items()
        if direction in summary
    }


def predict(model: Model, data: NormalizedData, patient: Patient) -> np.ndarray:
    """Translate a patient's whole volume: (D, H, W) float32, HU for synthetic CT and [0, 1] for synthetic MR."""
    source, _ = patient.images(model.direction)
    signed = model.translate(source, patient.slice_spacing_mm)
    return data.normalization.inverse_transform(signed, model.target)


def run(params: Params, source: Path, models: Path, out: Path) -> dict[str, Any]:
    """Score every direction of the method and return the summary.

    Raises:
        DataError: There is no test patient with a paired slice.
        ImplausibleMetricsError: A patient is in two splits, or a metric exceeds its bound.
    """
    data = open_normalized(source)
    require_disjoint({split: split_members(data, split) for split in Split})
    test = [patient for patient in data.split("test") if patient.valid.any()]
    if not test:
        raise DataError(
            "evaluate: no test patient with a paired slice; raise pair.test_fraction or add patients"
        )
    directions = sorted(models.glob("*.safetensors"))
    slices, volumes = [], []
    with output_folder(out) as folder:
        for model in map(load_model, directions):
            for patient in track(test, f"evaluate {model.method} {model.direction}", len(test)):
                synthetic = predict(model, data, patient)
                save_array(folder / "predictions" / f"{patient.name}_{model.direction}.npy", synthetic)
                to_ct = model.direction == "mr_to_ct"
                rows, volume = (
                    synthetic_ct_rows(params, patient, synthetic)
                    if to_ct
                    else synthetic_mr_rows(patient, synthetic)
                )
                slices += rows
                volumes.append(volume)
        slice_table, volume_table = pd.DataFrame(slices), pd.DataFrame(volumes)
        require_bounds(slice_table, f"{out.name}: slices")
        require_bounds(volume_table, f"{out.name}: patients")
        patients = patient_table(slice_table, volume_table)
        summary = summarize(params, patients, out.name)
        SLICE_METRICS.write(folder, slice_table)
        PATIENT_METRICS.write(folder, patients)
        write_json(folder / "summary.json", summary)
        write_json(folder / "metrics.json", key_figures(summary))
    return summary


def main() -> None:
    """Evaluate the method that is named as the only argument."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m stages.evaluate METHOD")
    method = sys.argv[1]
    models = Path("models") / method
    out = Path("reports/metrics") / method
    run(load(Params, "evaluate"), Path("data/normalized"), models, out)
    attempt(partial(record, models, out, artifacts=[]))


if __name__ == "__main__":
    run_stage("stages.evaluate")
