"""select: one CT and one MR series per patient, all others listed.  data/anonymized -> data/selected

For DICOM, rules reject series (mrct/selection/classify.py), one CT and one MR of the others are chosen
(mrct/selection/choose.py), and their volumes are built. A series whose volume cannot be built, or whose values are no
HU (CT) or no signal (MR), gives way to the next best (mrct/selection/chosen.py). A source of volumes already has one CT
and one MR per patient. They are reoriented and accepted if their values are HU and a signal, and if the source declares
the wanted weighting.

Writes `<patient>/{ct,mr,mask}.nii.gz` for paired patients, `{ct,mr}_filled.nii.gz` where slices are missing,
series.csv, patients.csv, thumbnails/, manifest.json and acquisitions.json.
"""

from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import SimpleITK as sitk
from pydantic import BaseModel, Field

from mrct.core import contracts, files, params, resume
from mrct.core.contracts import SelectedPatient, SelectedSeries, SelectionStatus, SeriesVerdict
from mrct.core.errors import DataError
from mrct.core.parallel import map_processes
from mrct.core.runner import run_stage
from mrct.dicom.errors import Unreadable
from mrct.dicom.series import Instance, Series, read_instances
from mrct.imaging.stored_volume import VolumeError
from mrct.imaging.training_domain import Acquisition, Extent, SelectedAcquisitions
from mrct.imaging.volumes import read_volume, write_volume
from mrct.selection.choose import Choice, Measured, choose
from mrct.selection.chosen import (
    Chosen,
    Grouped,
    choose_and_build,
    group_tolerantly,
    judge_case,
    read_and_judge,
)
from mrct.selection.classify import failed
from mrct.selection.explain import explain_empty
from mrct.selection.parameters import Preference, RejectRule, Rules
from mrct.selection.table import series_row
from mrct.selection.thumbnail import blank, save_thumbnail, series_thumbnail, thumbnail


class Params(params.Section):
    """The section `select` of params.yaml; mrct.selection.parameters.Rules describes the keys."""

    weighting: Literal["t2", "t1", "any"]
    reject: tuple[RejectRule, ...]
    accept: tuple[RejectRule, ...]
    prefer: tuple[Preference, ...]
    max_angle_deg: Annotated[float, Field(ge=0, le=90)]
    max_days_between: Annotated[int, Field(ge=0)]
    min_coverage_mm: Annotated[float, Field(ge=0)]
    min_field_mm: Annotated[float, Field(ge=0)]
    max_spacing_mm: Annotated[float, Field(ge=0)]

    def rules(self) -> Rules:
        """Return the parameters as `mrct.selection` takes them."""
        return Rules(**dict(self))


@dataclass(frozen=True)
class Task:
    """The work on one patient, as plain values that can be sent to another process."""

    patient: str
    source: Path
    out: Path
    rules: Rules
    declared_weighting: str


class Outcome(BaseModel):
    """The rows of a patient in series.csv and patients.csv, and series -> what it turned out to be when it was read."""

    series: list[SelectedSeries]
    patient: SelectedPatient
    measured: dict[str, Measured] = {}


def main() -> None:
    """Run on the folders of the project with params.yaml."""
    run(params.load(Params, "select"), Path("data/anonymized"), Path("data/selected"))


def run(settings: Params, source: Path, out: Path) -> None:
    """Select the series of every patient in `source`/images.

    Raises:
        DataError: There is no patient, none has both a CT and an MR, or volumes have another weighting than the
            wanted one.
    """
    manifest = files.read_json(source / "manifest.json")
    volumes = manifest["layout"] == "volumes"
    if volumes:
        require_declared(settings.weighting, manifest["mr_weighting"])
    patients = sorted(path for path in (source / "images").glob("*") if path.is_dir())
    if not patients:
        raise DataError(
            f"select: {source / 'images'} holds no patient; the audit of anonymize has the reasons"
        )
    rules = settings.rules()
    with resume.work_folder(out) as work, files.output_folder(out) as folder:
        tasks = [Task(path.name, path, folder, rules, manifest["mr_weighting"]) for path in patients]
        results = resume.map_resumable(select_volumes if volumes else select_dicom, tasks, "select", work)
        outcomes = [Outcome.model_validate(result) for result in results]
        if not any(outcome.patient.status == SelectionStatus.PAIRED for outcome in outcomes):
            raise DataError(_explain_volumes(outcomes) if volumes else _explain(tasks, outcomes, rules))
        contracts.SELECTED_SERIES.write(folder, [row for outcome in outcomes for row in outcome.series])
        contracts.SELECTED_PATIENTS.write(folder, [outcome.patient for outcome in outcomes])
        files.write_json(folder / "manifest.json", {"registered": bool(manifest["registered"])})
        facts = acquisitions(None if volumes else rules, outcomes, folder)
        files.write_json(folder / "acquisitions.json", facts.to_json())


def acquisitions(rules: Rules | None, outcomes: Sequence[Outcome], folder: Path) -> SelectedAcquisitions:
    """Describe the chosen images of the paired patients, whose volumes lie in `folder`."""
    patients = {
        outcome.patient.patient: {
            row.modality: _acquisition(row, folder / row.patient / f"{row.modality.lower()}.nii.gz")
            for row in outcome.series
            if row.decision == SeriesVerdict.KEPT
        }
        for outcome in outcomes
        if outcome.patient.status == SelectionStatus.PAIRED
    }
    selection = None if rules is None else asdict(rules)
    return SelectedAcquisitions(selection=selection, patients=patients)


def _acquisition(row: SelectedSeries, volume: Path) -> Acquisition:
    return Acquisition(
        weighting=row.weighting, plane=row.plane, angle_deg=row.angle_deg, extent=Extent.of_file(volume)
    )


def require_declared(wanted: str, declared: str) -> None:
    """Raise DataError unless the declared weighting of volumes, which hold no TE or TR, is that of select.weighting."""
    if wanted in ("any", declared):
        return
    known = declared in ("t1", "t2")
    found = f"declares its MR as {declared}" if known else "does not declare the weighting of its MR"
    raise DataError(
        f"select: the source {found}, select.weighting asks for {wanted}; "
        f"accept it with -S select.weighting={declared if known else 'any'}"
    )


def select_dicom(task: Task) -> dict[str, Any]:
    """Choose, build and write the series of one patient; a series with unusable pixels is replaced by the next best.

    Returns:
        An `Outcome` as JSON values.
    """
    grouped, unreadable = _read_series(task)
    chosen = choose_and_build(task.patient, grouped, task.rules)
    choice = chosen.choice
    if choice.status == SelectionStatus.PAIRED:
        for modality, volume in chosen.volumes.items():
            _write(task.out / task.patient, modality.lower(), volume, chosen.filled.get(modality))
    rows = []
    for decision in choice.decisions:
        picture, problem = _picture(decision.series, chosen)
        save_thumbnail(_thumbnail_path(task, decision.series.name), picture)
        row = series_row(decision)
        rows.append(row.model_copy(update={"reason": _joined([row.reason, problem])}))
    patient = SelectedPatient(
        patient=task.patient,
        status=choice.status,
        days_between=choice.days_between,
        same_frame=choice.same_frame,
        reason=_joined([choice.reason, f"{unreadable} unreadable files" if unreadable else ""]),
    )
    return Outcome(series=rows, patient=patient, measured=dict(chosen.measured)).model_dump(mode="json")


def _write(folder: Path, name: str, volume: sitk.Image, filled: sitk.Image | None) -> None:
    """Write the volume of a series and, where slices are missing, which of its voxels are interpolated."""
    write_volume(folder / f"{name}.nii.gz", volume)
    if filled is not None:
        write_volume(folder / f"{name}_filled.nii.gz", filled)


def _picture(item: Series, chosen: Chosen) -> tuple[np.ndarray, str]:
    """Return the thumbnail of a series, or a black one and why it cannot be drawn."""
    picture = chosen.pictures.get(item.name)
    if picture is not None:
        return picture, ""
    try:
        return series_thumbnail(item), ""
    except Exception as error:
        return blank(), f"no picture: {failed(error).reason}"


def _read_series(task: Task) -> tuple[list[Grouped], int]:
    """Return the series of the patient, and the number of unreadable files."""
    instances: list[Instance] = []
    unreadable = 0
    for path in sorted(task.source.rglob("*.dcm")):
        try:
            instances += read_instances(path)
        except Unreadable:
            unreadable += 1
    return group_tolerantly(instances, lambda instance: (task.patient, instance.path.parent.name)), unreadable


def select_volumes(task: Task) -> dict[str, Any]:
    """Reorient the volumes of one patient to LPS; if one cannot be read, the patient is listed as unpaired.

    Returns:
        An `Outcome` as JSON values.
    """
    rows, images, problems = [], {}, []
    for modality in ("CT", "MR"):
        name = modality.lower()
        path = task.source / f"{name}.nii.gz"
        if not path.is_file():
            problems.append(f"no {modality}")
            continue
        image, measured = read_and_judge(path, modality)
        if image is not None:
            try:
                _save_volume_thumbnail(task, name, image)
            except Exception as error:
                image, measured = None, Measured(failed(error))
        rows.append(_volume_row(task, name, image, measured))
        if image is None:
            problems.append(f"{modality}: {measured.verdict.reason}")
        else:
            images[name] = image
    mask = task.source / "mask.nii.gz"
    if not problems and mask.is_file():
        try:
            images["mask"] = sitk.Cast(read_volume(mask) > 0, sitk.sitkUInt8)
        except VolumeError as error:
            problems.append(f"mask: {error}")
    if not problems:
        problems = judge_case(images["ct"], images["mr"], images.get("mask"), task.rules)
    if not problems:
        for name, image in images.items():
            write_volume(task.out / task.patient / f"{name}.nii.gz", image)
    patient = SelectedPatient(
        patient=task.patient,
        status=SelectionStatus.UNPAIRED if problems else SelectionStatus.PAIRED,
        days_between=None,
        same_frame=False,
        reason=_joined(problems),
    )
    return Outcome(series=rows, patient=patient).model_dump(mode="json")


def _joined(reasons: Sequence[str]) -> str:
    return "; ".join(filter(None, reasons))


def _volume_row(task: Task, name: str, image: sitk.Image | None, measured: Measured) -> SelectedSeries:
    row: dict[str, Any] = dict.fromkeys(SelectedSeries.model_fields)
    row |= {"patient": task.patient, "series": name, "modality": name.upper()}
    row |= {"weighting": task.declared_weighting if name == "mr" else "", "decision": SeriesVerdict.KEPT}
    row |= {"reason": _joined(measured.notes)}
    if image is None:
        rule, reason, _ = astuple(measured.verdict)
        row |= {"decision": SeriesVerdict.REJECTED, "rule": rule, "reason": reason}
        return SelectedSeries(**row)
    x_mm, y_mm, z_mm = image.GetSpacing()
    normal = np.reshape(image.GetDirection(), (3, 3))[:, 2]
    angle_deg = float(np.degrees(np.arccos(min(1.0, abs(normal[2])))))
    row |= {"plane": "axial", "angle_deg": round(angle_deg, 2), "n_slices": image.GetSize()[2]}
    row |= {"spacing_mm": f"{y_mm:g}x{x_mm:g}", "slice_spacing_mm": round(z_mm, 4)}
    return SelectedSeries(**row)


def _save_volume_thumbnail(task: Task, name: str, image: sitk.Image) -> None:
    x_mm, y_mm, _ = image.GetSpacing()
    middle = sitk.GetArrayViewFromImage(image)[image.GetSize()[2] // 2]
    save_thumbnail(_thumbnail_path(task, name), thumbnail(middle, (y_mm, x_mm), name.upper()))


def _thumbnail_path(task: Task, series: str) -> Path:
    return task.out / "thumbnails" / f"{task.patient}_{series}.png"


def _explain(tasks: list[Task], outcomes: list[Outcome], rules: Rules) -> str:
    """Explain why no DICOM patient is paired; the headers are read again, because successful runs do not keep them."""
    measured = [outcome.measured for outcome in outcomes]
    choices = map_processes(_choose_again, list(zip(tasks, measured, strict=True)), "explain")
    return explain_empty(choices, rules)


def _choose_again(task_and_measured: tuple[Task, dict[str, Measured]]) -> Choice:
    task, measured = task_and_measured
    series = [item for item, _ in _read_series(task)[0]]
    return choose(task.patient, series, task.rules, measured)


def _explain_volumes(outcomes: list[Outcome]) -> str:
    """Explain why no patient of a source of volumes is paired."""
    reasons = sorted({outcome.patient.reason for outcome in outcomes})
    listed = f" Reasons: {'; '.join(reasons[:3])}." if reasons else ""
    found = f"none of {len(outcomes)} patients has a CT and an MR volume"
    return f"select: {found}.{listed} Check the key `source`."


if __name__ == "__main__":
    run_stage("stages.select")
