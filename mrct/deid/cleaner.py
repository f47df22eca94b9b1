"""Elements of a dataset -> safe elements, encoded; what one file's bytes became is remembered for the next.

Within a series nearly all elements have the same bytes, so each is converted, cleaned and encoded once. The
memory is bounded, belongs to one patient and one character set, and changes no result.
"""

from collections import Counter
from functools import cache, lru_cache
from typing import NamedTuple

from pydicom import DataElement, Dataset
from pydicom.charset import default_encoding
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import RawDataElement
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from mrct.deid.allow_list import Rule, allowed_attributes
from mrct.deid.attribute_rules import Context, apply_rule, nothing
from mrct.deid.known_codes import known_code
from mrct.deid.profile import basic_action

# nested deeper than any functional group of an enhanced image
_DEEPEST = 6
_PIXEL_DATA = 0x7FE00010
# an item for every frame, even if nothing of it stays
_PER_FRAME = 0x52009230
# what is remembered, bytes of a value and values: some ten megabytes at most
_LONGEST = 1024
_MOST = 4096


class Change(NamedTuple):
    """A row of the audit. `profile`: the Basic Profile's action; `action`: kept, changed, emptied or dropped."""

    tag: str
    keyword: str
    profile: str
    action: str


class _Outcome(NamedTuple):
    element: RawDataElement | None
    changes: tuple[Change, ...]


class Cleaner:
    """The allow-list of an image's IODs with the rules of one patient."""

    def __init__(self, context: Context, iods: tuple[str, ...]) -> None:
        self._context = context
        self._rules = allowed_attributes(iods)
        self._memory: dict[tuple, _Outcome] = {}

    def clean(self, dataset: Dataset) -> tuple[Dataset, Counter[Change]]:
        """A new dataset of explicit little endian elements, without pixels, and what happened to each element."""
        elements: dict[BaseTag, DataElement | RawDataElement] = {}
        changes: list[Change] = []
        for tag, source in sorted(dataset.items(), key=lambda item: int(item[0])):  # BaseTag compares slowly
            number = int(tag)
            if number not in self._rules:
                if number != _PIXEL_DATA:
                    changes.append(_change(number, "dropped"))
                continue
            outcome = self._outcome(dataset, tag, source)
            changes += outcome.changes
            if outcome.element is not None:
                elements[tag] = outcome.element
        result = Dataset(elements)
        result.set_original_encoding(False, True, default_encoding)
        return result, Counter(changes)

    def _outcome(self, dataset: Dataset, tag: BaseTag, source: DataElement | RawDataElement) -> _Outcome:
        value = source.value
        # raw bytes; or what the reader has converted before, where equal values have equal bytes
        size = len(value) if isinstance(value, bytes | str) else 0
        if type(value) not in (bytes, int, str, UID) or size > _LONGEST:
            return self._computed(dataset, tag)
        key = (int(tag), source.VR, value)
        outcome = self._memory.get(key)
        if outcome is None:
            if len(self._memory) >= _MOST:
                self._memory.clear()
            outcome = self._memory[key] = self._computed(dataset, tag)
        return outcome

    def _computed(self, dataset: Dataset, tag: BaseTag) -> _Outcome:
        changes: list[Change] = []
        element = self._cleaned(dataset, tag, changes, depth=0)
        return _Outcome(None if element is None else encoded(element), tuple(changes))

    def _cleaned(
        self, dataset: Dataset, tag: BaseTag, changes: list[Change], depth: int
    ) -> DataElement | None:
        rule = self._rules.get(int(tag))
        if rule is None or (rule.name == "pseudonym" and depth > 0):  # an item may name another person
            changes.append(_change(int(tag), "dropped"))
            return None
        try:
            source = dataset[tag]
            if rule.name in ("sequence", "coded"):
                cleaned, action = self._cleaned_sequence(source, rule, changes, depth)
            else:
                cleaned, action = apply_rule(rule, source, self._context)
        except (
            Exception
        ):  # a value that pydicom cannot convert fails in many ways; what is not understood goes
            cleaned, action = None, "dropped"
        if cleaned is None and rule.type == 2:
            cleaned, action = nothing(tag, dictionary_VR(tag)), "emptied"
        changes.append(_change(int(tag), action))
        return cleaned

    def _cleaned_sequence(
        self, source: DataElement, rule: Rule, changes: list[Change], depth: int
    ) -> tuple[DataElement | None, str]:
        """Items by the same allow-list; without an item left the sequence goes, or is empty where it must be."""
        if depth >= _DEEPEST or source.VR != "SQ":
            return None, "dropped"
        if rule.name == "coded":
            items = [item for item in map(known_code, source.value) if item is not None]
        else:
            items = [self._cleaned_item(item, changes, depth + 1) for item in source.value]
            items = [item for item in items if len(item) or int(source.tag) == _PER_FRAME]
        if items:
            return DataElement(source.tag, "SQ", Sequence(items)), "kept"
        return (None, "dropped") if source.value else (nothing(source.tag, "SQ"), "kept")

    def _cleaned_item(self, item: Dataset, changes: list[Change], depth: int) -> Dataset:
        result = Dataset()
        for tag in sorted(item.keys(), key=int):
            element = self._cleaned(item, tag, changes, depth)
            if element is not None:
                result.add(element)
        return result


@lru_cache(maxsize=4)
def cleaner_for(context: Context, iods: tuple[str, ...], source: tuple) -> Cleaner:
    """The cleaner of files that agree in all that decides; `source` is their encoding and character set."""
    return Cleaner(context, iods)


def encoded(element: DataElement) -> RawDataElement:
    """The element as its bytes in explicit VR little endian, which pydicom writes as they are."""
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = False, True
    write_data_element(buffer, element)
    header = 12 if element.VR in EXPLICIT_VR_LENGTH_32 else 8
    value = buffer.getvalue()[header:]
    return RawDataElement(element.tag, element.VR, len(value), value, 0, False, True)


@cache
def _change(tag: int, action: str) -> Change:
    """Tags that the standard does not define are lumped together: they too are data."""
    if Tag(tag).is_private:
        return Change("private", "", basic_action(tag), action)
    keyword = keyword_for_tag(tag)
    if not keyword:
        return Change("unknown", "", "", action)
    return Change(str(Tag(tag)), keyword, basic_action(tag), action)
