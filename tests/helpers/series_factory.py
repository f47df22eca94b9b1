"""Small DICOM series with a chosen geometry and header, written by pydicom."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
SOP_CLASSES = {"CT": "1.2.840.10008.5.1.4.1.1.2", "MR": "1.2.840.10008.5.1.4.1.1.4"}
T2 = {"EchoTime": 100.0, "RepetitionTime": 4000.0, "ScanningSequence": "SE", "EchoTrainLength": 1}
HU = {"RescaleSlope": 1.0, "RescaleIntercept": -1024.0}


def stack_positions(
    count: int, spacing_mm: float = 5.0, origin: Sequence[float] = (-20.0, -15.0, -40.0)
) -> list:
    """Return the positions of an untilted axial stack."""
    return [tuple(np.add(origin, (0.0, 0.0, spacing_mm * k))) for k in range(count)]


def smooth(count: int, rows: int = 24, columns: int = 20) -> np.ndarray:
    """Make int16 values 0..3000, (D, H, W), that differ everywhere."""
    k, j, i = np.meshgrid(np.arange(count), np.arange(rows), np.arange(columns), indexing="ij")
    return (200 * k + 30 * j + 11 * i).astype(np.int16)


def head_ct(count: int, rows: int = 24, columns: int = 20) -> np.ndarray:
    """Make int16 stored values of a CT, HU + 1024, (D, H, W): air, a skull, and in it tissue of 5 to 94 HU."""
    k, j, i = np.meshgrid(np.arange(count), np.arange(rows), np.arange(columns), indexing="ij")
    depth = np.minimum(np.minimum(i, columns - 1 - i), np.minimum(j, rows - 1 - j))
    tissue = (20 * k + 7 * j + 3 * i) % 90 + 5
    return (1024 + np.where(depth < 3, -1000, np.where(depth < 5, 900 + tissue, tissue))).astype(np.int16)


def make_dataset(modality: str, values: np.ndarray, position: Any, **attributes: Any) -> Dataset:
    """Make one slice; attributes by keyword override the defaults, and None deletes one."""
    dataset = Dataset()
    dataset.SOPClassUID = SOP_CLASSES[modality]
    dataset.Modality = modality
    dataset.PatientID = "A1"
    dataset.StudyInstanceUID = "1.2.3"
    dataset.SeriesInstanceUID = "1.2.3.4"
    dataset.Manufacturer = "SIEMENS"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.ImageOrientationPatient = list(AXIAL)
    dataset.ImagePositionPatient = [round(float(value), 6) for value in position]
    dataset.PixelSpacing = [1.0, 1.0]
    dataset.SliceThickness = 5.0
    dataset.StudyDate = "20200101"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = values.shape
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    for keyword, value in ((HU if modality == "CT" else T2) | attributes).items():
        if value is None:
            delattr(dataset, keyword) if keyword in dataset else None
        else:
            setattr(dataset, keyword, value)
    dataset.PixelData = values.astype(values.dtype.newbyteorder("<")).tobytes()
    return dataset


def write_series(
    folder: Path,
    modality: str = "CT",
    values: np.ndarray | None = None,
    positions: Sequence[Any] | None = None,
    each: Callable[[int], dict[str, Any]] = lambda k: {},
    **attributes: Any,
) -> list[Path]:
    """Write the series as `folder/<nn>.dcm`; `each(k)` returns additional attributes of slice k."""
    places = stack_positions(6) if positions is None else positions
    made = head_ct if modality == "CT" else smooth
    stored = made(len(places)) if values is None else values
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for k, (plane, place) in enumerate(zip(stored, places, strict=True)):
        dataset = make_dataset(modality, plane, place, **({"InstanceNumber": k + 1} | attributes | each(k)))
        dataset.SOPInstanceUID = f"{dataset.SeriesInstanceUID}.{k + 1}"
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        paths.append(folder / f"{k:02d}.dcm")
        dataset.save_as(paths[-1], enforce_file_format=True)
    return paths


def items(**attributes: Any) -> list[Dataset]:
    """Make a sequence of one item."""
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return [item]


def write_enhanced(
    folder: Path,
    modality: str = "MR",
    values: np.ndarray | None = None,
    positions: Sequence[Any] | None = None,
    each: Callable[[int], dict[str, Any]] = lambda k: {},
    **attributes: Any,
) -> Path:
    """Write one enhanced multi-frame file (PS3.3 A.36, A.38); `each(k)` returns more functional groups of frame k."""
    places = stack_positions(6) if positions is None else positions
    made = head_ct if modality == "CT" else smooth
    stored = made(len(places)) if values is None else values
    dataset = make_dataset(modality, stored[0], places[0], SeriesInstanceUID="1.2.3.9", **attributes)
    for keyword in ("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing", "SliceThickness",
                    "EchoTime", "RepetitionTime", "EchoTrainLength", "ScanningSequence", "RescaleSlope",
                    "RescaleIntercept"):  # fmt: skip
        if keyword in dataset:
            delattr(dataset, keyword)
    dataset.SOPClassUID = f"{SOP_CLASSES[modality]}.1"
    dataset.SOPInstanceUID = "1.2.3.9.1"
    dataset.NumberOfFrames = len(places)
    dataset.PixelData = stored.astype(stored.dtype.newbyteorder("<")).tobytes()
    shared = items(
        PixelMeasuresSequence=items(PixelSpacing=[1.0, 1.0], SliceThickness=5.0),
        PlaneOrientationSequence=items(ImageOrientationPatient=list(AXIAL)),
    )
    if modality == "MR":
        dataset.AcquisitionContrast, dataset.ComplexImageComponent = "T2", "MAGNITUDE"
        dataset.EchoPulseSequence = "SPIN"
        shared[0].MREchoSequence = items(EffectiveEchoTime=100.0)
        shared[0].MRTimingAndRelatedParametersSequence = items(RepetitionTime=4000.0, RFEchoTrainLength=1)
    shared[0].PixelValueTransformationSequence = items(
        RescaleSlope=1.0, RescaleIntercept=-1024.0 if modality == "CT" else 0.0
    )
    dataset.SharedFunctionalGroupsSequence = shared
    dataset.PerFrameFunctionalGroupsSequence = [
        items(PlanePositionSequence=items(ImagePositionPatient=list(map(float, place))), **each(k))[0]
        for k, place in enumerate(places)
    ]
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    folder.mkdir(parents=True, exist_ok=True)
    dataset.save_as(folder / "00.dcm", enforce_file_format=True)
    return folder / "00.dcm"
