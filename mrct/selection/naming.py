"""What the names of a sequence, protocol and series say an acquisition is, by the words of series_words.txt.

A name only ever speaks against a series; it never makes one wanted.
"""

import re
from functools import cache, lru_cache
from pathlib import Path

from mrct.dicom.series import Instance

_TABLE = Path(__file__).with_name("series_words.txt")
_READOUTS = {"tse", "flair"}
_PARTS = {"body_part": "not the head", "part_of_head": "only a part of the head"}
# "T2TSE" and "tse2d1": a word also begins after a digit, and ends before 2D or 3D
_JOINED = re.compile(r"(?<=[A-Z])(?=[23]D)|(?<=[23]D)(?=[A-Z])")
_PLUS = re.compile(r"(?<![A-Z])C ?\+|\+ ?C(?![A-Z])")


def named(instance: Instance, kind: str) -> str:
    """What in the names says `kind` (for the reason: "the word TSE in the protocol name"), or empty.

    GE and all CT scanners write the examination's name as protocol of each of its series: the plain CT before
    an angiography is called CTA there. Such a name counts only where it tells of the readout.
    """
    whole_examination = instance.modality == "CT" or instance.vendor == "GE"
    if kind in _READOUTS or not whole_examination:
        return _found(kind, instance, ("sequence name", "protocol name", "series description"))
    return _found(kind, instance, ("sequence name", "series description"))


def named_contrast(instance: Instance) -> str:
    """What in the series description says that an agent was given, or empty; "without contrast" is none."""
    return _found("contrast", instance, ("series description",))


def named_device(instance: Instance, kind: str) -> str:
    """What in the names of the device and of the series says `kind`, or empty."""
    return _found(kind, instance, ("device model",)) or named(instance, kind)


def other_body_part(instance: Instance) -> str:
    """Why this is not the whole head, or empty: the first place that names a part of the body decides.

    The series' own name is the closest, the protocol's may be the whole examination's, and the tag is often
    the protocol's as well. Where a place names the head and another part, the head is in it.
    """
    for place in ("series description", "protocol name", "body part tag"):
        if _found("head", instance, (place,)):
            return ""
        for kind, what in _PARTS.items():
            if found := _found(kind, instance, (place,)):
                return f"{what}: {found}"
    return ""


def _found(kind: str, instance: Instance, places: tuple[str, ...]) -> str:
    texts = {
        "sequence name": instance.sequence_name,
        "protocol name": instance.protocol,
        "series description": instance.description,
        "body part tag": instance.body_part,
        "device model": instance.model,
    }
    for place in places:
        word = _word(kind, texts[place])
        if word:
            return f"the word {word} in the {place}"
    return ""


@lru_cache(maxsize=4096)
def _word(kind: str, text: str) -> str:
    """The first word of the kind in the text, or empty."""
    plain = _plain(text)
    exceptions = _patterns().get(f"{kind}, but not")
    found = _patterns()[kind].search(exceptions.sub(" ", plain) if exceptions else plain)
    return found.group() if found else ""


def _plain(text: str) -> str:
    """Upper case; "C+" is contrast, underscores and punctuation are blanks."""
    words = re.sub(r"[\W_]", " ", _PLUS.sub(" CONTRAST ", text.upper()))
    return _JOINED.sub(" ", " ".join(words.split()))


@cache
def _patterns() -> dict[str, re.Pattern[str]]:
    """Section of the table -> pattern of its entries."""
    entries: dict[str, list[str]] = {}
    for line in _TABLE.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            current = entries.setdefault(line.strip("[] "), [])
        elif line and not line.startswith("#"):
            current += [_regex(entry.strip()) for entry in line.split(",") if entry.strip()]
    return {section: re.compile(rf"(?<![A-Z])(?:{'|'.join(words)})") for section, words in entries.items()}


def _regex(entry: str) -> str:
    """A * at the end leaves the rest of the word out of the match, so that a reason quotes the table alone."""
    pattern = entry.rstrip("*").replace("(", "(?:").replace("*", r"\w*").replace(" ", " ?")
    return pattern if entry.endswith("*") else rf"{pattern}(?![A-Z])"
