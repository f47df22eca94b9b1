"""Dates of a header: what is a date, which dates are placeholders, and when an image was acquired.

A date that cannot be true is unknown. It is never counted with and never shifted: a shifted placeholder would look like
a date.
"""

import re
from datetime import date, timedelta

from pydicom import Dataset

from mrct.dicom.header import text

# DA; the dots are the format of ACR-NEMA, which must still be read (PS3.5 6.2)
_DATE = re.compile(r"(\d{4})(?:(\d{2})(\d{2})|\.(\d{2})\.(\d{2}))")
# DT: at least a whole date; a time, a fraction and an offset from UTC may follow
_DATE_TIME = re.compile(r"(\d{8})(?:\d{2}(?:\d{2}(?:\d{2}(?:\.\d{1,6})?)?)?)?(?:[+-]\d{4})?")
# first and last dates of the date types of databases and file systems (.NET, Windows, SQL Server, VMS, OLE, Excel)
_PLACEHOLDERS = {
    date(1, 1, 1), date(1601, 1, 1), date(1753, 1, 1), date(1858, 11, 17), date(1899, 12, 30), date(1899, 12, 31),
    date(1900, 1, 1), date(9999, 12, 31),
}  # fmt: skip
# the first CT of a patient (Ambrose, Br J Radiol 46:1023, 1973); the first MR of one came in 1977
_FIRST_IMAGE = date(1971, 10, 1)
# a scanner may stand east of this machine, where it is tomorrow already
_AHEAD = timedelta(days=1)
_ACQUIRED = ("AcquisitionDate", "AcquisitionDateTime", "StudyDate", "SeriesDate", "ContentDate")


def parse_date(value: str) -> date | None:
    """Return the date of a DA or DT value; None for a partial or impossible date and for a placeholder.

    A DT value gives its local date; time and offset from UTC are ignored.
    """
    value = value.strip(" \0")
    with_time = _DATE_TIME.fullmatch(value)
    match = _DATE.fullmatch(with_time[1] if with_time else value)
    if match is None:
        return None
    year, month, day = (int(part) for part in match.groups() if part is not None)
    try:
        found = date(year, month, day)
    except ValueError:
        return None
    return None if found in _PLACEHOLDERS else found


def parse_event(value: str, moved: bool) -> date | None:
    """Return the date of an event of imaging; None if there was no CT yet, or if it lies in the future.

    The result for a date in the future depends on the day on which the program runs.

    Args:
        value: A DA or DT value.
        moved: Whether another tool may have moved the dates (`may_be_moved`); then any year is possible.
    """
    found = parse_date(value)
    if found is None or moved:
        return found
    return found if _FIRST_IMAGE <= found <= date.today() + _AHEAD else None


def may_be_moved(dataset: Dataset) -> bool:
    """Return whether a tool that removed the identity (PS3.3 C.7.1.1) may also have moved the dates."""
    return text(dataset, "PatientIdentityRemoved") == "YES"


def acquisition_date(dataset: Dataset) -> date | None:
    """Return when the image was acquired: the first plausible date among five attributes, or None.

    The order is AcquisitionDate, AcquisitionDateTime, StudyDate, SeriesDate, ContentDate. StudyDate precedes
    SeriesDate and ContentDate, because archives and workstations write the day of an import or a reconstruction into
    these two.
    """
    moved = may_be_moved(dataset)
    found = (parse_event(text(dataset, keyword), moved) for keyword in _ACQUIRED)
    return next((day for day in found if day is not None), None)


def birth_digits(value: str) -> str:
    """Return the known digits of a birth date: YYYYMMDD, YYYYMM or YYYY; "" if nothing is known.

    "00" stands for an unknown month or day.
    """
    known = parse_date(value)
    if known is not None:
        return f"{known:%Y%m%d}".zfill(8)
    digits = value.strip(" \0").replace(".", "")
    if not digits.isascii() or not digits.isdigit() or len(digits) not in (4, 6, 8):
        return ""
    partial = re.fullmatch(r"(\d{4}(?:\d\d)??)(?:00)*", digits)
    return partial[1] if partial and partial[1][:4] != "0000" and len(partial[1]) < 8 else ""
