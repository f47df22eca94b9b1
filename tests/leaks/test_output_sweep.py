"""The search in written files finds every value in all spellings, and ignores known words."""

import pickle
import re

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.datadict import tag_for_keyword

from helpers.phi_factory import person_dataset
from mrct.leaks.identifying import BIRTH, IDENTIFYING
from mrct.leaks.matching import Matcher, locate, number_runs, uid_parts
from mrct.leaks.output_sweep import find_leak
from mrct.leaks.phi_values import PhiValues, date_spellings
from mrct.leaks.vocabulary import allows

NOISE = np.random.default_rng(0).integers(0, 4096, 5000).astype("<u2").tobytes()


def phi_values_of(image: Dataset) -> PhiValues:
    phi_values = PhiValues()
    phi_values.add_dataset(image)
    return phi_values


def leak(
    header: bytes, pixels: bytes = b"", image: Dataset | None = None, ours: frozenset[str] = frozenset()
):
    return find_leak(header, pixels, phi_values_of(image or person_dataset()), ours)


@pytest.mark.parametrize(
    ("text", "keyword"),
    [
        ("xx QuenneVille", "PatientName"),
        ("Zebulon_Quenneville", "PatientName"),
        ("1.2.3.774411.8.1", "SeriesInstanceUID"),
        ("1.2.3.774411.8.1.99", "SeriesInstanceUID"),
        ("2.25.19571103.4.5", BIRTH),
        ("2.25.20200229.4.5", "StudyDate"),
        ("MRN-774411", "PatientID"),
        ("id774411x", "PatientID"),
        ("born 03.11.1957", BIRTH),
        ("3 November 1957", BIRTH),
        ("3. november 1957", BIRTH),
        ("Nov 3, 1957", BIRTH),
        ("03-NOV-57", BIRTH),
        ("scanned 2020-02-29", "StudyDate"),
        ("ZQ77", "StationName"),
        ("sn-55-88123", "DeviceSerialNumber"),
        ("(555) 0147 or 5550147", "PatientTelephoneNumbers"),
    ],
)
@pytest.mark.parametrize("encoding", ["ascii", "utf-16-le", "utf-16-be"])
def test_what_is_left_in_a_header_is_found(text, keyword, encoding):
    image = person_dataset(PatientTelephoneNumbers="555-0147")
    assert leak(b"\x01\x02" + text.encode(encoding) + b"\x03", image=image) == keyword


def test_text_among_pixels_is_found_from_eight_characters_on():
    assert leak(b"", NOISE) is None
    for text in (b"Quenneville", "Quenneville".encode("utf-16-le"), b"1.2.3.774411.8.1"):
        assert leak(b"", NOISE[:3001] + text + NOISE[3001:]) is not None
    # Four bytes occur by chance in one of ten such images.
    assert leak(b"", NOISE[:3001] + b"zq77" + NOISE[3001:]) is None


@pytest.mark.parametrize(
    ("charset", "name", "codec"),
    [
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞", "euc_kr"),
        ("GB18030", "Zhang^XiaoDong=张^小东", "gb18030"),
        ("ISO_IR 166", "นามสกุล^ชื่อ", "iso8859_11"),
        ("ISO_IR 144", "Люкceмбypг^Анна", "iso8859_5"),
        ("ISO_IR 100", "Müller^Jörg", "latin_1"),
        ("ISO_IR 192", "Müller^Jörg", "utf-8"),
    ],
)
def test_names_in_other_characters_are_found_as_stored_and_as_unicode(tmp_path, charset, name, codec):
    image = person_dataset(SpecificCharacterSet=charset, PatientName=name)
    for part in re.split("[\\^=]", name)[-2:]:
        if len(part) < 2:
            continue
        for encoding in (codec, "utf-8", "utf-16-le", "utf-16-be"):
            for spelling in (part, part.upper()):
                assert leak(b"\x01" + spelling.encode(encoding) + b"\x02", image=image) == "PatientName"


def test_a_name_in_an_undeclared_character_set_is_found_as_stored(tmp_path):
    image = person_dataset(SpecificCharacterSet=None)
    image.PatientName = "Люкceмбypг".encode("iso8859_5")
    image.save_as(tmp_path / "x", enforce_file_format=True)
    assert leak("Люкceмбypг".encode("iso8859_5"), image=pydicom.dcmread(tmp_path / "x")) == "PatientName"


def test_accents_may_be_lost_or_decomposed():
    image = person_dataset(PatientName="Müller^Jörg")
    for text in ("Muller", "mu\u0308ller", "M\\u00fcller", "M%C3%BCller", "M&#252;ller", "M&#xfc;ller"):
        assert leak(text.encode(), image=image) == "PatientName", text


def test_known_words_are_no_leaks():
    mary = person_dataset(PatientName="Tse^Mary", InstitutionName="CT 3", StudyID="12")
    for text in (b"ORIGINAL\\PRIMARY\\AXIAL", b"AX T2 TSE", b"CT 3", b"1.2.3.7744110", b"\xc0PRIMARY"):
        assert leak(text, image=mary) is None
    assert leak(b"for Mary", image=mary) == "PatientName"


def test_what_this_program_wrote_is_no_leak():
    assert leak(b"1.2.3.774411.8.1", ours=frozenset({"1.2.3.774411.8.1"})) is None
    assert leak(b"wolkenstein", ours=frozenset({"wolkenstein"})) is None


def test_short_values_are_found_as_whole_elements_of_free_text():
    image = person_dataset(PatientID="4711", PatientName="Li^Bo", StationName="QJ")
    assert leak(b"\x10\x00\x20\x00LO\x04\x004711", image=image) == "PatientID"
    assert leak(b"\x08\x00\x10\x10SH\x02\x00QJ", image=image) == "StationName"
    assert leak(b"\x08\x00\x10\x10PN\x06\x00Li^Bo ", image=image) == "PatientName"
    for number in (b"\x20\x00\x13\x00IS\x04\x004711", b"-14711.25", b"bother"):
        assert leak(number, image=image) is None


def test_a_shifted_date_may_equal_another_date_of_the_patient():
    assert leak(b"\x08\x00\x20\x00DA\x08\x0020200229") is None
    assert leak(b"19571103") == BIRTH


def test_values_at_any_depth_and_in_the_file_meta_are_searched():
    phi_values = phi_values_of(person_dataset())
    assert phi_values.texts["quenneville"] == "PatientName"
    assert phi_values.texts["wolkenstein"] == "SourceApplicationEntityTitle"
    assert phi_values.numbers["1.2.3.774411.5"] == "ReferencedSOPInstanceUID"


def test_known_elements_of_a_second_file_are_passed_over_but_new_values_are_not(tmp_path):
    phi_values = PhiValues()
    for number, name in enumerate(("Quenneville^Zebulon", "Brightwater^Ottoline")):
        path = tmp_path / str(number)
        person_dataset(PatientName=name).save_as(path, enforce_file_format=True)
        phi_values.add_dataset(pydicom.dcmread(path))
    assert {"quenneville", "brightwater"} <= set(phi_values.texts)


def test_values_merge_and_travel_and_later_values_are_searched():
    one, two = PhiValues(), PhiValues()
    one.add_text("Quenneville", "PatientName", 3)
    assert find_leak(b"brightwater", b"", one, frozenset()) is None
    two.add_text("Brightwater 123456", "PatientComments", 4)
    two.add_text("Quenneville", "OperatorsName", 4)
    one.merge(pickle.loads(pickle.dumps(two)))
    assert find_leak(b"brightwater", b"", one, frozenset()) == "PatientComments"
    assert find_leak(b"123456", b"", one, frozenset()) == "PatientComments"
    assert find_leak(b"quenneville", b"", one, frozenset()) == "PatientName"


def test_the_list_names_attributes_that_exist():
    assert [keyword for keyword in IDENTIFYING if tag_for_keyword(keyword) is None] == []


@given(st.dates())
def test_dates_are_spelled_as_strftime_spells_them(day):
    spellings = date_spellings(f"{day.year:04d}{day:%m%d}")
    for form in ("%m/%d", "%d/%m"):
        assert f"{day.strftime(form)}/{day.year:04d}" in spellings
    assert f"{day.year:04d}-{day:%m-%d}" in spellings


LETTERS = st.text("abc", min_size=1, max_size=4)


@given(st.sets(LETTERS, min_size=1, max_size=6), st.text("abcABC \0", max_size=60), st.sampled_from([1, 2]))
def test_the_automaton_finds_what_a_literal_search_finds(words, text, step):
    content = ("\0" * (step - 1)).join(text).encode().lower()
    found = {
        (match.start, match.text)
        for match in Matcher(words).find(content)
        if match.step == step or len(match.text) == 1
    }
    expected = set()
    for word in words:
        pattern = ("\0" * (step - 1)).join(word).encode()
        expected |= {(i, word) for i in range(len(content)) if content.startswith(pattern, i)}
    assert expected <= found
    if step == 1:
        assert found == expected


@given(st.lists(st.text("12.", min_size=1, max_size=9), max_size=5), st.text("ab 12.", max_size=40))
def test_numbers_are_found_as_whole_runs(numbers, noise):
    content = (noise + " " + " x ".join(numbers)).encode()
    runs = number_runs(content)
    expected = {run.strip(".") for run in re.findall(r"[12.]+", content.decode()) if len(run) >= 6}
    assert runs - {""} == expected - {""}
    assert expected <= number_runs(content.decode().encode("utf-16-le"))
    for part in uid_parts(runs):
        assert any(run.startswith(f"{part}.") or part in run.split(".") for run in runs)
    for match in locate(content, {run for run in runs if run}):
        assert content[match.start : match.end].decode() == match.text


NAMES = st.text("abcdefghijklmnopqrstuvwxyz", min_size=5, max_size=12)


@given(
    NAMES, NAMES, st.binary(max_size=40), st.sampled_from(["ascii", "utf-16-le", "utf-16-be"]), st.booleans()
)
def test_a_planted_name_is_always_found(family, given_name, noise, encoding, in_pixels):
    phi_values = PhiValues()
    phi_values.add_dataset(person_dataset(PatientName=f"{family}^{given_name}"))
    planted = noise + b"\x01\0" + f"{family}^{given_name}".upper().encode(encoding) + b"\0\x01" + noise
    header, pixels = (b"", planted) if in_pixels else (planted, b"")
    if not all(allows(name) or allows(name, "device") for name in (family, given_name)):
        assert find_leak(header, pixels, phi_values, frozenset()) is not None
