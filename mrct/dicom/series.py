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

from pydicom import Dataset

from mrct.dicom.header import Numbers, acquisition_date, has_agent, has_rescale, text, texts
from mrct.dicom.read import Unreadable, read_dataset

_VENDORS = {
    "siemens": "Siemens",
    "philips": "Philips",
    "ge ": "GE",
    "gems": "GE",
    "canon": "Canon",
    "toshiba": "Canon",
    "hitachi": "Hitachi",
    "fujifilm": "Fujifilm",
    "united imaging": "United Imaging",
    "uih": "United Imaging",
    "neusoft": "Neusoft",
}


@dataclass(frozen=True, slots=True)
class Instance:
    """One file's header values; text is upper case, without surrounding blanks."""

    path: Path
    patient_id: str = ""
    series_uid: str = ""
    sop_class_uid: str = ""
    modality: str = ""
    image_type: tuple[str, ...] = ()
    description: str = ""
    protocol: str = ""
    vendor: str = ""
    series_number: int = 0
    instance_number: int = 0
    acquisition_number: int = 0
    acquired: date | None = None
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
        series_number=number.whole("SeriesNumber") or 0,
        instance_number=number.whole("InstanceNumber") or 0,
        acquisition_number=number.whole("AcquisitionNumber") or 0,
        acquired=acquisition_date(dataset),
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
    )


def group(instances: Iterable[Instance], key: Callable[[Instance], tuple[str, str]]) -> list[Series]:
    """Series sorted by key = (patient, series name); echoes at the same positions are parted."""
    folders: dict[tuple[str, str], list[Instance]] = defaultdict(list)
    for instance in instances:
        folders[key(instance)].append(instance)
    return [
        part
        for (patient, name), members in sorted(folders.items(), key=lambda item: item[0])
        for part in split_echoes(Series(patient, name, tuple(sorted(members, key=_order))))
    ]


def split_echoes(series: Series) -> list[Series]:
    """PD and T2 echoes of one dual-echo acquisition, told apart by EchoTime where they share positions."""
    echoes: dict[float, list[Instance]] = defaultdict(list)
    for instance in series.instances:
        if instance.modality == "MR" and instance.te_ms is not None:
            echoes[round(instance.te_ms)].append(instance)
    positions = {instance.position for instance in series.instances}
    whole = sum(map(len, echoes.values())) == len(series.instances)
    if len(echoes) < 2 or not whole or len(positions) == len(series.instances):
        return [series]
    return [
        replace(series, name=f"{series.name}-e{index}", instances=tuple(members))
        for index, (_, members) in enumerate(sorted(echoes.items()), 1)
    ]


def vendor_name(manufacturer: str) -> str:
    """A known vendor's short name, or "other": free text of a header is not shown."""
    maker = f"{manufacturer.lower()} "
    return next((name for word, name in _VENDORS.items() if maker.startswith(word)), "other")


def _order(instance: Instance) -> tuple[int, int, str]:
    return instance.instance_number, instance.acquisition_number, str(instance.path)
