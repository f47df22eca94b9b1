"""Frames of an enhanced multi-frame CT or MR as single images: functional groups laid flat (PS3.3 C.7.6.16).

A frame's header is the file's, overlaid with its shared and then its own functional groups; what an enhanced
object says in other words than a classic one (PS3.3 C.8.13.5) is said in the classic words, so that one set
of rules reads both.
"""

import warnings
from dataclasses import replace
from pathlib import Path

from pydicom import DataElement, Dataset

from mrct.dicom.header import texts
from mrct.dicom.read import Unreadable, read_dataset
from mrct.dicom.series import Instance, instance_of

_SHARED, _PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
_NOT_OF_A_FRAME = {_SHARED, _PER_FRAME, "PixelData", "NumberOfFrames"}
_RENAMED = {"EffectiveEchoTime": "EchoTime", "InversionTimes": "InversionTime"}
# PulseSequence's flags (PS3.3 C.8.13.4) -> what ScanningSequence and SequenceVariant say in a classic image
_SCANNING = (
    ("EchoPulseSequence", "SPIN", "SE"),
    ("EchoPulseSequence", "GRADIENT", "GR"),
    ("EchoPulseSequence", "BOTH", "SE"),
    ("EchoPulseSequence", "BOTH", "GR"),
    ("InversionRecovery", "YES", "IR"),
    ("EchoPlanarPulseSequence", "YES", "EP"),
)
_VARIANT = (
    ("SteadyStatePulseSequence", "FREE_PRECESSION", "SS"),
    ("SteadyStatePulseSequence", "TRANSVERSE", "SS"),
    ("SteadyStatePulseSequence", "LONGITUDINAL", "SS"),
    ("SteadyStatePulseSequence", "TIME_REVERSED", "SS"),
    ("Spoiling", "RF", "SP"),
    ("Spoiling", "RF_AND_GRADIENT", "SP"),
)
_ANGIOGRAPHY = (("TimeOfFlightContrast", "YES", "Y"), ("PhaseContrast", "YES", "Y"))


def read_instances(path: Path) -> list[Instance]:
    """The images of one file: one, or the frames of an enhanced object in their order; raises Unreadable."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's warnings quote the header
            return instances_of(read_dataset(path, pixels=False), path)
    except Unreadable:
        raise
    except Exception:  # pydicom converts an element when it is asked for, and fails in many ways
        raise Unreadable("damaged DICOM: its elements cannot be parsed", damaged=True) from None


def instances_of(dataset: Dataset, path: Path) -> list[Instance]:
    """As `read_instances`, of a parsed dataset; groups that do not tell of every frame are not read."""
    if not has_frames(dataset):
        return [instance_of(dataset, path)]
    count = len(dataset[_PER_FRAME].value)
    frames = [instance_of(frame_dataset(dataset, index), path) for index in range(count)]
    times = len(set(_values(dataset, "FrameContentSequence", "TemporalPositionIndex")))
    return [replace(frame, frame=index, time_points=max(times, 1)) for index, frame in enumerate(frames)]


def has_frames(dataset: Dataset) -> bool:
    """True if per-frame functional groups tell of every one of NumberOfFrames frames."""
    groups = dataset.get(_PER_FRAME)
    return bool(groups) and len(groups) == int(dataset.get("NumberOfFrames") or 1)


def frame_dataset(dataset: Dataset, index: int) -> Dataset:
    """The header of one frame in the words of a classic image, without pixels."""
    flat = Dataset()
    for element in dataset:
        if element.keyword not in _NOT_OF_A_FRAME:
            flat.add(element)
    for groups in (dataset.get(_SHARED), [dataset[_PER_FRAME].value[index]]):
        for group in groups or []:
            for macro in group:
                if macro.VR == "SQ" and len(macro.value) == 1:
                    _overlay(flat, macro.value[0])
    _say_classically(flat)
    return flat


def _overlay(flat: Dataset, item: Dataset) -> None:
    for element in item:
        flat.add(element)
        classic = _RENAMED.get(element.keyword)
        if classic and element.value not in (None, ""):
            many = element.value if hasattr(element.value, "__iter__") else [element.value]
            setattr(flat, classic, float(next(iter(many))))


def _say_classically(flat: Dataset) -> None:
    kind = texts(flat, "FrameType") or texts(flat, "ImageType")
    # what the signal is, and its component, belong to ImageType in a classic image
    kind += tuple(
        value.replace("_", " ")
        for word in ("AcquisitionContrast", "ComplexImageComponent")
        for value in texts(flat, word)
    )
    flat.add(DataElement("ImageType", "CS", list(kind)))
    flat.ScanningSequence = _flags(flat, _SCANNING)
    flat.SequenceVariant = _flags(flat, _VARIANT)
    flat.AngioFlag = "Y" if _flags(flat, _ANGIOGRAPHY) else "N"
    trains = [flat.get(word) for word in ("RFEchoTrainLength", "GradientEchoTrainLength")]
    known = [int(train) for train in trains if train not in (None, "")]
    if known:
        flat.EchoTrainLength = max(known)
    if "DIFFUSION" not in flat.ImageType and not flat.get("DiffusionBValue"):
        flat.pop("DiffusionBValue", None)  # Philips writes 0 to every frame of every scan
    if "AcquisitionDateTime" in flat and "AcquisitionDate" not in flat:
        flat.AcquisitionDate = str(flat.AcquisitionDateTime)[:8]


def _flags(flat: Dataset, table: tuple[tuple[str, str, str], ...]) -> list[str]:
    return [word for keyword, value, word in table if value in texts(flat, keyword)]


def _values(dataset: Dataset, group: str, keyword: str) -> list[int]:
    found = [frame.get(group) for frame in dataset[_PER_FRAME].value]
    return [int(items[0].get(keyword) or 0) for items in found if items]
