"""The confidentiality profile as data, and the check of the allow-list against it."""

import csv
from io import StringIO
from pathlib import Path

import pytest
from pydicom.datadict import keyword_for_tag, tag_for_keyword

from mrct.deid import allow_list
from mrct.deid.allow_list import allowed_attributes, basic_action, demanded_action, read_allow_list
from mrct.deid.attribute_rules import _RULES
from mrct.dicom.uids import IMAGE_CLASSES

ROWS = list(csv.DictReader(line for line in allow_list._PROFILE.read_text().splitlines() if line[0] != "#"))
CODES = {"X", "Z", "D", "U", "Z/D", "X/Z", "X/D", "X/Z/D", "X/Z/U*"}


def test_the_table_is_whole_and_well_formed():
    assert len(ROWS) == 656  # 655 of edition 2026c, and the row of private attributes
    assert len({row["tag"] for row in ROWS}) == len(ROWS)
    assert {row["basic"] for row in ROWS} == CODES
    options = [column for column in ROWS[0] if column not in ("tag", "keyword", "basic")]
    assert len(options) == 10
    assert {row[option] for row in ROWS for option in options} == {"", "K", "C"}


def test_keywords_are_those_of_the_data_dictionary():
    known = [row for row in ROWS if len(row["tag"]) == 8 and "x" not in row["tag"]]
    named = [(row["keyword"], keyword_for_tag(int(row["tag"], 16))) for row in known]
    assert sum(bool(keyword) for _, keyword in named) > 620  # the rest is newer than the dictionary
    assert [pair for pair in named if pair[1] and pair[0] != pair[1]] == []


@pytest.mark.parametrize(
    ("keyword", "basic", "modified_dates", "with_characteristics"),
    [  # PS3.15 2026c, table E.1-1
        ("PatientName", "Z", "Z", "Z"),
        ("PatientID", "Z/D", "Z/D", "Z/D"),
        ("PatientBirthDate", "Z", "Z", "Z"),
        ("PatientAge", "X", "X", "K"),
        ("PatientSex", "Z", "Z", "K"),
        ("Allergies", "X", "C", "C"),
        ("StudyDate", "Z", "C", "C"),
        ("SeriesDate", "X/D", "C", "C"),
        ("SeriesDescription", "X", "C", "C"),
        ("ProtocolName", "X/D", "C", "C"),
        ("DeviceSerialNumber", "X/Z/D", "X/Z/D", "X/Z/D"),
        ("SOPInstanceUID", "U", "U", "U"),
        ("SourceImageSequence", "X/Z/U*", "X/Z/U*", "X/Z/U*"),
        ("PixelSpacing", "", "", ""),
    ],
)
def test_options_take_the_place_of_the_basic_action(keyword, basic, modified_dates, with_characteristics):
    tag = tag_for_keyword(keyword)
    assert basic_action(tag) == basic
    assert demanded_action(tag, False) == modified_dates
    assert demanded_action(tag, True) == with_characteristics


@pytest.mark.parametrize("tag", [0x50000005, 0x50FE3000, 0x60003000, 0x60FE4000, 0x00290010, 0x0009A0FF])
def test_curves_overlays_and_private_attributes_are_removed(tag):
    assert basic_action(tag) == "X"


@pytest.mark.parametrize("tag", [0x60000010, 0x60000100])
def test_an_overlay_has_attributes_that_the_table_does_not_name(tag):
    assert basic_action(tag) == ""


def table(tmp_path: Path, *rows: str) -> Path:
    path = tmp_path / "attributes.csv"
    path.write_text("\n".join(["keyword,rule,type,iods", *rows]))
    return path


@pytest.mark.parametrize(
    "row",
    [
        "InstitutionName,descriptor,3,all",  # X/Z/D
        "OperatorsName,code,3,all",
        "PatientBirthDate,date,2,all",  # Z: no option keeps a birth date, even a shifted one
        "PatientAge,number,3,all",
        "PatientWeight,number,3,all",  # X without Retain Patient Characteristics
        "AccessionNumber,code,2,all",
        "StudyInstanceUID,code,1,all",
        "SeriesDescription,number,3,all",
        "DeviceSerialNumber,device,3,all",
        "RequestAttributesSequence,sequence,3,all",
        "AcquisitionContextSequence,sequence,2,all",
    ],
)
def test_a_rule_weaker_than_the_profile_is_refused(tmp_path, row):
    with pytest.raises(ValueError, match="the profile demands"):
        read_allow_list(table(tmp_path, row))


def test_a_rule_stricter_than_the_profile_is_allowed(tmp_path):
    allowed = read_allow_list(table(tmp_path, "ImageComments,empty,3,ct"))  # it may be cleaned
    assert [len(rules) for rules in allowed.values()] == [1, 0, 0, 0]


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        (["NoSuchKeyword,code,3,all"], "no such"),
        (["Rows,codes,3,all"], "no such"),
        (["Rows,number,4,all"], "no such"),
        (["Rows,number,1,pet"], "IOD"),
        (["Rows,number,1,all", "Rows,number,3,ct"], "twice"),
    ],
)
def test_a_mistake_in_the_table_is_named(tmp_path, rows, match):
    with pytest.raises(ValueError, match=match):
        read_allow_list(table(tmp_path, *rows))


def test_every_rule_is_known_to_both_modules():
    assert set(allow_list._MEETS) == {*_RULES, "sequence", "coded"}


def test_no_attribute_that_the_profile_removes_is_allowed():
    removed = {tag for tag in allowed_attributes(("ct", "mr", "enhanced_ct", "enhanced_mr"))
               if demanded_action(tag, True) == "X"}  # fmt: skip
    assert removed == set()


def test_every_image_that_is_read_has_its_attributes():
    assert set(allow_list.IODS) == IMAGE_CLASSES


def test_each_kind_of_image_has_its_own_attributes():
    def has(iod: str, keyword: str) -> bool:
        return tag_for_keyword(keyword) in allowed_attributes((iod,))

    assert has("ct", "KVP")
    assert not has("mr", "KVP")
    assert has("mr", "EchoTime")
    assert not has("ct", "EchoTime")
    assert has("enhanced_mr", "EffectiveEchoTime")
    assert not has("mr", "PerFrameFunctionalGroupsSequence")
    assert all(has(iod, "RescaleSlope") for iod in ("ct", "mr", "enhanced_ct", "enhanced_mr"))


def test_the_tables_are_plain_ascii_with_unix_line_ends():
    for path in (allow_list._PROFILE, allow_list._ATTRIBUTES):
        content = path.read_bytes()
        assert content.isascii()
        assert b"\r" not in content
        assert list(csv.reader(StringIO(content.decode())))
