"""Files beside the images that name the patient: notes, archives, databases, thumbnails, other DICOM objects."""

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

from virtual_hospital.hiding.objects import OBJECTS, dicom_object
from virtual_hospital.hiding.place import Secrets

_EVERY = 6  # patients share the strangers out: each lies with every sixth


@dataclass(frozen=True)
class Stranger:
    """A kind of file in an export's folder; `content` is what it holds."""

    kind: str
    name: str  # may name the patient: {family}, {patient_id}
    content: Callable[[Secrets], bytes]

    def path(self, folder: Path, secrets: Secrets) -> Path:
        """Where it lies."""
        return folder / self.name.format(**vars(secrets))


def _note(secrets: Secrets) -> bytes:
    return f"CD for {secrets.given} {secrets.family}, {secrets.address}\n".encode()


def _finder(secrets: Secrets) -> bytes:
    """A folder's view settings hold its files' names in UTF-16."""
    return b"\0\0\0\1Bud1" + bytes(56) + secrets.family.encode("utf-16-be")


def _thumbs(secrets: Secrets) -> bytes:
    return b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504) + secrets.family.encode("utf-16-le")


def _zip(secrets: Secrets) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(f"{secrets.family}.txt"), _note(secrets))
    return stream.getvalue()


def _tar(secrets: Secrets) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        entry = tarfile.TarInfo("note.txt")
        entry.size, entry.uname = len(_note(secrets)), secrets.family
        archive.addfile(entry, io.BytesIO(_note(secrets)))
    return gzip.compress(stream.getvalue(), mtime=0)


def _database(secrets: Secrets) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "viewer.db"
        connection = sqlite3.connect(path)
        with connection:
            connection.execute("create table patient (name text, id text)")
            connection.execute("insert into patient values (?, ?)", (secrets.family, secrets.patient_id))
        connection.close()
        return path.read_bytes()


def _thumbnail(secrets: Secrets) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (8, 8)).save(stream, "JPEG", comment=secrets.family.encode())
    return stream.getvalue()


def _photograph(secrets: Secrets) -> bytes:
    picture, stream = Image.new("L", (8, 8)), io.BytesIO()
    exif = picture.getexif()
    exif[0x010E] = f"{secrets.given} {secrets.family}"  # ImageDescription
    picture.save(stream, "JPEG", exif=exif)
    return stream.getvalue()


def _hl7(secrets: Secrets) -> bytes:
    return f"MSH|^~\\&|CORVINA|PACS\rPID|1||{secrets.patient_id}||{secrets.family}^{secrets.given}\r".encode()


def _nifti(secrets: Secrets) -> bytes:
    """A NIfTI-1 header whose `descrip` (byte 148) holds the name."""
    header = (348).to_bytes(4, "little") + bytes(144) + secrets.family.encode()[:79].ljust(80, b"\0")
    return gzip.compress(header + bytes(120), mtime=0)


def _sidecar(secrets: Secrets) -> bytes:
    return json.dumps({"PatientName": secrets.name, "PatientID": secrets.patient_id}).encode()


def _object(kind: str, secrets: Secrets) -> bytes:
    _, sop_class, modality, attributes = OBJECTS[kind]
    return dicom_object(sop_class, modality, secrets, attributes(secrets))


STRANGERS = (
    Stranger("note", "note.txt", _note),
    Stranger("finder_settings", ".DS_Store", _finder),
    Stranger("thumbnail_cache", "Thumbs.db", _thumbs),
    Stranger("zip_archive", "export.zip", _zip),
    Stranger("tar_archive", "{family}.tar.gz", _tar),
    Stranger("viewer_database", "viewer.db", _database),
    Stranger("jpeg_comment_of_thumbnail", "preview.jpg", _thumbnail),
    Stranger("exif_of_photograph", "IMG_0001.jpg", _photograph),
    Stranger("hl7_message", "order.hl7", _hl7),
    Stranger("patient_list", "patients.csv", lambda s: f"name,id\n{s.family},{s.patient_id}\n".encode()),
    Stranger("utf_16_note", "README.txt", lambda s: f"for {s.family}\r\n".encode("utf-16")),
    Stranger("autorun", "autorun.inf", lambda s: f"[autorun]\nlabel={s.family}\n".encode()),
    Stranger("converted_volume", "{patient_id}.nii.gz", _nifti),
    Stranger("json_sidecar", "{patient_id}.json", _sidecar),
    Stranger("web_page", "index.html", lambda s: f"<title>{s.given} {s.family}</title>".encode()),
    Stranger("backup_of_note", "note.txt~", _note),
    *(Stranger(kind, name, partial(_object, kind)) for kind, (name, *_) in OBJECTS.items()),
)


def strangers_of(n: int) -> tuple[Stranger, ...]:
    """Those that lie in the folder of patient n."""
    return STRANGERS[n % _EVERY :: _EVERY]
