"""The one way a dataset gets to disk."""

from pathlib import Path

from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from mrct.files import atomic_file

IMPLEMENTATION_UID = UID("2.25.310227884916215287061094138264510937291")
IMPLEMENTATION_NAME = "MRCT"


def save_dataset(dataset: Dataset, path: Path) -> None:
    """Explicit VR little endian, a zero preamble, file meta made anew; equal datasets give equal bytes."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION_UID
    meta.ImplementationVersionName = IMPLEMENTATION_NAME
    dataset.file_meta = meta
    with atomic_file(path) as partial:
        dcmwrite(partial, dataset, enforce_file_format=True)
