"""Sequences: nested, of undefined length, after empty items, with an own character set, or with VR UN."""

import struct
from functools import partial

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from virtual_hospital.elements import put_raw, raw
from virtual_hospital.hiding.pixels import add_icon_pixels
from virtual_hospital.hiding.place import PhiValues, Place

_KEPT = "SourceImageSequence"  # many de-identification profiles keep this sequence


def _item(phi: PhiValues) -> Dataset:
    """Return an item that names the patient in CodeMeaning."""
    item = Dataset()
    item[Tag("CodeMeaning")] = raw(Tag("CodeMeaning"), "LO", f"for {phi.family}".encode())
    return item


def _put_nested(depth: int, image: Dataset, phi: PhiValues) -> None:
    """Nest `depth` sequences."""
    item = _item(phi)
    for _ in range(depth - 1):
        outer = Dataset()
        outer.SourceImageSequence = Sequence([item])
        item = outer
    image.SourceImageSequence = Sequence([item])


def _put_undefined_length(image: Dataset, phi: PhiValues) -> None:
    """End the sequence and its item with delimiters (PS3.5 7.5.2)."""
    item = _item(phi)
    item.is_undefined_length_sequence_item = True
    image.ReferencedImageSequence = Sequence([item])
    image["ReferencedImageSequence"].is_undefined_length = True


def _put_after_empty_items(image: Dataset, phi: PhiValues) -> None:
    image.ReferencedImageSequence = Sequence([Dataset(), Dataset(), _item(phi)])


def _put_in_hundredth_item(image: Dataset, phi: PhiValues) -> None:
    image.ReferencedImageSequence = Sequence([*(Dataset() for _ in range(99)), _item(phi)])


def _put_private_item(image: Dataset, phi: PhiValues) -> None:
    """Use a private element in an item of a standard sequence."""
    item = Dataset()
    item.private_block(0x0021, "CORVINA NOTES", create=True).add_new(1, "LO", phi.family)
    image.SourceImageSequence = Sequence([item])


def _put_private_sequence(image: Dataset, phi: PhiValues) -> None:
    image.private_block(0x0021, "CORVINA NOTES", create=True).add_new(2, "SQ", Sequence([_item(phi)]))


def _put_item_with_character_set(image: Dataset, phi: PhiValues) -> None:
    """Use an item with a character set of its own (PS3.3 C.12.1.1.2)."""
    item = Dataset()
    item.SpecificCharacterSet = "ISO_IR 192"
    item[Tag("CodeMeaning")] = raw(Tag("CodeMeaning"), "LO", f"{phi.family} ü".encode())
    image.SourceImageSequence = Sequence([item])


def _put_patient_module_in_item(image: Dataset, phi: PhiValues) -> None:
    """Use an item with attributes of the patient module, as in a badly merged study."""
    item = Dataset()
    for keyword, vr, text in (
        ("PatientName", "PN", f"{phi.family}^{phi.given}"),
        ("PatientID", "LO", phi.patient_id),
        ("InstitutionName", "LO", phi.institution),
    ):
        item[Tag(keyword)] = raw(Tag(keyword), vr, text.encode())
    image.SourceImageSequence = Sequence([item])


def _put_sequence_as_un(image: Dataset, phi: PhiValues) -> None:
    """Use a sequence with VR UN and items in implicit VR, as from software that does not know it (PS3.5 6.2.2)."""
    value = phi.family.encode() + b" " * (len(phi.family) % 2)
    element = struct.pack("<HHL", 0x0008, 0x0104, len(value)) + value
    put_raw(image, _KEPT, "UN", struct.pack("<HHL", 0xFFFE, 0xE000, len(element)) + element)


def _put_icon_text(image: Dataset, phi: PhiValues) -> None:
    """Use an icon image, which can hold other attributes beside its pixels."""
    icon = _item(phi)
    add_icon_pixels(icon, 2, 2, b"")
    image.IconImageSequence = Sequence([icon])


PLACES = (
    Place("two_sequences_deep", f"{_KEPT} x 2", partial(_put_nested, 2)),
    Place("five_sequences_deep", f"{_KEPT} x 5", partial(_put_nested, 5)),
    Place("twelve_sequences_deep", f"{_KEPT} x 12", partial(_put_nested, 12)),
    Place("undefined_length", "ReferencedImageSequence, delimited", _put_undefined_length),
    Place("after_empty_items", "ReferencedImageSequence, third item", _put_after_empty_items),
    Place("hundredth_item", "ReferencedImageSequence, hundredth item", _put_in_hundredth_item),
    Place("private_element_in_item", f"{_KEPT}>(0021,xx01)", _put_private_item),
    Place("private_sequence", "(0021,xx02)>CodeMeaning", _put_private_sequence),
    Place("item_with_own_character_set", f"{_KEPT}>CodeMeaning", _put_item_with_character_set),
    Place("patient_module_in_item", f"{_KEPT}>PatientName", _put_patient_module_in_item),
    Place("sequence_as_un", f"{_KEPT} as UN", _put_sequence_as_un),
    Place("icon_text", "IconImageSequence>CodeMeaning", _put_icon_text),
)
