"""The one way a dataset gets to disk."""

import struct
from pathlib import Path

from pydicom import Dataset
from pydicom.charset import default_encoding
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomIO
from pydicom.filewriter import write_data_element, write_file_meta_info
from pydicom.uid import UID, ExplicitVRLittleEndian
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from mrct.core.files import atomic_file

IMPLEMENTATION_UID = UID("2.25.310227884916215287061094138264510937291")
IMPLEMENTATION_NAME = "MRCT"


def save_dataset(dataset: Dataset, path: Path) -> None:
    """Explicit VR little endian, a zero preamble, file meta made anew; equal datasets give equal bytes."""
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
    """As pydicom's write_dataset; an element that is encoded already (PS3.5, 7.1.2) is copied, for speed."""
    characters = dataset.get("SpecificCharacterSet") or default_encoding
    for tag, element in sorted(dataset.items(), key=lambda item: int(item[0])):
        if not isinstance(element, RawDataElement) or element.is_implicit_VR or not element.is_little_endian:
            write_data_element(stream, dataset[tag], characters)
            continue
        value, vr = element.value or b"", str(element.VR)
        form = "<HH2s2xI" if vr in EXPLICIT_VR_LENGTH_32 else "<HH2sH"
        stream.write(struct.pack(form, tag >> 16, tag & 0xFFFF, vr.encode(), len(value)))
        stream.write(value)
