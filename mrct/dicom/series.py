"""Headers of images as `Instance`, and images grouped into `Series`.

A folder or a SeriesInstanceUID may hold images of several kinds at the same positions. `group` separates them by echo
time, reconstruction kernel, image type and repeated scan.

Convention: a point is (x, y, z) in mm, LPS. `orientation` is ImageOrientationPatient (PS3.3 C.7.6.2.1.1): the
direction of a row, along which the column index increases, and then of a column. `pixel_spacing_mm` is (between rows,
between columns).
"""

import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TypeVar

from pydicom import Dataset

from mrct.dicom.errors import Unreadable
from mrct.dicom.header import (
    Numbers,
    acquisition_date,
    frame_count,
    frame_dataset,
    has_agent,
    has_rescale,
    names_source_images,
    text,
    texts,
    time_point_count,
    vendor_name,
)
from mrct.dicom.read import read_dataset

Position = tuple[float, ...] | None
Key = TypeVar("Key", int, str, tuple[str, ...])

#: Repeated slices up to this share are duplicates of single slices, not a scan of their own.
SCAN_SHARE = 0.25
#: A series whose positions are imaged at least so often is a time series, which has a rule of its own.
TIME_POINTS = 4
# scans without acquisition numbers of their own must each repeat this share of the positions of the largest one
_WHOLE_SHARE = 0.75
# one image that is repeated by chance does not split a series; two kinds of image share most of their positions
_SHARED_PLACES = 0.5


@dataclass(frozen=True, slots=True)
class Instance:
    """Header values of one image. Text is in upper case without surrounding blanks, except `description`.

    A value that is missing or malformed is None or empty. `frame` is the index (from 0) of the image in a multi-frame
    file whose functional groups were read, else None.
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
    position: Position = None
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
    """Images sorted by InstanceNumber; `patient` and `name` are pseudonyms or numbers that may be shown."""

    patient: str
    name: str
    instances: tuple[Instance, ...]

    @property
    def first(self) -> Instance:
        """The image whose header represents the series."""
        return self.instances[0]

    @property
    def modality(self) -> str:
        return self.first.modality


def read_instances(path: Path) -> list[Instance]:
    """Read the headers of the images in one file: one image, or the frames of an enhanced object in their order.

    Raises:
        Unreadable: The file is not DICOM, or it is damaged.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings of pydicom quote the header
            return instances_of(read_dataset(path, pixels=False), path)
    except Unreadable:
        raise
    except Exception:  # pydicom converts elements on access, and fails in many ways
        raise Unreadable("damaged DICOM: its elements cannot be parsed", damaged=True) from None


def instances_of(dataset: Dataset, path: Path) -> list[Instance]:
    """Return the images of a parsed dataset; functional groups that do not cover every frame are not read."""
    count = frame_count(dataset)
    if not count:
        return [instance_of(dataset, path)]
    frames = [instance_of(frame_dataset(dataset, index), path) for index in range(count)]
    times = time_point_count(dataset)
    return [replace(frame, frame=index, time_points=times) for index, frame in enumerate(frames)]


def instance_of(dataset: Dataset, path: Path) -> Instance:
    """Return the header values of a parsed dataset of one image; malformed values never raise an error."""
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
    """Group images into series, and split series that hold several kinds of image at the same positions.

    Args:
        instances: Images in any order.
        key: Function that returns the patient and the series name of an image.

    Returns:
        The series, sorted by patient and name. The names of split series end in -e1 (echo), -k1 (kernel),
        -i1 (image type) or -s1 (scan).
    """
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
    """Split the echoes of an MR series, such as PD and T2 of a dual-echo acquisition, by EchoTime."""
    if any(item.modality != "MR" or item.te_ms is None for item in series.instances):
        return [series]
    return _split(series, lambda item: round(item.te_ms or 0.0), "e")


def split_types(series: Series) -> list[Series]:
    """Split magnitude, phase and computed images of one acquisition by ImageType."""
    return _split(series, lambda item: item.image_type, "i")


def split_kernels(series: Series) -> list[Series]:
    """Split soft and bone reconstructions of one CT series by ConvolutionKernel."""
    return _split(series, lambda item: item.kernel, "k")


def split_scans(series: Series) -> list[Series]:
    """Split scans that repeat the same positions, such as those before and after a contrast agent."""
    items = series.instances
    numbers = scan_numbers([item.position for item in items], [item.acquisition_number for item in items])
    scan = dict(zip(items, numbers, strict=True))
    return _split(series, lambda item: scan[item], "s")


def _split(series: Series, key: Callable[[Instance], Key], letter: str) -> list[Series]:
    """Split by `key`, but only if the parts share most of their positions."""
    parts: dict[Key, list[Instance]] = defaultdict(list)
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


def scan_numbers(places: Sequence[Position], acquisitions: Sequence[int]) -> list[int]:
    """Number the scans of a series; a scan images each position once.

    AcquisitionNumber is used if it splits the images into scans that image each position once. It does not always do
    so: GE increments it with every rotation of the gantry. In that case image n of a position belongs to scan n,
    provided that the scans cover the same positions.

    Args:
        places: Positions of the images.
        acquisitions: Acquisition numbers of the images, in the same order.

    Returns:
        The scan (from 0) of each image. All are 0 for one scan, for a time series, and where the scans cannot be
        separated.
    """
    rounded = [None if place is None else tuple(round(value, 2) for value in place) for place in places]
    visits = Counter(rounded)
    times = max(visits.values(), default=0)
    one_scan = [0] * len(places)
    repeats = len(rounded) - len(visits)
    if None in visits or len(visits) < 2 or times >= TIME_POINTS or repeats <= SCAN_SHARE * len(rounded):
        return one_scan
    by_number = _rank(list(acquisitions))
    if len(set(by_number)) == times and len(set(zip(rounded, by_number, strict=True))) == len(rounded):
        return by_number
    by_turn = _turns(rounded, acquisitions)
    sizes = [by_turn.count(turn) for turn in range(times)]
    return by_turn if min(sizes) >= _WHOLE_SHARE * max(sizes) else one_scan


def _rank(values: list[int]) -> list[int]:
    order = sorted(set(values))
    return [order.index(value) for value in values]


def _turns(places: Sequence[Position], acquisitions: Sequence[int]) -> list[int]:
    """Count the earlier images at each image's position, in the order of acquisition number, then as given."""
    visits: dict[Position, int] = defaultdict(int)
    turns = [0] * len(places)
    for n in sorted(range(len(places)), key=lambda n: (acquisitions[n], n)):
        turns[n] = visits[places[n]]
        visits[places[n]] += 1
    return turns
