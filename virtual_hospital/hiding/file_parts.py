"""Parts of a file around the data set: preamble, file meta information (PS3.10 7.1), and what follows the pixels."""

from functools import partial

from pydicom.dataset import Dataset
from pydicom.tag import Tag

from virtual_hospital.hiding.place import Place, Secrets, put_raw, raw


def _put_preamble(image: Dataset, secrets: Secrets) -> None:
    image.preamble = f"{secrets.family} {secrets.given}".encode()[:128].ljust(128, b"\0")


def _put_tiff_preamble(image: Dataset, secrets: Secrets) -> None:
    """The preamble of a dual-personality file is a TIFF header; its text lies behind."""
    image.preamble = b"II*\0\x08\0\0\0" + secrets.patient_id.encode().ljust(120, b"\0")


def _put_meta(tag: int, vr: str, template: str, image: Dataset, secrets: Secrets) -> None:
    image.file_meta[Tag(tag)] = raw(tag, vr, template.format(**vars(secrets)).encode())


def _meta(kind: str, keyword: str, tag: int, vr: str, template: str) -> Place:
    return Place(kind, keyword, partial(_put_meta, tag, vr, template))


def _put_after_pixels(tag: int, vr: str, template: str, image: Dataset, secrets: Secrets) -> None:
    put_raw(image, tag, vr, template.format(**vars(secrets)).encode())


def _after(kind: str, where: str, tag: int, vr: str, template: str) -> Place:
    return Place(kind, where, partial(_put_after_pixels, tag, vr, template))


PLACES = (
    Place("preamble", "preamble", _put_preamble),
    Place("tiff_preamble", "preamble as a TIFF header", _put_tiff_preamble),
    _meta("meta_source_ae", "SourceApplicationEntityTitle", 0x00020016, "AE", "{station:.16}"),
    _meta("meta_sending_ae", "SendingApplicationEntityTitle", 0x00020017, "AE", "{family:.16}"),
    _meta("meta_receiving_ae", "ReceivingApplicationEntityTitle", 0x00020018, "AE", "{station:.16}"),
    _meta("meta_address", "SourcePresentationAddress", 0x00020026, "UR", "dicom://{station}.example"),
    _meta("meta_version_name", "ImplementationVersionName", 0x00020013, "SH", "{family:.16}"),
    _meta("meta_class_uid", "ImplementationClassUID", 0x00020012, "UI", "1.2.3.{patient_id}"),
    _meta("meta_private_creator", "PrivateInformationCreatorUID", 0x00020100, "UI", "1.2.3.{patient_id}"),
    _meta("meta_private", "PrivateInformation", 0x00020102, "OB", "{family} {given}"),
    _meta("meta_unknown", "(0002,0200)", 0x00020200, "LO", "{family}"),
    _after("private_after_pixels", "(7FE1,1001)", 0x7FE11001, "LO", "{family}"),
    _after("signature_after_pixels", "DigitalSignaturesSequence as OB", 0xFFFAFFFA, "OB", "{family}"),
    _after("trailing_padding", "DataSetTrailingPadding", 0xFFFCFFFC, "OB", "{family} {patient_id}"),
)
