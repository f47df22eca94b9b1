"""The rules of attributes.csv, one small function each, which make the values of an allowed attribute safe.

A rule converts one value to its safe form; "" empties it, None drops it. Each value of a multi-valued attribute is
treated separately. All resulting text is ASCII. An attribute that the IOD requires to have a value (type 1) gets a
dummy value instead of none (PS3.15 E.1.1, action D).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from importlib import import_module
from typing import NamedTuple

from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import format_number_as_ds

from mrct.core.contracts import AttributeAction
from mrct.deid.allow_list import Rule
from mrct.deid.pseudonyms import Pseudonyms
from mrct.dicom.dates import parse_event
from mrct.dicom.header import names_agent, written_numbers
from mrct.leaks.vocabulary import clean

Value = str | int | float | bytes

_AGE = re.compile(r"(\d{3})([DWMY])")
_INTEGER = {"IS", "US", "UL", "SS", "SL", "UV", "SV", "AT"}
# PS3.5 table 6.2-1: maximum length of a value in characters
_LONGEST = {"CS": 16, "SH": 16, "LO": 64, "ST": 1024, "LT": 10240}
# Numbers outside these bounds are not measurements: ids and dates have seven or more digits, letters read as a double
# are huge or tiny, and two letters read as 16 bits are at least two blanks.
_TOO_LARGE, _TOO_SMALL, _TWO_LETTERS = 1e6, 1e-9, 0x2020
_POSITIONAL = {Tag("ImageType"), Tag("FrameType")}
# defined terms whose words are also names: they are kept only as the whole value
_UNITS = {"HU", "US", "HU_MOD", "OD", "MGML", "Z_EFF", "ED", "EDW", "PCT"}
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
    """The properties of a file that the rules need.

    Attributes:
        pseudonyms: The mapping of identities.
        patient: Pseudonym of the patient.
        shift_days: Shift of the dates; None if another tool has removed the dates, so that all dates are emptied.
        retain_age_and_sex: Whether age and sex are kept.
        dates_moved: Whether another tool may have moved the dates, so that any year is possible.
        signed: Whether the stored pixels are signed.
    """

    pseudonyms: Pseudonyms
    patient: str
    shift_days: int | None
    retain_age_and_sex: bool
    dates_moved: bool
    signed: bool


class SafeElement(NamedTuple):
    """An element without personal data, or None if it is dropped, and what was done to the original."""

    element: DataElement | None
    action: AttributeAction


def apply_rule(rule: Rule, element: DataElement, context: Context) -> SafeElement:
    """Return the safe form of an element that is not a sequence.

    Raises:
        Exception: pydicom cannot convert a damaged value; the class depends on what is wrong with it.
    """
    vr = _representation(element.tag, context)
    if element.is_empty:
        return SafeElement(nothing(element.tag, vr), AttributeAction.KEPT)
    values = list(element.value) if isinstance(element.value, MultiValue | list) else [element.value]
    if rule.name == "number":
        values = written_numbers(values)
    kept = _safe_values(rule.name, element.tag, values, vr, context)
    if kept:
        same = [str(value).strip() for value in values] == [str(result) for result in kept]
        safe = DataElement(element.tag, vr, kept if len(kept) > 1 else kept[0])
        return SafeElement(safe, AttributeAction.KEPT if same else AttributeAction.CHANGED)
    if kept is None:
        return SafeElement(None, AttributeAction.DROPPED)
    if rule.type == 1 and vr in _DUMMIES:
        return SafeElement(DataElement(element.tag, vr, _DUMMIES[vr]), AttributeAction.CHANGED)
    return SafeElement(nothing(element.tag, vr), AttributeAction.EMPTIED)


def nothing(tag: BaseTag, vr: str) -> DataElement:
    """Return the element without a value."""
    return DataElement(tag, vr, [] if vr == "SQ" else None)


def _safe_values(
    name: str, tag: BaseTag, values: list[Value], vr: str, context: Context
) -> list[Value] | None:
    """Return the safe forms of the values; [] empties the element, None drops it."""
    results = [_RULES[name](value, vr, context) for value in values]
    if tag in _POSITIONAL:
        results = [result or "OTHER" for result in results]  # the position of a value gives its meaning
    kept: list[Value] = [result for result in results if result is not None and result != ""]
    if name in ("number", "pointer") and len(kept) < len(values):
        return None  # a vector without one of its components has no meaning
    return None if not kept and results[0] is None else kept


def _representation(tag: BaseTag, context: Context) -> str:
    """Return the VR of the data dictionary, not that of the file; "US or SS" is decided by the sign of the pixels."""
    vr = dictionary_VR(tag)
    return vr if " or " not in vr else "SS" if context.signed else "US"


def _uid(value: Value, vr: str, context: Context) -> str:
    return context.pseudonyms.uid(str(value))


def _pseudonym(value: Value, vr: str, context: Context) -> str:
    return context.patient


def _date(value: Value, vr: str, context: Context) -> str:
    """Move a DA or DT value; the result is a whole date.

    Time of day and time zone are removed: with a hospital's schedule they identify the patient. A date that cannot be
    true is emptied: moved, a placeholder would look like a date.
    """
    found = parse_event(str(value), context.dates_moved)
    if found is None or context.shift_days is None:
        return ""
    return shifted(found, context.shift_days)


def shifted(day: date, days: int) -> str:
    """Move a date by `days` on the calendar and write it as YYYYMMDD; "" if it cannot be represented.

    This implements the option Modified Dates of PS3.15 annex E: the days between two dates of a patient do not change.
    """
    try:
        return f"{day + timedelta(days):%Y%m%d}".zfill(8)
    except OverflowError:
        return ""


def _words(use: str) -> Callable[[Value, str, Context], str]:
    def rule(value: Value, vr: str, context: Context) -> str:
        if use == "code" and str(value).strip() in _WHOLE_TERMS:
            return str(value).strip()
        text = clean(str(value), use)
        return text if len(text) <= _LONGEST[vr] else text[: _LONGEST[vr]].rsplit(" ", 1)[0]

    return rule


def _agent(value: Value, vr: str, context: Context) -> str:
    """Keep the fact that an agent was given, even if its name is not in the vocabulary."""
    text = str(value).strip()
    if not names_agent(text):
        return "NONE" if text else ""
    safe = clean(text, "descriptor")
    # without the words that are removed, the rest may deny what the whole affirms: "W/WO" becomes "WO"
    return safe if names_agent(safe) else "AGENT"


def _unit(value: Value, vr: str, context: Context) -> str:
    """Keep a defined term of RescaleType (PS3.3 C.11.1.1.2); that there is another unit than HU must not be lost."""
    text = str(value).strip().upper()
    return text if text in _UNITS or not text else "OTHER"


def _number(value: Value, vr: str, context: Context) -> str | int | float | None:
    """Keep a finite number in the form of its VR; a text VR may hold three digits at most.

    A number that is too large for a measurement is an id, a date or letters, and gives None. One that is too small
    gives 0.
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


def _pointer(value: Value, vr: str, context: Context) -> int | None:
    """Keep the tag of a standard attribute; a private tag, or text read as a tag after a damaged length, gives None."""
    return int(value) if keyword_for_tag(int(value)) else None


def _padding(value: Value, vr: str, context: Context) -> int:
    """Wrap a stored value to 16 bits with the sign of the pixels; it is bytes if the reader did not know the sign."""
    number = int.from_bytes(value[:2], "little") if isinstance(value, bytes) else int(value)
    number %= 1 << 16
    return number - (1 << 16) if vr == "SS" and number >= 1 << 15 else number


def _sex(value: Value, vr: str, context: Context) -> str:
    text = str(value).strip().upper()
    return text if context.retain_age_and_sex and text in ("M", "F", "O") else ""


def _age(value: Value, vr: str, context: Context) -> str | None:
    """Replace an age of 90 years or more by 090Y (HIPAA safe harbor, 45 CFR 164.514(b)(2)(i)(C))."""
    match = _AGE.fullmatch(str(value).strip().upper())
    if not context.retain_age_and_sex or match is None:
        return None
    years = int(match[1]) / {"D": 365.25, "W": 52.18, "M": 12, "Y": 1}[match[2]]
    return "090Y" if years >= 90 else match[0]


def _empty(value: Value, vr: str, context: Context) -> str:
    return ""


_RULES: dict[str, Callable[[Value, str, Context], str | int | float | None]] = {
    "uid": _uid,
    "pseudonym": _pseudonym,
    "date": _date,
    "date_time": _date,
    "code": _words("code"),
    "descriptor": _words("descriptor"),
    "device": _words("device"),
    "agent": _agent,
    "unit": _unit,
    "number": _number,
    "pointer": _pointer,
    "padding": _padding,
    "sex": _sex,
    "age": _age,
    "empty": _empty,
}


def known_code(item: Dataset) -> Dataset | None:
    """Return a code sequence item (PS3.3 8.8) whose code PS3.16 publishes, with the published meaning.

    The item's own meaning is free text and is replaced. A code of the hospital is free text as well and gives None.
    """
    value = str(item.get("CodeValue", "") or "").strip()
    scheme = str(item.get("CodingSchemeDesignator", "") or "").strip()
    meaning = _meanings().get((scheme, value))
    if meaning is None:
        return None
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


@cache
def _meanings() -> dict[tuple[str, str], str]:
    """Return (scheme, value) -> meaning, from the context groups of PS3.16; SNOMED codes in both spellings.

    The import of pydicom's tables takes a second, and only enhanced images need them.
    """
    concepts = import_module("pydicom.sr._concepts_dict").concepts
    retired = import_module("pydicom.sr._snomed_dict").mapping["SRT"]
    published = [
        (scheme, value, meaning)
        for scheme in ("DCM", "SCT")
        for values in concepts[scheme].values()
        for value, (meaning, _) in values.items()
    ]
    # the last entry of a code is used: the shortest of several meanings
    published.sort(key=lambda row: (-len(row[2]), row))
    meanings = {(scheme, value): meaning for scheme, value, meaning in published}
    old = {("SRT", code): meanings[("SCT", new)] for code, new in retired.items() if ("SCT", new) in meanings}
    return {
        key: meaning for key, meaning in (meanings | old).items() if meaning.isascii() and len(meaning) <= 64
    }
