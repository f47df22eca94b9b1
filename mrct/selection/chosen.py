"""The choice of a patient's series together with their volumes; a series that is unusable gives way to the next best.

The stage `select` and `mrct check` share this module. Whatever goes wrong with one series is listed as its reason. An
error that this program raises on purpose keeps its text. Of any other, only the class and the place in our code are
listed, because its text may quote a header.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import SimpleITK as sitk

from mrct.core.contracts import AIR_HU
from mrct.dicom.errors import GeometryError
from mrct.dicom.grouping import group
from mrct.dicom.series import Instance, Series
from mrct.dicom.volume import build_volume
from mrct.imaging.plausibility import examine, is_same_image
from mrct.imaging.stored_volume import VolumeError
from mrct.imaging.volumes import read_volume
from mrct.selection.choose import Choice, Measured, choose
from mrct.selection.classify import HOUNSFIELD, PIXELS, SIGNAL, UNREADABLE, failed, rejected
from mrct.selection.parameters import Rules
from mrct.selection.rules import small_field
from mrct.selection.thumbnail import series_thumbnail

Modality = Literal["CT", "MR"]
#: The patient and the series of an image.
SeriesKey = tuple[str, str]


class Grouped(NamedTuple):
    """A series, and what went wrong when its images were grouped."""

    series: Series
    measured: Measured | None = None


@dataclass(frozen=True)
class Chosen:
    """The choice for a patient with what it rests on.

    Attributes:
        choice: The decisions, and the chosen series.
        measured: Series name -> what it turned out to be, for the series that were read.
        volumes: CT and MR -> the volume of the chosen series.
        filled: CT and MR -> which voxels of the chosen series are interpolated, or None.
        pictures: Series name -> its thumbnail, for the series that were read.
    """

    choice: Choice
    measured: Mapping[str, Measured]
    volumes: Mapping[str, sitk.Image]
    filled: Mapping[str, sitk.Image | None]
    pictures: Mapping[str, np.ndarray]


def group_tolerantly(instances: Sequence[Instance], key: Callable[[Instance], SeriesKey]) -> list[Grouped]:
    """Group images as `group` does; if that fails, group each series alone, and list the one that fails."""
    try:
        return [Grouped(series) for series in group(instances, key)]
    except Exception:
        return _grouped_alone(instances, key)


def _grouped_alone(instances: Iterable[Instance], key: Callable[[Instance], SeriesKey]) -> list[Grouped]:
    alone: dict[SeriesKey, list[Instance]] = defaultdict(list)
    for instance in instances:
        alone[key(instance)].append(instance)
    result = []
    for (patient, name), members in sorted(alone.items()):
        try:
            result += [Grouped(series) for series in group(members, key)]
        except Exception as error:
            result.append(Grouped(Series(patient, name, tuple(members)), Measured(failed(error))))
    return result


def choose_and_build(patient: str, grouped: Sequence[Grouped], rules: Rules) -> Chosen:
    """Choose one CT and one MR that can be read, build their volumes, and judge the values.

    Args:
        patient: Name of the patient that may be shown.
        grouped: All series of the patient.
        rules: The parameters of the selection.
    """
    series = [one.series for one in grouped]
    measured = {one.series.name: one.measured for one in grouped if one.measured is not None}
    volumes: dict[str, sitk.Image] = {}
    filled: dict[str, sitk.Image | None] = {}
    pictures: dict[str, np.ndarray] = {}
    while True:
        choice = choose(patient, series, rules, measured)
        chosen = [item for item in (choice.ct, choice.mr) if item is not None]
        new = [item for item in chosen if item.name not in measured]
        if not new:
            kept = {item.modality: item.name for item in chosen}
            return Chosen(
                choice,
                measured,
                {modality: volumes[name] for modality, name in kept.items()},
                {modality: filled[name] for modality, name in kept.items()},
                pictures,
            )
        for item in new:
            try:
                volumes[item.name], notes, filled[item.name] = build_volume(item)
                pictures[item.name] = series_thumbnail(item)
                found = judge(volumes[item.name], "CT" if item.modality == "CT" else "MR")
                measured[item.name] = replace(found, notes=(*notes, *found.notes))
            except GeometryError as error:
                measured[item.name] = Measured(rejected(PIXELS, str(error)))
            except Exception as error:
                measured[item.name] = Measured(failed(error))


def judge(volume: sitk.Image, modality: Modality) -> Measured:
    """Judge the values of a volume: a CT must hold HU, an MR must be none."""
    finding = examine(sitk.GetArrayViewFromImage(volume), modality)
    if finding.fault:
        return Measured(rejected(HOUNSFIELD if modality == "CT" else SIGNAL, finding.fault))
    return Measured(notes=(finding.doubt,) if finding.doubt else ())


def judge_case(ct: sitk.Image, mr: sitk.Image, mask: sitk.Image | None, rules: Rules) -> list[str]:
    """Return why the volumes of a case cannot be used together, or in their size; [] if they can."""
    problems = []
    for name, volume in (("CT", ct), ("MR", mr)):
        columns, rows, _ = (n * mm for n, mm in zip(volume.GetSize(), volume.GetSpacing(), strict=True))
        if rules.holds("field_of_view") and (reason := small_field(max(columns, rows), rules)):
            problems.append(f"{name}: {reason}")
    if mask is not None and not (sitk.GetArrayViewFromImage(mask) > 0).any():
        problems.append("mask: it is empty: no value is above 0")
    if is_same_image(sitk.GetArrayViewFromImage(ct), sitk.GetArrayViewFromImage(mr)):
        problems.append("MR: it is the CT in other units: the values of both lie on one line")
    return problems


def read_and_judge(path: Path, modality: Modality) -> tuple[sitk.Image | None, Measured]:
    """Read a volume file and judge its values.

    Returns:
        The volume in LPS axes, a CT at least -1024 HU, or None if it cannot be used; and what it turned out to be.
    """
    try:
        volume = read_volume(path)
        measured = judge(volume, modality)
    except VolumeError as error:
        return None, Measured(rejected(UNREADABLE, str(error)))
    except Exception as error:
        return None, Measured(failed(error))
    if measured.verdict.rule:
        return None, measured
    return sitk.Maximum(volume, AIR_HU) if modality == "CT" else volume, measured
