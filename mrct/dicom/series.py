"""Files grouped to series; of each file the few header values that decide about it, tolerantly parsed.

Convention: point (x, y, z) in mm, LPS; `orientation` is ImageOrientationPatient (PS3.3 C.7.6.2.1.1): the
direction of a row (along which columns count up), then of a column; `pixel_spacing_mm` is (between rows,
between columns). A value that is missing or unparsable is None or empty, never a default.
"""

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from pydicom import Dataset

from mrct.dicom.header import (
    Numbers,
    acquisition_date,
    has_agent,
    has_rescale,
    names_source_images,
    text,
    texts,
    vendor_name,
)
from mrct.dicom.read import Unreadable, read_dataset
from mrct.dicom.scans import scan_numbers

# one image repeated by chance parts no series; two kinds of image share most of their places
_SHARED_PLACES = 0.5


@dataclass(frozen=True, slots=True)
class Instance:
    """One image's header values; text is upper case, without surrounding blanks.

    `frame` is the image's place (from 0) in a multi-frame file whose functional groups were read, else None.
    """

    path: Path
    frame: int | None = None
    patient_id: str = ""
    series_uid: str = ""
    sop_class_uid: str = ""
    modality: str = ""
    image_type: tuple[str, ...] = ()
    description: str = ""
    protocol: str = ""
    vendor: str = ""
    model: str = ""
    series_number: int = 0
    instance_number: int = 0
    acquisition_number: int = 0
    acquired: date | None = None
    frame_of_reference: str = ""
    position: tuple[float, ...] | None = None
    orientation: tuple[float, ...] | None = None
    pixel_spacing_mm: tuple[float, ...] | None = None
    rows: int = 0
    columns: int = 0
    frames: int = 1
    thickness_mm: float | None = None
    has_rescale: bool = False
    inverted: bool = False
    te_ms: float | None = None
    tr_ms: float | None = None
    ti_ms: float | None = None
    echo_train_length: int | None = None
    diffusion_b_value: float | None = None
    scanning_sequence: tuple[str, ...] = ()
    sequence_variant: tuple[str, ...] = ()
    scan_options: tuple[str, ...] = ()
    sequence_name: str = ""
    contrast_agent: bool = False
    kernel: str = ""
    tube_kv: float | None = None
    body_part: str = ""
    angiography: bool = False
    time_points: int = 1
    from_images: bool = False


@dataclass(frozen=True)
class Series:
    """Instances sorted by InstanceNumber; `name` is a pseudonym or a number, fit to be shown."""

    patient: str
    name: str
    instances: tuple[Instance, ...]

    @property
    def first(self) -> Instance:
        """The instance whose header speaks for the series."""
        return self.instances[0]

    @property
    def modality(self) -> str:
        return self.first.modality


def read_instance(path: Path) -> Instance:
    """The header of one file; raises Unreadable (mrct.dicom.read)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's warnings quote the header
            return instance_of(read_dataset(path, pixels=False), path)
    except Unreadable:
        raise
    except Exception:  # pydicom converts an element when it is asked for, and fails in many ways
        raise Unreadable("damaged DICOM: its elements cannot be parsed", damaged=True) from None


def instance_of(dataset: Dataset, path: Path) -> Instance:
    """The values that decide, of a parsed dataset; nothing that a header holds makes it fail."""
    number = Numbers(dataset)
    return Instance(
        path=path,
        patient_id=text(dataset, "PatientID"),
        series_uid=text(dataset, "SeriesInstanceUID"),
        sop_class_uid=text(dataset, "SOPClassUID"),
        modality=text(dataset, "Modality"),
        image_type=texts(dataset, "ImageType"),
        description=text(dataset, "SeriesDescription", keep_case=True),
        protocol=text(dataset, "ProtocolName"),
        vendor=vendor_name(text(dataset, "Manufacturer")),
        model=text(dataset, "ManufacturerModelName"),
        series_number=number.whole("SeriesNumber") or 0,
        instance_number=number.whole("InstanceNumber") or 0,
        acquisition_number=number.whole("AcquisitionNumber") or 0,
        acquired=acquisition_date(dataset),
        frame_of_reference=text(dataset, "FrameOfReferenceUID"),
        position=number.vector("ImagePositionPatient", 3),
        orientation=number.vector("ImageOrientationPatient", 6),
        pixel_spacing_mm=number.vector("PixelSpacing", 2),
        rows=number.whole("Rows") or 0,
        columns=number.whole("Columns") or 0,
        frames=number.whole("NumberOfFrames") or 1,
        thickness_mm=number.one("SliceThickness"),
        has_rescale=has_rescale(dataset),
        inverted=text(dataset, "PhotometricInterpretation") == "MONOCHROME1",
        te_ms=number.one("EchoTime"),
        tr_ms=number.one("RepetitionTime"),
        ti_ms=number.one("InversionTime"),
        echo_train_length=number.whole("EchoTrainLength"),
        diffusion_b_value=number.one("DiffusionBValue"),
        scanning_sequence=texts(dataset, "ScanningSequence"),
        sequence_variant=texts(dataset, "SequenceVariant"),
        scan_options=texts(dataset, "ScanOptions"),
        sequence_name=f"{text(dataset, 'SequenceName')} {text(dataset, 'PulseSequenceName')}".strip(),
        contrast_agent=has_agent(dataset),
        kernel=text(dataset, "ConvolutionKernel"),
        tube_kv=number.one("KVP"),
        body_part=text(dataset, "BodyPartExamined"),
        angiography=text(dataset, "AngioFlag") == "Y",
        time_points=number.whole("NumberOfTemporalPositions") or 1,
        from_images=names_source_images(dataset),
    )


def group(instances: Iterable[Instance], key: Callable[[Instance], tuple[str, str]]) -> list[Series]:
    """Series sorted by key = (patient, series name); images of several kinds at one place are parted."""
    folders: dict[tuple[str, str], list[Instance]] = defaultdict(list)
    for instance in instances:
        folders[key(instance)].append(instance)
    return [
        part
        for (patient, name), members in sorted(folders.items(), key=lambda item: item[0])
        for echo in split_echoes(Series(patient, name, tuple(sorted(members, key=_order))))
        for kernel in split_kernels(echo)
        for kind in split_types(kernel)
        for part in split_scans(kind)
    ]


def split_echoes(series: Series) -> list[Series]:
    """PD and T2 echoes of one dual-echo acquisition, told apart by EchoTime where they share positions."""
    if any(item.modality != "MR" or item.te_ms is None for item in series.instances):
        return [series]
    return _split(series, lambda item: round(item.te_ms or 0.0), "e")


def split_types(series: Series) -> list[Series]:
    """Magnitude, phase and computed images of one acquisition, told apart by ImageType at shared positions."""
    return _split(series, lambda item: item.image_type, "i")


def split_kernels(series: Series) -> list[Series]:
    """Soft and bone reconstructions that came as one CT series."""
    return _split(series, lambda item: item.kernel, "k")


def split_scans(series: Series) -> list[Series]:
    """Scans that repeat the same places under one series, told apart by their numbers (mrct/dicom/scans)."""
    items = series.instances
    numbers = scan_numbers([item.position for item in items], [item.acquisition_number for item in items])
    scan = dict(zip(items, numbers, strict=True))
    return _split(series, lambda item: scan[item], "s")


def _split(series: Series, key: Callable[[Instance], Any], letter: str) -> list[Series]:
    parts: dict[Any, list[Instance]] = defaultdict(list)
    for instance in series.instances:
        parts[key(instance)].append(instance)
    places = [{item.position for item in part} - {None} for part in parts.values()]
    together = len(set().union(*places))
    if sum(map(len, places)) < (1 + _SHARED_PLACES) * max(together, 1):
        return [series]
    return [
        replace(series, name=f"{series.name}-{letter}{index}", instances=tuple(members))
        for index, (_, members) in enumerate(sorted(parts.items()), 1)
    ]


def _order(instance: Instance) -> tuple[int, int, str, int]:
    return instance.instance_number, instance.acquisition_number, str(instance.path), instance.frame or 0
