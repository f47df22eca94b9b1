"""Dates moved by a patient's number of days, on the real calendar; what is no whole date is emptied.

Longitudinal option "modified dates" of PS3.15 annex E: intervals between the dates of a patient are kept to
the day. Times of day are removed, because the second of a scan finds its patient in any hospital's schedule.
"""

import re
from datetime import date, timedelta

# DA; the dots are the spelling of ACR-NEMA, still read (PS3.5 section 6.2)
_DATE = re.compile(r"(\d{4})(?:(\d{2})(\d{2})|\.(\d{2})\.(\d{2}))")
# DT: at least a whole date; a time, a fraction and an offset from UTC may follow
_DATE_TIME = re.compile(r"(\d{8})(?:\d{2}(?:\d{2}(?:\d{2}(?:\.\d{1,6})?)?)?)?(?:[+-]\d{4})?")


def shift_date(text: str, days: int) -> str:
    """YYYYMMDD moved by `days`; empty for a partial, impossible or unrepresentable date."""
    match = _DATE.fullmatch(text.strip())
    if match is None:
        return ""
    year, month, day = (int(part) for part in match.groups() if part is not None)
    try:
        return f"{date(year, month, day) + timedelta(days):%Y%m%d}".zfill(8)
    except (ValueError, OverflowError):
        return ""


def shift_date_time(text: str, days: int) -> str:
    """A DT value to the shifted local date, without time of day and zone; empty as `shift_date`."""
    match = _DATE_TIME.fullmatch(text.strip())
    return shift_date(match.group(1), days) if match else ""
