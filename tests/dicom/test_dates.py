"""Dates: only what can be true is a date, and the most trustworthy attribute says when an image was acquired."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset

from mrct.dicom.dates import acquisition_date, birth_digits, parse_date, parse_event


def header(**values) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


@given(st.dates(date(1901, 1, 1), date(9999, 12, 30)))
def test_a_date_is_read_in_the_spellings_of_dicom_and_acr_nema(day):
    for text in (f"{day:%Y%m%d}", f"{day:%Y.%m.%d}", f" {day:%Y%m%d} ", f"{day:%Y%m%d}235959.999999+1400"):
        assert parse_date(text) == day


@pytest.mark.parametrize(
    "text",
    [
        *("", "2020", "202002", "20200231", "20190229", "20201301", "00000000", "2020-02-29", "2020.0229"),
        "20.02.2020",
        *("19000101", "1900.01.01", "00010101", "99991231", "17530101", "16010101", "18991230", "unknown", "²0200101"),
    ],
)  # fmt: skip
def test_what_is_no_date_or_a_placeholder_is_unknown(text):
    assert parse_date(text) is None


@pytest.mark.parametrize(
    ("day", "moved", "known"),
    [
        (date(1971, 9, 30), False, False),
        (date(1971, 10, 1), False, True),
        (date(1971, 9, 30), True, True),
        (date.today(), False, True),
        (date.today() + timedelta(1), False, True),
        (date.today() + timedelta(3), False, False),
        (date(2150, 1, 1), True, True),
    ],
)
def test_an_image_is_not_older_than_ct_nor_of_the_future_unless_its_dates_were_moved(day, moved, known):
    assert (parse_event(f"{day:%Y%m%d}", moved) == day) is known


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"AcquisitionDate": "20200310", "StudyDate": "20200301"}, date(2020, 3, 10)),
        ({"AcquisitionDate": "19000101", "StudyDate": "20200310"}, date(2020, 3, 10)),
        ({"AcquisitionDate": "", "SeriesDate": "20240101", "StudyDate": "20200310"}, date(2020, 3, 10)),
        ({"AcquisitionDateTime": "20200310235959.0+1400", "StudyDate": ""}, date(2020, 3, 10)),
        ({"StudyDate": "20200231", "SeriesDate": "20200310"}, date(2020, 3, 10)),
        ({"StudyDate": "20991231", "ContentDate": "2020.03.10"}, date(2020, 3, 10)),
        ({"StudyDate": "19040909", "PatientIdentityRemoved": "YES"}, date(1904, 9, 9)),
        ({"StudyDate": "19040909"}, None),
        ({"StudyDate": ["20200310", "20200311"]}, None),
        ({}, None),
    ],
)
def test_the_first_date_that_can_be_true_counts_and_the_study_precedes_an_import(values, expected):
    assert acquisition_date(header(**values)) == expected


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("19600203", "19600203"),
        ("1960.02.03", "19600203"),
        ("1960", "1960"),
        ("196002", "196002"),
        ("19600200", "196002"),
        ("19600000", "1960"),
        ("1960.00.00", "1960"),
        ("19600231", ""),
        ("00000000", ""),
        ("0000", ""),
        ("19000101", ""),
        ("unknown", ""),
        ("", ""),
    ],
)
def test_of_a_birth_date_the_known_digits_count(text, digits):
    assert birth_digits(text) == digits
