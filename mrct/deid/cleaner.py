"""Make the elements of a dataset safe and encode them; the results are cached by their bytes.

Within a series nearly all elements have the same bytes, so that each is converted, cleaned and encoded once. The cache
is bounded, belongs to one patient and one character set, and does not change any result.
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

from mrct.core.contracts import AttributeAction
from mrct.deid.allow_list import Rule, allowed_attributes, basic_action
from mrct.deid.attribute_rules import Context, SafeElement, apply_rule, known_code, nothing

# functional groups of enhanced images are nested less deeply
_DEEPEST = 6
_PIXEL_DATA = 0x7FE00010
# it needs an item for every frame, even an empty one
_PER_FRAME = 0x52009230
# bounds of the cache, about ten megabytes: bytes of a value, and number of values
_LONGEST = 1024
_MOST = 4096


class Change(NamedTuple):
    """A change of an attribute. `profile` is the action of the Basic Profile; see contracts.AuditedAttribute."""

    tag: str
    keyword: str
    profile: str
    action: AttributeAction


class _Outcome(NamedTuple):
    """The encoded element (None if it is dropped), and the changes of it and of all elements in it."""

    element: RawDataElement | None
    changes: tuple[Change, ...]


_DROPPED = SafeElement(None, AttributeAction.DROPPED)


class Encoding(NamedTuple):
    """The encoding of a dataset, on which the meaning of an element's bytes depends."""

    implicit_vr: bool | None
    little_endian: bool | None
    character_set: str


class Cleaner:
    """Applies the allow-list of an image's IODs to the datasets of one patient.

    Args:
        context: The properties of the patient and the file that the rules need.
        iods: IODs of the image, as in `allow_list.IODS`.
    """

    def __init__(self, context: Context, iods: tuple[str, ...]) -> None:
        self._context = context
        self._rules = allowed_attributes(iods)
        self._memory: dict[tuple[int, str | None, object], _Outcome] = {}

    def clean(self, dataset: Dataset) -> tuple[Dataset, Counter[Change]]:
        """Return a new dataset of explicit VR little endian elements without pixels, and count what happened."""
        elements: dict[BaseTag, DataElement | RawDataElement] = {}
        changes: list[Change] = []
        # as integers: BaseTag compares slowly
        for tag, source in sorted(dataset.items(), key=lambda item: int(item[0])):
            number = int(tag)
            if number not in self._rules:
                if number != _PIXEL_DATA:
                    changes.append(_change(number, AttributeAction.DROPPED))
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
        # raw bytes, or a value that the reader has already converted; equal values of these types have equal bytes
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
        # an item of a sequence may name another person
        if rule is None or (rule.name == "pseudonym" and depth > 0):
            changes.append(_change(int(tag), AttributeAction.DROPPED))
            return None
        try:
            source = dataset[tag]
            if rule.name in ("sequence", "coded"):
                safe = self._safe_sequence(source, rule, changes, depth)
            else:
                safe = apply_rule(rule, source, self._context)
        except Exception:
            # pydicom fails in many ways on values that it cannot convert; an unreadable value is dropped
            safe = _DROPPED
        if safe.element is None and rule.type == 2:
            safe = SafeElement(nothing(tag, dictionary_VR(tag)), AttributeAction.EMPTIED)
        changes.append(_change(int(tag), safe.action))
        return safe.element

    def _safe_sequence(
        self, source: DataElement, rule: Rule, changes: list[Change], depth: int
    ) -> SafeElement:
        """Clean the items of a sequence by the same allow-list; drop the sequence if it had items and none is left."""
        if depth >= _DEEPEST or source.VR != "SQ":
            return _DROPPED
        if rule.name == "coded":
            items = [item for item in map(known_code, source.value) if item is not None]
        else:
            items = [self._cleaned_item(item, changes, depth + 1) for item in source.value]
            items = [item for item in items if len(item) or int(source.tag) == _PER_FRAME]
        if items:
            return SafeElement(DataElement(source.tag, "SQ", Sequence(items)), AttributeAction.KEPT)
        return _DROPPED if source.value else SafeElement(nothing(source.tag, "SQ"), AttributeAction.KEPT)

    def _cleaned_item(self, item: Dataset, changes: list[Change], depth: int) -> Dataset:
        result = Dataset()
        for tag in sorted(item.keys(), key=int):
            element = self._cleaned(item, tag, changes, depth)
            if element is not None:
                result.add(element)
        return result


@lru_cache(maxsize=4)
def cleaner_for(context: Context, iods: tuple[str, ...], source: Encoding) -> Cleaner:
    """Return the cleaner for files with the same arguments; `source` is their encoding and character set."""
    return Cleaner(context, iods)


def encoded(element: DataElement) -> RawDataElement:
    """Encode the element in explicit VR little endian; `save_dataset` writes these bytes as they are."""
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = False, True
    write_data_element(buffer, element)
    header = 12 if element.VR in EXPLICIT_VR_LENGTH_32 else 8
    value = buffer.getvalue()[header:]
    return RawDataElement(element.tag, element.VR, len(value), value, 0, False, True)


@cache
def _change(tag: int, action: AttributeAction) -> Change:
    """Return the audit entry of a tag; private and unknown tags are counted together: a tag may be personal data."""
    if Tag(tag).is_private:
        return Change("private", "", basic_action(tag), action)
    keyword = keyword_for_tag(tag)
    if not keyword:
        return Change("unknown", "", "", action)
    return Change(str(Tag(tag)), keyword, basic_action(tag), action)
