"""The attributes that may leave the hospital: attributes.csv, checked against the confidentiality profile, profile.csv.

attributes.csv: `iods` are the information objects of PS3.3 (A.3 CT, A.4 MR, A.36 enhanced MR, A.38 enhanced CT) whose
modules have the attribute; a legacy converted enhanced image (A.70, A.71) has the attributes of both its kinds. `type`
is the attribute's type there: an attribute of type 1 is never empty, one of type 2 is never absent, and one of type 3
may be dropped.
Departure: a classic image also keeps attributes beyond its IOD that scanners write and later stages read (a standard
extended SOP class: rescale and b-value of MR, AcquisitionDuration, NumberOfFrames).

profile.csv: PS3.15 table E.1-1. Its actions (table E.1-1a) are X remove, Z empty or dummy, D dummy, U consistent new
UID, C clean, K keep; "X/Z" and the like leave the choice to the attribute's type in the IOD. An empty action means that
the table does not name the attribute.
"""

import csv
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pydicom.datadict import tag_for_keyword
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    MRImageStorage,
)

from mrct.core.errors import DataError

#: Edition of PS3.15 from which profile.csv is taken.
EDITION = "2026c"
_PROFILE = Path(__file__).with_name("profile.csv")
_ATTRIBUTES = Path(__file__).with_name("attributes.csv")
# repeating groups (PS3.5 7.6): 5000 to 50FE curves, 6000 to 60FE overlays
_REPEATING = {0x5000: "50xx", 0x6000: "60xx"}
_ALL = ("ct", "mr", "enhanced_ct", "enhanced_mr")
#: SOP class of an image -> its IODs in attributes.csv; of an attribute of two IODs, the later one decides.
IODS: dict[str, tuple[str, ...]] = {
    CTImageStorage: ("ct",),
    MRImageStorage: ("mr",),
    EnhancedCTImageStorage: ("enhanced_ct",),
    EnhancedMRImageStorage: ("enhanced_mr",),
    LegacyConvertedEnhancedCTImageStorage: ("ct", "enhanced_ct"),
    LegacyConvertedEnhancedMRImageStorage: ("mr", "enhanced_mr"),
}
_EMPTY_OR_DUMMY = {"Z", "X/Z", "Z/D", "X/Z/D"}
_CLEAN = {"C"}
# the actions of the profile that each rule satisfies; an attribute without an action may have any rule
_MEETS: dict[str, set[str]] = {
    "sequence": {"X/Z/U*"},
    "coded": _CLEAN,
    "uid": {"U"},
    "pseudonym": _EMPTY_OR_DUMMY | {"D"},
    "date": _CLEAN,
    "date_time": _CLEAN,
    "code": _CLEAN,
    "descriptor": _CLEAN,
    "device": _CLEAN,
    "agent": _CLEAN,
    "unit": _CLEAN,
    "number": set(),
    "pointer": set(),
    "padding": set(),
    # without Retain Patient Characteristics sex is emptied and age dropped
    "sex": {"Z"},
    "age": {"X"},
    "empty": _EMPTY_OR_DUMMY | _CLEAN,
}


class Rule(NamedTuple):
    """The rule that makes an attribute safe (mrct/deid/attribute_rules.py), and its type (1, 2 or 3) in the IOD."""

    name: str
    type: int


def basic_action(tag: int) -> str:
    """Return the action of the Basic Profile; "" if the table does not name the attribute."""
    return _profile_row(tag).get("basic", "")


def demanded_action(tag: int, patient_characteristics: bool) -> str:
    """Return the action under the options that we apply; "" if the table does not name the attribute.

    The options are Clean Descriptors, Retain Longitudinal Temporal Information with Modified Dates and, with
    `patient_characteristics`, Retain Patient Characteristics. An option replaces the basic action (PS3.15 E.1.1).
    """
    row = _profile_row(tag)
    options = ("patient",) * patient_characteristics + ("modified_dates", "descriptors")
    return next((row[option] for option in options if row.get(option)), row.get("basic", ""))


@cache
def _profile_rows() -> dict[str, dict[str, str]]:
    """Return the rows by tag: eight hexadecimal digits in capitals, or 50xxxxxx, 60xx3000, 60xx4000, private."""
    with _PROFILE.open(newline="", encoding="ascii") as stream:
        return {row["tag"]: row for row in csv.DictReader(line for line in stream if line[0] != "#")}


def _profile_row(tag: int) -> dict[str, str]:
    group, element = tag >> 16, tag & 0xFFFF
    rows = _profile_rows()
    if group % 2:
        return rows["private"]
    repeating = _REPEATING.get(group & 0xFF00, "")
    names = (f"{tag:08X}", f"{repeating}{element:04X}", f"{repeating}xxxx")
    return next((rows[name] for name in names if name in rows), {})


def read_allow_list(path: Path = _ATTRIBUTES) -> dict[str, dict[int, Rule]]:
    """Read a table like attributes.csv.

    Returns:
        IOD -> tag -> rule.

    Raises:
        DataError: A keyword, rule, type or IOD is unknown, an attribute is given twice, or a rule is weaker than the
        profile demands. The message quotes the row.
    """
    allowed: dict[str, dict[int, Rule]] = {iod: {} for iod in _ALL}
    with path.open(newline="", encoding="ascii") as stream:
        for row in csv.DictReader(stream):
            where = f"{path.name}: {','.join(row.values())}"
            tag = tag_for_keyword(row["keyword"])
            iods = _ALL if row["iods"] == "all" else tuple(row["iods"].split())
            if tag is None or row["rule"] not in _MEETS or row["type"] not in ("1", "2", "3"):
                raise DataError(f"{where}: no such DICOM keyword, rule or type")
            rule = Rule(row["rule"], int(row["type"]))
            _require_strict(tag, rule, where)
            for iod in iods:
                if iod not in allowed or tag in allowed[iod]:
                    raise DataError(f"{where}: the IOD {iod} is unknown, or has the attribute twice")
                allowed[iod][tag] = rule
    return allowed


def _require_strict(tag: int, rule: Rule, where: str) -> None:
    meets = _MEETS[rule.name] | {"", "K"}
    if rule == Rule("empty", 1):  # it gets a dummy value (PS3.15 E.1.1, action D)
        meets |= {"D", "X/D"}
    for characteristics in (False, True):
        demand = demanded_action(tag, characteristics)
        if demand not in meets:
            raise DataError(
                f"{where}: the profile demands {demand}; choose a rule that does, or drop the row"
            )


@cache
def allowed_attributes(iods: tuple[str, ...]) -> dict[int, Rule]:
    """Return tag -> rule for an image of these IODs."""
    merged: dict[int, Rule] = {}
    for iod in iods:
        merged.update(_ALLOWED[iod])
    return merged


_ALLOWED = read_allow_list()
