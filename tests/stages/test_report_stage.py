"""The whole report from a plausible set of invented inputs: what must be there, what may be missing."""

import json
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mrct.files import save_array, write_json, write_table
from mrct.metrics.statistics import bootstrap_interval
from mrct.reporting.inputs import Folders
from stages import report

METHODS = ["sc_cyclegan", "mean_ct", "intensity_map"]
ERROR_HU = {"sc_cyclegan": 60.0, "mean_ct": 200.0, "intensity_map": 150.0}
INTERVALS = report.Intervals(
    bootstrap_samples=200, seed=3, windows_8bit_hu={"full": (-1024.0, 3000.0), "brain": (-60.0, 140.0)}
)
Volumes = Callable[[int], tuple[np.ndarray, np.ndarray, np.ndarray]]


def ellipse_head(n: int, depth: int = 3, size: int = 32) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A skull around a brain: CT in HU, MR in [0, 1], head mask; each (D, H, W)."""
    y, x = np.mgrid[-1:1:size * 1j, -1:1:size * 1j]
    radius = np.hypot(x * (1.25 + 0.02 * n), y)
    ct = np.select([radius < 0.7, radius < 0.8, radius < 0.88], [35.0, 900.0, 20.0], -1000.0)
    mr = np.select([radius < 0.7, radius < 0.8, radius < 0.88], [0.6, 0.05, 0.8], 0.0)
    return tuple(np.repeat(a[None], depth, axis=0).astype(np.float32) for a in (ct, mr, radius < 0.88))  # type: ignore[return-value]


def folders_in(root: Path) -> Folders:
    return Folders(*(root / field.name for field in fields(Folders)))


def write_inputs(
    root: Path, n_test: int = 6, dicom: bool = True, both_ways: bool = True, volumes: Volumes = ellipse_head
) -> Folders:
    """All inputs of the report: 5 other patients and n_test test patients, with every optional part unless `dicom` is off."""
    folders = folders_in(root)
    patients = {f"P{n:010x}": split for n, split in enumerate(["train"] * 4 + ["validation"] + ["test"] * n_test)}
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
    if not dicom:
        return
    actions = ["kept"] * 90 + ["rejected"] * 4 + ["duplicate"] * 3 + ["skipped"] * 3
    reasons = {"kept": "", "rejected": "secondary capture", "duplicate": "same pixels twice", "skipped": "not DICOM"}
    files = pd.DataFrame({"source_index": range(100), "action": actions, "reason": [reasons[a] for a in actions]})
    write_table(folders.anonymized / "audit/files.csv", files.assign(output=""))
    attributes = [("0010,0010", "PatientName", "changed", 90), ("0010,1040", "PatientAddress", "dropped", 88),
                  ("0008,0060", "Modality", "kept", 90), ("0009,1001", "", "dropped", 40)]  # fmt: skip
    table = pd.DataFrame(attributes, columns=["tag", "keyword", "action", "count"])
    write_table(folders.anonymized / "audit/attributes.csv", table)
    write_json(folders.anonymized / "audit/summary.json", {"files_written": 90, "attributes": {"dropped": 128}})


def _write_selection(folders: Folders, patients: list[str], dicom: bool, volumes: Volumes) -> None:
    kinds = [("CT", "kept", "", ""), ("MR", "kept", "", "")]
    if dicom:
        kinds += [("MR", "rejected", "coronal", "the slices stand 88° from axial"),
                  ("MR", "rejected", "tse", "the echo train has 16 echoes: a turbo spin echo")]  # fmt: skip
    rows = []
    for n, patient in enumerate(patients):
        for i, (modality, decision, rule, reason) in enumerate(kinds):
            rows.append({"patient": patient, "series": f"S{i}", "modality": modality, "description": "AX <T2>",
                         "decision": decision, "rule": rule, "reason": reason})  # fmt: skip
            picture = volumes(n)[0 if modality == "CT" else 1][0]
            grey = (255 * (picture - picture.min()) / np.ptp(picture)).astype(np.uint8)
            (folders.selected / "thumbnails").mkdir(parents=True, exist_ok=True)
            Image.fromarray(grey).save(folders.selected / f"thumbnails/{patient}_S{i}.png")
    write_table(folders.selected / "series.csv", pd.DataFrame(rows))
    status = pd.DataFrame({"patient": [*patients, "Pffffffffff"], "status": "paired", "days_between": 0, "reason": ""})
    status.loc[len(patients), ["status", "reason"]] = ["unpaired", "no MR series is left"]
    write_table(folders.selected / "patients.csv", status)


def _write_volumes(folders: Folders, patients: dict[str, str], volumes: Volumes) -> None:
    rows, manifest = [], {}
    for n, (patient, split) in enumerate(patients.items()):
        ct, mr, mask = volumes(n)
        for name, array in {"ct_hu": ct, "mr": 2 * mr - 1, "mask": mask.astype(np.uint8)}.items():
            save_array(folders.normalized / patient / f"{name}.npy", array)
        rows += [{"patient": patient, "k": k, "split": split} for k in range(len(ct))]
        manifest[patient] = {"split": split, "depth": len(ct)}
    pairs = pd.DataFrame(rows)
    write_table(folders.pairs / "pairs.csv", pairs)
    splits = pairs.groupby(["patient", "split"]).size().rename("n_pairs").reset_index()
    write_table(folders.pairs / "splits.csv", splits)
    rejected = pd.DataFrame([("P0000000000", 9, "empty", "the head fills 12 of 40 cm²")], columns=["patient", "k", "rule", "reason"])
    write_table(folders.pairs / "rejected.csv", rejected)
    (folders.pairs / "contact_sheets").mkdir()
    for split in ("test_1", "test_2", "train_1"):
        Image.new("L", (64, 32), 90).save(folders.pairs / f"contact_sheets/{split}.png")
    registered = pd.DataFrame({"patient": list(patients), "status": "registered", "similarity": 0.8, "overlap": 0.95,
                               "rotation_deg": 4.0, "translation_mm": 12.0, "reason": ""})  # fmt: skip
    write_table(folders.registered / "patients.csv", registered)
    write_json(folders.normalized / "manifest.json",
               {"image_size": ct.shape[-1], "pixel_spacing_mm": 2.0, "hu_window": [-1024.0, 3000.0],
                "mr": {"method": "percentile", "percentiles": [0.5, 99.5]}, "patients": manifest})  # fmt: skip


def _write_model(folders: Folders, method: str) -> None:
    write_json(folders.models / method / "model.json", {"method": method, "parameters": 1234567, "best_epoch": 4})
    if method == "sc_cyclegan":
        epochs = np.arange(1, 7)
        losses = {f"{t}_mr_to_ct": 1.0 / epochs + 0.1 * i for i, t in enumerate(["adversarial", "pixel", "cycle"])}
        history = pd.DataFrame({"epoch": epochs, **losses, "validation_mae_hu": 90 + (epochs - 4.0) ** 2})
        write_table(folders.models / method / "history.csv", history)


def _write_metrics(folders: Folders, method: str, directions: list[str], test: list[str], volumes: Volumes) -> None:
    rng = np.random.default_rng(len(method))
    rows = []
    for n, patient in enumerate(test):
        ct, mr, mask = volumes(5 + n)
        for direction in directions:
            real, scale = (ct, 1.3 * ERROR_HU[method]) if direction == "mr_to_ct" else (mr, 0.08)
            synthetic = real + mask * rng.normal(0, scale * (1 + 0.05 * n), real.shape)
            save_array(folders.metrics / method / f"predictions/{patient}_{direction}.npy", synthetic.astype(np.float32))
            error = float(np.abs(synthetic - real)[mask > 0].mean())
            ct_metrics = {"mae_hu": error, "psnr_db": 20 * np.log10(4024 / error) - 2, "psnr_bound_db": 40.0,
                          "ssim_2d": 1 - error / 500, "iou_bone_300hu": 1 - error / 300, "iou_head": 0.99,
                          "mae_8bit_full": error / 16, "psnr_8bit_full_db": 33.0, "ssim_8bit_full": 0.8,
                          "mae_8bit_brain": error / 2, "psnr_8bit_brain_db": 20.0, "ssim_8bit_brain": 0.45}  # fmt: skip
            mr_metrics = {"mae_8bit": 255 * error, "psnr_8bit_db": 26.0, "ssim_8bit": 0.8, "iou_otsu": 0.7}
            chosen = ct_metrics if direction == "mr_to_ct" else mr_metrics
            rows += [{"direction": direction, "patient": patient, "k": k} | chosen for k in range(len(ct))]
    slices = pd.DataFrame(rows)
    write_table(folders.metrics / method / "slices.csv", slices)
    patients = slices.drop(columns="k").groupby(["direction", "patient"]).mean().reset_index()
    write_table(folders.metrics / method / "patients.csv", patients)
    summary: dict[str, object] = {"method": method, "n_patients": len(test)}
    for direction in directions:
        own = patients[patients["direction"] == direction].dropna(axis=1, how="all")
        intervals = {c: bootstrap_interval(own[c].to_numpy(), 200, 3) for c in own.columns[2:]}
        summary[direction] = {c: dict(zip(("mean", "low", "high"), v, strict=True)) for c, v in intervals.items()}
    write_json(folders.metrics / method / "summary.json", summary)


def make(folders: Folders, out: Path, patients: int = 2, virtual: bool = False, methods: list[str] = METHODS) -> str:
    return report.run(report.Params(patients=patients), INTERVALS, folders, methods, virtual, out).read_text()
