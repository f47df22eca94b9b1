"""What happens to an attribute that is on the allow-list: one small function a rule of attributes.csv.

A rule turns one value into its safe form; "" empties it, None drops it. A value of multiplicity n is
treated value by value. Every text that comes out is ASCII.
"""

import csv
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import DataElement
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import format_number_as_ds

from mrct.dicom.dates import shift_date, shift_date_time
from mrct.dicom.pseudonyms import Pseudonyms
from mrct.dicom.vocabulary import clean

_TABLE = Path(__file__).with_name("attributes.csv")
_AGE = re.compile(r"(\d{3})([DWMY])")
_NO_AGENT = {"NO", "NONE", "N", "NO CONTRAST", "WITHOUT", "0", "-", "N/A", "NA", "NIL"}
_INTEGER = {"IS", "US", "UL", "SS", "SL", "UV", "SV", "AT"}
# PS3.5 table 6.2-1: characters of a value
_LONGEST = {"CS": 16, "SH": 16, "LO": 64, "ST": 1024, "LT": 10240}
_POSITIONAL = {Tag("ImageType"), Tag("FrameType")}


@dataclass(frozen=True)
class Context:
    """What the rules need to know of a file."""

    pseudonyms: Pseudonyms
    shift_days: int
    retain_age_and_sex: bool
    signed: bool


def read_rules(path: Path = _TABLE) -> dict[BaseTag, str]:
    """Tag -> rule; an unknown keyword or rule in the table is an error."""
    with path.open(newline="", encoding="ascii") as stream:
        rows = [(row["keyword"], row["rule"]) for row in csv.DictReader(stream)]
    rules = {}
    for keyword, rule in rows:
        tag = tag_for_keyword(keyword)
        if tag is None or (rule != "sequence" and rule not in _RULES):
            raise ValueError(f"{path.name}: {keyword},{rule}: no such DICOM keyword or rule")
        rules[Tag(tag)] = rule
    return rules


def apply_rule(rule: str, element: DataElement, context: Context) -> tuple[DataElement | None, str]:
    """The safe element (None drops it), and what was done: kept, changed, emptied or dropped."""
    vr = _representation(element.tag, context)
    if element.is_empty:
        return DataElement(element.tag, vr, None), "kept"
    values = list(element.value) if isinstance(element.value, MultiValue | list) else [element.value]
    results = [_RULES[rule](value, vr, context) for value in values]
    if element.tag in _POSITIONAL:
        results = [result or "OTHER" for result in results]  # their meaning is their position
    kept = [result for result in results if result not in (None, "")]
    if not kept:
        dropped = results[0] is None
        return (None, "dropped") if dropped else (DataElement(element.tag, vr, None), "emptied")
    if len(kept) < len(values) and rule == "number":
        return None, "dropped"  # a vector that lost a component means nothing
    same = [str(value).strip() for value in values] == [str(result) for result in kept]
    value = kept if len(kept) > 1 else kept[0]
    return DataElement(element.tag, vr, value), "kept" if same else "changed"


def _representation(tag: BaseTag, context: Context) -> str:
    """The VR of the standard's dictionary, whatever the file claims; "US or SS" by the pixels' sign."""
    vr = dictionary_VR(tag)
    return vr if " or " not in vr else "SS" if context.signed else "US"


def _uid(value: Any, vr: str, context: Context) -> str:
    return context.pseudonyms.uid(str(value))


def _date(value: Any, vr: str, context: Context) -> str:
    return shift_date(str(value), context.shift_days)


def _date_time(value: Any, vr: str, context: Context) -> str:
    return shift_date_time(str(value), context.shift_days)


def _words(use: str) -> Callable[[Any, str, Context], str]:
    def rule(value: Any, vr: str, context: Context) -> str:
        text = clean(str(value), use)
        return text if len(text) <= _LONGEST[vr] else text[: _LONGEST[vr]].rsplit(" ", 1)[0]

    return rule


def _agent(value: Any, vr: str, context: Context) -> str:
    """That an agent was given (or none) is kept, even if its name is not known."""
    if str(value).strip().upper() in _NO_AGENT:
        return "NONE"
    return clean(str(value), "descriptor") or ("AGENT" if str(value).strip() else "")


def _number(value: Any, vr: str, context: Context) -> Any:
    """A finite number in the form of its VR; text VR may hold three digits at most; None otherwise."""
    text = str(value).strip()
    if vr in ("CS", "SH"):
        return text if re.fullmatch(r"\d{1,3}", text) else None
    number = float(text)
    if not math.isfinite(number):
        return None
    if vr == "DS":
        return text if len(text) <= 16 else format_number_as_ds(number)
    if vr in _INTEGER:
        return int(number) if number == int(number) else None
    return number


def _pointer(value: Any, vr: str, context: Context) -> int:
    return int(value)


def _padding(value: Any, vr: str, context: Context) -> int:
    """A stored value: bytes where the reader did not know the sign; wrapped into 16 bits of that sign."""
    number = int.from_bytes(value[:2], "little") if isinstance(value, bytes) else int(value)
    number %= 1 << 16
    return number - (1 << 16) if vr == "SS" and number >= 1 << 15 else number


def _sex(value: Any, vr: str, context: Context) -> str:
    text = str(value).strip().upper()
    return text if context.retain_age_and_sex and text in ("M", "F", "O") else ""


def _age(value: Any, vr: str, context: Context) -> str | None:
    """Over 89 years becomes 090Y (HIPAA safe harbor, 45 CFR 164.514(b)(2)(i)(C))."""
    match = _AGE.fullmatch(str(value).strip().upper())
    if not context.retain_age_and_sex or match is None:
        return None
    years = int(match[1]) / {"D": 365.25, "W": 52.18, "M": 12, "Y": 1}[match[2]]
    return "090Y" if years >= 90 else match[0]


def _empty(value: Any, vr: str, context: Context) -> str:
    return ""


_RULES: dict[str, Callable[[Any, str, Context], Any]] = {
    "uid": _uid,
    "date": _date,
    "date_time": _date_time,
    "code": _words("code"),
    "descriptor": _words("descriptor"),
    "device": _words("device"),
    "agent": _agent,
    "number": _number,
    "pointer": _pointer,
    "padding": _padding,
    "sex": _sex,
    "age": _age,
    "empty": _empty,
}
RULES = read_rules()
