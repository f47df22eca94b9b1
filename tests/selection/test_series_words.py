"""The words of the rules for series against de-identification: what the stage never sees cannot refuse a series."""

import itertools
import re
from pathlib import Path

import pytest

from mrct.leaks.vocabulary import clean, words
from mrct.selection import acquisition

USES = ("descriptor", "code", "device")
TABLE = Path(acquisition.__file__).with_name("series_words.txt")
# surnames as well, so de-identification takes them: the dry run on raw data knows more than the stage
SURNAMES = {"FINGER", "FOOT", "LEG", "ARM", "HEART", "BECKEN", "COU", "JET"}
NOT_ASCII = {"SCHÄDEL"}


def entries() -> list[tuple[str, str]]:
    """(section, entry) of the table; what is taken out of names is no word of a rule."""
    found = []
    section = ""
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#") and not section.endswith("but not"):
            found += [(section, entry.strip()) for entry in line.split(",") if entry.strip()]
    return found


def spellings(entry: str) -> list[str]:
    """What the entry stands for, with a blank and without: "(CE|PC)? MRA" is CE MRA, PC MRA, MRA and so on."""
    parts = [
        [*text.strip("()?").split("|"), *([""] if text.endswith("?") else [])]
        if text.startswith("(")
        else [text]
        for text in re.findall(r"\([^)]*\)\??|[^()]+", entry.replace("*", ""))
    ]
    plain = {" ".join("".join(choice).split()) for choice in itertools.product(*parts)}
    return sorted(plain | {text.replace(" ", "") for text in plain})


@pytest.mark.parametrize(("section", "entry"), entries(), ids=lambda value: value.replace(" ", "-"))
def test_a_word_that_speaks_against_a_series_survives_de_identification(section: str, entry: str) -> None:
    """In one of its spellings, as a name or as a code; an entry that ends in * by some word of that stem."""
    known = sorted(words("descriptor")) if entry.endswith("*") else []
    texts = [*spellings(entry), *(word for word in known if word.startswith(tuple(spellings(entry))))]
    survivors = [text for text in texts for use in USES if acquisition.word_of(section, clean(text, use))]
    assert bool(survivors) != (entry in SURNAMES | NOT_ASCII)
