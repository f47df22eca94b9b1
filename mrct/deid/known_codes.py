"""Coded concepts that are safe because the standard publishes them: anatomy, purposes of reference.

A code sequence item (PS3.3 section 8.8) stays when PS3.16 lists its code; its meaning, a free text, is replaced
with the published one. Other items go: a hospital's own code is free text too.
"""

from functools import cache
from importlib import import_module

from pydicom import Dataset


def known_code(item: Dataset) -> Dataset | None:
    """The published code with its published meaning, or None."""
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
    """(scheme, value) -> meaning of the context groups of PS3.16; SNOMED codes in both spellings.

    pydicom's tables take a second to import, and only enhanced images need them.
    """
    concepts = import_module("pydicom.sr._concepts_dict").concepts
    retired = import_module("pydicom.sr._snomed_dict").mapping["SRT"]
    published = [
        (scheme, value, meaning)
        for scheme in ("DCM", "SCT")
        for values in concepts[scheme].values()
        for value, (meaning, _) in values.items()
    ]
    # of several meanings of a code the shortest counts
    published.sort(key=lambda row: (-len(row[2]), row))
    meanings = {(scheme, value): meaning for scheme, value, meaning in published}
    old = {("SRT", code): meanings[("SCT", new)] for code, new in retired.items() if ("SCT", new) in meanings}
    return {
        key: meaning for key, meaning in (meanings | old).items() if meaning.isascii() and len(meaning) <= 64
    }
