"""Export of a virtual patient: the files that a hospital would export, and the truth, which a real hospital does not
know.

`export_patient` is the entry to this package: it makes one patient from the settings of a `Hospital`.
"""

import re
import shutil
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from virtual_hospital.elements import save
from virtual_hospital.examination import Examination, examine, inside_ct, random_generators
from virtual_hospital.headers import Acquisition
from virtual_hospital.hiding.place import PhiValues
from virtual_hospital.hiding.registry import EVERY_HEADER, files_of_patient, place_of_image
from virtual_hospital.images import make_images
from virtual_hospital.persona import draw_persona
from virtual_hospital.scanners import SIEMENS_PET, ct_scanner, mr_scanner
from virtual_hospital.series import Wanted
from virtual_hospital.template import Template


@dataclass(frozen=True)
class Hospital:
    """Settings of a cohort.

    Attributes:
        template: The head from which all patients are made.
        seed: Seed of all random numbers.
        patients: Number of patients in the cohort.
        image_size: Rows and columns of the wanted series.
        contamination: Whether to add unwanted series, and files that are not images.
    """

    template: Template
    seed: int
    patients: int
    image_size: int
    contamination: bool


class HidingPlace(NamedTuple):
    """Kind of a hiding place, and where it is: a path of attributes, a part of the file, or a file name."""

    kind: str
    where: str


class ExportedSeries(NamedTuple):
    """A series and whether it is wanted; `te_ms` is the echo to which that applies, where there are several."""

    series_uid: str
    modality: str
    kind: str
    wanted: Wanted
    te_ms: int | None


@dataclass(frozen=True)
class TruePair:
    """The truth about a patient who has both wanted series.

    Attributes:
        ct_to_mr: 4x4, LPS mm: from a point in CT coordinates to the same point in MR coordinates.
        mr_positions_mm: Position of each MR slice along its normal.
        inside_ct: Whether the CT covers the head in each MR slice.
    """

    ct_to_mr: np.ndarray
    mr_positions_mm: tuple[float, ...]
    inside_ct: tuple[bool, ...]


@dataclass(frozen=True)
class ExportedPatient:
    """The truth about an exported patient.

    Attributes:
        patient_id: PatientID.
        series: The series, in the order of their numbers.
        hiding_places: How many images hide PHI in each place; for a file that is not an image, the number of such
        files. pair: None if the patient lacks the wanted CT or MR.
    """

    patient_id: str
    series: tuple[ExportedSeries, ...]
    hiding_places: Counter[HidingPlace]
    pair: TruePair | None

    def clean_uid(self, modality: str) -> str:
        """Return the SeriesInstanceUID of the wanted series of a modality; "" if there is none."""
        found = (s.series_uid for s in self.series if s.kind == "clean" and s.modality == modality)
        return next(found, "")


def export_patient(hospital: Hospital, n: int, folder: Path) -> ExportedPatient:
    """Make a patient and write the images and other files of the patient.

    The result depends on the settings and on n alone, not on the other patients.

    Args:
        hospital: Settings of the cohort.
        n: Number of the patient, from 0.
        folder: Folder of the whole export; the patient gets a folder in it.

    Returns:
        The truth about the patient.
    """
    examination = examine(
        hospital.template, hospital.seed, n, hospital.patients, hospital.image_size, hospital.contamination
    )
    acquisitions = _acquisitions(examination, hospital.seed, n)
    written = _write_images(acquisitions, folder)
    hiding_places = written.hiding_places
    if hospital.contamination:
        first = written.files[0].relative_to(folder)
        hiding_places += _write_other_files(folder / first.parts[0], acquisitions[0].phi, n, written)
    return ExportedPatient(
        acquisitions[0].persona.patient_id,
        tuple(_exported(acquisition) for acquisition in acquisitions),
        hiding_places,
        _true_pair(examination),
    )


def _acquisitions(examination: Examination, seed: int, n: int) -> list[Acquisition]:
    persona = draw_persona(n, random_generators(seed, n)["persona"])
    scanners = {"CT": ct_scanner(n), "MR": mr_scanner(n), "PT": SIEMENS_PET}
    return [
        Acquisition(series, persona, scanners[series.modality], seed, n, number)
        for number, series in enumerate(examination.series, 1)
    ]


def _exported(acquisition: Acquisition) -> ExportedSeries:
    series = acquisition.series
    return ExportedSeries(
        acquisition.series_uid, series.modality, series.kind, series.wanted, series.wanted_te_ms
    )


def _true_pair(examination: Examination) -> TruePair | None:
    ct, mr = examination.clean("CT"), examination.clean("MR")
    if ct is None or mr is None:
        return None
    grid, poses = mr.grids[0], examination.poses
    positions = tuple(round(float(grid.position(k) @ grid.normal), 3) for k in range(grid.shape[0]))
    return TruePair(poses.ct_to_mr, positions, tuple(inside_ct(examination.head, poses, ct.grids[0], grid)))


@dataclass(frozen=True)
class _Written:
    """The image files of a patient in their order, the same by kind of series, and where they hide PHI."""

    files: list[Path]
    by_kind: dict[str, list[Path]]
    hiding_places: Counter[HidingPlace]


def _write_images(acquisitions: list[Acquisition], folder: Path) -> _Written:
    """Write all images; each slice, but no capture or multi-frame image, also gets the next hiding place in turn."""
    written = _Written([], {}, Counter())
    n_slices = 0
    for acquisition in acquisitions:
        kind = acquisition.series.kind
        for number, image in enumerate(make_images(acquisition), 1):
            path = folder / instance_path(acquisition, number, image.SOPInstanceUID)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # hidden values are invalid on purpose
                if acquisition.series.form == "slices":
                    place = place_of_image(acquisition.n, n_slices)
                    place.put(image, acquisition.phi)
                    written.hiding_places[HidingPlace(place.kind, place.where)] += 1
                    n_slices += 1
                save(image, path)
            written.files.append(path)
            written.by_kind.setdefault(kind, []).append(path)
    everywhere = [HidingPlace(place.kind, place.where) for place in EVERY_HEADER]
    style = _path_style(acquisitions[0].n)
    if style.kind:
        everywhere.append(HidingPlace(style.kind, style.template))
    for hiding_place in everywhere:
        written.hiding_places[hiding_place] += len(written.files)
    return written


class _PathStyle(NamedTuple):
    """A style of file names, and its kind of hiding place; "" if the path holds no PHI."""

    kind: str
    template: str


# The patients use these styles in turn
_PATH_STYLES = (
    _PathStyle("folder_name", "{name}_{id}/{date}_{modality}/{series:03d}_{folder}/IM{number:04d}"),
    _PathStyle("file_name", "{given} {family} {id}/{name}_{modality}_{series:02d}_{number:03d}.dcm"),
    _PathStyle("", "PAT{n:05d}/ST{modality}/SE{series:04d}/{number:08d}"),
    _PathStyle("uid_as_file_name", "{id}/{uid}.dcm"),
)


def _path_style(n: int) -> _PathStyle:
    return _PATH_STYLES[n % len(_PATH_STYLES)]


def instance_path(acquisition: Acquisition, number: int, sop_uid: str) -> Path:
    """Return the path of an image in the export.

    Args:
        acquisition: The series of the image.
        number: InstanceNumber.
        sop_uid: SOPInstanceUID.
    """
    persona, series = acquisition.persona, acquisition.series
    return Path(
        _path_style(acquisition.n).template.format(
            name=f"{persona.family}_{persona.given}".upper().replace(" ", "_"),
            given=persona.given,
            family=persona.family,
            id=persona.patient_id,
            date=acquisition.date,
            modality=series.modality,
            series=acquisition.number,
            folder=re.sub(r"\W+", "_", series.description),
            number=number,
            uid=sop_uid,
            n=acquisition.n,
        )
    )


def _write_other_files(folder: Path, phi: PhiValues, n: int, written: _Written) -> Counter[HidingPlace]:
    """Write the files of an export that are not images, and return where they hide PHI.

    Each patient has some files that name the patient. Patients with an even number also have a copy of one image. Those
    with an odd number have an empty file, and a truncated image of an unwanted series.
    """
    files = files_of_patient(n)
    for file in files:
        file.path(folder, phi).write_bytes(file.content(phi))
    if n % 2 == 0:
        first = written.files[0]
        shutil.copyfile(first, first.with_name(f"{first.stem} copy{first.suffix}"))
    else:
        (folder / "IM_EMPTY").write_bytes(b"")
        for truncated in (written.by_kind.get("flair") or written.by_kind.get("derived") or [])[-1:]:
            truncated.write_bytes(truncated.read_bytes()[: truncated.stat().st_size * 3 // 5])
    return Counter(HidingPlace(file.kind, file.name) for file in files)
