"""register: CT and MR of each patient on one grid, head mask, coverage.  data/selected -> data/registered

The image named by `grid` is fixed and keeps its slices; the other one is registered to it (rigid, mutual
information) and resampled.
A patient who fails a check is listed with the reason and left out. With `deface` the last act is to remove the
face from all four images by one plane (mrct/registration/deface).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import SimpleITK as sitk
from pydantic import Field

from mrct.core import files, params, resume
from mrct.core.errors import DataError
from mrct.core.runner import run_stage
from mrct.imaging import volumes
from mrct.imaging.masks import MaskError
from mrct.registration import alignment, deface
from mrct.registration.deface import DefaceError
from mrct.registration.registration import RegistrationError

SOURCE = Path("data/selected")
OUT = Path("data/registered")
TURNED_DEG = 90.0
# scans of one frame of reference lie right as they are; a patient moves by less between two of them
SAME_FRAME_MM, SAME_FRAME_DEG = 5.0, 5.0
WRONG_POSITION = "turned round: the patient position in the header of the CT or MR seems to be wrong"
COLUMNS = [
    "patient",
    "status",
    "similarity",
    "overlap",
    "residual_edge_mm",
    "rotation_deg",
    "translation_mm",
    "removed_face_percent",
    "reason",
]


class Params(params.Section):
    """The section `register` of params.yaml."""

    method: Literal["rigid", "none"]
    grid: Literal["mr", "ct"]
    min_overlap: float = Field(ge=0, le=1)
    min_similarity: float = Field(ge=0)
    max_residual_mm: float = Field(ge=0)
    deface: bool


@dataclass(frozen=True)
class Job:
    """One patient: the folder of the selected volumes and the folder to write."""

    source: Path
    out: Path
    settings: Params
    same_frame: bool


def main() -> None:
    """Run on the project's folders."""
    run(params.load(Params, "register"), SOURCE, OUT)


def run(settings: Params, source: Path, out: Path) -> None:
    """Fill `out` from `source`; ValueError if the method does not suit the source or nobody is registered."""
    _require_suitable_method(settings, source)
    patients = files.read_table(source / "patients.csv")
    paired = patients[patients["status"] == "paired"].sort_values("patient")
    if paired.empty:
        raise DataError(f"{source}: no patient has both a CT and an MR; the reasons are in its patients.csv")
    with resume.work_folder(out) as work, files.output_folder(out) as folder:
        jobs = [
            Job(source / patient, folder / patient, settings, bool(same_frame))
            for patient, same_frame in zip(paired["patient"], paired["same_frame"], strict=True)
        ]
        rows = resume.map_resumable(register_patient, jobs, "register", work)
        table = pd.DataFrame(rows, columns=COLUMNS)
        _require_registered(table)
        files.write_table(folder / "patients.csv", table)


def register_patient(job: Job) -> dict[str, Any]:
    """Write the patient's folder unless something fails; his row of patients.csv."""
    row: dict[str, Any] = {"patient": job.source.name, "status": "failed"}
    try:
        pair = _read_pair(job.source)
        ct_to_mr = np.eye(4)
        if job.settings.method == "rigid":
            ct_to_mr = alignment.register_pair(pair, job.settings.grid)
        aligned = alignment.align(pair, ct_to_mr, job.settings.grid, _source_mask(job.source))
        quality = _quality(aligned, pair, ct_to_mr)
        quality["residual_edge_mm"] = alignment.residual_edge_mm(aligned, pair, ct_to_mr, job.settings.grid)
        row |= {name: round(value, 4) for name, value in quality.items()}
        reason = _failed_check(quality, job.settings)
        if job.settings.deface and not reason:
            aligned, row["removed_face_percent"] = _defaced(aligned, pair, ct_to_mr, job.settings.grid)
    except (volumes.VolumeError, MaskError, RegistrationError, DefaceError) as error:
        reason = str(error)
    if reason:
        return {**row, "reason": reason}
    _write(job.out, aligned, ct_to_mr)
    return {**row, "status": "registered", "reason": _doubts(row, job.same_frame)}


def _doubts(row: dict[str, Any], same_frame: bool) -> str:
    """What to look at in a registered patient, or empty."""
    found = [WRONG_POSITION] if row["rotation_deg"] > TURNED_DEG else []
    if same_frame and (row["translation_mm"] > SAME_FRAME_MM or row["rotation_deg"] > SAME_FRAME_DEG):
        found.append(
            "CT and MR claim one frame of reference, yet registration moved the CT by "
            f"{row['translation_mm']:.1f} mm and {row['rotation_deg']:.1f}°"
        )
    return f"registered, but {'; '.join(found)}" if found else ""


def _require_suitable_method(settings: Params, source: Path) -> None:
    if settings.method == "none" and not files.read_json(source / "manifest.json")["registered"]:
        raise DataError(
            "register.method is none, but the source is not declared to be registered: its CT and MR lie in "
            "different places; set register.method to rigid"
        )


def _require_registered(table: pd.DataFrame) -> None:
    if (table["status"] == "registered").any():
        return
    reasons = "\n".join(f"  {patient}: {reason}" for patient, reason in table[["patient", "reason"]].values)
    raise DataError(
        f"registration failed for all {len(table)} patients:\n{reasons}\n"
        "look at these volumes in data/selected; "
        "register.min_overlap, min_similarity and max_residual_mm relax the checks"
    )


def _read_pair(folder: Path) -> alignment.Pair:
    ct, mr = (volumes.read_volume(folder / f"{name}.nii.gz") for name in ("ct", "mr"))
    return alignment.make_pair(ct, mr)


def _source_mask(folder: Path) -> sitk.Image | None:
    path = folder / "mask.nii.gz"
    return volumes.read_volume(path) if path.is_file() else None


def _quality(aligned: alignment.Aligned, pair: alignment.Pair, ct_to_mr: np.ndarray) -> dict[str, float]:
    return {
        "similarity": alignment.similarity_nats(aligned),
        "overlap": alignment.overlap(aligned, pair),
        "rotation_deg": volumes.rotation_deg(ct_to_mr),
        "translation_mm": alignment.displacement_mm(pair, ct_to_mr),
    }


def _failed_check(quality: dict[str, float], settings: Params) -> str:
    """Why the registration cannot be trusted, or empty."""
    if quality["overlap"] < settings.min_overlap:
        return (
            f"CT and MR share {quality['overlap']:.0%} of the smaller head, register.min_overlap asks for "
            f"{settings.min_overlap:.0%}: different coverage, or the registration went astray"
        )
    if quality["similarity"] < settings.min_similarity:
        return (
            f"mutual information {quality['similarity']:.3f} nats, register.min_similarity asks for "
            f"{settings.min_similarity:g}: the anatomy does not match, or the registration went astray"
        )
    if 0 < settings.max_residual_mm < quality["residual_edge_mm"]:
        return (
            f"the skin lies {quality['residual_edge_mm']:.1f} mm apart in CT and MR, register.max_residual_mm "
            f"allows {settings.max_residual_mm:g} mm: the registration went astray, or one of the two is distorted"
        )
    return ""


def _defaced(
    aligned: alignment.Aligned, pair: alignment.Pair, ct_to_mr: np.ndarray, grid: alignment.Modality
) -> tuple[alignment.Aligned, float]:
    """The pair without the face, and the percentage of the head that went; DefaceError if it is not found."""
    if volumes.rotation_deg(ct_to_mr) > TURNED_DEG:
        raise DefaceError(f"defacing: it is not known where the face is: {WRONG_POSITION}")
    plane = deface.face_plane(pair.ct, pair.heads["ct"])
    if grid == "mr":
        plane = plane.moved(ct_to_mr)
    defaced, percent = deface.remove_face(aligned, plane)
    return defaced, round(percent, 2)


def _write(folder: Path, aligned: alignment.Aligned, ct_to_mr: np.ndarray) -> None:
    for name in ("ct", "mr"):
        array = getattr(aligned, name).astype(np.float32)
        volumes.write_volume(folder / f"{name}.nii.gz", volumes.like(array, aligned.grid))
    for name in ("mask", "coverage"):
        volumes.write_volume(folder / f"{name}.nii.gz", volumes.like(getattr(aligned, name), aligned.grid))
    files.write_json(folder / "ct_to_mr.json", {"matrix": ct_to_mr.tolist()})


if __name__ == "__main__":
    run_stage("stages.register")
