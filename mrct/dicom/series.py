"""Headers of images as `Instance`, and the images of one kind as `Series`; mrct/dicom/grouping.py makes series.

Convention: a point is (x, y, z) in mm, LPS. `orientation` is ImageOrientationPatient (PS3.3 C.7.6.2.1.1): the
direction of a row, along which the column index increases, and then of a column. `pixel_spacing_mm` is (between rows,
between columns).
"""

import warnings
from collections import Counter
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from pathlib import Path

from pydicom import Dataset

from mrct.dicom.dates import acquisition_date
from mrct.dicom.errors import Unreadable
from mrct.dicom.header import (
    Numbers,
    frame_count,
    frame_dataset,
    has_agent,
    names_source_images,
    text,
    texts,
    time_point_count,
    vendor_name,
)
from mrct.dicom.identity import read_patient_id
from mrct.dicom.read import read_dataset
from mrct.dicom.rescale import has_rescale, has_undefined_unit, rescale_fault

Position = tuple[float, ...] | None

#: Repeated slices up to this share are duplicates of single slices, not a scan of their own.
SCAN_SHARE = 0.25
#: A series whose positions are imaged at least so often is a time series, which has a rule of its own.
TIME_POINTS = 4


@dataclass(frozen=True, slots=True)
class Instance:
    """Header values of one image. Text is in upper case without surrounding blanks, except `patient_id` and
    `description`.

    A value that is missing or malformed is None or empty. `frame` is the index (from 0) of the image in a multi-frame
    file whose functional groups were read, else None.
    """

    path: Path
    frame: int | None = None
    patient_id: str = ""
    study_uid: str = ""
    series_uid: str = ""
    sop_instance_uid: str = ""
    acquisition_uid: str = ""
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
    temporal_position: int | None = None
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
    rescale_fault: str = ""
    undefined_unit: bool = False
    inverted: bool = False
    te_ms: float | None = None
    tr_ms: float | None = None
    ti_ms: float | None = None
    flip_angle_deg: float | None = None
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
    """Images of one kind.

    Attributes:
        patient: A pseudonym or a number that may be shown.
        name: The same.
        instances: The images, sorted by InstanceNumber.
        notes: What was left out or put together when the series was made.
    """

    patient: str
    name: str
    instances: tuple[Instance, ...]
    notes: tuple[str, ...] = ()

    @cached_property
    def first(self) -> Instance:
        """The first of the images with the most common header, for display; a rule asks all images."""
        headers = Counter(map(_header, self.instances))
        common = max(headers.values())
        return next(one for one in self.instances if headers[_header(one)] == common)

    @property
    def modality(self) -> str:
        return self.first.modality


def _header(image: Instance) -> Instance:
    """Return what the images of a series have in common."""
    return replace(
        image,
        path=Path(),
        frame=None,
        sop_instance_uid="",
        acquisition_uid="",
        instance_number=0,
        acquisition_number=0,
        position=None,
    )


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
    owner, times = read_patient_id(dataset), time_point_count(dataset)  # before the frames convert the header
    frames = [instance_of(frame_dataset(dataset, index), path) for index in range(count)]
    return [
        replace(frame, frame=index, patient_id=owner, time_points=times) for index, frame in enumerate(frames)
    ]


def instance_of(dataset: Dataset, path: Path) -> Instance:
    """Return the header values of a parsed dataset of one image; malformed values never raise an error."""
    number = Numbers(dataset)
    return Instance(
        path=path,
        patient_id=read_patient_id(dataset),
        study_uid=text(dataset, "StudyInstanceUID"),
        series_uid=text(dataset, "SeriesInstanceUID"),
        sop_instance_uid=text(dataset, "SOPInstanceUID"),
        acquisition_uid=text(dataset, "AcquisitionUID") or text(dataset, "IrradiationEventUID"),
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
        temporal_position=number.whole("TemporalPositionIdentifier"),
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
        rescale_fault=rescale_fault(dataset, text(dataset, "Modality")),
        undefined_unit=has_undefined_unit(dataset),
        inverted=text(dataset, "PhotometricInterpretation") == "MONOCHROME1",
        te_ms=number.one("EchoTime"),
        tr_ms=number.one("RepetitionTime"),
        ti_ms=number.one("InversionTime"),
        flip_angle_deg=number.one("FlipAngle"),
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
