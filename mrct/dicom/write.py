"""Writing DICOM: one dataset as a file, and a synthetic volume as a series in the patient's study.

Convention: indices are (i, j, k) and points (x, y, z) in mm, LPS, as in SimpleITK. ImageOrientationPatient is the first
two columns of the direction matrix (PS3.3 C.7.6.2.1.1).
"""

import hashlib
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom import Dataset
from pydicom.charset import default_encoding
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomIO
from pydicom.filewriter import write_data_element, write_file_meta_info
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, format_number_as_ds

from mrct.core.errors import DataError
from mrct.core.files import atomic_file
from mrct.dicom.uids import (
    IMPLEMENTATION_NAME,
    IMPLEMENTATION_UID,
    SINGLE_FRAME_CLASSES,
    uid_from_digest,
)

_SERIES_DESCRIPTION = "Synthetic {modality} (research use only)"
_WARNED_DESCRIPTION = "Synthetic {modality} of UNSUITABLE INPUT (research use only)"
# series numbers of a scanner count from 1
_SERIES_NUMBER = 9000
# most characters of the value representations ST and LT (PS3.5 table 6.2-1)
_MAX_ST, _MAX_LT = 1024, 10240
_CT_INTERCEPT = -1024.0
_MR_LEVELS = 4095
# attributes copied from the reference: patient, study, frame of reference, and statement of de-identification
_INHERITED = tuple(
    """SpecificCharacterSet PatientName PatientID IssuerOfPatientID PatientBirthDate PatientSex PatientAge
    StudyInstanceUID StudyDate StudyTime StudyID StudyDescription AccessionNumber ReferringPhysicianName
    FrameOfReferenceUID PositionReferenceIndicator PatientPosition BodyPartExamined PatientIdentityRemoved
    DeidentificationMethod DeidentificationMethodCodeSequence LongitudinalTemporalInformationModified
    RecognizableVisualFeatures""".split()  # noqa: SIM905  # a table is easier to read
)
# type 2 attributes: a valid file must hold them, even if they are empty
_EXPECTED = tuple(
    """PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime StudyID AccessionNumber
    ReferringPhysicianName PositionReferenceIndicator PatientPosition AcquisitionNumber""".split()  # noqa: SIM905
)


def save_dataset(dataset: Dataset, path: Path) -> None:
    """Write a dataset as explicit VR little endian, with a preamble of zeros and new file meta information.

    Equal datasets give equal bytes. The file appears only when it is complete.
    """
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.ImplementationClassUID = IMPLEMENTATION_UID
    dataset.file_meta.ImplementationVersionName = IMPLEMENTATION_NAME
    with atomic_file(path) as partial, partial.open("wb") as file:
        stream = DicomIO(file)
        stream.is_implicit_VR, stream.is_little_endian = False, True
        stream.write(b"\0" * 128 + b"DICM")
        write_file_meta_info(stream, dataset.file_meta)
        _write_elements(stream, dataset)


def _write_elements(stream: DicomIO, dataset: Dataset) -> None:
    """Write the elements as pydicom's write_dataset does, but copy already encoded ones (PS3.5 7.1.2), for speed."""
    characters = dataset.get("SpecificCharacterSet") or default_encoding
    for tag, element in sorted(dataset.items(), key=lambda item: int(item[0])):
        if not isinstance(element, RawDataElement) or element.is_implicit_VR or not element.is_little_endian:
            write_data_element(stream, dataset[tag], characters)
            continue
        value, vr = element.value or b"", str(element.VR)
        form = "<HH2s2xI" if vr in EXPLICIT_VR_LENGTH_32 else "<HH2sH"
        stream.write(struct.pack(form, tag >> 16, tag & 0xFFFF, vr.encode(), len(value)))
        stream.write(value)


def write_synthetic_series(
    volume: sitk.Image,
    reference: Sequence[Dataset] | None,
    out: Path,
    modality: str,
    derivation: str = "Synthesized by a neural network",
    hu_range: tuple[float, float] = (-1024.0, 3071.0),
    filled: sitk.Image | None = None,
    warning: str = "",
) -> list[Path]:
    """Write one file per slice: `out`/0001.dcm and so on, in the order of k. A slice without a source is not written.

    The UIDs are derived from the content: the same volume always gets the same UIDs.

    Args:
        volume: 3D. A CT is in HU and clipped to `hu_range` before it is stored as integers. An MR may have any unit;
            RescaleSlope keeps it to 1/4095 of its largest value, and negative values become 0.
        reference: Headers of the images that the volume was made from; the header of a frame has its
            ReferencedFrameNumber. The new series belongs to their patient, study and frame of reference. With None or
            an empty list it gets new ones.
        out: Folder for the files.
        modality: CT or MR.
        derivation: Text of DerivationDescription.
        hu_range: Least and greatest HU of a CT.
        filled: On the voxels of the volume, above 0 in slices that no source image shows; None if there are none. They
            are left out, and so are their numbers.
        warning: Why the result is not to be trusted; it stands in SeriesDescription (that there is one),
            DerivationDescription and ImageComments.

    Returns:
        The paths of the files.

    Raises:
        DataError: The volume is not scalar or not 3D, holds NaN or infinity, or the modality is neither CT nor MR.
    """
    array, slope, intercept = _stored_values(volume, modality, hu_range)
    identity = _identity(array, volume, modality, reference, derivation + warning)
    template = _series_header(volume, reference, modality, identity, derivation)
    if warning:
        _warn(template, modality, warning)
    template.RescaleSlope, template.RescaleIntercept = _ds(slope), _ds(intercept)
    paths = []
    for k in _slices_with_source(volume, filled):
        dataset = _slice_header(template, volume, k, identity)
        nearest = _nearest(dataset.ImagePositionPatient, volume, reference or ())
        if nearest is not None:
            dataset.SourceImageSequence = [_reference_item(nearest)]
        dataset.PixelData = array[k].tobytes()
        dataset["PixelData"].VR = "OW"
        paths.append(out / f"{k + 1:04d}.dcm")
        save_dataset(dataset, paths[-1])
    return paths


def _slices_with_source(volume: sitk.Image, filled: sitk.Image | None) -> list[int]:
    if filled is None:
        return list(range(volume.GetSize()[2]))
    seen = (sitk.GetArrayViewFromImage(filled) == 0).all(axis=(1, 2))
    return [int(k) for k in np.flatnonzero(seen)]


def _stored_values(
    volume: sitk.Image, modality: str, hu_range: tuple[float, float]
) -> tuple[np.ndarray, float, float]:
    """Return int16 (D, H, W), and the slope and intercept that restore the values."""
    if volume.GetDimension() != 3 or volume.GetNumberOfComponentsPerPixel() != 1:
        raise DataError(f"a synthetic series needs a scalar 3D volume, got dimension {volume.GetDimension()}")
    values = sitk.GetArrayFromImage(volume).astype(np.float64)
    if not np.isfinite(values).all():
        raise DataError("the volume holds NaN or infinity; a synthetic series needs finite values")
    if modality == "CT":
        low, high = hu_range
        return np.rint(np.clip(values, low, high) - _CT_INTERCEPT).astype("<i2"), 1.0, _CT_INTERCEPT
    if modality == "MR":
        slope = float(format_number_as_ds(max(float(values.max()), 0.0) / _MR_LEVELS or 1.0))
        return np.rint(np.clip(values / slope, 0, _MR_LEVELS)).astype("<i2"), slope, 0.0
    raise DataError(f"modality {modality!r}: expected CT or MR")


def _identity(
    array: np.ndarray, volume: sitk.Image, modality: str, reference: Sequence[Dataset] | None, derivation: str
) -> str:
    """Return a digest of everything that defines the series, 64 hexadecimal digits."""
    parts = (modality, volume.GetOrigin(), volume.GetSpacing(), volume.GetDirection(), derivation)
    digest = hashlib.sha256(repr(parts).encode() + array.tobytes())
    for dataset in reference or ():
        digest.update(str(dataset.get("SOPInstanceUID", "")).encode())
    return digest.hexdigest()


def _uid(identity: str, part: str) -> str:
    return uid_from_digest(hashlib.sha256(f"{identity}/{part}".encode()).digest())


def _series_header(
    volume: sitk.Image, reference: Sequence[Dataset] | None, modality: str, identity: str, derivation: str
) -> Dataset:
    dataset = Dataset()
    for keyword in _INHERITED:
        if reference and keyword in reference[0]:
            dataset[keyword] = reference[0][keyword]
    for keyword in _EXPECTED:
        if keyword not in dataset:
            setattr(dataset, keyword, None)
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID"):
        if not dataset.get(keyword):
            setattr(dataset, keyword, _uid(identity, keyword))
    if not dataset.PatientID:
        dataset.PatientID = dataset.PatientName = "SYNTHETIC"
    _describe(dataset, modality, identity, derivation)
    _describe_pixels(dataset, volume, modality)
    return dataset


def _describe(dataset: Dataset, modality: str, identity: str, derivation: str) -> None:
    dataset.SOPClassUID = SINGLE_FRAME_CLASSES[modality]
    dataset.Modality = modality
    # value 3 of a CT is AXIAL or LOCALIZER (PS3.3 C.8.2.1.1.1)
    dataset.ImageType = ["DERIVED", "SECONDARY", "AXIAL" if modality == "CT" else "OTHER"]
    dataset.SeriesInstanceUID = _uid(identity, "series")
    dataset.SeriesNumber = _SERIES_NUMBER
    dataset.SeriesDescription = _SERIES_DESCRIPTION.format(modality=modality)
    dataset.DerivationDescription = f"{derivation}; research use only, not for diagnosis"[:_MAX_ST]
    dataset.Manufacturer = "mrct"
    dataset.ManufacturerModelName = "mrct synthesis"
    dataset.BurnedInAnnotation = "NO"
    if modality == "CT":
        dataset.KVP = None
        dataset.RescaleType = "HU"
        return
    dataset.ScanningSequence, dataset.SequenceVariant = "RM", "NONE"
    dataset.ScanOptions = dataset.MRAcquisitionType = None
    dataset.RepetitionTime = dataset.EchoTime = dataset.EchoTrainLength = None


def _warn(dataset: Dataset, modality: str, warning: str) -> None:
    """State the warning where viewers show it."""
    text = f"UNSUITABLE INPUT, forced: {warning}"
    dataset.SeriesDescription = _WARNED_DESCRIPTION.format(modality=modality)
    dataset.ImageComments = text[:_MAX_LT]
    dataset.DerivationDescription = f"{text[: _MAX_ST // 2]}; {dataset.DerivationDescription}"[:_MAX_ST]


def _describe_pixels(dataset: Dataset, volume: sitk.Image, modality: str) -> None:
    columns, rows, _ = volume.GetSize()
    spacing_x, spacing_y, spacing_z = volume.GetSpacing()
    direction = volume.GetDirection()
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = rows, columns
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.PixelSpacing = [_ds(spacing_y), _ds(spacing_x)]  # between rows first (PS3.3 10.7.1.3)
    dataset.SliceThickness = dataset.SpacingBetweenSlices = _ds(spacing_z)
    dataset.ImageOrientationPatient = [
        _ds(direction[3 * row + column]) for column in (0, 1) for row in range(3)
    ]
    if modality == "CT":
        dataset.WindowCenter, dataset.WindowWidth = "40", "400"


def _slice_header(template: Dataset, volume: sitk.Image, k: int, identity: str) -> Dataset:
    dataset = Dataset()
    dataset.update(template)
    dataset.SOPInstanceUID = _uid(identity, f"instance {k}")
    dataset.InstanceNumber = k + 1
    dataset.ImagePositionPatient = [_ds(value) for value in volume.TransformIndexToPhysicalPoint((0, 0, k))]
    return dataset


def _nearest(position: Sequence[float], volume: sitk.Image, reference: Sequence[Dataset]) -> Dataset | None:
    """Return the reference image closest to the plane, by the distance along the normal."""
    normal = np.array(volume.GetDirection()).reshape(3, 3)[:, 2]
    placed = [item for item in reference if item.get("ImagePositionPatient") and item.get("SOPInstanceUID")]
    point = np.array(position, dtype=float)
    return min(
        placed,
        key=lambda item: abs(normal @ (np.array(item.ImagePositionPatient, dtype=float) - point)),
        default=None,
    )


def _reference_item(dataset: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = dataset.SOPClassUID
    item.ReferencedSOPInstanceUID = dataset.SOPInstanceUID
    if "ReferencedFrameNumber" in dataset:  # one frame of a multi-frame image (PS3.3 table 10-3)
        item.ReferencedFrameNumber = dataset.ReferencedFrameNumber
    return item


def _ds(value: float) -> str:
    """Format a DS value of at most 16 characters (PS3.5 table 6.2-1), exact to a nanometer for positions in a body."""
    return format_number_as_ds(float(value) + 0.0)
