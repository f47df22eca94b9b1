"""A dataset without its person: an allow-list of attributes (attributes.csv), everything else dropped.

DICOM PS3.15 annex E, Basic Application Level Confidentiality Profile, with the options Clean Descriptors,
Retain Longitudinal Temporal Information with Modified Dates and, where asked, Retain Patient Characteristics.
Clean Pixel Data is met by turning images away (mrct.deid.intake), and declared where the source says that
nothing is burned in.
Departures from annex E, all to the strict side: what its table does not name is dropped as well, descriptors keep
the words of a vocabulary only, times of day are removed or set to midnight instead of shifted.
"""

from collections import Counter
from dataclasses import dataclass, field
from functools import cache, lru_cache

from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from mrct.deid.allow_list import IODS
from mrct.deid.attribute_rules import Context
from mrct.deid.cleaner import Change, cleaner_for, encoded
from mrct.deid.pseudonyms import Pseudonyms, strip
from mrct.dicom.pixels import native_pixels
from mrct.dicom.read import Unreadable
from mrct.leaks.vocabulary import clean

METHOD = "mrct allow-list after DICOM PS3.15 annex E"
# PS3.16 CID 7050
CODES = {
    "113100": "Basic Application Confidentiality Profile",
    "113101": "Clean Pixel Data Option",
    "113103": "Clean Graphics Option",
    "113104": "Clean Structured Content Option",
    "113105": "Clean Descriptors Option",
    "113107": "Retain Longitudinal Temporal Information Modified Dates Option",
    "113108": "Retain Patient Characteristics Option",
}
# of what an earlier tool declared: what it removed stays so, what it retained may be gone now, and
# whether its pixels are clean only BurnedInAnnotation can say here
_LASTING = {"113100", "113103", "113104", "113105"}
# type 2 attributes of the patient, study, series and equipment modules: present, even if empty
_EXPECTED = (
    "StudyDate", "StudyTime", "AccessionNumber", "Manufacturer", "ReferringPhysicianName", "PatientBirthDate",
    "PatientSex", "StudyID", "SeriesNumber", "InstanceNumber",
)  # fmt: skip


@dataclass(frozen=True)
class Options:
    """`max_shift_days` bounds the date shift; `retain_age_and_sex` keeps sex and age (090Y when over 89)."""

    max_shift_days: int = 365
    retain_age_and_sex: bool = False


@dataclass
class Deidentified:
    """A writable dataset, and how often each change of an attribute was made, pixels included."""

    dataset: Dataset
    changes: Counter[Change] = field(default_factory=Counter)
    already_deidentified: bool = False


def deidentify(dataset: Dataset, pseudonyms: Pseudonyms, options: Options) -> Deidentified:
    """A new dataset with the same image, geometry and acquisition under pseudonyms; the input is unchanged.

    Needs PatientID, SOPInstanceUID and pixels (read_dataset(..., pixels=True)); raises Unreadable where the
    object is no CT or MR image, or its pixels are no grey image.
    """
    iods = IODS.get(strip(str(dataset.get("SOPClassUID", "") or "")))
    if iods is None:
        raise Unreadable("not a CT or MR image by its SOP class")
    context = _context(dataset, pseudonyms, options)
    result, changes = cleaner_for(context, iods, _encoding(dataset)).clean(dataset)
    native_pixels(dataset, into=result)
    changes[Change("(7fe0,0010)", "PixelData", "", "kept")] += 1
    if dataset.get("ContrastBolusAgentSequence") and not result.get("ContrastBolusAgent"):
        result.ContrastBolusAgent = "AGENT"  # the sequence goes, that an agent was given stays
    _declare(result, dataset, context)
    return Deidentified(result, changes, is_deidentified(dataset))


def is_deidentified(dataset: Dataset) -> bool:
    """Whether another tool has removed the identity and moved (or removed) the dates already."""
    return _coded(dataset, "PatientIdentityRemoved") == "YES" and _dates(dataset) in ("MODIFIED", "REMOVED")


def _coded(dataset: Dataset, keyword: str) -> str:
    return strip(str(dataset.get(keyword, "") or "")).upper()


def _dates(dataset: Dataset) -> str:
    return _coded(dataset, "LongitudinalTemporalInformationModified")


def _context(dataset: Dataset, pseudonyms: Pseudonyms, options: Options) -> Context:
    """Dates that were modified before are not moved again; where they were removed, none is trusted."""
    patient_id = strip(str(dataset.PatientID))
    shift_days: int | None = pseudonyms.shift_days(patient_id, options.max_shift_days)
    if is_deidentified(dataset):
        shift_days = None if _dates(dataset) == "REMOVED" else 0
    return Context(
        pseudonyms=pseudonyms,
        patient=pseudonyms.patient(patient_id),
        shift_days=shift_days,
        retain_age_and_sex=options.retain_age_and_sex,
        signed=dataset.get("PixelRepresentation") == 1,
    )


def _encoding(dataset: Dataset) -> tuple:
    """What the meaning of an element's bytes depends on."""
    return (*dataset.original_encoding, str(dataset.get("SpecificCharacterSet", "")))


def _declare(result: Dataset, source: Dataset, context: Context) -> None:
    """The pseudonym, and the statement of what was done, after what was done before (PS3.3 C.12.1.1.9)."""
    codes = _LASTING & set(_earlier_codes(source)) | {"113100", "113105"}
    codes |= {"113101"} if _coded(source, "BurnedInAnnotation") == "NO" else set()
    codes |= {"113107"} if context.shift_days is not None else set()
    codes |= {"113108"} if context.retain_age_and_sex else set()
    for element in _declaration(context, frozenset(codes), (*_earlier_methods(source), METHOD)):
        result[element.tag] = element
    for tag, element in _expected().items():
        if tag not in result:
            result[tag] = element


@lru_cache(maxsize=16)
def _declaration(context: Context, codes: frozenset[str], methods: tuple[str, ...]) -> list[RawDataElement]:
    statement = Dataset()
    statement.PatientID = statement.PatientName = context.patient
    statement.PatientIdentityRemoved = "YES"
    statement.DeidentificationMethod = list(methods)
    statement.RecognizableVisualFeatures = "YES"
    statement.LongitudinalTemporalInformationModified = (
        "REMOVED" if context.shift_days is None else "MODIFIED"
    )
    statement.DeidentificationMethodCodeSequence = Sequence(_code(code) for code in sorted(codes))
    return [encoded(element) for element in statement]


@cache
def _expected() -> dict[BaseTag, RawDataElement]:
    empty = Dataset()
    for keyword in _EXPECTED:
        setattr(empty, keyword, None)
    return {element.tag: encoded(element) for element in empty}


def _earlier_methods(source: Dataset) -> list[str]:
    """Known words of what other tools declared."""
    value = source.get("DeidentificationMethod") or []
    texts = [value] if isinstance(value, str) else list(value)
    cleaned = [clean(str(text), "descriptor")[:64].strip() for text in texts if str(text).strip() != METHOD]
    return list(dict.fromkeys(text for text in cleaned if text))


def _earlier_codes(source: Dataset) -> list[str]:
    items = source.get("DeidentificationMethodCodeSequence") or []
    published = [
        item for item in items if isinstance(item, Dataset) and item.get("CodingSchemeDesignator") == "DCM"
    ]
    return [_coded(item, "CodeValue") for item in published]


def _code(value: str) -> Dataset:
    item = Dataset()
    item.CodeValue = value
    item.CodingSchemeDesignator = "DCM"
    item.CodeMeaning = CODES[value]
    return item
