"""One CT or MR slice of an invented person, with PHI in obvious and hidden places."""

from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage

NAME = "Quenneville^Zebulon"
# spellings that the output must not hold, in upper or lower case
SECRETS = (
    "quenneville", "zebulon", "mrn-774411", "19571103", "1957-11-03", "acc990077", "hollyoak", "brunnhilde",
    "wolkenstein", "sn-55-88123", "1.2.3.774411", "corridor", "555 0147", "zq77",
)  # fmt: skip


def person_dataset(modality: str = "CT", instance: int = 1, size: int = 16, **changes) -> Dataset:
    """Make a complete dataset with file meta information; `changes` set (or, with None, delete) attributes."""
    root = "1.2.3.774411"
    image = Dataset()
    image.SpecificCharacterSet = "ISO_IR 100"
    image.SOPClassUID = CTImageStorage if modality == "CT" else MRImageStorage
    image.SOPInstanceUID = f"{root}.{1 if modality == 'CT' else 2}.19571103.{instance}"
    image.StudyInstanceUID = f"{root}.7.{modality == 'CT':d}"
    image.SeriesInstanceUID = f"{root}.8.{modality == 'CT':d}"
    image.FrameOfReferenceUID = f"{root}.9.{modality == 'CT':d}"
    image.Modality = modality
    image.PatientName, image.PatientID, image.PatientBirthDate = NAME, "MRN-774411", "19571103"
    image.PatientSex, image.PatientAge = "F", "062Y"
    image.StudyDate = image.SeriesDate = image.ContentDate = "20200229" if modality == "CT" else "20200305"
    image.AcquisitionDate = image.StudyDate
    image.AcquisitionDateTime = f"{image.StudyDate}233000.123+0900"
    image.StudyTime = image.AcquisitionTime = "081503"
    image.AccessionNumber, image.StudyID = "ACC990077", "ACC990077"
    image.ReferringPhysicianName, image.OperatorsName = "Hollyoak^Brunnhilde", "Wolkenstein"
    image.InstitutionName, image.StationName = "Wolkenstein Clinic", "ZQ77"
    image.DeviceSerialNumber = "SN-55-88123"
    image.SeriesDescription = "AX T2 TSE Quenneville 03.11.1957"
    image.ProtocolName = "t2_tse_tra Zebulon"
    image.ImageComments = image.PatientComments = "Call Quenneville at 555 0147, corridor 3"
    image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL", "QUENNEVILLE"]
    image.Manufacturer, image.ManufacturerModelName = "SIEMENS", "Avanto of Dr Hollyoak"
    image.BodyPartExamined, image.PatientPosition = "HEAD", "HFS"
    _nested(image)
    _private_and_unknown(image)
    _geometry(image, instance, size)
    if modality == "CT":
        image.RescaleSlope, image.RescaleIntercept, image.ConvolutionKernel = "1", "-1024", "H31s"
        image.KVP = "120"
    else:
        image.EchoTime, image.RepetitionTime, image.EchoTrainLength = "98", "4500", "16"
        image.ScanningSequence, image.SequenceVariant, image.SequenceName = "SE", "SK", "*tse2d1_16"
    for keyword, value in changes.items():
        if value is None:
            del image[keyword]
        else:
            setattr(image, keyword, value)
    _meta(image)
    return image


def _nested(image: Dataset) -> None:
    """Hide PHI three sequences deep, in a sequence that is dropped and in one that is kept."""
    inner, middle, outer = Dataset(), Dataset(), Dataset()
    inner.PatientName, inner.CodeMeaning = NAME, "Brain of Quenneville"
    middle.ScheduledProtocolCodeSequence = Sequence([inner])
    outer.RequestAttributesSequence = Sequence([middle])
    image.OriginalAttributesSequence = Sequence([outer])
    source = Dataset()
    source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = CTImageStorage, "1.2.3.774411.5"
    source.PatientID = "MRN-774411"
    source.PurposeOfReferenceCodeSequence = Sequence([inner])
    image.SourceImageSequence = Sequence([source])


def _private_and_unknown(image: Dataset) -> None:
    block = image.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    block.add_new(0x10, "OB", b"tPatientName = Quenneville")
    image.add_new(0x00290099, "LO", "orphan Quenneville")
    image.add_new(0x00180FFE, "LO", "unknown Quenneville")
    image.add_new(0x60003000, "OW", b"Quenneville ")
    image.add_new(0x60004000, "LT", "overlay comment Quenneville")


def _geometry(image: Dataset, instance: int, size: int) -> None:
    image.Rows = image.Columns = size
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
    image.PixelSpacing, image.SliceThickness = ["0.5", "0.5"], "2.5"
    image.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    image.ImagePositionPatient = ["-4", "-4", str(2.5 * instance)]
    image.InstanceNumber, image.SeriesNumber, image.AcquisitionNumber = instance, 3, 1
    image.PixelData = (np.arange(size * size, dtype="<u2") % 4096 + instance).tobytes()
    image["PixelData"].VR = "OW"


def _meta(image: Dataset) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = image.get("SOPClassUID", CTImageStorage)
    meta.MediaStorageSOPInstanceUID = image.get("SOPInstanceUID", "1.2.3")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.SourceApplicationEntityTitle = "WOLKENSTEIN"
    image.file_meta = meta
    image.preamble = b"Quenneville".ljust(128, b"\0")


def save(image: Dataset, path: Path) -> Path:
    """Save as a DICOM file, including the personal preamble."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save_as(path, enforce_file_format=True)
    return path


def secrets_in(content: bytes) -> list[str]:
    """Return the secrets that the bytes hold, as 8-bit text or UTF-16."""
    lowered = content.lower()
    return [
        secret
        for secret in SECRETS
        if any(secret.encode(encoding) in lowered for encoding in ("ascii", "utf-16-le", "utf-16-be"))
    ]
