"""A place in an image where an export can hide PHI, and the places that attributes.csv lists.

Columns of attributes.csv:

- kind: name of the place
- images: "all" if each header has it, "some" if it is one of those that images get in turn
- where: path of keywords or tags, joined by >
- vr: the VR, empty for that of the dictionary
- value: the text; {FIELD} is a field of `PhiValues`, {old} what the attribute held before
"""

import csv
import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from virtual_hospital.elements import put_text, text_of

_TABLE = Path(__file__).with_name("attributes.csv")


@dataclass(frozen=True)
class PhiValues:
    """Identifying values of one patient and of one examination."""

    name: str  # DICOM PN with all component groups
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

    def fill(self, template: str, **others: str) -> str:
        """Fill a format string that names fields, and perhaps other values."""
        return template.format(**vars(self), **others)


def family_bytes(phi: PhiValues) -> bytes:
    """Return the family name in UTF-8."""
    return phi.family.encode()


@dataclass(frozen=True)
class Place:
    """A kind of hiding place in an image.

    Attributes:
        kind: Name of the place.
        where: Path of keywords or tags, or the part of the file.
        put: Hides PHI in an image that has its file meta information. It may change both, but not the items of
            sequences, which the images of a series share.
    """

    kind: str
    where: str
    put: Callable[[Dataset, PhiValues], None]


def attribute_places(images: str) -> tuple[Place, ...]:
    """Return the rows of attributes.csv for `images`, "all" or "some"."""
    with _TABLE.open(newline="", encoding="ascii") as stream:
        rows = [row for row in csv.DictReader(stream) if row["images"] == images]
    return tuple(
        Place(row["kind"], row["where"], partial(_put_row, row["where"], row["vr"], row["value"]))
        for row in rows
    )


def _put_row(where: str, vr: str, template: str, image: Dataset, phi: PhiValues) -> None:
    path = [Tag(tag_for_keyword(part) or int(part, 16)) for part in where.split(">")]
    put_text(image, path, phi.fill(template, old=text_of(image, path[-1])), vr)
