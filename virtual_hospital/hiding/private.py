"""Private elements (PS3.5 7.8): blocks of vendors as real scanners fill them, and blocks that an archive adds."""

import base64
import gzip
import io
import json
import zlib
from collections.abc import Callable
from functools import partial

from PIL import Image, PngImagePlugin
from pydicom.dataset import Dataset

from virtual_hospital.elements import put_raw
from virtual_hospital.hiding.place import PhiValues, Place, family_bytes

# Element that reserves a block: (gggg,0070). The blocks of the header begin at (gggg,0010)
_BLOCK = 0x70
_ARCHIVE = "CORVINA ARCHIVE 2.0"


def _csa(phi: PhiValues) -> bytes:
    """Return the beginning of a Siemens CSA header, a binary tree of names and values."""
    text = f"PatientName\0{phi.family}^{phi.given}\0SerialNumber\0{phi.serial}\0"
    return b"SV10\x04\x03\x02\x01" + text.encode()


def _protocol(phi: PhiValues) -> bytes:
    """Return a Siemens protocol, which is text between two marks."""
    lines = f'sPatPosition = "HFS"\ntPatientName = "{phi.family}"\ntReferenceDate = "{phi.birth:%Y%m%d}"'
    return f"### ASCCONV BEGIN ###\n{lines}\n### ASCCONV END ###".encode()


def _ge_protocol(phi: PhiValues) -> bytes:
    """Return a GE protocol block, which is compressed text."""
    return gzip.compress(f"set PATNAME {phi.family}\n".encode(), mtime=0)


def _xml(phi: PhiValues) -> bytes:
    return f"<patient><name>{phi.family}</name><dob>{phi.birth}</dob></patient>".encode()


def _json(phi: PhiValues) -> bytes:
    return json.dumps({"patient": {"mrn": phi.patient_id, "name": phi.family}}).encode()


def _twelve_bytes(phi: PhiValues) -> bytes:
    """Return the beginning of the name as the bytes of three 32-bit numbers."""
    return family_bytes(phi).ljust(12)[:12]


def _swapped(phi: PhiValues) -> bytes:
    """Return the name with each pair of bytes swapped, as 16-bit words of the other byte order."""
    name = family_bytes(phi)
    name += b" " * (len(name) % 2)
    return b"".join(name[i : i + 2][::-1] for i in range(0, len(name), 2))


def _png(phi: PhiValues) -> bytes:
    """Return a PNG image whose text chunk names the patient."""
    text, stream = PngImagePlugin.PngInfo(), io.BytesIO()
    text.add_text("Title", phi.family)
    Image.new("L", (2, 2)).save(stream, "PNG", pnginfo=text)
    return stream.getvalue()


def _dicom(phi: PhiValues) -> bytes:
    """Return a DICOM file."""
    inner, stream = Dataset(), io.BytesIO()
    inner.PatientName = phi.name.split("=")[0]
    inner.save_as(stream, implicit_vr=False, little_endian=True)
    return bytes(128) + b"DICM" + stream.getvalue()


Content = Callable[[PhiValues], bytes]


def _put(tag: int, creator: str, vr: str, content: Content, image: Dataset, phi: PhiValues) -> None:
    """Reserve a block for the creator and put the content under the tag."""
    put_raw(image, (tag & 0xFFFF0000) + _BLOCK, "LO", creator.encode())
    put_raw(image, tag, vr, content(phi))


def _place(kind: str, group: int, creator: str, element: int, vr: str, content: Content) -> Place:
    where = f"({group:04X},xx{element:02X}) {creator}"
    tag = (group << 16) + (_BLOCK << 8) + element
    return Place(kind, where, partial(_put, tag, creator, vr, content))


def _archived(kind: str, element: int, vr: str, content: Content) -> Place:
    """Use the block of an archive."""
    return _place(kind, 0x0033, _ARCHIVE, element, vr, content)


def _put_creator(image: Dataset, phi: PhiValues) -> None:
    """Name the patient as the creator of a block."""
    put_raw(image, 0x00130000 + _BLOCK, "LO", family_bytes(phi))
    put_raw(image, 0x00130000 + (_BLOCK << 8) + 1, "LO", b"1")


def _put_orphan(image: Dataset, phi: PhiValues) -> None:
    """Use an element of a block that no creator reserves."""
    put_raw(image, 0x00157101, "LO", family_bytes(phi))


def _put_below_blocks(image: Dataset, phi: PhiValues) -> None:
    """Use an element from 0001 to 000F, which no creator can reserve (PS3.5 7.8.1)."""
    put_raw(image, 0x00190005, "LO", family_bytes(phi))


def _put_creator_after_nul(image: Dataset, phi: PhiValues) -> None:
    put_raw(image, 0x00170000 + _BLOCK, "LO", b"CORVINA\0" + family_bytes(phi))


def _put_second_block(image: Dataset, phi: PhiValues) -> None:
    """Reserve two blocks for one creator and use the second; most readers know the first alone."""
    put_raw(image, 0x00230010, "LO", b"CORVINA NOTES")
    put_raw(image, 0x00230011, "LO", b"CORVINA NOTES")
    put_raw(image, 0x00231101, "LO", family_bytes(phi))


PLACES = (
    _place("siemens_csa_header", 0x0029, "SIEMENS CSA HEADER", 0x10, "OB", _csa),
    _place("siemens_protocol", 0x0029, "SIEMENS CSA HEADER", 0x20, "OB", _protocol),
    _place("siemens_medcom_history", 0x0029, "SIEMENS MEDCOM HEADER", 0x50, "LT", family_bytes),
    _place("siemens_b_value", 0x0019, "SIEMENS MR HEADER", 0x0C, "IS", lambda phi: phi.patient_id.encode()),
    _place("ge_patient_identifier", 0x0009, "GEMS_IDEN_01", 0x27, "SL", _twelve_bytes),
    _place("ge_suite", 0x0009, "GEMS_IDEN_01", 0x02, "SH", lambda phi: phi.station.encode()),
    _place("ge_protocol_gzip", 0x0025, "GEMS_SERS_01", 0x1B, "OB", _ge_protocol),
    _place(
        "ge_parameters", 0x0043, "GEMS_PARM_01", 0x39, "IS", lambda phi: phi.patient_id.encode() + b"\\0\\0"
    ),
    _place("philips_b_factor", 0x2001, "Philips Imaging DD 001", 0x03, "FL", _twelve_bytes),
    _place("philips_stack", 0x2005, "Philips MR Imaging DD 001", 0x70, "PN", family_bytes),
    _place("toshiba_memo", 0x7005, "TOSHIBA_MEC_CT3", 0x0A, "LO", family_bytes),
    _place("elscint", 0x00E1, "ELSCINT1", 0x50, "DS", family_bytes),
    _place("acuson_text", 0x0009, "ACUSON:1.2.840.113680.1.0:0910", 0x00, "UN", family_bytes),
    _archived("xml", 0x05, "UT", _xml),
    _archived("json", 0x06, "UN", _json),
    _archived("utf_16_le", 0x07, "OB", lambda phi: phi.family.encode("utf-16-le")),
    _archived("utf_16_be", 0x08, "OB", lambda phi: phi.family.encode("utf-16-be")),
    _archived("utf_32", 0x09, "OB", lambda phi: phi.family.encode("utf-32-le")),
    _archived("ebcdic", 0x0A, "OB", lambda phi: phi.family.encode("cp500")),
    _archived("base64_blob", 0x0B, "OB", lambda phi: base64.b64encode(family_bytes(phi))),
    _archived("byte_swapped", 0x0C, "OW", _swapped),
    _archived("reversed_blob", 0x0D, "OB", lambda phi: family_bytes(phi)[::-1]),
    _archived("zlib_blob", 0x0E, "OB", lambda phi: zlib.compress(family_bytes(phi) * 3)),
    _archived("png_thumbnail", 0x0F, "OB", _png),
    _archived("dicom_in_element", 0x11, "OB", _dicom),
    _archived("private_uid", 0x12, "UI", lambda phi: f"1.2.3.{phi.patient_id}".encode()),
    _place("last_private_group", 0xFFFD, _ARCHIVE, 0x01, "LO", family_bytes),
    Place("private_creator", "(0013,0070)", _put_creator),
    Place("private_creator_behind_nul", "(0017,0070)", _put_creator_after_nul),
    Place("private_orphan", "(0015,7101) without creator", _put_orphan),
    Place("private_below_blocks", "(0019,0005)", _put_below_blocks),
    Place("private_second_block", "(0023,1101)", _put_second_block),
)
