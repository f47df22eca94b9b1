"""register: CT and MR of each patient on one grid, with head mask and coverage.  data/selected -> data/registered

The image named by `grid` is fixed and keeps its slices. The other one is registered to it (rigid, mutual information)
and resampled. Coverage ends where a slice is missing and was interpolated. A patient who fails a check is listed with
the reason and left out. With `deface` the last step removes the face from all four images by one plane
(mrct/registration/deface.py).
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK as sitk
from pydantic import Field

from mrct.core import contracts, files, params, resume
from mrct.core.contracts import RegisteredPatient, RegistrationStatus, SelectionStatus
from mrct.core.errors import DataError
from mrct.core.runner import run_stage, unexpected_reason
from mrct.imaging import volumes
from mrct.imaging.masks import MaskError
from mrct.imaging.stored_volume import VolumeError
from mrct.registration import alignment, deface
from mrct.registration.alignment import AlignedPair, HeadPair, RegistrationQuality, RigidRegistration
from mrct.registration.deface import DefaceError
from mrct.registration.head import RegistrationError

SOURCE = Path("data/selected")
OUT = Path("data/registered")
# degrees; a larger rotation means that one header holds a wrong patient position
TURNED_DEG = 90.0
# a patient moves by less between two scans with one frame of reference
SAME_FRAME_MM, SAME_FRAME_DEG = 5.0, 5.0
# more than ears, head holders and distortion make of the distance of the skin in CT and MR
FAR_APART_MM = 20.0
WRONG_POSITION = "turned round: the patient position in the header of the CT or MR seems to be wrong"


class Params(params.Section):
    """The section `register` of params.yaml."""

    method: Literal["rigid", "none"]
    grid: Literal["mr", "ct"]
    min_overlap: float = Field(ge=0, le=1)
    min_similarity: float = Field(ge=0)
    max_residual_mm: float = Field(ge=0)
    max_spread_mm: float = Field(ge=0)
    deface: bool


@dataclass(frozen=True)
class Job:
    """One patient: the folder of the selected volumes and the output folder."""

    source: Path
    out: Path
    settings: Params
    same_frame: bool


def main() -> None:
    """Run on the project's folders."""
    run(params.load(Params, "register"), SOURCE, OUT)


def run(settings: Params, source: Path, out: Path) -> None:
    """Fill `out` from `source`.

    Raises:
        DataError: The method does not suit the source, or no patient can be registered.
    """
    _require_suitable_method(settings, source)
    patients = contracts.SELECTED_PATIENTS.read(source)
    paired = patients[patients["status"] == SelectionStatus.PAIRED].sort_values("patient")
    if paired.empty:
        raise DataError(f"{source}: no patient has both a CT and an MR; the reasons are in its patients.csv")
    with resume.work_folder(out) as work, files.output_folder(out) as folder:
        jobs = [
            Job(source / patient, folder / patient, settings, bool(same_frame))
            for patient, same_frame in zip(paired["patient"], paired["same_frame"], strict=True)
        ]
        found = resume.map_resumable(register_patient, jobs, "register", work)
        rows = [RegisteredPatient.model_validate(row) for row in found]
        _require_registered(rows)
        contracts.REGISTERED_PATIENTS.write(folder, rows)


def register_patient(job: Job) -> dict[str, str | float | None]:
    """Write the patient's folder unless a step or a check fails, and return the row of patients.csv."""
    row = RegisteredPatient(patient=job.source.name, status=RegistrationStatus.FAILED, reason="")
    try:
        images = (_read(job.source, name) for name in ("ct", "mr"))
        filled = (_read_optional(job.source, name) for name in ("ct_filled", "mr_filled"))
        pair = alignment.make_pair(*images, *filled)
        registration = _register(pair, job.settings)
        aligned = alignment.align(pair, registration, _read_optional(job.source, "mask"))
        quality = alignment.measure(pair, registration, aligned)
        row = row.model_copy(update=_rounded(quality))
        _require_good_fit(quality, job.settings)
        if job.settings.deface:
            aligned, percent = _without_face(aligned, pair, registration)
            row = row.model_copy(update={"removed_face_percent": round(percent, 2)})
    except (VolumeError, MaskError, RegistrationError, DefaceError) as error:
        return row.model_copy(update={"reason": str(error)}).model_dump()
    except Exception as error:  # one patient never ends a run over hundreds
        return row.model_copy(update={"reason": unexpected_reason(error)}).model_dump()
    _write(job.out, aligned, registration)
    verdict = {"status": RegistrationStatus.REGISTERED.value, "reason": _doubts(row, job.same_frame)}
    return row.model_copy(update=verdict).model_dump()


def _read(folder: Path, name: str) -> sitk.Image:
    return volumes.read_volume(folder / f"{name}.nii.gz")


def _read_optional(folder: Path, name: str) -> sitk.Image | None:
    return _read(folder, name) if (folder / f"{name}.nii.gz").is_file() else None


def _register(pair: HeadPair, settings: Params) -> RigidRegistration:
    if settings.method == "none":
        return RigidRegistration.identity(settings.grid)
    return alignment.register_pair(pair, settings.grid)


def _rounded(quality: RegistrationQuality) -> dict[str, float | None]:
    """Return the numbers as columns of patients.csv; NaN becomes an empty cell."""
    values = asdict(quality)
    return {name: None if np.isnan(value) else round(value, 4) for name, value in values.items()}


def _require_good_fit(quality: RegistrationQuality, settings: Params) -> None:
    """Raise RegistrationError if the registration cannot be trusted."""
    if quality.overlap < settings.min_overlap:
        raise RegistrationError(
            f"CT and MR share {quality.overlap:.0%} of the smaller head, register.min_overlap asks for "
            f"{settings.min_overlap:.0%}: different coverage, or the registration is wrong"
        )
    if quality.similarity < settings.min_similarity:
        raise RegistrationError(
            f"mutual information {quality.similarity:.3f} nats, register.min_similarity asks for "
            f"{settings.min_similarity:g}: the anatomy does not match, or the registration is wrong"
        )
    if 0 < settings.max_residual_mm < quality.residual_edge_mm:
        raise RegistrationError(
            f"the skin lies {quality.residual_edge_mm:.1f} mm apart in CT and MR, register.max_residual_mm "
            f"allows {settings.max_residual_mm:g} mm: the registration is wrong, or one of the two is distorted"
        )
    if 0 < settings.max_spread_mm < quality.spread_mm:
        raise RegistrationError(
            f"registrations from other starts and parts of the head end {quality.spread_mm:.1f} mm apart, "
            f"register.max_spread_mm allows {settings.max_spread_mm:g} mm: the images do not determine one "
            "alignment; look at them, or raise the limit"
        )


def _without_face(
    aligned: AlignedPair, pair: HeadPair, registration: RigidRegistration
) -> tuple[AlignedPair, float]:
    """Remove the face, and return also the percentage of the head that was removed.

    Raises:
        DefaceError: No face is found.
    """
    if registration.rotation_deg > TURNED_DEG:
        raise DefaceError(f"defacing: it is not known where the face is: {WRONG_POSITION}")
    plane = deface.face_plane(pair.ct.volume, pair.ct.head).moved(registration.ct_to_grid)
    return deface.remove_face(aligned, plane)


def _write(folder: Path, aligned: AlignedPair, registration: RigidRegistration) -> None:
    images = {
        "ct": aligned.ct.astype(np.float32),
        "mr": aligned.mr.astype(np.float32),
        "mask": aligned.mask,
        "coverage": aligned.coverage,
    }
    filled = {"ct_filled": aligned.ct_filled, "mr_filled": aligned.mr_filled}
    images |= {name: array for name, array in filled.items() if array.any()}
    for name, array in images.items():
        volumes.write_volume(folder / f"{name}.nii.gz", volumes.like(array, aligned.grid))
    files.write_json(folder / "ct_to_mr.json", {"matrix": registration.ct_to_mr.tolist()})


def _doubts(row: RegisteredPatient, same_frame: bool) -> str:
    """Return what to check in a registered patient, or ""."""
    rotation_deg, translation_mm = row.rotation_deg or 0.0, row.translation_mm or 0.0
    found = [WRONG_POSITION] if rotation_deg > TURNED_DEG else []
    if (row.residual_edge_mm or 0.0) > FAR_APART_MM:
        found.append(f"the skin lies {row.residual_edge_mm:.0f} mm apart in CT and MR")
    if same_frame and (translation_mm > SAME_FRAME_MM or rotation_deg > SAME_FRAME_DEG):
        found.append(
            "CT and MR claim one frame of reference, yet registration moved the CT by "
            f"{translation_mm:.1f} mm and {rotation_deg:.1f}°"
        )
    return f"registered, but {'; '.join(found)}" if found else ""


def _require_suitable_method(settings: Params, source: Path) -> None:
    if settings.method == "none" and not files.read_json(source / "manifest.json")["registered"]:
        raise DataError(
            "register.method is none, but the source is not declared to be registered: its CT and MR lie in "
            "different places; set register.method to rigid"
        )


def _require_registered(rows: list[RegisteredPatient]) -> None:
    if any(row.status == RegistrationStatus.REGISTERED for row in rows):
        return
    reasons = "\n".join(f"  {row.patient}: {row.reason}" for row in rows)
    raise DataError(
        f"registration failed for all {len(rows)} patients:\n{reasons}\n"
        "check these volumes in data/selected; "
        "register.min_overlap, min_similarity, max_residual_mm and max_spread_mm relax the checks"
    )


if __name__ == "__main__":
    run_stage("stages.register")
