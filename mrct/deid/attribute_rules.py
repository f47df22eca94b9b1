"""What happens to an attribute that is on the allow-list: one small function a rule of attributes.csv.

A rule turns one value into its safe form; "" empties it, None drops it. A value of multiplicity n is
treated value by value. Every text that comes out is ASCII. What the IOD wants filled (type 1) gets a dummy
instead of nothing (PS3.15 E.1.1, action D).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydicom import DataElement
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import format_number_as_ds

from mrct.deid.allow_list import Rule
from mrct.deid.dates import shift_date, shift_date_time
from mrct.deid.pseudonyms import Pseudonyms
from mrct.leaks.vocabulary import clean

_AGE = re.compile(r"(\d{3})([DWMY])")
_NO_AGENT = {"NO", "NONE", "N", "NO CONTRAST", "WITHOUT", "0", "-", "N/A", "NA", "NIL"}
_INTEGER = {"IS", "US", "UL", "SS", "SL", "UV", "SV", "AT"}
# PS3.5 table 6.2-1: characters of a value
_LONGEST = {"CS": 16, "SH": 16, "LO": 64, "ST": 1024, "LT": 10240}
# ids and dates have seven digits and more; letters read as a double are huge or tiny, as 16 bits two blanks and more
_TOO_LARGE, _TOO_SMALL, _TWO_LETTERS = 1e6, 1e-9, 0x2020
_POSITIONAL = {Tag("ImageType"), Tag("FrameType")}
# defined terms made of words that are names too: kept as the whole value only
_WHOLE_TERMS = {
    *("BOTH", "LINE", "REST", "STATIC FIELD", "ELECTRIC_FIELD", "FILTER_BACK_PROJ", "MAX_IP", "MIN_IP"),
    *("T2_STAR", "TRUE_COLOR"),
}
_DUMMIES = {
    **{"DA": "19000101", "DT": "19000101", "TM": "000000"},
    **dict.fromkeys(("CS", "SH", "LO", "ST", "LT"), "REMOVED"),
}


@dataclass(frozen=True)
class Context:
    """What the rules need to know of a file. `shift_days` None: dates were removed before and stay so."""

    pseudonyms: Pseudonyms
    patient: str
    shift_days: int | None
    retain_age_and_sex: bool
    signed: bool


def apply_rule(rule: Rule, element: DataElement, context: Context) -> tuple[DataElement | None, str]:
    """The safe element (None drops it), and what was done: kept, changed, emptied or dropped."""
    vr = _representation(element.tag, context)
    if element.is_empty:
        return nothing(element.tag, vr), "kept"
    values, kept = _safe_values(rule.name, element, vr, context)
    if kept:
        same = [str(value).strip() for value in values] == [str(result) for result in kept]
        value = kept if len(kept) > 1 else kept[0]
        return DataElement(element.tag, vr, value), "kept" if same else "changed"
    if kept is None:
        return None, "dropped"
    if rule.type == 1 and vr in _DUMMIES:
        return DataElement(element.tag, vr, _DUMMIES[vr]), "changed"
    return nothing(element.tag, vr), "emptied"


def nothing(tag: BaseTag, vr: str) -> DataElement:
    """The element without a value."""
    return DataElement(tag, vr, [] if vr == "SQ" else None)


def _safe_values(name: str, element: DataElement, vr: str, context: Context) -> tuple[list, list | None]:
    """The values, and their safe forms; [] empties the element, None drops it."""
    values = list(element.value) if isinstance(element.value, MultiValue | list) else [element.value]
    results = [_RULES[name](value, vr, context) for value in values]
    if element.tag in _POSITIONAL:
        results = [result or "OTHER" for result in results]  # their meaning is their position
    kept = [result for result in results if result not in (None, "")]
    if name in ("number", "pointer") and len(kept) < len(values):
        return values, None  # a vector that lost a component means nothing
    return values, None if not kept and results[0] is None else kept


def _representation(tag: BaseTag, context: Context) -> str:
    """The VR of the standard's dictionary, whatever the file claims; "US or SS" by the pixels' sign."""
    vr = dictionary_VR(tag)
    return vr if " or " not in vr else "SS" if context.signed else "US"


def _uid(value: Any, vr: str, context: Context) -> str:
    return context.pseudonyms.uid(str(value))


def _pseudonym(value: Any, vr: str, context: Context) -> str:
    return context.patient


def _date(value: Any, vr: str, context: Context) -> str:
    return "" if context.shift_days is None else shift_date(str(value), context.shift_days)


def _date_time(value: Any, vr: str, context: Context) -> str:
    return "" if context.shift_days is None else shift_date_time(str(value), context.shift_days)


def _words(use: str) -> Callable[[Any, str, Context], str]:
    def rule(value: Any, vr: str, context: Context) -> str:
        if use == "code" and str(value).strip() in _WHOLE_TERMS:
            return str(value).strip()
        text = clean(str(value), use)
        return text if len(text) <= _LONGEST[vr] else text[: _LONGEST[vr]].rsplit(" ", 1)[0]

    return rule


def _agent(value: Any, vr: str, context: Context) -> str:
    """That an agent was given (or none) is kept, even if its name is not known."""
    if str(value).strip().upper() in _NO_AGENT:
        return "NONE"
    return clean(str(value), "descriptor") or ("AGENT" if str(value).strip() else "")


def _number(value: Any, vr: str, context: Context) -> Any:
    """A finite number in the form of its VR; text VR may hold three digits at most; None otherwise.

    A number too large to be measured here is an id, a date or letters: None; one too small is 0.
    """
    text = str(value).strip()
    if vr in ("CS", "SH"):
        return text if re.fullmatch(r"\d{1,3}", text) else None
    number = float(text)
    if not abs(number) < (_TWO_LETTERS if vr in ("US", "SS") else _TOO_LARGE):
        return None
    if 0 < abs(number) < _TOO_SMALL:
        return "0" if vr == "DS" else 0
    if vr == "DS":
        return text if len(text) <= 16 and "E" not in text.upper() else format_number_as_ds(number)
    if vr in _INTEGER:
        return int(number) if number == int(number) else None
    return number


def _pointer(value: Any, vr: str, context: Context) -> int | None:
    """The tag of a standard attribute; None for a private one, and for text that a damaged length made a tag."""
    return int(value) if keyword_for_tag(int(value)) else None


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
    "pseudonym": _pseudonym,
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
