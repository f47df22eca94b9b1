"""Files grouped to series; of each file the few header values that decide about it, tolerantly parsed.

Convention: point (x, y, z) in mm, LPS; `orientation` is ImageOrientationPatient (PS3.3 C.7.6.2.1.1): the
direction of a row (along which columns count up), then of a column; `pixel_spacing_mm` is (between rows,
between columns). A value that is missing or unparsable is None or empty, never a default.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path

from pydicom import Dataset

from mrct.dicom.read import Unreadable, read_dataset

_VENDORS = {
    "siemens": "Siemens",
    "philips": "Philips",
    "ge ": "GE",
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
_ABSENT_AGENTS = {"", "NO", "NONE", "N", "NO CONTRAST", "WITHOUT", "0", "-", "N/A", "NA", "NIL"}


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
    frame_of_reference_uid: str = ""


@dataclass(frozen=True)
class Series:
    """Instances of one series, sorted by InstanceNumber; `name` is a pseudonym or a number, fit to be shown."""

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
    dataset = read_dataset(path, pixels=False)
    try:
        return instance_of(dataset, path)
    except Exception:  # pydicom converts an element when it is asked for, and fails in many ways
        raise Unreadable("damaged DICOM: its elements cannot be parsed", damaged=True) from None


def instance_of(dataset: Dataset, path: Path) -> Instance:
    """The values that decide, of a parsed dataset; nothing that a header holds makes it fail."""
    number = _Numbers(dataset)
    return Instance(
        path=path,
        patient_id=_text(dataset, "PatientID"),
        series_uid=_text(dataset, "SeriesInstanceUID"),
        sop_class_uid=_text(dataset, "SOPClassUID"),
        modality=_text(dataset, "Modality"),
        image_type=_texts(dataset, "ImageType"),
        description=_text(dataset, "SeriesDescription", keep_case=True),
        protocol=_text(dataset, "ProtocolName"),
        vendor=vendor_name(_text(dataset, "Manufacturer")),
        series_number=number.whole("SeriesNumber") or 0,
        instance_number=number.whole("InstanceNumber") or 0,
        acquisition_number=number.whole("AcquisitionNumber") or 0,
        acquired=_date(dataset),
        position=number.vector("ImagePositionPatient", 3),
        orientation=number.vector("ImageOrientationPatient", 6),
        pixel_spacing_mm=number.vector("PixelSpacing", 2),
        rows=number.whole("Rows") or 0,
        columns=number.whole("Columns") or 0,
        frames=number.whole("NumberOfFrames") or 1,
        thickness_mm=number.one("SliceThickness"),
        has_rescale=_has_rescale(dataset),
        inverted=_text(dataset, "PhotometricInterpretation") == "MONOCHROME1",
        te_ms=number.one("EchoTime"),
        tr_ms=number.one("RepetitionTime"),
        ti_ms=number.one("InversionTime"),
        echo_train_length=number.whole("EchoTrainLength"),
        diffusion_b_value=number.one("DiffusionBValue"),
        scanning_sequence=_texts(dataset, "ScanningSequence"),
        sequence_variant=_texts(dataset, "SequenceVariant"),
        scan_options=_texts(dataset, "ScanOptions"),
        sequence_name=f"{_text(dataset, 'SequenceName')} {_text(dataset, 'PulseSequenceName')}".strip(),
        contrast_agent=_has_agent(dataset),
        kernel=_text(dataset, "ConvolutionKernel"),
        frame_of_reference_uid=_text(dataset, "FrameOfReferenceUID"),
    )


def group(instances: Iterable[Instance], key: Callable[[Instance], tuple[str, str]]) -> list[Series]:
    """Series sorted by key = (patient, series name); echoes that share their positions become series of their own."""
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
    text = f"{manufacturer.lower()} "
    return next((name for word, name in _VENDORS.items() if text.startswith(word)), "other")


def _order(instance: Instance) -> tuple[int, int, str]:
    return instance.instance_number, instance.acquisition_number, str(instance.path)


def _texts(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    value = dataset.get(keyword)
    if value is None or value == "":
        return ()
    many = [value] if isinstance(value, str) or not hasattr(value, "__iter__") else value
    return tuple(str(item).strip().upper() for item in many)


def _text(dataset: Dataset, keyword: str, keep_case: bool = False) -> str:
    value = dataset.get(keyword)
    text = "" if value is None else " ".join(str(value).split())
    return text if keep_case else text.upper()


def _has_rescale(dataset: Dataset) -> bool:
    pair = _Numbers(dataset)
    both = pair.one("RescaleSlope") is not None and pair.one("RescaleIntercept") is not None
    return both or bool(dataset.get("ModalityLUTSequence"))


def _has_agent(dataset: Dataset) -> bool:
    """An agent by tag (PS3.3 C.7.6.4); sites also write "no" or "none" there."""
    agent = _text(dataset, "ContrastBolusAgent")
    return agent not in _ABSENT_AGENTS or bool(dataset.get("ContrastBolusAgentSequence"))


def _date(dataset: Dataset) -> date | None:
    for keyword in ("AcquisitionDate", "SeriesDate", "StudyDate"):
        try:
            return datetime.strptime(_text(dataset, keyword), "%Y%m%d").date()
        except ValueError:
            continue
    return None


class _Numbers:
    """Numbers of a header, or None: DS and IS values in the field hold text, blanks and too few items."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def one(self, keyword: str) -> float | None:
        values = self._all(keyword)
        return values[0] if values else None

    def whole(self, keyword: str) -> int | None:
        value = self.one(keyword)
        return None if value is None else round(value)

    def vector(self, keyword: str, length: int) -> tuple[float, ...] | None:
        values = self._all(keyword)
        return values if values is not None and len(values) == length else None

    def _all(self, keyword: str) -> tuple[float, ...] | None:
        try:
            value = self.dataset.get(keyword)
            if value is None or value == "":
                return None
            many = value if hasattr(value, "__iter__") and not isinstance(value, str) else [value]
            numbers = tuple(float(item) for item in many)
        except (TypeError, ValueError, OverflowError):
            return None
        # NaN and infinity are legal floats, and no measurement
        return numbers if all(abs(number) < float("inf") for number in numbers) else None
