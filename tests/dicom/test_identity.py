"""Identity: the stored bytes tell two persons apart, and one person in two character sets stays one."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from mrct.dicom.identity import Person, read_patient_id, read_person
from mrct.dicom.series import instances_of

UTF8, LATIN1, CYRILLIC, JAPANESE = "ISO_IR 192", "ISO_IR 100", "ISO_IR 144", ["", "ISO 2022 IR 87"]


def stored(charset="", vr="LO", **values) -> Dataset:
    """Make a header as a file gives it: bytes that nobody has converted yet."""
    dataset = Dataset()
    if charset:
        dataset.SpecificCharacterSet = charset
    for keyword, value in values.items():
        raw = RawDataElement(Tag(keyword), vr, len(value), value, 0, False, True)
        dataset._dict[Tag(keyword)] = raw
    return dataset


def patient_id(value: bytes, charset="", vr="LO") -> str:
    return read_patient_id(stored(charset, vr, PatientID=value))


@pytest.mark.parametrize(
    "charset", ["", UTF8, LATIN1, CYRILLIC, "GB18030", JAPANESE, "ISO_IR 999", "ISO 2022 IR 149"]
)
def test_an_ascii_id_is_its_text_without_padding_in_every_character_set(charset):
    for value in (b"MRN-774411", b"MRN-774411 ", b" MRN-774411\0", b"MRN-774411\0\0 \0"):
        assert patient_id(value, charset) == "MRN-774411"
    dataset = Dataset()
    dataset.PatientID = " MRN-774411 "
    assert read_patient_id(dataset) == "MRN-774411"


@given(st.text(st.characters(codec="ascii", exclude_characters="\\", exclude_categories=["Cc"]), max_size=64))
def test_every_ascii_id_of_one_value_stays_as_it_is(text):
    assert patient_id(text.encode()) == text.strip()


def test_only_padding_is_removed_and_case_blanks_and_wildcards_count():
    ids = [b"ab1", b"AB1", b"a b1", b"a  b1", b"ab1*", b"?", b"*", b"0", b"00", b"ab\x001"]
    assert len({patient_id(value) for value in ids}) == len(ids)
    assert patient_id(b"") == patient_id(b" \0 ") == read_patient_id(Dataset()) == ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((b"\xff\xfe1", UTF8), (b"\xfe\xff1", UTF8)),
        ((b"M\xfcller1", UTF8), (b"M\xf6ller1", UTF8)),
        ((b"\x80\x801", "ISO 2022 IR 149"), (b"\x80\xff1", "ISO 2022 IR 149")),
        ((b"\x81", "GB18030"), (b"\x82", "GB18030")),
        ((b"\x1b$B!!\x7f\x7f", JAPANESE), (b"\x1b$B!!\x7e\x7f", JAPANESE)),
        ((b"\xff1", UTF8), (b"\\xff1", "")),
        ((b"\xff1", UTF8), (b"\xef\xbf\xbd1", UTF8)),
        ((b"A\\B", ""), (b"A\\C", "")),
    ],
)
def test_other_bytes_that_no_decoder_reads_are_other_persons(one, other):
    assert patient_id(*one) != patient_id(*other)
    for value, charset in (one, other):
        assert patient_id(value, charset) == patient_id(value + b" ", charset)
        assert patient_id(value, charset).isascii()
        assert patient_id(value, charset).isprintable()


@given(
    st.lists(st.binary(min_size=1, max_size=12), min_size=2, max_size=2, unique=True),
    st.sampled_from([UTF8, "GB18030", "ISO_IR 13"]),
)
def test_two_byte_strings_in_one_character_set_are_one_id_only_if_they_are_one_text(values, charset):
    codec = {UTF8: "utf-8", "GB18030": "gb18030", "ISO_IR 13": "shift_jis"}[charset]
    one, other = values
    if patient_id(one, charset) == patient_id(other, charset) and b"\x1b" not in one + other:
        same_bytes = one.strip(b" \0\t\r\n") == other.strip(b" \0\t\r\n")
        assert same_bytes or one.decode(codec).strip(" \0\t\r\n") == other.decode(codec).strip(" \0\t\r\n")


@pytest.mark.parametrize(
    ("value", "charset", "expected"),
    [
        ("Müller1".encode("latin-1"), LATIN1, "Müller1"),
        ("Müller1".encode("latin-1"), "", "Müller1"),
        ("Müller1".encode(), UTF8, "Müller1"),
        ("Müller1".encode(), LATIN1, "Müller1"),
        ("Müller1".encode(), "", "Müller1"),
        ("Иванов".encode("iso8859-5"), CYRILLIC, "Иванов"),
        ("王1".encode("gb18030"), "GB18030", "王1"),
        ("联通".encode("gb18030"), "GB18030", "联通"),
        ("山田".encode("iso2022_jp"), JAPANESE, "山田"),
        (b"M\xfcller1", UTF8, "M\\xfcller1"),
        (b"A\\B", "", "A\\x5cB"),
    ],
)
def test_an_id_is_read_in_its_character_set_and_spelled_by_its_bytes_where_it_is_no_text(
    value, charset, expected
):
    assert patient_id(value, charset) == expected


def test_a_damaged_representation_or_declaration_changes_no_id():
    assert (
        patient_id(b"MRN-1 ", vr="OB") == patient_id(b"MRN-1 ", vr="UN") == patient_id(b"MRN-1 ") == "MRN-1"
    )
    assert patient_id(b"0012", vr="IS") == patient_id(b"0012", vr="DS") == "0012"
    assert patient_id(b"MRN-1", charset="\\rot13") == "MRN-1"


def test_check_and_anonymize_tell_the_same_persons_apart(tmp_path):
    one, other = (
        instances_of(stored(UTF8, PatientID=value), tmp_path)[0].patient_id for value in (b"\xff1", b"\xfe1")
    )
    assert (one, other) == ("\\xff1", "\\xfe1")


def name(value: bytes, charset="") -> Person:
    return read_person(stored(charset, "PN", PatientName=value))


U = "Müller^Jörg"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((U.encode("latin-1"), LATIN1), (U.encode("latin-1"), "")),
        ((U.encode("latin-1"), LATIN1), (U.encode(), LATIN1)),
        ((U.encode("latin-1"), LATIN1), (U.encode(), "")),
        ((U.encode("latin-1"), UTF8), (U.encode(), UTF8)),
        ((U.encode(), UTF8), (unicodedata.normalize("NFD", U).encode(), UTF8)),
        (("Иванов^Иван".encode("iso8859-5"), CYRILLIC), ("Иванов^Иван".encode("iso8859-5"), "")),
        (("Иванов^Иван".encode("iso8859-5"), CYRILLIC), ("ИВАНОВ^ИВАН".encode(), UTF8)),
        ((b"Doe^Jane", ""), (b"DOE^JANE^^^", "")),
        ((b"Doe^Jane", ""), (b"Doe, Jane", "")),
        ((b"Doe^Jane", ""), (b" Doe ^ Jane\0", "")),
        ((b"Doe^Jane", ""), (b"", "")),
        ((b"Doe^Jane", ""), (b"^^^", "")),
        ((b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B", JAPANESE), (b"Yamada^Tarou", "")),
        ((b"=\x1b$B;3ED\x1b(B", JAPANESE), ("=山田".encode(), UTF8)),
        ((b"=\x1b$B;3ED\x1b(B", JAPANESE), (b"Yamada", "")),
    ],
)
def test_one_name_in_two_spellings_or_character_sets_is_one_person(one, other):
    assert not name(*one).has_another_name(name(*other))
    assert not name(*other).has_another_name(name(*one))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((b"Doe^Jane", ""), (b"Doe^John", "")),
        ((b"Doe^Jane", ""), (b"DOE^JANE^M", "")),
        ((b"MUELLER^JOERG", ""), ("MÜLLER^JÖRG".encode("latin-1"), LATIN1)),
        ((b"M\xfcller", UTF8), (b"M\xf6ller", UTF8)),
        (("=山田".encode(), UTF8), ("=佐藤".encode(), UTF8)),
        ((b"Yamada=\x1b$B;3ED\x1b(B", JAPANESE), (b"Sato=\x1b$B;3ED\x1b(B", JAPANESE)),
    ],
)
def test_other_names_are_not_joined_by_guessing(one, other):
    assert name(*one).has_another_name(name(*other))
    assert name(*other).has_another_name(name(*one))


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        ("19600203", "1960.02.03", False),
        ("19600203", "", False),
        ("19600203", "19000101", False),
        ("19600203", "00000000", False),
        ("19600203", "1960", False),
        ("19600203", "19600200", False),
        ("19600203", "19600204", True),
        ("19600203", "1961", True),
    ],
)
def test_birth_dates_differ_if_their_known_digits_do(one, other, differ):
    persons = [read_person(stored(PatientBirthDate=text.encode())) for text in (one, other)]
    assert persons[0].has_another_birth_date(persons[1]) is differ
    assert persons[1].has_another_birth_date(persons[0]) is differ


def test_a_person_shows_nothing():
    assert "1960" not in repr(read_person(stored(PatientName=b"Doe^Jane", PatientBirthDate=b"19600203")))
