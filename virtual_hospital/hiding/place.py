"""A place where an export hides what it knows of a patient, and the tools that put it there.

Values are put as raw bytes under a VR of our choice, because archives hold what no validating writer would
write: text in a decimal, a name in a date, bytes behind a NUL.
"""

import csv
import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydicom.charset import convert_encodings, encode_string
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.valuerep import PersonName

_TABLE = Path(__file__).with_name("attributes.csv")
_BLANK_PADDED = "AE AS CS DA DS DT IS LO LT PN SH ST TM UC UR UT".split()  # noqa: SIM905  # as in PS3.5


@dataclass(frozen=True)
class Secrets:
    """What a place may tell: one patient's values and those of his examination."""

    name: str  # DICOM PN, with every group
    family: str
    given: str
    hangul: str
    patient_id: str
    birth: dt.date
    address: str
    phone: str
    relative: str
    referring: str
    performing: str
    institution: str
    station: str
    serial: str
    accession: str
    study_date: dt.date
    study_uid: str


@dataclass(frozen=True)
class Place:
    """A kind of hiding place; `put` hides some of the secrets in an image that has its file meta.

    `where` is a path of keywords or tags, or names a part of the file. `put` may change the image and its
    file meta, but not the items of its sequences, which images of a series share.
    """

    kind: str
    where: str
    put: Callable[[Dataset, Secrets], None]


def attribute_places(images: str) -> tuple[Place, ...]:
    """The rows of attributes.csv for `images`: "all" (every header has it) or "some"."""
    with _TABLE.open(newline="", encoding="ascii") as stream:
        rows = [row for row in csv.DictReader(stream) if row["images"] == images]
    return tuple(
        Place(row["kind"], row["where"], partial(_put_row, row["where"], row["vr"], row["value"]))
        for row in rows
    )


def _put_row(where: str, vr: str, template: str, image: Dataset, secrets: Secrets) -> None:
    """`template` names secrets; {old} is what the attribute held before."""
    path = [Tag(tag_for_keyword(part) or int(part, 16)) for part in where.split(">")]
    put_text(image, path, template.format(old=old_text(image, path[-1]), **vars(secrets)), vr)


def old_text(image: Dataset, tag: BaseTag | str) -> str:
    """What a top-level text attribute holds, several values joined by backslashes as in the file."""
    value = image[tag].value if tag in image else ""
    return "\\".join(map(str, value)) if isinstance(value, MultiValue) else str(value)


def put_text(image: Dataset, path: list[BaseTag], text: str, vr: str = "") -> None:
    """The text under the last tag of the path, in the image's character set; `vr` "" means the dictionary's."""
    if vr:
        require_explicit_vr(image)
    vr = vr or dictionary_VR(path[-1])
    encodings = convert_encodings(image.get("SpecificCharacterSet", "ISO_IR 6"))
    value = PersonName(text).encode(encodings) if vr == "PN" else encode_string(text, encodings)
    put_at(image, path, raw(path[-1], vr, value))


def require_explicit_vr(image: Dataset) -> None:
    """A VR other than the dictionary's is lost in an implicit VR file."""
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian


def put_at(image: Dataset, path: list[BaseTag], element: RawDataElement) -> None:
    """The element at the end of a path of sequences; their other items and elements stay."""
    if len(path) == 1:
        image[path[0]] = element
        return
    items = list(image[path[0]].value) if path[0] in image else [Dataset()]
    first = Dataset()
    first.update(items[0])
    put_at(first, path[1:], element)
    image.add_new(path[0], "SQ", Sequence([first, *items[1:]]))


def raw(tag: BaseTag | int, vr: str, value: bytes) -> RawDataElement:
    """The bytes as they are under a tag, padded to an even number as the VR asks."""
    padded = value + (b" " if vr in _BLANK_PADDED else b"\0") * (len(value) % 2)
    return RawDataElement(Tag(tag), vr, len(padded), padded, 0, False, True)


def put_raw(image: Dataset, tag: BaseTag | int | str, vr: str, value: bytes) -> None:
    """The bytes as they are under a top-level tag or keyword, with their VR."""
    require_explicit_vr(image)
    image[Tag(tag)] = raw(Tag(tag), vr, value)


def save(image: Dataset, path: Path) -> None:
    """The image with its preamble and file meta, every raw value byte for byte as it was put.

    pydicom parses and encodes raw values again unless the data set says that they came in this encoding.
    """
    syntax = image.file_meta.TransferSyntaxUID
    encodings = convert_encodings(image.get("SpecificCharacterSet", "ISO_IR 6"))
    image.set_original_encoding(syntax.is_implicit_VR, syntax.is_little_endian, encodings)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save_as(path, enforce_file_format=True, overwrite=False)
