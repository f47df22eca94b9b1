"""Invented outputs of all stages, in the formats that the stage report reads."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from helpers.audit_factory import write_audit
from mrct.core.contracts import (
    HISTORY,
    PAIRS,
    PATIENT_METRICS,
    PATIENT_SPLITS,
    REGISTERED_PATIENTS,
    REJECTED_SLICES,
    SELECTED_PATIENTS,
    SELECTED_SERIES,
    SLICE_METRICS,
)
from mrct.core.files import save_array, write_json
from mrct.metrics.statistics import bootstrap_interval
from mrct.normalization.intensity import MrScaling
from mrct.reporting.inputs import Folders

METHODS = ["sc_cyclegan", "mean_ct", "intensity_map"]
ERROR_HU = {"sc_cyclegan": 60.0, "mean_ct": 200.0, "intensity_map": 150.0}
Volumes = Callable[[int], tuple[np.ndarray, np.ndarray, np.ndarray]]


def ellipse_head(n: int, depth: int = 3, size: int = 32) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make a skull around a brain: CT in HU, MR in [0, 1], head mask; each (D, H, W)."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    radius = np.hypot(x * (1.25 + 0.02 * n), y)
    ct = np.select([radius < 0.7, radius < 0.8, radius < 0.88], [35.0, 900.0, 20.0], -1000.0)
    mr = np.select([radius < 0.7, radius < 0.8, radius < 0.88], [0.6, 0.05, 0.8], 0.0)
    return tuple(np.repeat(a[None], depth, axis=0).astype(np.float32) for a in (ct, mr, radius < 0.88))  # type: ignore[return-value]


def folders_in(root: Path) -> Folders:
    """Return the folders of all stages below `root`."""
    return Folders(*(root / field.name for field in fields(Folders)))


def write_inputs(
    root: Path, n_test: int = 6, dicom: bool = True, both_ways: bool = True, volumes: Volumes = ellipse_head
) -> Folders:
    """Write all inputs of the report: 4 training, 1 validation and n_test test patients."""
    folders = folders_in(root)
    patients = {
        f"P{n:010x}": split for n, split in enumerate(["train"] * 4 + ["validation"] + ["test"] * n_test)
    }
    _write_audit(folders, dicom)
    _write_selection(folders, list(patients), dicom, volumes)
    _write_volumes(folders, patients, volumes)
    for method in METHODS:
        directions = ["mr_to_ct", *(["ct_to_mr"] if both_ways and method == "sc_cyclegan" else [])]
        _write_model(folders, method)
        _write_metrics(folders, method, directions, [p for p in patients if patients[p] == "test"], volumes)
    return folders


def _write_audit(folders: Folders, dicom: bool) -> None:
    layout = {"layout": "dicom" if dicom else "volumes", "registered": not dicom, "mr_weighting": "t1"}
    write_json(folders.anonymized / "manifest.json", layout)
    write_audit(folders.anonymized, dicom)


def _write_selection(folders: Folders, patients: list[str], dicom: bool, volumes: Volumes) -> None:
    kinds = [("CT", "kept", "", ""), ("MR", "kept", "", "")]
    if dicom:
        kinds += [("MR", "rejected", "coronal", "the slices stand 88° from axial"),
                  ("MR", "rejected", "tse", "an echo train of 16: a turbo spin echo")]  # fmt: skip
    rows = []
    for n, patient in enumerate(patients):
        for i, (modality, decision, rule, reason) in enumerate(kinds):
            row = {"patient": patient, "series": f"S{i}", "modality": modality, "description": "AX <T2>"}
            empty = dict.fromkeys(["manufacturer", "plane", "weighting", "spacing_mm"], "")
            empty |= dict.fromkeys(["angle_deg", "n_slices", "slice_spacing_mm", "te_ms", "tr_ms", "ti_ms"])
            row |= empty | {"echo_train_length": None}
            rows.append(row | {"decision": decision, "rule": rule, "reason": reason})
            picture = volumes(n)[0 if modality == "CT" else 1][0]
            grey = (255 * (picture - picture.min()) / np.ptp(picture)).astype(np.uint8)
            (folders.selected / "thumbnails").mkdir(parents=True, exist_ok=True)
            Image.fromarray(grey).save(folders.selected / f"thumbnails/{patient}_S{i}.png")
    SELECTED_SERIES.write(folders.selected, rows)
    found = {"status": "paired", "days_between": 0, "same_frame": False, "reason": ""}
    lost = found | {"status": "unpaired", "days_between": None, "reason": "no MR series is left"}
    status = [{"patient": patient, **found} for patient in patients]
    SELECTED_PATIENTS.write(folders.selected, [*status, {"patient": "Pffffffffff", **lost}])


def _write_volumes(folders: Folders, patients: dict[str, str], volumes: Volumes) -> None:
    rows, manifest = [], {}
    for n, (patient, split) in enumerate(patients.items()):
        ct, mr, mask = volumes(n)
        for name, array in {"ct_hu": ct, "mr": 2 * mr - 1, "mask": mask.astype(np.uint8)}.items():
            save_array(folders.normalized / patient / f"{name}.npy", array)
        values = dict.fromkeys(
            ["position_mm", "head_area_cm2", "coverage", "quality", "mask_overlap", "edge_agreement"], 1.0
        )
        rows += [{"patient": patient, "k": k, "split": split, **values} for k in range(len(ct))]
        manifest[patient] = {"split": split, "depth": len(ct)}
    pairs = pd.DataFrame(rows)
    PAIRS.write(folders.pairs, pairs)
    splits = pairs.groupby(["patient", "split"]).size().rename("n_pairs").reset_index()
    PATIENT_SPLITS.write(folders.pairs, splits)
    rejected = {"patient": "P0000000000", "k": 9, "rule": "empty", "reason": "the head fills 12 of 40 cm²"}
    REJECTED_SLICES.write(folders.pairs, [rejected])
    (folders.pairs / "contact_sheets").mkdir()
    for split in ("test_1", "test_2", "train_1"):
        Image.new("L", (64, 32), 90).save(folders.pairs / f"contact_sheets/{split}.png")
    numbers = {"similarity": 0.8, "overlap": 0.95, "rotation_deg": 4.0, "translation_mm": 12.0}
    registered = [
        {"patient": patient, "status": "registered", **numbers, "reason": ""} for patient in patients
    ]
    REGISTERED_PATIENTS.write(folders.registered, registered)
    scale = {"image_size": ct.shape[-1], "pixel_spacing_mm": 2.0, "hu_window": [-1024.0, 3000.0]}
    mr_scale = MrScaling("percentile", (0.5, 99.5)).to_json()
    write_json(folders.normalized / "manifest.json", {**scale, "mr": mr_scale, "patients": manifest})


def _write_model(folders: Folders, method: str) -> None:
    content = {
        "method": method,
        "fingerprint": f"made-up-{method}",
        "data_sha256": "0",
        "params": {"lambda_pix": 100.0},
        "normalization": {"image_size": 64},
    }
    if method == "sc_cyclegan":
        content |= {"best_epoch": {"mr_to_ct": 4}, "n_parameters": {"mr_to_ct": 1234567}}
        epochs = np.arange(1, 7)
        losses = {f"{t}_ct": 1.0 / epochs + 0.1 * i for i, t in enumerate(["adv", "pix", "cyc"])}
        history = pd.DataFrame({"epoch": epochs, **losses, "validation_mr_to_ct": 90 + (epochs - 4.0) ** 2})
        HISTORY.write(folders.models / method, history)
    write_json(folders.models / method / "model.json", content)


def ct_metrics(error_hu: float) -> dict[str, float]:
    """Return the columns that evaluate writes for a synthetic CT, with plausible values."""
    volume = {"mae_hu": error_hu, "psnr_db": 20 * np.log10(4024 / error_hu) - 2, "psnr_bound_db": 40.0}
    overlap = {"iou_bone_300hu": max(0.0, 1 - error_hu / 300), "iou_head": 0.99}
    full = {"mae_8bit_full": error_hu / 16, "psnr_8bit_full_db": 33.0, "ssim_8bit_full": 0.8}
    brain = {"mae_8bit_brain": error_hu / 2, "psnr_8bit_brain_db": 20.0, "ssim_8bit_brain": 0.45}
    return volume | {"ssim_2d": 1 - error_hu / 500} | overlap | full | brain


def mr_metrics(error: float) -> dict[str, float]:
    """Return the columns that evaluate writes for a synthetic MR, with plausible values."""
    return {"mae_8bit": 255 * error, "psnr_8bit_db": 26.0, "ssim_8bit": 0.8, "iou_otsu": 0.7}


def _write_metrics(
    folders: Folders, method: str, directions: list[str], test: list[str], volumes: Volumes
) -> None:
    rng = np.random.default_rng(len(method))
    rows = []
    for n, patient in enumerate(test):
        ct, mr, mask = volumes(5 + n)
        for direction in directions:
            real, scale = (ct, 1.3 * ERROR_HU[method]) if direction == "mr_to_ct" else (mr, 0.08)
            synthetic = real + mask * rng.normal(0, scale * (1 + 0.05 * n), real.shape)
            save_array(
                folders.metrics / method / f"predictions/{patient}_{direction}.npy",
                synthetic.astype(np.float32),
            )
            error = float(np.abs(synthetic - real)[mask > 0].mean())
            chosen = ct_metrics(error) if direction == "mr_to_ct" else mr_metrics(error)
            rows += [{"direction": direction, "patient": patient, "k": k} | chosen for k in range(len(ct))]
    slices = pd.DataFrame(rows)
    SLICE_METRICS.write(folders.metrics / method, slices)
    patients = slices.drop(columns="k").groupby(["direction", "patient"]).mean().reset_index()
    PATIENT_METRICS.write(folders.metrics / method, patients)
    summary: dict[str, object] = {"method": method, "n_patients": len(test)}
    for direction in directions:
        own = patients[patients["direction"] == direction].dropna(axis=1, how="all")
        intervals = {c: bootstrap_interval(own[c].to_numpy(), 200, 3) for c in own.columns[2:]}
        summary[direction] = {
            c: dict(zip(("mean", "low", "high"), v, strict=True)) for c, v in intervals.items()
        }
    write_json(folders.metrics / method / "summary.json", summary)
