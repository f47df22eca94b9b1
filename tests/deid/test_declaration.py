"""An output declares its own de-identification, after the declarations of other tools."""

import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence

from helpers.phi_factory import person_dataset
from mrct.deid.deidentify import METHOD, Options, deidentify
from mrct.deid.pseudonyms import demonstration
from mrct.dicom.read import Unreadable

KEYS = demonstration()
MOVED = {"PatientIdentityRemoved": "YES", "LongitudinalTemporalInformationModified": "MODIFIED"}
REMOVED = MOVED | {"LongitudinalTemporalInformationModified": "REMOVED"}


def cleaned(options: Options | None = None, **changes) -> Dataset:
    return deidentify(person_dataset(**changes), KEYS, options or Options()).dataset


def codes(image: Dataset) -> list[str]:
    return [item.CodeValue for item in image.DeidentificationMethodCodeSequence]


def declared(*values: str, scheme: str = "DCM") -> Sequence:
    items = []
    for value in values:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, "by Dr Hollyoak"
        items.append(item)
    return Sequence(items)


def test_profile_and_options_are_declared_by_their_codes():
    image = cleaned()
    assert codes(image) == ["113100", "113105", "113107"]
    assert [item.CodingSchemeDesignator for item in image.DeidentificationMethodCodeSequence] == ["DCM"] * 3
    assert codes(cleaned(Options(retain_age_and_sex=True))) == ["113100", "113105", "113107", "113108"]
    assert image.RecognizableVisualFeatures == "YES"


@pytest.mark.parametrize(("burned", "claimed"), [("NO", True), ("YES", False), ("", False), (None, False)])
def test_clean_pixels_are_claimed_only_where_nothing_is_said_to_be_burned_in(burned, claimed):
    image = cleaned() if burned is None else cleaned(BurnedInAnnotation=burned)
    assert ("113101" in codes(image)) == claimed


def test_what_was_removed_before_stays_declared_and_what_was_retained_does_not():
    earlier = declared("113100", "113101", "113103", "113106", "113109", "113111")
    image = cleaned(DeidentificationMethodCodeSequence=earlier, **MOVED)
    assert codes(image) == ["113100", "113103", "113105", "113107"]
    assert "Hollyoak" not in str(image)


def test_codes_of_other_schemes_say_nothing():
    earlier = declared("113103", scheme="99WOLKENSTEIN")
    assert "113103" not in codes(cleaned(DeidentificationMethodCodeSequence=earlier))


def test_an_earlier_method_is_kept_by_its_known_words():
    image = cleaned(DeidentificationMethod=["CT HEAD for Hollyoak", "Quenneville"])
    assert list(image.DeidentificationMethod) == ["CT HEAD", METHOD]


def test_the_same_tool_again_declares_itself_once():
    once = cleaned()
    once.file_meta = person_dataset().file_meta
    twice = deidentify(once, KEYS, Options())
    assert twice.already_deidentified
    assert twice.dataset.DeidentificationMethod == METHOD
    assert codes(twice.dataset) == codes(once)
    assert twice.dataset.StudyDate == once.StudyDate


def test_dates_that_were_removed_before_are_not_trusted():
    result = deidentify(person_dataset(**REMOVED), KEYS, Options())
    assert result.already_deidentified
    assert result.dataset.LongitudinalTemporalInformationModified == "REMOVED"
    assert not result.dataset.StudyDate
    assert not result.dataset.AcquisitionDateTime
    assert "113107" not in codes(result.dataset)


@pytest.mark.parametrize("value", ["113100", b"\0\1", [Dataset()]])
def test_a_malformed_earlier_declaration_does_no_harm(value):
    image = person_dataset()
    image.add_new("DeidentificationMethodCodeSequence", "SQ" if isinstance(value, list) else "LO", value)
    assert codes(deidentify(image, KEYS, Options()).dataset) == ["113100", "113105", "113107"]


def test_another_kind_of_object_is_refused():
    with pytest.raises(Unreadable, match="SOP class"):
        cleaned(SOPClassUID="1.2.840.10008.5.1.4.1.1.7")
