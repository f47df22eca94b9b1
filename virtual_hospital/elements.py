"""DICOM elements and files, written byte for byte.

Archives hold values that validating libraries do not write: text in a decimal string, a name in a date, bytes after a
NUL. Therefore, functions whose names begin with `put_` write a value with any VR, as raw bytes.
"""

from collections.abc import Mapping
from pathlib import Path

from pydicom.charset import convert_encodings, encode_string
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.valuerep import PersonName

UID_ROOT = "1.2.826.0.1.3680043.8.498"

#: What a header attribute can be set to.
HeaderValue = str | int | float | bytes | list[str] | list[int] | Sequence

# VRs that PS3.5 section 6.2 pads with a blank; the others are padded with a NUL
_BLANK_PADDED = (
    "AE",
    "AS",
    "CS",
    "DA",
    "DS",
    "DT",
    "IS",
    "LO",
    "LT",
    "PN",
    "SH",
    "ST",
    "TM",
    "UC",
    "UR",
    "UT",
)


def set_attributes(dataset: Dataset, attributes: Mapping[str, HeaderValue]) -> Dataset:
    """Set attributes by keyword, with the VR of the dictionary; return the data set."""
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def one_item(**attributes: HeaderValue) -> Sequence:
    """Make a sequence of one item with these attributes."""
    return Sequence([set_attributes(Dataset(), attributes)])


def even(data: bytes) -> bytes:
    """Append a NUL if the length is odd: DICOM values have even lengths."""
    return data + b"\0" * (len(data) % 2)


def raw(tag: BaseTag | int | str, vr: str, value: bytes) -> RawDataElement:
    """Make an element that holds these bytes, padded to an even length as the VR asks."""
    padded = value + (b" " if vr in _BLANK_PADDED else b"\0") * (len(value) % 2)
    return RawDataElement(Tag(tag), vr, len(padded), padded, 0, False, True)


def put_raw(image: Dataset, tag: BaseTag | int | str, vr: str, value: bytes) -> None:
    """Put bytes under a top-level tag or keyword; the image then needs an explicit VR transfer syntax."""
    require_explicit_vr(image)
    image[Tag(tag)] = raw(tag, vr, value)


def put_text(image: Dataset, path: list[BaseTag], text: str, vr: str = "") -> None:
    """Put a text under the last tag of a path of sequences, in the character set of the image.

    Args:
        image: The image to change.
        path: Tags of the sequences from the outermost one, and the tag of the text.
        text: The text.
        vr: The VR; "" means that of the dictionary.
    """
    if vr:
        require_explicit_vr(image)
    vr = vr or dictionary_VR(path[-1])
    encodings = convert_encodings(image.get("SpecificCharacterSet", "ISO_IR 6"))
    value = PersonName(text).encode(encodings) if vr == "PN" else encode_string(text, encodings)
    _put_at(image, path, raw(path[-1], vr, value))


def _put_at(image: Dataset, path: list[BaseTag], element: RawDataElement) -> None:
    """Put the element at the end of a path of sequences; copy their first items, which images of a series share."""
    if len(path) == 1:
        image[path[0]] = element
        return
    items = list(image[path[0]].value) if path[0] in image else [Dataset()]
    first = Dataset()
    first.update(items[0])
    _put_at(first, path[1:], element)
    image.add_new(path[0], "SQ", Sequence([first, *items[1:]]))


def text_of(image: Dataset, tag: BaseTag | str) -> str:
    """Return the text of a top-level attribute, "" if it is missing; several values are joined by backslashes."""
    value = image[tag].value if tag in image else ""
    return "\\".join(map(str, value)) if isinstance(value, MultiValue) else str(value)


def require_explicit_vr(image: Dataset) -> None:
    """Give the image a transfer syntax with explicit VR, because implicit VR loses a VR unlike the dictionary's."""
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian


def save(image: Dataset, path: Path) -> None:
    """Write the image with its preamble and file meta information; raw values are written as they were put."""
    # pydicom parses and encodes raw values again unless the data set says that they have this encoding
    syntax = image.file_meta.TransferSyntaxUID
    encodings = convert_encodings(image.get("SpecificCharacterSet", "ISO_IR 6"))
    image.set_original_encoding(syntax.is_implicit_VR, syntax.is_little_endian, encodings)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save_as(path, enforce_file_format=True, overwrite=False)
