"""The image to translate, from what the user gives: a patient's folder, a DICOM file or a volume file.

Of several series the one is taken that the stage `select` would choose, by the rules that chose the training series.
Errors hold words of this program and numbers. The place of a series is kept apart from the text, in `FoundSeries`,
because the name of a folder may be a patient's: the command line shows it to the user, who has it on disk, and no log
or traceback holds it.
"""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom import Dataset

from mrct.core.errors import DataError
from mrct.core.files import VOLUME_SUFFIXES, is_volume_file
from mrct.core.runner import unexpected_reason
from mrct.dicom.archives import archive_reason_of
from mrct.dicom.copies import without_copies
from mrct.dicom.errors import GeometryError, Unreadable
from mrct.dicom.grouping import group
from mrct.dicom.header import frame_dataset
from mrct.dicom.read import find_files, read_dataset
from mrct.dicom.series import Instance, Series, read_instances
from mrct.dicom.stack import plane
from mrct.dicom.uids import IMAGE_CLASSES
from mrct.dicom.volume import build_volume
from mrct.imaging.plausibility import examine
from mrct.imaging.training_domain import Extent
from mrct.imaging.volumes import read_volume, to_array
from mrct.inference.model import Model
from mrct.inference.suitability import (
    compare_extent,
    compare_kind,
    describe,
    expected_kind,
    remarks,
    rules_of,
    states_kind,
)
from mrct.normalization.normalization import Modality
from mrct.selection.acquisition import weighting
from mrct.selection.choose import Decision, Measured, choose
from mrct.selection.classify import NOT_CHOSEN, PIXELS, rejected


@dataclass(frozen=True)
class FoundSeries:
    """A series of the input as the user may see it.

    Attributes:
        name: Its place in the list, from 1.
        kind: Modality, weighting and plane, in words of this program.
        n_images: Number of images, copies not counted.
        folder: The folder that holds its files, relative to the input. It may hold a name: show it, do not log it.
        reason: Why it is not used; "" for the one that is.
    """

    name: str
    kind: str
    n_images: int
    folder: Path
    reason: str


class WrongInputError(DataError):
    """Error for an input to which the model cannot be applied; `series` lists what the input holds."""

    def __init__(self, text: str, series: Sequence[FoundSeries] = ()) -> None:
        super().__init__(text)
        self.series = tuple(series)


@dataclass(frozen=True)
class Request:
    """Request of the user.

    Attributes:
        path: Folder, DICOM file or volume file.
        series: Number of the series to take, from 1; None lets the rules choose.
        force: Take an image that differs from those of the training.
    """

    path: Path
    series: int | None = None
    force: bool = False


@dataclass(frozen=True)
class Source:
    """Volume to translate.

    Attributes:
        volume: float32 in LPS axes.
        headers: For DICOM, the headers of the images, to which the result refers.
        notes: Remarks for the user.
        departures: How the image differs from those of the training; empty unless it was forced.
        series: All series of the input, for DICOM.
        filled: Above 0 in slices that no image shows, and that are interpolated; None if there are none.
    """

    volume: sitk.Image
    headers: Sequence[Dataset] | None
    notes: tuple[str, ...]
    departures: tuple[str, ...] = ()
    series: tuple[FoundSeries, ...] = ()
    filled: sitk.Image | None = None


def read_source(request: Request, model: Model) -> Source:
    """Read the image that the model is to translate.

    Raises:
        WrongInputError: No series or volume can be used, or there are several patients; the text says why.
        DataError: The file of a volume is damaged.
    """
    path = request.path
    if not path.exists():
        raise WrongInputError(f"{path}: no such file or folder")
    if path.is_file() and is_volume_file(path):
        return _read_file(request, model)
    return _read_series(request, model)


def _read_file(request: Request, model: Model) -> Source:
    """Read a volume file, whose header states neither modality nor weighting."""
    name = request.path.name
    if request.series is not None:
        raise WrongInputError(f"{name}: a volume file has no series; leave out --series")
    volume = read_volume(request.path)
    _require_plausible(to_array(volume), model.source, name)
    found = compare_extent(Extent.of(volume), model)
    if found.severe and not request.force:
        raise WrongInputError(f"{name}: {'; '.join(found.severe)}. {_advice(model)}")
    taken = (
        f"{name}: no header says that this is {expected_kind(model)}; taken as such, and of another kind the "
        "result is wrong"
    )
    return Source(volume, None, (taken, *remarks(model), *found.slight), found.severe)


def _read_series(request: Request, model: Model) -> Source:
    """Take the series that `select` would choose; where its volume cannot be used, the next best."""
    instances, notes = _images(request.path)
    wanted = _wanted(request, _numbered(instances))
    rules = rules_of(model.domain)
    # series name -> why it cannot be used although no rule rejects it: by its kind, and by its volume
    kinds = {one.name: reason for one in wanted if (reason := compare_kind(one, model))}
    failed: dict[str, str] = {}
    while True:
        unusable = {name: Measured(rejected(PIXELS, reason)) for name, reason in (kinds | failed).items()}
        choice = choose("", wanted, rules, unusable)
        shown = tuple(_shown(one, request.path, model) for one in choice.decisions)
        chosen = choice.mr if model.source == "MR" else choice.ct
        if chosen is None:
            break
        if not states_kind(model):
            _require_no_rival(choice.decisions, shown, model)
        try:
            found = _build(chosen, model, force=False)
        except (GeometryError, WrongInputError) as error:
            failed[chosen.name] = str(error)
            continue
        except Exception as error:
            failed[chosen.name] = unexpected_reason(error)
            continue
        return replace(found, notes=(*notes, *remarks(model), *found.notes), series=shown)
    candidates = [one for one in choice.decisions if one.series.modality == model.source]
    if not request.force or len(candidates) != 1:
        raise WrongInputError("; ".join((_refusal(candidates, shown, request, model), *notes)), shown)
    only = candidates[0]
    by_header = () if only.series.name in failed else (_all_reasons(only),)
    try:
        found = _build(only.series, model, force=True)
    except (GeometryError, WrongInputError) as error:
        raise WrongInputError(f"the {model.source} series: {error}; --force cannot help", shown) from None
    departures = (*by_header, *found.departures)
    return replace(found, notes=(*notes, *remarks(model), *found.notes), departures=departures, series=shown)


def _found_instead(files: Sequence[Path]) -> str:
    """Say what to do with volumes and archives that were given in place of DICOM images."""
    volumes = sum(map(is_volume_file, files))
    archives = {reason for reason in map(archive_reason_of, files) if reason}
    found = (
        [f"{volumes} volume file{'s' * (volumes > 1)}: give one of them, not its folder"] if volumes else []
    )
    return "".join(f"; {text}" for text in (*found, *sorted(archives)))


def _images(path: Path) -> tuple[list[Instance], tuple[str, ...]]:
    """Read the CT and MR images of one patient, each once; errors and notes quote no header and no name of a file.

    Raises:
        WrongInputError: There is no image, or there are those of several patients.
    """
    found: list[Instance] = []
    files = find_files(path) if path.is_dir() and any(path.iterdir()) else [path][: path.is_file()]
    damaged = 0
    for file in files:
        try:
            instances = read_instances(file)
        except Unreadable as error:
            # a CD holds viewers and indexes beside the images
            damaged += error.damaged
            continue
        if instances[0].sop_class_uid in IMAGE_CLASSES:
            found += instances
    if not found:
        raise WrongInputError(
            f"the input holds no DICOM image of CT or MR (files read: {len(files)}, of them damaged: {damaged})"
            f"{_found_instead(files)}; expected DICOM of one patient, or a volume file ({', '.join(VOLUME_SUFFIXES)})"
        )
    patients = len({one.patient_id for one in found})
    if patients > 1:
        raise WrongInputError(
            f"the input holds images of {patients} PatientIDs; expected one patient: give that patient's folder"
        )
    images, n_copies, n_contradictory = without_copies(found)
    if not images:
        raise WrongInputError(
            f"the input holds {n_contradictory} images, each with the SOPInstanceUID of another one: it cannot be "
            "told which is right; export them again"
        )
    counts = {
        "damaged file{} left out": damaged,
        "file{} left out as copies of others": n_copies,
        "file{} left out: their SOPInstanceUID is that of another image": n_contradictory,
    }
    return images, tuple(f"{n} {text.format('s' * (n > 1))}" for text, n in counts.items() if n)


def _numbered(instances: Sequence[Instance]) -> list[Series]:
    """Group the images into series, in the order of their files, whose names are their numbers."""
    found = sorted(group(instances, lambda one: ("", one.series_uid)), key=lambda one: _first_path(one))
    digits = len(str(len(found)))
    return [replace(one, name=f"{n:0{digits}d}") for n, one in enumerate(found, 1)]


def _first_path(series: Series) -> tuple[str, str]:
    return str(min(one.path for one in series.instances)), series.name


def _wanted(request: Request, series: list[Series]) -> list[Series]:
    if request.series is None:
        return series
    if not 1 <= request.series <= len(series):
        raise WrongInputError(
            f"--series {request.series}: the input has {len(series)} series; without it they are listed"
        )
    return [series[request.series - 1]]


def _shown(decision: Decision, root: Path, model: Model) -> FoundSeries:
    series = decision.series
    modality = series.modality if series.modality in ("CT", "MR") else "other"
    kind = " ".join(filter(None, [modality, weighting(series.first), plane(series)[0]]))
    place = os.path.commonpath([one.path.parent for one in series.instances])
    folder = Path(os.path.relpath(place, root if root.is_dir() else root.parent))
    other = f"{modality}; the model takes {model.source}" if modality != model.source else ""
    return FoundSeries(series.name, kind, len(series.instances), folder, other or decision.verdict.reason)


def _require_no_rival(decisions: Sequence[Decision], shown: Sequence[FoundSeries], model: Model) -> None:
    """Refuse to choose between series for a model that does not state which kind it takes."""
    rivals = {
        one.series.name
        for one in decisions
        if one.series.modality == model.source and one.verdict.rule in ("", NOT_CHOSEN.name)
    }
    if len(rivals) > 1:
        listed = [replace(one, reason="could be used") if one.name in rivals else one for one in shown]
        raise WrongInputError(
            f"{len(rivals)} {model.source} series could be used, and the model file does not state which kind it "
            "takes; name one with --series",
            listed,
        )


def _refusal(
    candidates: Sequence[Decision], shown: Sequence[FoundSeries], request: Request, model: Model
) -> str:
    if not candidates:
        kinds = Counter(one.kind.split()[0] for one in shown)
        found = " and ".join(f"{n} {kind} series" for kind, n in sorted(kinds.items()))
        return f"the input holds {found}; expected {model.source}. The model takes {describe(model)}"
    if len(candidates) == 1:
        return f"the {model.source} series is refused: {candidates[0].verdict.reason}. {_advice(model)}"
    if request.force:
        return f"--force: the input has {len(candidates)} {model.source} series; name one with --series"
    reasons = "; ".join(f"series {one.series.name}: {one.verdict.reason}" for one in candidates)
    return f"none of {len(candidates)} {model.source} series can be used: {reasons}. {_advice(model)}, with --series"


def _all_reasons(decision: Decision) -> str:
    """Return the reason of the first rule, and the names of the others that apply."""
    verdict = decision.verdict
    others = ", ".join(rule for rule in verdict.matches if rule != verdict.rule)
    return f"{verdict.reason}; also: {others}" if others else verdict.reason


def _advice(model: Model) -> str:
    return f"The model takes {describe(model)}; --force goes on all the same, and the result says so"


def _build(series: Series, model: Model, *, force: bool) -> Source:
    """Build the volume of a series.

    Raises:
        GeometryError: The slices do not form a volume, or one of them cannot be decoded.
        WrongInputError: The volume is no image of the modality, or, without `force`, far from those of the training.
    """
    volume, notes, filled = build_volume(series)
    _require_plausible(to_array(volume), model.source, "the series")
    found = compare_extent(Extent.of(volume), model)
    if found.severe and not force:
        raise WrongInputError("; ".join(found.severe))
    notes = (*notes, *found.slight)
    return Source(volume, _image_headers(series), notes, found.severe, filled=filled)


def _image_headers(series: Series) -> list[Dataset]:
    """Read the header of every image; that of a frame gets its ReferencedFrameNumber, which counts from 1."""
    files = {path: read_dataset(path, pixels=False) for path in {one.path for one in series.instances}}
    headers = []
    for one in series.instances:
        header = files[one.path] if one.frame is None else frame_dataset(files[one.path], one.frame)
        if one.frame is not None:
            header.ReferencedFrameNumber = one.frame + 1
        headers.append(header)
    return headers


def _require_plausible(array: np.ndarray, modality: Modality, name: str) -> None:
    """Raise WrongInputError for a CT that is not in HU, and for an MR that is a CT or constant, as `select` does."""
    fault = examine(array, modality).fault
    if fault:
        raise WrongInputError(f"{name}, given as {modality}: {fault}")
