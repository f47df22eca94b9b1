"""A synthetic volume as a DICOM series that files beside its patient's own images.

Convention: index (i, j, k) and points (x, y, z) in mm, LPS, as SimpleITK has them; ImageOrientationPatient
is the first two columns of the direction matrix (PS3.3 C.7.6.2.1.1).
"""

import hashlib
import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom import Dataset
from pydicom.uid import CTImageStorage, MRImageStorage
from pydicom.valuerep import format_number_as_ds

from mrct.core.errors import DataError
from mrct.dicom.save import save_dataset

SERIES_DESCRIPTION = "Synthetic {modality} (research use only)"
# the series number beside the scanner's own, which count from 1
SERIES_NUMBER = 9000
_MR_LEVELS = 4095
# patient, study, frame of reference and the statement of de-identification come from the reference
_INHERITED = tuple(
    """SpecificCharacterSet PatientName PatientID IssuerOfPatientID PatientBirthDate PatientSex PatientAge
    StudyInstanceUID StudyDate StudyTime StudyID StudyDescription AccessionNumber ReferringPhysicianName
    FrameOfReferenceUID PositionReferenceIndicator PatientPosition BodyPartExamined PatientIdentityRemoved
    DeidentificationMethod DeidentificationMethodCodeSequence LongitudinalTemporalInformationModified
    RecognizableVisualFeatures""".split()  # noqa: SIM905  # a table is easier to read
)
# type 2: present in a valid file, even if empty
_EXPECTED = tuple(
    """PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime StudyID AccessionNumber
    ReferringPhysicianName PositionReferenceIndicator PatientPosition AcquisitionNumber""".split()  # noqa: SIM905
)


def write_synthetic_series(
    volume: sitk.Image,
    reference: Sequence[Dataset] | None,
    out: Path,
    modality: str,
    derivation: str = "Synthesized by a neural network",
    hu_range: tuple[float, float] = (-1024.0, 3071.0),
) -> list[Path]:
    """One file a slice, out/0001.dcm and on, in the order of k; returns their paths.

    volume: 3D; for CT in HU, clipped to `hu_range` before the integer cast; for MR any unit, kept to 1/4095
    of its largest value by RescaleSlope, negative values at 0. reference: headers of the images that it was
    made from (a frame's with its ReferencedFrameNumber); the series joins their patient, study and frame of
    reference. UIDs follow from the content.
    Raises ValueError for another dimension, another modality or values that are not finite.
    """
    array, slope, intercept = _stored_values(volume, modality, hu_range)
    identity = _identity(array, volume, modality, reference, derivation)
    template = _series_header(volume, reference, modality, identity, derivation)
    template.RescaleSlope, template.RescaleIntercept = _ds(slope), _ds(intercept)
    paths = []
    for k in range(array.shape[0]):
        dataset = _slice_header(template, volume, k, identity)
        nearest = _nearest(dataset.ImagePositionPatient, volume, reference or ())
        if nearest is not None:
            dataset.SourceImageSequence = [_reference_item(nearest)]
        dataset.PixelData = array[k].tobytes()
        dataset["PixelData"].VR = "OW"
        paths.append(out / f"{k + 1:04d}.dcm")
        save_dataset(dataset, paths[-1])
    return paths


def _stored_values(
    volume: sitk.Image, modality: str, hu_range: tuple[float, float]
) -> tuple[np.ndarray, float, float]:
    """int16 (D, H, W), and the slope and intercept that give the values back."""
    if volume.GetDimension() != 3 or volume.GetNumberOfComponentsPerPixel() != 1:
        raise DataError(f"a synthetic series needs a scalar 3D volume, got dimension {volume.GetDimension()}")
    values = sitk.GetArrayFromImage(volume).astype(np.float64)
    if not np.isfinite(values).all():
        raise DataError("the volume holds NaN or infinity; a synthetic series needs finite values")
    if modality == "CT":
        low, high = hu_range
        intercept = -1024.0
        return np.rint(np.clip(values, low, high) - intercept).astype("<i2"), 1.0, intercept
    if modality == "MR":
        slope = float(format_number_as_ds(max(float(values.max()), 0.0) / _MR_LEVELS or 1.0))
        return np.rint(np.clip(values / slope, 0, _MR_LEVELS)).astype("<i2"), slope, 0.0
    raise DataError(f"modality {modality!r}: expected CT or MR")


def _identity(
    array: np.ndarray, volume: sitk.Image, modality: str, reference: Sequence[Dataset] | None, derivation: str
) -> str:
    """A digest of all that makes the series: the same series again gets the same UIDs."""
    parts = (modality, volume.GetOrigin(), volume.GetSpacing(), volume.GetDirection(), derivation)
    digest = hashlib.sha256(repr(parts).encode() + array.tobytes())
    for dataset in reference or ():
        digest.update(str(dataset.get("SOPInstanceUID", "")).encode())
    return digest.hexdigest()


def _uid(identity: str, part: str) -> str:
    """A UID under 2.25 (PS3.5 B.2) that follows from the content."""
    return (
        f"2.25.{uuid.UUID(bytes=hashlib.sha256(f'{identity}/{part}'.encode()).digest()[:16], version=4).int}"
    )


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
    dataset.SOPClassUID = CTImageStorage if modality == "CT" else MRImageStorage
    dataset.Modality = modality
    # value 3 of a CT is AXIAL or LOCALIZER (PS3.3 C.8.2.1.1.1)
    dataset.ImageType = ["DERIVED", "SECONDARY", "AXIAL" if modality == "CT" else "OTHER"]
    dataset.SeriesInstanceUID = _uid(identity, "series")
    dataset.SeriesNumber = SERIES_NUMBER
    dataset.SeriesDescription = SERIES_DESCRIPTION.format(modality=modality)
    dataset.DerivationDescription = f"{derivation}; research use only, not for diagnosis"[:1024]
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
    """The reference slice closest to the plane, by the distance along the slice normal."""
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
    if "ReferencedFrameNumber" in dataset:  # of a multi-frame image one frame (PS3.3 table 10-3)
        item.ReferencedFrameNumber = dataset.ReferencedFrameNumber
    return item


def _ds(value: float) -> str:
    """At most 16 characters (PS3.5 table 6.2-1): below a nanometer for positions of a body."""
    return format_number_as_ds(float(value) + 0.0)
