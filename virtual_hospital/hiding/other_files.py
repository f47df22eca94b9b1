"""Files beside the images that name the patient: notes, archives, databases, thumbnails, and other DICOM objects."""

import gzip
import io
import json
import sqlite3
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    BasicTextSRStorage,
    ComprehensiveSRStorage,
    EncapsulatedCDAStorage,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    GrayscaleSoftcopyPresentationStateStorage,
    KeyObjectSelectionDocumentStorage,
    MediaStorageDirectoryStorage,
    MRSpectroscopyStorage,
    RawDataStorage,
    RTStructureSetStorage,
    SegmentationStorage,
    SpatialRegistrationStorage,
    TwelveLeadECGWaveformStorage,
    XRayRadiationDoseSRStorage,
)

from virtual_hospital.elements import HeaderValue, one_item, set_attributes
from virtual_hospital.hiding.place import PhiValues

Attributes = dict[str, HeaderValue]


@dataclass(frozen=True)
class OtherFile:
    """A kind of file that is no image; `name` can hold fields of `PhiValues`, `content` makes the bytes."""

    kind: str
    name: str
    content: Callable[[PhiValues], bytes]

    def path(self, folder: Path, phi: PhiValues) -> Path:
        """Return the path of the file in a folder of the export."""
        return folder / phi.fill(self.name)


def _note(phi: PhiValues) -> bytes:
    return f"CD for {phi.given} {phi.family}, {phi.address}\n".encode()


def _finder(phi: PhiValues) -> bytes:
    """Return the view settings of a folder, which hold the names of its files in UTF-16."""
    return b"\0\0\0\1Bud1" + bytes(56) + phi.family.encode("utf-16-be")


def _thumbs(phi: PhiValues) -> bytes:
    return b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504) + phi.family.encode("utf-16-le")


def _zip(phi: PhiValues) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(f"{phi.family}.txt"), _note(phi))
    return stream.getvalue()


def _tar(phi: PhiValues) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        entry = tarfile.TarInfo("note.txt")
        entry.size, entry.uname = len(_note(phi)), phi.family
        archive.addfile(entry, io.BytesIO(_note(phi)))
    return gzip.compress(stream.getvalue(), mtime=0)


def _database(phi: PhiValues) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "viewer.db"
        connection = sqlite3.connect(path)
        with connection:
            connection.execute("create table patient (name text, id text)")
            connection.execute("insert into patient values (?, ?)", (phi.family, phi.patient_id))
        connection.close()
        return path.read_bytes()


def _thumbnail(phi: PhiValues) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (8, 8)).save(stream, "JPEG", comment=phi.family.encode())
    return stream.getvalue()


def _photograph(phi: PhiValues) -> bytes:
    picture, stream = Image.new("L", (8, 8)), io.BytesIO()
    exif = picture.getexif()
    exif[0x010E] = f"{phi.given} {phi.family}"  # ImageDescription
    picture.save(stream, "JPEG", exif=exif)
    return stream.getvalue()


def _hl7(phi: PhiValues) -> bytes:
    return f"MSH|^~\\&|CORVINA|PACS\rPID|1||{phi.patient_id}||{phi.family}^{phi.given}\r".encode()


def _nifti(phi: PhiValues) -> bytes:
    """Return a NIfTI-1 header whose `descrip` (byte 148) holds the name."""
    header = (348).to_bytes(4, "little") + bytes(144) + phi.family.encode()[:79].ljust(80, b"\0")
    return gzip.compress(header + bytes(120), mtime=0)


def _sidecar(phi: PhiValues) -> bytes:
    return json.dumps({"PatientName": phi.name, "PatientID": phi.patient_id}).encode()


def _content(phi: PhiValues) -> Attributes:
    return {"ContentSequence": one_item(ValueType="TEXT", TextValue=f"{phi.given} {phi.family} is well.")}


def _dose(phi: PhiValues) -> Attributes:
    person = one_item(ValueType="PNAME", PersonName=phi.performing)
    return {"ContentSequence": one_item(ValueType="CONTAINER", ContentSequence=person)}


def _document(phi: PhiValues) -> Attributes:
    page = f"%PDF-1.4\n% letter to {phi.referring} on {phi.family}\n%%EOF".encode()
    return {
        "DocumentTitle": f"Letter {phi.family}",
        "EncapsulatedDocument": page + b" " * (len(page) % 2),
    }


def _annotation(phi: PhiValues) -> Attributes:
    text = one_item(UnformattedTextValue=f"lesion of {phi.family}")
    return {
        "ContentCreatorName": phi.performing,
        "GraphicAnnotationSequence": one_item(TextObjectSequence=text),
    }


def _contours(phi: PhiValues) -> Attributes:
    return {
        "StructureSetLabel": f"plan {phi.family}",
        "StructureSetROISequence": one_item(ROIName=phi.family),
    }


def _waves(phi: PhiValues) -> Attributes:
    channel = one_item(ChannelLabel=phi.family)
    return {"WaveformSequence": one_item(MultiplexGroupLabel=phi.given, ChannelDefinitionSequence=channel)}


def _directory(phi: PhiValues) -> Attributes:
    record = one_item(DirectoryRecordType="PATIENT", PatientName=phi.name.split("=")[0])
    return {"FileSetID": "CORVINA", "DirectoryRecordSequence": record}


def _described(phi: PhiValues) -> Attributes:
    return {"SeriesDescription": f"of {phi.family}", "ImageComments": f"{phi.given}, {phi.phone}"}


def _object(
    kind: str, name: str, sop_class: str, modality: str, attributes: Callable[[PhiValues], Attributes]
) -> OtherFile:
    return OtherFile(kind, name, partial(_dicom_object, sop_class, modality, attributes))


def _dicom_object(
    sop_class: str, modality: str, attributes: Callable[[PhiValues], Attributes], phi: PhiValues
) -> bytes:
    """Return a DICOM file of the class with the identity of the patient and further attributes."""
    identity: Attributes = {
        "SOPClassUID": sop_class,
        "SOPInstanceUID": f"{phi.study_uid}.99.{sop_class.rsplit('.', 1)[-1]}",
        "StudyInstanceUID": phi.study_uid,
        "SeriesInstanceUID": f"{phi.study_uid}.99",
        "Modality": modality,
        "PatientName": phi.name.split("=")[0],
        "PatientID": phi.patient_id,
        "PatientBirthDate": phi.birth.strftime("%Y%m%d"),
        "StudyDate": phi.study_date.strftime("%Y%m%d"),
    }
    dataset = set_attributes(Dataset(), {**identity, **attributes(phi)})
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(ExplicitVRLittleEndian)
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


OTHER_FILES = (
    OtherFile("note", "note.txt", _note),
    OtherFile("finder_settings", ".DS_Store", _finder),
    OtherFile("thumbnail_cache", "Thumbs.db", _thumbs),
    OtherFile("zip_archive", "export.zip", _zip),
    OtherFile("tar_archive", "{family}.tar.gz", _tar),
    OtherFile("viewer_database", "viewer.db", _database),
    OtherFile("jpeg_comment_of_thumbnail", "preview.jpg", _thumbnail),
    OtherFile("exif_of_photograph", "IMG_0001.jpg", _photograph),
    OtherFile("hl7_message", "order.hl7", _hl7),
    OtherFile(
        "patient_list", "patients.csv", lambda phi: f"name,id\n{phi.family},{phi.patient_id}\n".encode()
    ),
    OtherFile("utf_16_note", "README.txt", lambda phi: f"for {phi.family}\r\n".encode("utf-16")),
    OtherFile("autorun", "autorun.inf", lambda phi: f"[autorun]\nlabel={phi.family}\n".encode()),
    OtherFile("converted_volume", "{patient_id}.nii.gz", _nifti),
    OtherFile("json_sidecar", "{patient_id}.json", _sidecar),
    OtherFile("web_page", "index.html", lambda phi: f"<title>{phi.given} {phi.family}</title>".encode()),
    OtherFile("backup_of_note", "note.txt~", _note),
    _object("media_directory", "DICOMDIR", MediaStorageDirectoryStorage, "OT", _directory),
    _object("text_report", "SR0001", BasicTextSRStorage, "SR", _content),
    _object("comprehensive_report", "SR0002", ComprehensiveSRStorage, "SR", _content),
    _object("dose_report", "DOSE0001", XRayRadiationDoseSRStorage, "SR", _dose),
    _object("key_object_selection", "KO0001", KeyObjectSelectionDocumentStorage, "KO", _content),
    _object("encapsulated_pdf", "DOC0001", EncapsulatedPDFStorage, "DOC", _document),
    _object("encapsulated_cda", "DOC0002", EncapsulatedCDAStorage, "DOC", _document),
    _object("presentation_state", "PR0001", GrayscaleSoftcopyPresentationStateStorage, "PR", _annotation),
    _object("structure_set", "RS0001", RTStructureSetStorage, "RTSTRUCT", _contours),
    _object("waveform_object", "ECG0001", TwelveLeadECGWaveformStorage, "ECG", _waves),
    _object("segmentation", "SEG0001", SegmentationStorage, "SEG", _described),
    _object("spatial_registration", "REG0001", SpatialRegistrationStorage, "REG", _described),
    _object("raw_data", "RAW0001", RawDataStorage, "MR", _described),
    _object("spectroscopy", "MRS0001", MRSpectroscopyStorage, "MR", _described),
    _object("private_object", "XX0001", "1.3.12.2.1107.5.9.1", "OT", _described),
)
