"""How much a value proves, by what it looks like and whether this program's own text or English holds it."""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from pydoc_data.topics import topics

from mrct.leaks.evidence import Index, Value
from mrct.leaks.identifying import BIRTH
from mrct.leaks.matching import Matcher, number_runs
from mrct.leaks.phi_values import SHORTEST_NUMBER, PhiValues
from mrct.leaks.surroundings import SHORTEST_IN_BINARY, is_readable
from mrct.leaks.vocabulary import allows

_SHORTEST = 3
_SHORTEST_WORD = 6
_WORD = re.compile(r"[^\W\d_]+")
_PROSE = re.compile("Comments|Address|Telecom|Note|Comment|descrip|extension|History|Occupation|Location")
# of hospitals and their machines: words that stand in many institutions' names
_GENERIC = frozenset(
    _WORD.findall("""
    hospital clinic clinics university medical center centre radiology department institute imaging neurology
    neuroradiology oncology surgery health general central national regional city saint street avenue scanner
    workstation console server archive patient anonymous unknown phantom volunteer subject doctor professor
""")
)


def build_index(patients: Sequence[PhiValues]) -> Index:
    """All values with their strength; a value of several patients belongs to each."""
    keywords: dict[str | bytes, str] = {}
    owners: dict[str | bytes, set[int]] = {}
    for number, phi_values in enumerate(patients):
        for kind in (
            phi_values.texts,
            phi_values.numbers,
            phi_values.moments,
            phi_values.raw,
            phi_values.short,
        ):
            for value, keyword in kind.items():
                if _is_searchable(value, keyword):
                    keywords.setdefault(value, keyword)
                    owners.setdefault(value, set()).add(number)
    known = _in_program(keywords)
    index = Index()
    for value, keyword in keywords.items():
        judged = _judge(value, keyword, frozenset(owners[value]), value in known)
        if isinstance(value, str) and re.fullmatch(rf"[0-9.]{{{SHORTEST_NUMBER},}}", value):
            index.numbers[value] = judged
        else:
            index.texts[value] = judged
    return index


def _is_searchable(value: str | bytes, keyword: str) -> bool:
    """Neither too short to mean anything, nor the UID of a program."""
    least = _SHORTEST + (isinstance(value, str) and value.isdecimal())
    return len(value) >= least and not keyword.endswith("ClassUID")


def _judge(value: str | bytes, keyword: str, owners: frozenset[int], in_program: bool) -> Value:
    """The strength of one value, by the rules of this module's docstring."""
    if isinstance(value, bytes):
        return Value(keyword, owners, alone=len(value) >= _SHORTEST_WORD, cell=True, common=False)
    words = _WORD.findall(value)
    common = bool(words) and all(word in _english() or allows(word) for word in words)
    is_date = keyword.endswith(("Date", "DateTime", "Calendar"))
    vague = in_program or (is_date and keyword != BIRTH)
    if is_date:
        distinctive = False
    elif not words:
        distinctive = sum(map(str.isdigit, value)) >= SHORTEST_IN_BINARY
    elif len(words) > 1:
        distinctive = "^" in value or not common
    else:
        is_word = words[0] == value
        distinctive = len(value) >= _SHORTEST_WORD and not common and not (is_word and _PROSE.search(keyword))
    cell = not vague and (bool(words) or len(value) >= SHORTEST_NUMBER)
    return Value(keyword, owners, alone=distinctive and not vague, cell=cell, common=common)


def _in_program(values: Iterable[str | bytes]) -> set[str | bytes]:
    """Those that this program's own text holds: a find of them may be the program itself."""
    text = _program_text()
    values = list(values)
    runs = number_runs(text)
    found: set[str | bytes] = {value for value in values if value in runs}
    return found | {hit.text for hit in Matcher(values).find(text) if is_readable(text, hit)}


@cache
def _program_text() -> bytes:
    root = Path(__file__).parents[2]
    paths = (path for package in ("mrct", "virtual_hospital") for path in (root / package).rglob("*"))
    files = sorted(path for path in paths if path.is_file() and path.suffix != ".pyc")
    try:
        about = str(metadata("mrct")).encode()
    except PackageNotFoundError:  # used from a source folder that is not installed
        about = b""
    return b"\n".join([about, *(path.read_bytes() for path in files)]).lower()


@cache
def _english() -> frozenset[str]:
    return _GENERIC | frozenset(_WORD.findall(" ".join(topics.values()).lower()))
