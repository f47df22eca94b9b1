"""A dataset without its person: an allow-list of attributes (attributes.csv), everything else dropped.

DICOM PS3.15 annex E, Basic Application Level Confidentiality Profile, with the options Clean Descriptors,
Retain Longitudinal Temporal Information with Modified Dates and, where asked, Retain Patient Characteristics.
Departure from annex E: what its table does not name is dropped as well, and all text passes a vocabulary.
"""

from collections import Counter
from dataclasses import dataclass, field

from pydicom import DataElement, Dataset
from pydicom.datadict import keyword_for_tag
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag

from mrct.dicom.attribute_rules import RULES, Context, apply_rule
from mrct.dicom.pixels import native_pixels
from mrct.dicom.pseudonyms import Pseudonyms, strip

METHOD = "mrct allow-list after DICOM PS3.15 annex E"
# PS3.16 CID 7050
CODES = {
    "113100": "Basic Application Confidentiality Profile",
    "113105": "Clean Descriptors Option",
    "113107": "Retain Longitudinal Temporal Information Modified Dates Option",
    "113108": "Retain Patient Characteristics Option",
}
# nested deeper than any functional group of an enhanced image
_DEEPEST = 6
# type 2 attributes of the patient, study, series and equipment modules: present, even if empty
_EXPECTED = (
    "StudyDate", "StudyTime", "AccessionNumber", "Manufacturer", "ReferringPhysicianName", "PatientBirthDate",
    "PatientSex", "StudyID", "SeriesNumber", "InstanceNumber",
)  # fmt: skip

Change = tuple[str, str, str]


@dataclass(frozen=True)
class Options:
    """`max_shift_days` bounds the date shift; `retain_age_and_sex` keeps sex and age (090Y when over 89)."""

    max_shift_days: int = 365
    retain_age_and_sex: bool = False


@dataclass
class Deidentified:
    """A writable dataset, and counts of (tag, keyword, kept | changed | emptied | dropped)."""

    dataset: Dataset
    changes: Counter[Change] = field(default_factory=Counter)
    already_deidentified: bool = False


def deidentify(dataset: Dataset, pseudonyms: Pseudonyms, options: Options) -> Deidentified:
    """A new dataset with the same image, geometry and acquisition under pseudonyms; the input is unchanged.

    Needs PatientID, SOPInstanceUID and pixels (read_dataset(..., pixels=True)); raises Unreadable where the
    pixels are no grey image.
    """
    done = is_deidentified(dataset)
    patient_id = strip(str(dataset.PatientID))
    context = Context(
        pseudonyms=pseudonyms,
        shift_days=0 if done else pseudonyms.shift_days(patient_id, options.max_shift_days),
        retain_age_and_sex=options.retain_age_and_sex,
        signed=dataset.get("PixelRepresentation") == 1,
    )
    changes: Counter[Change] = Counter()
    result = _clean(dataset, context, changes, depth=0)
    native_pixels(dataset, into=result)
    changes[_name(Tag("PixelData"), "kept")] += 1
    if dataset.get("ContrastBolusAgentSequence") and not result.get("ContrastBolusAgent"):
        result.ContrastBolusAgent = "AGENT"  # the sequence goes, that an agent was given stays
    _declare(result, pseudonyms.patient(patient_id), options)
    before = str(dataset.get("LongitudinalTemporalInformationModified", "")).strip()
    result.LongitudinalTemporalInformationModified = "REMOVED" if done and before == "REMOVED" else "MODIFIED"
    return Deidentified(result, changes, done)


def is_deidentified(dataset: Dataset) -> bool:
    """Whether another tool has removed the identity and moved (or removed) the dates already."""
    removed = str(dataset.get("PatientIdentityRemoved", "")).strip().upper()
    moved = str(dataset.get("LongitudinalTemporalInformationModified", "")).strip().upper()
    return removed == "YES" and moved in ("MODIFIED", "REMOVED")


def _clean(dataset: Dataset, context: Context, changes: Counter[Change], depth: int) -> Dataset:
    result = Dataset()
    for tag in sorted(dataset.keys()):
        if tag == Tag("PixelData") and depth == 0:
            continue
        element = _cleaned_element(dataset, tag, context, changes, depth)
        if element is not None:
            result.add(element)
    return result


def _cleaned_element(
    dataset: Dataset, tag: BaseTag, context: Context, changes: Counter[Change], depth: int
) -> DataElement | None:
    rule = RULES.get(tag)
    if rule is None:
        changes[_name(tag, "dropped")] += 1
        return None
    try:
        element = dataset[tag]
        if rule == "sequence":
            return _cleaned_sequence(element, context, changes, depth)
        cleaned, action = apply_rule(rule, element, context)
    except Exception:  # a value that pydicom cannot convert fails in many ways; what is not understood goes
        cleaned, action = None, "dropped"
    changes[_name(tag, action)] += 1
    return cleaned


def _cleaned_sequence(
    element: DataElement, context: Context, changes: Counter[Change], depth: int
) -> DataElement | None:
    if depth >= _DEEPEST or element.VR != "SQ":
        changes[_name(element.tag, "dropped")] += 1
        return None
    items = [_clean(item, context, changes, depth + 1) for item in element.value]
    changes[_name(element.tag, "kept")] += 1
    return DataElement(element.tag, "SQ", Sequence(item for item in items if len(item)))


def _name(tag: BaseTag, action: str) -> Change:
    """The row of the audit. Tags that the standard does not define are lumped together: they too are data."""
    if tag.is_private:
        return "private", "", action
    keyword = keyword_for_tag(tag)
    return (str(tag), keyword, action) if keyword else ("unknown", "", action)


def _declare(dataset: Dataset, patient: str, options: Options) -> None:
    """The pseudonym, and the statement of what was done (PS3.3 C.7.1.1 and C.12.1)."""
    for keyword in _EXPECTED:
        if keyword not in dataset:
            setattr(dataset, keyword, None)
    dataset.PatientID = patient
    dataset.PatientName = patient
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = METHOD
    dataset.RecognizableVisualFeatures = "YES"
    codes = [code for code in CODES if code != "113108" or options.retain_age_and_sex]
    dataset.DeidentificationMethodCodeSequence = Sequence(_code(code) for code in codes)


def _code(value: str) -> Dataset:
    item = Dataset()
    item.CodeValue = value
    item.CodingSchemeDesignator = "DCM"
    item.CodeMeaning = CODES[value]
    return item
