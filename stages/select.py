"""select: one CT and one MR series a patient, the others listed.  data/anonymized -> data/selected

A layout of DICOM goes through ordered rules (mrct/selection/classify), a deterministic choice among what is left
(mrct/selection/choose) and volume building (mrct/dicom/volume). A layout of volumes has one CT and one MR a
patient already: they are oriented and pass, if the weighting that the source declares is the one wanted.
Writes `<patient>/{ct,mr,mask}.nii.gz` of paired patients, the tables, thumbnails, manifest.json.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import numpy as np
import pandas as pd
import SimpleITK as sitk
from pydantic import Field

from mrct.core import files, params, resume
from mrct.core.errors import DataError
from mrct.core.parallel import map_processes
from mrct.core.runner import run_stage
from mrct.dicom.frames import read_instances
from mrct.dicom.read import Unreadable
from mrct.dicom.series import Instance, Series, group
from mrct.dicom.stack import GeometryError
from mrct.dicom.volume import build_volume
from mrct.imaging.volumes import VolumeError, read_volume, write_volume
from mrct.selection.choose import Choice, choose
from mrct.selection.classify import Preference, RejectRule, Rules
from mrct.selection.explain import explain_empty
from mrct.selection.table import SERIES_COLUMNS, series_row
from mrct.selection.thumbnail import save_thumbnail, series_thumbnail, thumbnail

PATIENT_COLUMNS = ["patient", "status", "days_between", "same_frame", "reason"]


class Params(params.Section):
    """Section `select`; see mrct.selection.classify.Rules."""

    weighting: Literal["t2", "t1", "any"]
    reject: tuple[RejectRule, ...]
    prefer: tuple[Preference, ...]
    max_angle_deg: Annotated[float, Field(ge=0, le=90)]
    max_days_between: Annotated[int, Field(ge=0)]
    min_coverage_mm: Annotated[float, Field(ge=0)]
    min_field_mm: Annotated[float, Field(ge=0)]
    max_spacing_mm: Annotated[float, Field(ge=0)]

    def rules(self) -> Rules:
        """As the rules that the room of DICOM knows."""
        return Rules(**dict(self))


@dataclass(frozen=True)
class Task:
    """One patient's work; plain values, because it travels to another process."""

    patient: str
    source: Path
    out: Path
    rules: Rules
    declared_weighting: str


class Outcome(TypedDict):
    """Rows of series.csv, the row of patients.csv, and the series whose pixels failed, with the reason."""

    series: list[dict[str, Any]]
    patient: dict[str, Any]
    broken: dict[str, str]


def main() -> None:
    """Run on the project's folders with params.yaml."""
    run(params.load(Params, "select"), Path("data/anonymized"), Path("data/selected"))


def run(settings: Params, source: Path, out: Path) -> None:
    """Select every patient of `source/images`; ValueError if no patient has both a CT and an MR."""
    manifest = files.read_json(source / "manifest.json")
    volumes = manifest["layout"] == "volumes"
    if volumes:
        require_declared(settings.weighting, manifest["mr_weighting"])
    patients = sorted(path for path in (source / "images").glob("*") if path.is_dir())
    if not patients:
        raise DataError(f"select: {source / 'images'} holds no patient; the audit of anonymize tells why")
    with resume.work_folder(out) as work, files.output_folder(out) as folder:
        tasks = [
            Task(path.name, path, folder, settings.rules(), manifest["mr_weighting"]) for path in patients
        ]
        outcomes = resume.map_resumable(select_volumes if volumes else select_dicom, tasks, "select", work)
        rows = [row for outcome in outcomes for row in outcome["series"]]
        if not any(outcome["patient"]["status"] == "paired" for outcome in outcomes):
            raise DataError(_nobody(outcomes) if volumes else _explain(tasks, outcomes, settings.rules()))
        whole = {"n_slices": "Int64", "echo_train_length": "Int64"}
        files.write_table(folder / "series.csv", pd.DataFrame(rows, columns=SERIES_COLUMNS).astype(whole))
        table = pd.DataFrame([outcome["patient"] for outcome in outcomes], columns=PATIENT_COLUMNS)
        files.write_table(folder / "patients.csv", table.astype({"days_between": "Int64"}))
        files.write_json(folder / "manifest.json", {"registered": bool(manifest["registered"])})


def require_declared(wanted: str, declared: str) -> None:
    """ValueError unless volumes, which know no TE or TR, are declared as what `select.weighting` asks for."""
    if wanted in ("any", declared):
        return
    known = declared in ("t1", "t2")
    said = f"declares its MR as {declared}" if known else "does not know its MR's weighting"
    raise DataError(
        f"select: the source {said}, select.weighting asks for {wanted}; "
        f"accept it with -S select.weighting={declared if known else 'any'}"
    )


def select_dicom(task: Task) -> Outcome:
    """Choose, build and write one patient of DICOM; a series whose pixels fail gives way to the next best."""
    series, unreadable = _read_series(task)
    broken: dict[str, str] = {}
    while True:
        choice = choose(task.patient, series, task.rules, broken)
        images: dict[str, sitk.Image] = {}
        for item in (choice.ct, choice.mr):
            if item is None:
                continue
            try:
                images[item.modality.lower()], _ = build_volume(item)
            except GeometryError as error:
                broken[item.name] = str(error)
        if len(images) == sum(item is not None for item in (choice.ct, choice.mr)):
            break
    if choice.status == "paired":
        for name, image in images.items():
            write_volume(task.out / task.patient / f"{name}.nii.gz", image)
    for item in series:
        save_thumbnail(task.out / "thumbnails" / f"{task.patient}_{item.name}.png", series_thumbnail(item))
    reason = "; ".join(filter(None, [choice.reason, f"{unreadable} unreadable files" if unreadable else ""]))
    same_frame = choice.ct is not None and choice.mr is not None and _share_frame(choice.ct, choice.mr)
    row = _patient_row(task.patient, choice.status, choice.days_between, same_frame, reason)
    listed = [series_row(decision) for decision in choice.decisions]
    return {"series": listed, "patient": row, "broken": broken}


def _read_series(task: Task) -> tuple[list[Series], int]:
    instances: list[Instance] = []
    unreadable = 0
    for path in sorted(task.source.rglob("*.dcm")):
        try:
            instances += read_instances(path)
        except Unreadable:
            unreadable += 1
    return group(instances, lambda instance: (task.patient, instance.path.parent.name)), unreadable


def select_volumes(task: Task) -> Outcome:
    """Orient one patient's volumes to LPS; one that cannot be read leaves the patient unpaired, listed."""
    rows, images, problems = [], {}, []
    for name in ("ct", "mr"):
        path = task.source / f"{name}.nii.gz"
        try:
            if not path.is_file():
                problems.append(f"no {name.upper()}")
                continue
            images[name] = read_volume(path)
        except VolumeError as error:
            problems.append(str(error))
            rows.append(_volume_row(task, name, None, str(error)))
            continue
        rows.append(_volume_row(task, name, images[name], ""))
        _save_volume_thumbnail(task, name, images[name])
    if not problems:
        for name, image in images.items():
            write_volume(task.out / task.patient / f"{name}.nii.gz", image)
        if (task.source / "mask.nii.gz").is_file():
            mask = sitk.Cast(read_volume(task.source / "mask.nii.gz") > 0, sitk.sitkUInt8)
            write_volume(task.out / task.patient / "mask.nii.gz", mask)
    status = "unpaired" if problems else "paired"
    row = _patient_row(task.patient, status, None, False, "; ".join(problems))
    return {"series": rows, "patient": row, "broken": {}}


def _share_frame(one: Series, other: Series) -> bool:
    """Whether both headers name one frame of reference: then they claim to lie right without registration."""
    return one.first.frame_of_reference == other.first.frame_of_reference != ""


def _patient_row(*values: Any) -> dict[str, Any]:
    return dict(zip(PATIENT_COLUMNS, values, strict=True))


def _volume_row(task: Task, name: str, image: sitk.Image | None, problem: str) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(SERIES_COLUMNS)
    row |= {"patient": task.patient, "series": name, "modality": name.upper()}
    row |= {"weighting": task.declared_weighting if name == "mr" else ""}
    row |= {"decision": "kept", "rule": "", "reason": ""}
    if problem:
        row |= {"decision": "rejected", "rule": "unreadable", "reason": problem}
    if image is not None:
        x_mm, y_mm, z_mm = image.GetSpacing()
        normal = np.reshape(image.GetDirection(), (3, 3))[:, 2]
        angle_deg = float(np.degrees(np.arccos(min(1.0, abs(normal[2])))))
        row |= {"plane": "axial", "angle_deg": round(angle_deg, 2), "n_slices": image.GetSize()[2]}
        row |= {"spacing_mm": f"{y_mm:g}x{x_mm:g}", "slice_spacing_mm": round(z_mm, 4)}
    return row


def _save_volume_thumbnail(task: Task, name: str, image: sitk.Image) -> None:
    x_mm, y_mm, _ = image.GetSpacing()
    middle = sitk.GetArrayViewFromImage(image)[image.GetSize()[2] // 2]
    picture = thumbnail(middle, (y_mm, x_mm), name.upper())
    save_thumbnail(task.out / "thumbnails" / f"{task.patient}_{name}.png", picture)


def _explain(tasks: list[Task], outcomes: list[Outcome], rules: Rules) -> str:
    """Why no patient of DICOM is paired; the headers are read again, which a run that goes well need not keep."""
    broken = [outcome["broken"] for outcome in outcomes]
    choices = map_processes(_choose_again, list(zip(tasks, broken, strict=True)), "explain")
    return explain_empty(choices, rules)


def _choose_again(task_and_broken: tuple[Task, dict[str, str]]) -> Choice:
    task, broken = task_and_broken
    return choose(task.patient, _read_series(task)[0], task.rules, broken)


def _nobody(outcomes: list[Outcome]) -> str:
    """Why no patient of a layout of volumes is paired."""
    reasons = sorted({outcome["patient"]["reason"] for outcome in outcomes})
    listed = f" Reasons: {'; '.join(reasons[:3])}." if reasons else ""
    found = f"none of {len(outcomes)} patients has a CT and an MR volume"
    return f"select: {found}.{listed} Check the key `source`."


if __name__ == "__main__":
    run_stage("stages.select")
