"""cohort: a virtual hospital's export.  data/sample/colin27 -> data/cohort, data/cohort_truth

Each virtual patient is the Colin27 head, warped and resized, seen by a CT and an MR scanner in two poses.
`data/cohort` is what the hospital would hand over: DICOM of any name and depth, with invented PHI in obvious
and hidden places, and series, objects and files that nobody asked for. `data/cohort_truth` holds what no
hospital knows: the true transform, which series are wanted, which slices both scanners cover, and in which
places PHI hides. Its folder `<n>` belongs to row n (from 0) of `patients.csv`.
"""

import warnings
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from pydantic import Field

from mrct.core.files import output_folder, write_json, write_table
from mrct.core.parallel import map_processes
from mrct.core.params import Section, load
from mrct.core.runner import run_stage
from virtual_hospital.clutter import Kind, add_junk, instance_path, path_kinds
from virtual_hospital.headers import instances
from virtual_hospital.hiding.everywhere import EVERY_HEADER, place_of_turn
from virtual_hospital.hiding.place import save
from virtual_hospital.persona import Persona, draw_persona
from virtual_hospital.phi import Acquisition
from virtual_hospital.plan import Examination, examine, inside_ct
from virtual_hospital.scanners import SIEMENS_PET, ct_scanner, mr_scanner
from virtual_hospital.series import streams
from virtual_hospital.template import Template, make_template, read_labels

LABELS = Path("data/sample/colin27/labels.nii.gz")
EXPORT = Path("data/cohort")
TRUTH = Path("data/cohort_truth")


class Params(Section):
    """The virtual hospital's size; see params.yaml."""

    seed: int = Field(ge=0)
    patients: int = Field(ge=1)
    image_size: int = Field(ge=32, multiple_of=4)
    contamination: bool


class Job(NamedTuple):
    """One patient for one process; the folders are the stage's unfinished outputs."""

    params: Params
    template: Template
    n: int
    export: Path
    truth: Path


class Listed(NamedTuple):
    """A patient's rows of the truth tables."""

    patient: dict[str, str]
    series: list[dict[str, str]]
    hiding_places: Counter[Kind]


def run(params: Params, labels: Path, export: Path, truth: Path) -> None:
    """Write the export and the truth; both are complete before either takes its place."""
    template = make_template(read_labels(labels))
    with output_folder(truth) as truth_partial, output_folder(export) as export_partial:
        jobs = [Job(params, template, n, export_partial, truth_partial) for n in range(params.patients)]
        listed = map_processes(make_patient, jobs, "cohort")
        write_table(truth_partial / "patients.csv", pd.DataFrame([row.patient for row in listed]))
        write_table(truth_partial / "series.csv", pd.DataFrame([s for row in listed for s in row.series]))
        write_table(truth_partial / "hiding_places.csv", _hiding_places(listed))


def make_patient(job: Job) -> Listed:
    """Examine patient n, write his images, junk and truth; returns his rows."""
    params, n = job.params, job.n
    examination = examine(
        job.template, params.seed, n, params.patients, params.image_size, params.contamination
    )
    persona = draw_persona(n, streams(params.seed, n)["persona"])
    acquisitions = _acquisitions(examination, persona, params.seed, n)
    written: dict[str, list[Path]] = {}
    hidden: list[Kind] = []
    for acquisition in acquisitions:
        paths = _write_series(acquisition, hidden, job.export)
        written.setdefault(acquisition.series.kind, []).extend(paths)
    kinds = _kinds(n, sum(map(len, written.values())), hidden)
    if params.contamination:
        top = next(iter(written.values()))[0].relative_to(job.export).parts[0]
        kinds += add_junk(job.export / top, acquisitions[0].secrets, n, written)
    _write_truth(job.truth / str(n), examination)
    return _rows(acquisitions, persona, kinds)


def _acquisitions(examination: Examination, persona: Persona, seed: int, n: int) -> list[Acquisition]:
    scanners = {"CT": ct_scanner(n), "MR": mr_scanner(n), "PT": SIEMENS_PET}
    return [
        Acquisition(series, persona, scanners[series.modality], seed, n, number)
        for number, series in enumerate(examination.series, 1)
    ]


def _write_series(acquisition: Acquisition, hidden: list[Kind], export: Path) -> list[Path]:
    """Each image of slices gets the next hiding place in turn, which is added to `hidden`."""
    paths = []
    for number, image in enumerate(instances(acquisition), 1):
        path = export / instance_path(acquisition, number, image.SOPInstanceUID)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what hides there is no valid value, on purpose
            if acquisition.series.form == "slices":
                place = place_of_turn(acquisition.n, len(hidden))
                place.put(image, acquisition.secrets)
                hidden.append((place.kind, place.where))
            save(image, path)
        paths.append(path)
    return paths


def _kinds(n: int, n_images: int, hidden: list[Kind]) -> Counter[Kind]:
    """In how many of the patient's images each kind of hiding place is."""
    always = [(place.kind, place.where) for place in EVERY_HEADER]
    return Counter(hidden) + Counter(dict.fromkeys((*always, *path_kinds(n)), n_images))


def _write_truth(folder: Path, examination: Examination) -> None:
    """Transform and covered slices of a patient who has both images; nothing otherwise."""
    ct, mr = examination.clean("CT"), examination.clean("MR")
    if ct is None or mr is None:
        return
    write_json(folder / "ct_to_mr.json", {"matrix": examination.poses.ct_to_mr.tolist()})
    grid = mr.grids[0]
    positions = [round(float(grid.position(k) @ grid.normal), 3) for k in range(grid.shape[0])]
    inside = inside_ct(examination.head, examination.poses, ct.grids[0], grid)
    write_table(folder / "pairs.csv", pd.DataFrame({"mr_position_mm": positions, "inside_ct": inside}))


def _rows(acquisitions: list[Acquisition], persona: Persona, kinds: Counter[Kind]) -> Listed:
    wanted = {a.series.modality: a.series_uid for a in acquisitions if a.series.kind == "clean"}
    patient = {
        "patient_id": persona.patient_id,
        "ct_series_uid": wanted.get("CT", ""),
        "mr_series_uid": wanted.get("MR", ""),
    }
    series = [
        {
            "patient_id": persona.patient_id,
            "series_uid": a.series_uid,
            "modality": a.series.modality,
            "kind": a.series.kind,
            "wanted": a.series.wanted,
            "te_ms": a.series.wanted_te_ms,
        }
        for a in acquisitions
    ]
    return Listed(patient, series, kinds)


def _hiding_places(listed: list[Listed]) -> pd.DataFrame:
    """kind, where, n_images (for a file that is no image: how many of them)."""
    kinds = sum((row.hiding_places for row in listed), Counter())
    return pd.DataFrame(
        [(kind, where, count) for (kind, where), count in sorted(kinds.items())],
        columns=["kind", "where", "n_images"],
    )


def main() -> None:
    """The stage as dvc.yaml runs it."""
    run(load(Params, "cohort"), LABELS, EXPORT, TRUTH)


if __name__ == "__main__":
    run_stage("stages.cohort")
