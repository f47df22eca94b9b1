"""Private elements (PS3.5 7.8): vendors' blocks as real scanners fill them, and what an archive adds."""

import base64
import gzip
import io
import json
import zlib
from collections.abc import Callable
from functools import partial

from PIL import Image, PngImagePlugin
from pydicom.dataset import Dataset

from virtual_hospital.hiding.place import Place, Secrets, put_raw

_BLOCK = 0x70  # of (gggg,0010-00FF); the writer's own blocks begin at 0x10


def _family(secrets: Secrets) -> bytes:
    return secrets.family.encode()


def _csa(secrets: Secrets) -> bytes:
    """Siemens' binary tree of names and values begins like this."""
    text = f"PatientName\0{secrets.family}^{secrets.given}\0SerialNumber\0{secrets.serial}\0"
    return b"SV10\x04\x03\x02\x01" + text.encode()


def _protocol(secrets: Secrets) -> bytes:
    """Siemens' protocol as text between two marks."""
    lines = (
        f'sPatPosition = "HFS"\ntPatientName = "{secrets.family}"\ntReferenceDate = "{secrets.birth:%Y%m%d}"'
    )
    return f"### ASCCONV BEGIN ###\n{lines}\n### ASCCONV END ###".encode()


def _gz(secrets: Secrets) -> bytes:
    """GE's protocol block is gzip'd text."""
    return gzip.compress(f"set PATNAME {secrets.family}\n".encode(), mtime=0)


def _xml(secrets: Secrets) -> bytes:
    return f"<patient><name>{secrets.family}</name><dob>{secrets.birth}</dob></patient>".encode()


def _json(secrets: Secrets) -> bytes:
    return json.dumps({"patient": {"mrn": secrets.patient_id, "name": secrets.family}}).encode()


def _swapped(secrets: Secrets) -> bytes:
    """Pairs of bytes change places, as text in 16-bit words of the other byte order."""
    name = secrets.family.encode()
    name += b" " * (len(name) % 2)
    return b"".join(name[i : i + 2][::-1] for i in range(0, len(name), 2))


def _png(secrets: Secrets) -> bytes:
    """A thumbnail whose text chunk names the patient."""
    text, stream = PngImagePlugin.PngInfo(), io.BytesIO()
    text.add_text("Title", secrets.family)
    Image.new("L", (2, 2)).save(stream, "PNG", pnginfo=text)
    return stream.getvalue()


def _dicom(secrets: Secrets) -> bytes:
    """A DICOM file within an element."""
    inner, stream = Dataset(), io.BytesIO()
    inner.PatientName = secrets.name.split("=")[0]
    inner.save_as(stream, implicit_vr=False, little_endian=True)
    return bytes(128) + b"DICM" + stream.getvalue()


def _put(
    tag: int, creator: str, vr: str, spell: Callable[[Secrets], bytes], image: Dataset, secrets: Secrets
) -> None:
    put_raw(image, (tag & 0xFFFF0000) + _BLOCK, "LO", creator.encode())
    put_raw(image, tag, vr, spell(secrets))


def _place(
    kind: str, group: int, creator: str, element: int, vr: str, spell: Callable[[Secrets], bytes]
) -> Place:
    where = f"({group:04X},xx{element:02X}) {creator}"
    tag = (group << 16) + (_BLOCK << 8) + element
    return Place(kind, where, partial(_put, tag, creator, vr, spell))


def _put_creator(image: Dataset, secrets: Secrets) -> None:
    """The name is the block's owner."""
    put_raw(image, 0x00130000 + _BLOCK, "LO", _family(secrets))
    put_raw(image, 0x00130000 + (_BLOCK << 8) + 1, "LO", b"1")


def _put_orphan(image: Dataset, secrets: Secrets) -> None:
    """An element of a block that nobody reserved."""
    put_raw(image, 0x00157101, "LO", _family(secrets))


def _put_below_blocks(image: Dataset, secrets: Secrets) -> None:
    """Elements 0001 to 000F of a private group belong to nobody (PS3.5 7.8.1)."""
    put_raw(image, 0x00190005, "LO", _family(secrets))


def _put_creator_after_nul(image: Dataset, secrets: Secrets) -> None:
    put_raw(image, 0x00170000 + _BLOCK, "LO", b"CORVINA\0" + _family(secrets))


def _put_two_owners(image: Dataset, secrets: Secrets) -> None:
    """One vendor's name reserves two blocks; readers look into the first."""
    put_raw(image, 0x00230010, "LO", b"CORVINA NOTES")
    put_raw(image, 0x00230011, "LO", b"CORVINA NOTES")
    put_raw(image, 0x00231101, "LO", _family(secrets))


PLACES = (
    _place("siemens_csa_header", 0x0029, "SIEMENS CSA HEADER", 0x10, "OB", _csa),
    _place("siemens_protocol", 0x0029, "SIEMENS CSA HEADER", 0x20, "OB", _protocol),
    _place("siemens_medcom_history", 0x0029, "SIEMENS MEDCOM HEADER", 0x50, "LT", _family),
    _place("siemens_b_value", 0x0019, "SIEMENS MR HEADER", 0x0C, "IS", lambda s: s.patient_id.encode()),
    _place("ge_patient_identifier", 0x0009, "GEMS_IDEN_01", 0x27, "SL", lambda s: _family(s).ljust(12)[:12]),
    _place("ge_suite", 0x0009, "GEMS_IDEN_01", 0x02, "SH", lambda s: s.station.encode()),
    _place("ge_protocol_gzip", 0x0025, "GEMS_SERS_01", 0x1B, "OB", _gz),
    _place("ge_parameters", 0x0043, "GEMS_PARM_01", 0x39, "IS", lambda s: s.patient_id.encode() + b"\\0\\0"),
    _place(
        "philips_b_factor", 0x2001, "Philips Imaging DD 001", 0x03, "FL", lambda s: _family(s).ljust(12)[:12]
    ),
    _place("philips_stack", 0x2005, "Philips MR Imaging DD 001", 0x70, "PN", _family),
    _place("toshiba_memo", 0x7005, "TOSHIBA_MEC_CT3", 0x0A, "LO", _family),
    _place("elscint", 0x00E1, "ELSCINT1", 0x50, "DS", _family),
    _place("acuson_text", 0x0009, "ACUSON:1.2.840.113680.1.0:0910", 0x00, "UN", _family),
    _place("xml", 0x0033, "CORVINA ARCHIVE 2.0", 0x05, "UT", _xml),
    _place("json", 0x0033, "CORVINA ARCHIVE 2.0", 0x06, "UN", _json),
    _place("utf_16_le", 0x0033, "CORVINA ARCHIVE 2.0", 0x07, "OB", lambda s: s.family.encode("utf-16-le")),
    _place("utf_16_be", 0x0033, "CORVINA ARCHIVE 2.0", 0x08, "OB", lambda s: s.family.encode("utf-16-be")),
    _place("utf_32", 0x0033, "CORVINA ARCHIVE 2.0", 0x09, "OB", lambda s: s.family.encode("utf-32-le")),
    _place("ebcdic", 0x0033, "CORVINA ARCHIVE 2.0", 0x0A, "OB", lambda s: s.family.encode("cp500")),
    _place("base64_blob", 0x0033, "CORVINA ARCHIVE 2.0", 0x0B, "OB", lambda s: base64.b64encode(_family(s))),
    _place("byte_swapped", 0x0033, "CORVINA ARCHIVE 2.0", 0x0C, "OW", _swapped),
    _place("reversed_blob", 0x0033, "CORVINA ARCHIVE 2.0", 0x0D, "OB", lambda s: _family(s)[::-1]),
    _place("zlib_blob", 0x0033, "CORVINA ARCHIVE 2.0", 0x0E, "OB", lambda s: zlib.compress(_family(s) * 3)),
    _place("png_thumbnail", 0x0033, "CORVINA ARCHIVE 2.0", 0x0F, "OB", _png),
    _place("dicom_in_element", 0x0033, "CORVINA ARCHIVE 2.0", 0x11, "OB", _dicom),
    _place(
        "private_uid", 0x0033, "CORVINA ARCHIVE 2.0", 0x12, "UI", lambda s: f"1.2.3.{s.patient_id}".encode()
    ),
    _place("last_private_group", 0xFFFD, "CORVINA ARCHIVE 2.0", 0x01, "LO", _family),
    Place("private_creator", "(0013,0070)", _put_creator),
    Place("private_creator_behind_nul", "(0017,0070)", _put_creator_after_nul),
    Place("private_orphan", "(0015,7101) without creator", _put_orphan),
    Place("private_below_blocks", "(0019,0005)", _put_below_blocks),
    Place("private_second_block", "(0023,1101)", _put_two_owners),
)
