"""The words of the rules survive de-identification: a word that the stage never sees cannot reject a series."""

import itertools
import re
from pathlib import Path

import pytest

from mrct.leaks.vocabulary import clean, words
from mrct.selection import acquisition

USES = ("descriptor", "code", "device")
TABLE = Path(acquisition.__file__).with_name("series_words.txt")
# also surnames, so that de-identification removes them; only the dry run on raw data sees them
SURNAMES = {"FINGER", "FOOT", "LEG", "ARM", "HEART", "BECKEN", "COU", "JET"}
NOT_ASCII = {"SCHÄDEL"}


def entries() -> list[tuple[str, str]]:
    """Return (section, entry) of the table, without the words that are removed from names."""
    found = []
    section = ""
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#") and not section.endswith("but not"):
            found += [(section, entry.strip()) for entry in line.split(",") if entry.strip()]
    return found


def spellings(entry: str) -> list[str]:
    """Expand an entry, with and without blanks: "(CE|PC)? MRA" gives CE MRA, PC MRA, MRA and so on."""
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
    """One spelling must survive, as a name or as a code; for an entry that ends in *, some word with that stem."""
    known = sorted(words("descriptor")) if entry.endswith("*") else []
    texts = [*spellings(entry), *(word for word in known if word.startswith(tuple(spellings(entry))))]
    survivors = [text for text in texts for use in USES if acquisition.word_of(section, clean(text, use))]
    assert bool(survivors) != (entry in SURNAMES | NOT_ASCII)
