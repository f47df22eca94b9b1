"""cohort: the export of a virtual hospital.  data/sample/colin27 -> data/cohort, data/cohort_truth

data/cohort imitates the export of a real hospital: DICOM files of any name in folders of any depth, with invented PHI
in obvious and hidden places, unwanted series, and files that are not images. data/cohort_truth holds the truth, which a
real hospital does not know: the transform from CT to MR, which series are wanted, which slices both scanners cover, and
where PHI is hidden. Its folder `<n>` belongs to row n (from 0) of `patients.csv`. The hospital is described in
docs/explanation/virtual-hospital.md.
"""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from mrct.core.contracts import (
    HIDING_PLACES,
    VIRTUAL_PAIRS,
    VIRTUAL_PATIENTS,
    VIRTUAL_SERIES,
    HidingPlace,
    VirtualPair,
    VirtualPatient,
    VirtualSeries,
)
from mrct.core.errors import DataError
from mrct.core.files import output_folder, write_json
from mrct.core.parallel import map_processes
from mrct.core.params import Section, load
from mrct.core.runner import run_stage
from virtual_hospital.export import ExportedPatient, Hospital, TruePair, export_patient
from virtual_hospital.template import Template, make_template, read_labels

LABELS = Path("data/sample/colin27/labels.nii.gz")
EXPORT = Path("data/cohort")
TRUTH = Path("data/cohort_truth")


class Params(Section):
    """Size of the virtual hospital; see params.yaml."""

    seed: int = Field(ge=0)
    patients: int = Field(ge=1)
    image_size: int = Field(ge=32, multiple_of=4)
    contamination: bool


class Job(NamedTuple):
    """The work on one patient, for one process."""

    hospital: Hospital
    n: int
    export: Path


def run(params: Params, labels: Path, export: Path, truth: Path) -> None:
    """Export all patients and write the truth about them; both folders appear only when both are complete."""
    hospital = Hospital(
        read_template(labels), params.seed, params.patients, params.image_size, params.contamination
    )
    with output_folder(truth) as truth_partial, output_folder(export) as export_partial:
        jobs = [Job(hospital, n, export_partial) for n in range(params.patients)]
        write_truth(truth_partial, map_processes(make_patient, jobs, "cohort"))


def read_template(labels: Path) -> Template:
    """Make the template from the label map in a file.

    Raises:
        DataError: The file is not the label map of Colin27.
    """
    try:
        return make_template(read_labels(labels))
    except ValueError as error:
        raise DataError(str(error)) from None


def make_patient(job: Job) -> ExportedPatient:
    """Export one patient."""
    return export_patient(job.hospital, job.n, job.export)


def write_truth(folder: Path, patients: list[ExportedPatient]) -> None:
    """Write the tables of all patients, and a folder for each patient who has both wanted series."""
    VIRTUAL_PATIENTS.write(folder, [_patient_row(patient) for patient in patients])
    VIRTUAL_SERIES.write(folder, [row for patient in patients for row in _series_rows(patient)])
    HIDING_PLACES.write(folder, _hiding_place_rows(patients))
    for n, patient in enumerate(patients):
        if patient.pair is not None:
            _write_pair(folder / str(n), patient.pair)


def _patient_row(patient: ExportedPatient) -> VirtualPatient:
    return VirtualPatient(
        patient_id=patient.patient_id,
        ct_series_uid=patient.clean_uid("CT"),
        mr_series_uid=patient.clean_uid("MR"),
    )


def _series_rows(patient: ExportedPatient) -> list[VirtualSeries]:
    return [VirtualSeries(patient_id=patient.patient_id, **series._asdict()) for series in patient.series]


def _hiding_place_rows(patients: list[ExportedPatient]) -> list[HidingPlace]:
    total = sum((patient.hiding_places for patient in patients), Counter())
    return [
        HidingPlace(kind=place.kind, where=place.where, n_images=count)
        for place, count in sorted(total.items())
    ]


def _write_pair(folder: Path, pair: TruePair) -> None:
    write_json(folder / "ct_to_mr.json", {"matrix": pair.ct_to_mr.tolist()})
    slices = zip(pair.mr_positions_mm, pair.inside_ct, strict=True)
    rows = [VirtualPair(mr_position_mm=position, inside_ct=inside) for position, inside in slices]
    VIRTUAL_PAIRS.write(folder, rows)


def main() -> None:
    """Run the stage as dvc.yaml does."""
    run(load(Params, "cohort"), LABELS, EXPORT, TRUTH)


if __name__ == "__main__":
    run_stage("stages.cohort")
