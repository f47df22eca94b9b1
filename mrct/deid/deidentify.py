"""De-identification of one dataset: attributes of an allow-list (attributes.csv) are kept, all others are dropped.

Implements the Basic Application Level Confidentiality Profile of DICOM PS3.15 annex E, with the options Clean
Descriptors, Retain Longitudinal Temporal Information with Modified Dates and, if requested, Retain Patient
Characteristics. The option Clean Pixel Data is met by excluding images (mrct.deid.survey); it is declared if the source
says that no text is burned in. All departures from annex E are stricter: attributes that its table does not name are
dropped as well, descriptors keep only the words of a vocabulary, and times of day are removed or set to midnight
instead of shifted.
"""

from collections import Counter
from dataclasses import dataclass, field
from functools import cache, lru_cache

from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from mrct.core.contracts import AttributeAction
from mrct.deid.allow_list import IODS
from mrct.deid.attribute_rules import Context
from mrct.deid.cleaner import Change, Encoding, cleaner_for, encoded
from mrct.deid.pseudonyms import Pseudonyms, stripped
from mrct.dicom.dates import may_be_moved
from mrct.dicom.errors import Unreadable
from mrct.dicom.identity import read_patient_id
from mrct.dicom.pixels import native_pixels
from mrct.dicom.rescale import has_rescale
from mrct.leaks.vocabulary import clean

#: The entry of this program in DeidentificationMethod.
METHOD = "mrct allow-list after DICOM PS3.15 annex E"
#: DeidentificationMethodCodeSequence (PS3.16 CID 7050): code -> meaning.
CODES = {
    "113100": "Basic Application Confidentiality Profile",
    "113101": "Clean Pixel Data Option",
    "113103": "Clean Graphics Option",
    "113104": "Clean Structured Content Option",
    "113105": "Clean Descriptors Option",
    "113107": "Retain Longitudinal Temporal Information Modified Dates Option",
    "113108": "Retain Patient Characteristics Option",
}
# Declarations of an earlier tool that remain true. This program may drop what that tool retained, and it decides by
# BurnedInAnnotation alone whether the pixels are clean.
_LASTING = {"113100", "113103", "113104", "113105"}
# type 2 attributes of the patient, study, series and equipment modules: they must be present, even if empty
_EXPECTED = (
    "StudyDate", "StudyTime", "AccessionNumber", "Manufacturer", "ReferringPhysicianName", "PatientBirthDate",
    "PatientSex", "StudyID", "SeriesNumber", "InstanceNumber",
)  # fmt: skip
_PIXELS_KEPT = Change("(7fe0,0010)", "PixelData", "", AttributeAction.KEPT)


@dataclass(frozen=True)
class Options:
    """The user's choices.

    Attributes:
        max_shift_days: Largest date shift, days.
        retain_age_and_sex: Whether sex and age are kept; an age over 89 years becomes 090Y.
    """

    max_shift_days: int = 365
    retain_age_and_sex: bool = False


@dataclass
class Deidentified:
    """A dataset that may leave the hospital.

    Attributes:
        dataset: The dataset, ready for `mrct.dicom.write.save_dataset`.
        changes: Number of times that each change of an attribute was made, pixels included.
        already_deidentified: Whether the source says that another tool has de-identified it.
    """

    dataset: Dataset
    changes: Counter[Change] = field(default_factory=Counter)
    already_deidentified: bool = False


def deidentify(dataset: Dataset, pseudonyms: Pseudonyms, options: Options) -> Deidentified:
    """Return a new dataset with the same image, geometry and acquisition under pseudonyms.

    Args:
        dataset: An image with PatientID, SOPInstanceUID and pixels (`read_dataset(..., pixels=True)`); it is unchanged.
        pseudonyms: The mapping of identities.
        options: The user's choices.

    Raises:
        Unreadable: The object is not a CT or MR image, or its pixels are not a grayscale image.
    """
    iods = IODS.get(stripped(dataset, "SOPClassUID"))
    if iods is None:
        raise Unreadable("not a CT or MR image by its SOP class")
    if (
        dataset.get("ModalityLUTSequence")
        and not has_rescale(dataset)
        and stripped(dataset, "Modality") == "MR"
    ):
        raise Unreadable(
            "a modality LUT, which is not kept, in place of a rescale slope; export the MR without it"
        )
    context = _context(dataset, pseudonyms, options)
    result, changes = cleaner_for(context, iods, _encoding(dataset)).clean(dataset)
    native_pixels(dataset, into=result)
    changes[_PIXELS_KEPT] += 1
    if dataset.get("ContrastBolusAgentSequence") and not result.get("ContrastBolusAgent"):
        # the sequence is dropped, but the fact that an agent was given is kept
        result.ContrastBolusAgent = "AGENT"
    _declare(result, dataset, context)
    return Deidentified(result, changes, is_deidentified(dataset))


def is_deidentified(dataset: Dataset) -> bool:
    """Return whether the dataset says that the identity is removed and that the dates are shifted or removed."""
    removed = stripped(dataset, "PatientIdentityRemoved").upper() == "YES"
    return removed and _declared_dates(dataset) in ("MODIFIED", "REMOVED")


def _declared_dates(dataset: Dataset) -> str:
    return stripped(dataset, "LongitudinalTemporalInformationModified").upper()


def _context(dataset: Dataset, pseudonyms: Pseudonyms, options: Options) -> Context:
    """Make the context; dates that another tool has shifted stay as they are, and dates that it removed are emptied."""
    owner = read_patient_id(dataset)
    shift_days: int | None = pseudonyms.shift_days(owner, options.max_shift_days)
    if is_deidentified(dataset):
        shift_days = None if _declared_dates(dataset) == "REMOVED" else 0
    return Context(
        pseudonyms=pseudonyms,
        patient=pseudonyms.patient(owner),
        shift_days=shift_days,
        retain_age_and_sex=options.retain_age_and_sex,
        dates_moved=may_be_moved(dataset),
        signed=dataset.get("PixelRepresentation") == 1,
    )


def _encoding(dataset: Dataset) -> Encoding:
    implicit_vr, little_endian = dataset.original_encoding
    return Encoding(implicit_vr, little_endian, str(dataset.get("SpecificCharacterSet", "")))


def _declare(result: Dataset, source: Dataset, context: Context) -> None:
    """Add the pseudonym and the declaration of what was done, after earlier declarations (PS3.3 C.12.1.1.9)."""
    codes = _LASTING & set(_earlier_codes(source)) | {"113100", "113105"}
    codes |= {"113101"} if stripped(source, "BurnedInAnnotation").upper() == "NO" else set()
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
    """Return the declarations of other tools, reduced to known words."""
    value = source.get("DeidentificationMethod") or []
    texts = [value] if isinstance(value, str) else list(value)
    cleaned = [clean(str(text), "descriptor")[:64].strip() for text in texts if str(text).strip() != METHOD]
    return list(dict.fromkeys(text for text in cleaned if text))


def _earlier_codes(source: Dataset) -> list[str]:
    items = source.get("DeidentificationMethodCodeSequence") or []
    published = [
        item for item in items if isinstance(item, Dataset) and item.get("CodingSchemeDesignator") == "DCM"
    ]
    return [stripped(item, "CodeValue").upper() for item in published]


def _code(value: str) -> Dataset:
    item = Dataset()
    item.CodeValue = value
    item.CodingSchemeDesignator = "DCM"
    item.CodeMeaning = CODES[value]
    return item
