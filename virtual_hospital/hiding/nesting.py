"""Sequences: deep, of undefined length, among empty items, with their own character set, or called UN."""

import struct

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from virtual_hospital.hiding.place import Place, Secrets, put_raw, raw

_KEPT = "SourceImageSequence"  # an export's de-identifier likes to keep this one


def _named(secrets: Secrets) -> Dataset:
    item = Dataset()
    item[Tag("CodeMeaning")] = raw(Tag("CodeMeaning"), "LO", f"for {secrets.family}".encode())
    return item


def _chain(innermost: Dataset, depth: int, keyword: str = _KEPT) -> Dataset:
    for _ in range(depth - 1):
        outer = Dataset()
        setattr(outer, keyword, Sequence([innermost]))
        innermost = outer
    return innermost


def _put_deep(image: Dataset, secrets: Secrets, depth: int) -> None:
    image.SourceImageSequence = Sequence([_chain(_named(secrets), depth)])


def _put_2_deep(image: Dataset, secrets: Secrets) -> None:
    _put_deep(image, secrets, 2)


def _put_5_deep(image: Dataset, secrets: Secrets) -> None:
    _put_deep(image, secrets, 5)


def _put_12_deep(image: Dataset, secrets: Secrets) -> None:
    _put_deep(image, secrets, 12)


def _put_undefined_length(image: Dataset, secrets: Secrets) -> None:
    """Sequence and items end with delimiters, PS3.5 7.5.2."""
    item = _named(secrets)
    item.is_undefined_length_sequence_item = True
    image.ReferencedImageSequence = Sequence([item])
    image["ReferencedImageSequence"].is_undefined_length = True


def _put_after_empty_items(image: Dataset, secrets: Secrets) -> None:
    image.ReferencedImageSequence = Sequence([Dataset(), Dataset(), _named(secrets)])


def _put_in_hundredth_item(image: Dataset, secrets: Secrets) -> None:
    image.ReferencedImageSequence = Sequence([*(Dataset() for _ in range(99)), _named(secrets)])


def _put_private_item(image: Dataset, secrets: Secrets) -> None:
    """A private element within an item of a sequence that is wanted."""
    item = Dataset()
    item.private_block(0x0021, "CORVINA NOTES", create=True).add_new(1, "LO", secrets.family)
    image.SourceImageSequence = Sequence([item])


def _put_private_sequence(image: Dataset, secrets: Secrets) -> None:
    image.private_block(0x0021, "CORVINA NOTES", create=True).add_new(2, "SQ", Sequence([_named(secrets)]))


def _put_foreign_item(image: Dataset, secrets: Secrets) -> None:
    """An item has its own character set, PS3.3 C.12.1.1.2."""
    item = Dataset()
    item.SpecificCharacterSet = "ISO_IR 192"
    item[Tag("CodeMeaning")] = raw(Tag("CodeMeaning"), "LO", f"{secrets.family} ü".encode())
    image.SourceImageSequence = Sequence([item])


def _put_patient_module_in_item(image: Dataset, secrets: Secrets) -> None:
    """A whole header of someone in an item, as a badly merged study has it."""
    item = Dataset()
    for keyword, vr, text in (
        ("PatientName", "PN", f"{secrets.family}^{secrets.given}"),
        ("PatientID", "LO", secrets.patient_id),
        ("InstitutionName", "LO", secrets.institution),
    ):
        item[Tag(keyword)] = raw(Tag(keyword), vr, text.encode())
    image.SourceImageSequence = Sequence([item])


def _put_sequence_as_un(image: Dataset, secrets: Secrets) -> None:
    """A sequence that a relay did not know: VR UN, its items in implicit VR (PS3.5 6.2.2)."""
    value = secrets.family.encode() + b" " * (len(secrets.family) % 2)
    element = struct.pack("<HHL", 0x0008, 0x0104, len(value)) + value
    put_raw(image, _KEPT, "UN", struct.pack("<HHL", 0xFFFE, 0xE000, len(element)) + element)


def _put_icon_text(image: Dataset, secrets: Secrets) -> None:
    """An icon image may hold any attribute beside its pixels."""
    icon = _named(secrets)
    icon.Rows = icon.Columns = 2
    icon.BitsAllocated = icon.BitsStored = 8
    icon.SamplesPerPixel, icon.PhotometricInterpretation = 1, "MONOCHROME2"
    icon.add_new("PixelData", "OB", bytes(4))
    image.IconImageSequence = Sequence([icon])


PLACES = (
    Place("two_sequences_deep", f"{_KEPT} x 2", _put_2_deep),
    Place("five_sequences_deep", f"{_KEPT} x 5", _put_5_deep),
    Place("twelve_sequences_deep", f"{_KEPT} x 12", _put_12_deep),
    Place("undefined_length", "ReferencedImageSequence, delimited", _put_undefined_length),
    Place("after_empty_items", "ReferencedImageSequence, third item", _put_after_empty_items),
    Place("hundredth_item", "ReferencedImageSequence, hundredth item", _put_in_hundredth_item),
    Place("private_element_in_item", f"{_KEPT}>(0021,xx01)", _put_private_item),
    Place("private_sequence", "(0021,xx02)>CodeMeaning", _put_private_sequence),
    Place("item_with_own_character_set", f"{_KEPT}>CodeMeaning", _put_foreign_item),
    Place("patient_module_in_item", f"{_KEPT}>PatientName", _put_patient_module_in_item),
    Place("sequence_as_un", f"{_KEPT} as UN", _put_sequence_as_un),
    Place("icon_text", "IconImageSequence>CodeMeaning", _put_icon_text),
)
