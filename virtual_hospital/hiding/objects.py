"""DICOM objects that are no CT or MR image and tell a patient's story: reports, documents, annotations, waveforms."""

import io
from collections.abc import Callable
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian

from virtual_hospital.hiding.place import Secrets

_STORAGE = "1.2.840.10008.5.1.4.1.1."


def dicom_object(sop_class: str, modality: str, secrets: Secrets, attributes: dict[str, Any]) -> bytes:
    """A file of the class with the patient's identity and `attributes` (keyword: value)."""
    dataset = Dataset()
    identity = {
        "SOPClassUID": sop_class,
        "SOPInstanceUID": f"{secrets.study_uid}.99.{sop_class.rsplit('.', 1)[-1]}",
        "StudyInstanceUID": secrets.study_uid,
        "SeriesInstanceUID": f"{secrets.study_uid}.99",
        "Modality": modality,
        "PatientName": secrets.name.split("=")[0],
        "PatientID": secrets.patient_id,
        "PatientBirthDate": secrets.birth.strftime("%Y%m%d"),
        "StudyDate": secrets.study_date.strftime("%Y%m%d"),
    }
    for keyword, value in {**identity, **attributes}.items():
        setattr(dataset, keyword, value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(ExplicitVRLittleEndian)
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _item(**attributes: Any) -> Sequence:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return Sequence([item])


def _content(secrets: Secrets) -> dict[str, Any]:
    return {
        "ContentSequence": _item(ValueType="TEXT", TextValue=f"{secrets.given} {secrets.family} is well.")
    }


def _dose(secrets: Secrets) -> dict[str, Any]:
    person = _item(ValueType="PNAME", PersonName=secrets.performing)
    return {"ContentSequence": _item(ValueType="CONTAINER", ContentSequence=person)}


def _document(secrets: Secrets) -> dict[str, Any]:
    page = f"%PDF-1.4\n% letter to {secrets.referring} on {secrets.family}\n%%EOF".encode()
    return {
        "DocumentTitle": f"Letter {secrets.family}",
        "EncapsulatedDocument": page + b" " * (len(page) % 2),
    }


def _annotation(secrets: Secrets) -> dict[str, Any]:
    text = _item(UnformattedTextValue=f"lesion of {secrets.family}")
    return {
        "ContentCreatorName": secrets.performing,
        "GraphicAnnotationSequence": _item(TextObjectSequence=text),
    }


def _contours(secrets: Secrets) -> dict[str, Any]:
    return {
        "StructureSetLabel": f"plan {secrets.family}",
        "StructureSetROISequence": _item(ROIName=secrets.family),
    }


def _waves(secrets: Secrets) -> dict[str, Any]:
    channel = _item(ChannelLabel=secrets.family)
    return {"WaveformSequence": _item(MultiplexGroupLabel=secrets.given, ChannelDefinitionSequence=channel)}


def _directory(secrets: Secrets) -> dict[str, Any]:
    record = _item(DirectoryRecordType="PATIENT", PatientName=secrets.name.split("=")[0])
    return {"FileSetID": "CORVINA", "DirectoryRecordSequence": record}


def _described(secrets: Secrets) -> dict[str, Any]:
    return {"SeriesDescription": f"of {secrets.family}", "ImageComments": f"{secrets.given}, {secrets.phone}"}


# kind: (file name, SOP class, modality, what it tells)
OBJECTS: dict[str, tuple[str, str, str, Callable[[Secrets], dict[str, Any]]]] = {
    "media_directory": ("DICOMDIR", "1.2.840.10008.1.3.10", "OT", _directory),
    "text_report": ("SR0001", _STORAGE + "88.11", "SR", _content),
    "comprehensive_report": ("SR0002", _STORAGE + "88.33", "SR", _content),
    "dose_report": ("DOSE0001", _STORAGE + "88.67", "SR", _dose),
    "key_object_selection": ("KO0001", _STORAGE + "88.59", "KO", _content),
    "encapsulated_pdf": ("DOC0001", _STORAGE + "104.1", "DOC", _document),
    "encapsulated_cda": ("DOC0002", _STORAGE + "104.2", "DOC", _document),
    "presentation_state": ("PR0001", _STORAGE + "11.1", "PR", _annotation),
    "structure_set": ("RS0001", _STORAGE + "481.3", "RTSTRUCT", _contours),
    "waveform_object": ("ECG0001", _STORAGE + "9.1.1", "ECG", _waves),
    "segmentation": ("SEG0001", _STORAGE + "66.4", "SEG", _described),
    "spatial_registration": ("REG0001", _STORAGE + "66.1", "REG", _described),
    "raw_data": ("RAW0001", _STORAGE + "66", "MR", _described),
    "spectroscopy": ("MRS0001", _STORAGE + "4.2", "MR", _described),
    "private_object": ("XX0001", "1.3.12.2.1107.5.9.1", "OT", _described),
}
