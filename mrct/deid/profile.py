"""The confidentiality profile as data: what DICOM PS3.15 table E.1-1 demands for an attribute.

Actions (PS3.15 table E.1-1a): X remove, Z empty or dummy, D dummy, U consistent new UID, C clean, K keep; "X/Z"
and the like leave the choice to the attribute's type in the IOD. "" says that the table does not name the
attribute.
"""

import csv
from functools import cache
from pathlib import Path

EDITION = "2026c"
_TABLE = Path(__file__).with_name("profile.csv")
# repeating groups (PS3.5, 7.6): 5000 to 50FE curves, 6000 to 60FE overlays
_REPEATING = {0x5000: "50xx", 0x6000: "60xx"}


@cache
def _rows() -> dict[str, dict[str, str]]:
    """Tag as eight hex digits in capitals (50xxxxxx, 60xx3000, 60xx4000, private) -> the row."""
    with _TABLE.open(newline="", encoding="ascii") as stream:
        return {row["tag"]: row for row in csv.DictReader(line for line in stream if line[0] != "#")}


def _row(tag: int) -> dict[str, str]:
    group, element = tag >> 16, tag & 0xFFFF
    if group % 2:
        return _rows()["private"]
    repeating = _REPEATING.get(group & 0xFF00, "")
    names = (f"{tag:08X}", f"{repeating}{element:04X}", f"{repeating}xxxx")
    return next((_rows()[name] for name in names if name in _rows()), {})


def basic_action(tag: int) -> str:
    """The Basic Profile's action, "" where the table does not name the attribute."""
    return _row(tag).get("basic", "")


def demanded_action(tag: int, patient_characteristics: bool) -> str:
    """The action under the options Clean Descriptors, Retain Longitudinal Temporal Information with Modified
    Dates and, where asked, Retain Patient Characteristics; an option takes the place of the basic action
    (PS3.15 E.1.1)."""
    row = _row(tag)
    options = ("patient",) * patient_characteristics + ("modified_dates", "descriptors")
    return next((row[option] for option in options if row.get(option)), row.get("basic", ""))
