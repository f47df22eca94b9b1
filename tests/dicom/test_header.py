"""Tests of header values as hospitals write them: numbers in other spellings, and the absence of a contrast agent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from mrct.dicom.header import Numbers, names_agent, written_numbers


def with_bytes(keyword: str, content: bytes, vr: str = "DS") -> Dataset:
    """Return a dataset whose element holds the bytes as a file would."""
    tag, dataset = Tag(tag_for_keyword(keyword)), Dataset()
    dataset._dict[tag] = RawDataElement(tag, vr, len(content), content, 0, False, True)
    return dataset


@pytest.mark.parametrize(
    ("content", "vr", "expected"),
    [
        (b"3.5\\3.25", "DS", (3.5, 3.25)),
        (b"3,5\\3,25", "DS", (3.5, 3.25)),
        (b"3.5\\3.25", "UT", (3.5, 3.25)),
        (b"3,5\\3,25", "UT", (3.5, 3.25)),
        (b"3.5,3.25", "DS", (3.5, 3.25)),
        (b" +3.5E0 \\ 325e-2\0", "DS", (3.5, 3.25)),
        (b"0,488\\0,4883", "DS", (0.488, 0.4883)),
        (b"3\\4", "DS", (3.0, 4.0)),
    ],
)
def test_a_number_in_another_spelling_is_read_as_it_is_meant(content, vr, expected):
    assert Numbers(with_bytes("PixelSpacing", content, vr)).vector("PixelSpacing", 2) == expected


@pytest.mark.parametrize(
    "content",
    [b"", b"\\", b"3.5", b"abc\\3.5", b"nan\\1", b"1e400\\1", b"1,024\\1,024", b"3,5,3,5", b"3.5\\3.5\\3.5"],
)
def test_what_is_no_pair_of_numbers_is_none(content):
    assert Numbers(with_bytes("PixelSpacing", content)).vector("PixelSpacing", 2) is None


@given(st.floats(-1e6, 1e6).filter(lambda value: value == 0 or abs(value) > 1e-4), st.integers(1, 6))
def test_a_decimal_comma_never_changes_the_number(value, digits):
    text = f"{value:.{digits}f}"
    read = written_numbers(text.replace(".", ","))
    # three digits after the comma may be thousands, and are then left as they are
    assert read in ([text], [text.replace(".", ",")])
    assert read == [text] or digits == 3


@pytest.mark.parametrize(
    "text",
    [
        "", " ", ".", "-", "NO", "No", "NONE", "null", "N/A", "0", "0 ml", "0.0 mL", "0ml", "nativ", "Native", "plain",
        "W/O", "without", "without contrast", "NO IV CONTRAST", "No contrast given", "Non-contrast", "NON CONTRAST",
        "ohne KM", "Ohne Kontrastmittel", "kein KM", "sans injection", "senza mdc", "sin contraste", "not applied",
        "pre contrast", "no gadolinium", "none given", "Nein", "C-", "no i.v. contrast medium given", "NON",
        "unenhanced",
        "kein KM gegeben",
    ],
)  # fmt: skip
def test_a_text_that_denies_an_agent_names_none(text):
    assert not names_agent(text)


@pytest.mark.parametrize(
    "text",
    [
        "APPLIED", "OMNIPAQUE 300", "Gadovist", "GD", "yes", "80 ml", "100 ML IV", "NON-IONIC", "nonionic 320",
        "Nordisk",
        "without and with contrast", "ohne und mit KM", "pre/post gd", "W/WO contrast", "KM", "with contrast", "Noveon",
        "no oral; IV Omnipaque 350", "NO ALLERGY; OMNI 350", "80 ml w/o complications", "no reaction; Omnipaque",
    ],
)  # fmt: skip
def test_a_text_that_names_or_affirms_an_agent_counts(text):
    assert names_agent(text)
