"""An allow-list of words for the free text of headers.

An allow-list is used because no list of names is complete. A token is a run of letters and digits. It is kept if it is
a known word (vocabulary.txt), a known pattern (a kernel such as H31s, a b-value), or known words and short numbers
written together ("AxT2", "tse2d1"). A number alone is kept only between known words, so that no date, telephone number
or address survives.
"""

import re
from functools import cache
from pathlib import Path

_TABLE = Path(__file__).with_name("vocabulary.txt")
_TOKEN = re.compile(r"\d+(?:[.,/\-:]\d+)+|[^\W_]+", re.UNICODE)
_NUMBER = re.compile(r"\d{1,3}|\d{1,2}\.\d")
# Kernels H31s, J40s, Br36, Hr40f, UB (Siemens, Philips) and FC21 (Canon), b-values, slice thickness, field strength.
_PATTERN = re.compile(
    r"(?:[BHJTUQ][RFPVC]?|BV|FC|FL)\d{2}[A-Z]?|B(?:0|\d{1,3}0)|\d{1,2}(?:\.\d)?(?:MM|CM|T)|[PS]\d|C\d{1,2}"
    r"|\d[DX]|\d{1,3}X\d{1,3}(?:X\d{1,3})?|T[ERI]\d{1,3}|(?:MR|CT)\d{3}W?|NS\d?|\d{1,2}CH|\d{2,3}(?:KV|MAS|MS)"
)
# Kernels of Philips. They are known in coded strings only: in free text "Ed" and "Ye" are names.
_KERNEL_LETTERS = re.compile("[UYE][A-E]")
_SEPARATORS = frozenset((*" _*+-/.,:", "+ ", " +", " *", "* ", ""))
# "w/o contrast" must not become "contrast".
_WITHOUT = re.compile(r"\bw/o\b", re.IGNORECASE)
_LONGEST_TOKEN = 24
_SINGLE_LETTERS = {
    # "C+" means with contrast agent.
    "descriptor": frozenset("C"),
    "code": frozenset("MPRIWCTBDELAHXYNU"),
    "device": frozenset("X"),
}


@cache
def words(use: str) -> frozenset[str]:
    """Return the known words, in capitals.

    Args:
        use: Origin of the text. "descriptor" is free text, "code" a coded string or a sequence name, "device" a
            manufacturer or a model. The words of "descriptor" are known in all three.
    """
    sections: dict[str, set[str]] = {}
    for line in _TABLE.read_text(encoding="ascii").splitlines():
        if line.startswith("["):
            current = sections.setdefault(line.strip("[] "), set())
        elif line and not line.startswith("#"):
            current.update(line.split())
    return frozenset(sections["descriptor"] | sections[use])


@cache
def _composite(use: str) -> re.Pattern[str]:
    """Match known words and short numbers without a gap ("AxT2", "FLAIR3D"), and sequence names ("tir2d1rr16").

    Words of two letters are accepted only before 2D or 3D, because surnames such as Cortese consist of them
    (COR+TE+SE). RIGHT is left out, because "T2Wright" would be read as T2W+RIGHT.
    """
    ordered = sorted(words(use), key=lambda word: (-len(word), word))
    distinct = [word for word in ordered if len(word) > 2 or any(map(str.isdigit, word))] + ["AX", "PD"]
    distinct.remove("RIGHT")
    run = "|".join(map(re.escape, distinct))
    any_word = "|".join(map(re.escape, ordered))
    sequence = rf"(?:{any_word})[23]D\d{{0,3}}(?:RR|NS|R|S)?\d{{0,3}}"
    return re.compile(rf"(?:{run})(?:{run}|\d{{1,3}})*|{sequence}")


def allows(token: str, use: str = "code") -> bool:
    """Return whether a token is known. A number alone is not.

    Args:
        token: A run of letters and digits, in any case.
        use: See `words`.
    """
    upper = token.upper()
    if not token.isascii() or len(token) > _LONGEST_TOKEN or sum(map(str.isdigit, token)) > 5:
        return False
    if len(token) == 1:
        return upper in _SINGLE_LETTERS[use]
    if use == "code" and _KERNEL_LETTERS.fullmatch(upper):
        return True
    return upper in words(use) or bool(_PATTERN.fullmatch(upper) or _composite(use).fullmatch(upper))


def clean(text: str, use: str) -> str:
    """Return `text` without its unknown tokens.

    A single separator is kept if the tokens on both sides are kept. Otherwise a space replaces it.

    Args:
        text: Free text of a header.
        use: See `words`.
    """
    text = _WITHOUT.sub("WO", text)
    tokens = list(_TOKEN.finditer(text))
    known = [allows(token.group(), use) for token in tokens]
    kept = [word or _is_safe_number(tokens, known, index) for index, word in enumerate(known)]
    result = "*" if text.startswith("*") and kept[:1] == [True] else ""
    for index, token in enumerate(tokens):
        if kept[index]:
            result += (_separator(text, tokens, index, kept) if result.strip("*") else "") + token.group()
    return result + _final_plus(text, tokens, kept)


def _is_safe_number(tokens: list[re.Match[str]], known: list[bool], index: int) -> bool:
    """Return whether a short number stands next to known words only: "AX 5 T2", but not "03 11 57" or "Main 12"."""
    if not _NUMBER.fullmatch(tokens[index].group()) or len(tokens) == 1:
        return False
    neighbors = known[max(index - 1, 0) : index] + known[index + 1 : index + 2]
    return all(neighbors)


def _separator(text: str, tokens: list[re.Match[str]], index: int, kept: list[bool]) -> str:
    separator = text[tokens[index - 1].end() : tokens[index].start()]
    return separator if kept[index - 1] and separator in _SEPARATORS else " "


def _final_plus(text: str, tokens: list[re.Match[str]], kept: list[bool]) -> str:
    """Return the final sign of "C+" (contrast agent) and "STD+" (kernel), or ""."""
    return "+" if kept[-1:] == [True] and text[tokens[-1].end() :].strip() == "+" else ""
