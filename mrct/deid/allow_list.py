"""The attributes that may leave, for each kind of image: attributes.csv, held to the confidentiality profile.

`iods` are the information objects of PS3.3 (A.3 CT, A.4 MR, A.36 enhanced MR, A.38 enhanced CT) whose modules
have the attribute; a legacy converted enhanced image (A.70, A.71) has the attributes of both its kinds. `type` is
the attribute's type there: 1 is never left empty, 2 never absent, 3 may go.
Departure: a classic image also keeps what scanners write into it beyond its IOD and later stages read (a
standard extended SOP class: rescale and b-value of MR, AcquisitionDuration, NumberOfFrames).
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
from mrct.deid.profile import demanded_action

_TABLE = Path(__file__).with_name("attributes.csv")
_ALL = ("ct", "mr", "enhanced_ct", "enhanced_mr")
# the later IOD decides where both know an attribute
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
# the demands of the profile that each rule meets; what no demand names may be kept as it is
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
    "number": set(),
    "pointer": set(),
    "padding": set(),
    # without Retain Patient Characteristics sex is emptied and age dropped
    "sex": {"Z"},
    "age": {"X"},
    "empty": _EMPTY_OR_DUMMY | _CLEAN,
}


class Rule(NamedTuple):
    """How an attribute is made safe, and its type (1, 2 or 3) in the image's IOD."""

    name: str
    type: int


def read_allow_list(path: Path = _TABLE) -> dict[str, dict[int, Rule]]:
    """IOD -> tag -> rule. ValueError names a row whose keyword, rule, type or IOD is unknown, that is given
    twice, or whose rule is weaker than the profile's demand."""
    allowed: dict[str, dict[int, Rule]] = {iod: {} for iod in _ALL}
    with path.open(newline="", encoding="ascii") as stream:
        for row in csv.DictReader(stream):
            where = f"{path.name}: {','.join(row.values())}"
            tag = tag_for_keyword(row["keyword"])
            iods = _ALL if row["iods"] == "all" else tuple(row["iods"].split())
            if tag is None or row["rule"] not in _MEETS or row["type"] not in ("1", "2", "3"):
                raise DataError(f"{where}: no such DICOM keyword, rule or type")
            _require_strict(tag, row["rule"], int(row["type"]), where)
            for iod in iods:
                if iod not in allowed or tag in allowed[iod]:
                    raise DataError(f"{where}: the IOD {iod} is unknown, or has the attribute twice")
                allowed[iod][tag] = Rule(row["rule"], int(row["type"]))
    return allowed


def _require_strict(tag: int, rule: str, kind: int, where: str) -> None:
    for characteristics in (False, True):
        demand = demanded_action(tag, characteristics)
        meets = _MEETS[rule] | ({"D", "X/D"} if rule == "empty" and kind == 1 else set())
        if demand not in meets | {"", "K"}:
            raise DataError(
                f"{where}: the profile demands {demand}; choose a rule that does, or drop the row"
            )


@cache
def allowed_attributes(iods: tuple[str, ...]) -> dict[int, Rule]:
    """Tag -> rule for an image of these IODs."""
    merged: dict[int, Rule] = {}
    for iod in iods:
        merged.update(_ALLOWED[iod])
    return merged


_ALLOWED = read_allow_list()
