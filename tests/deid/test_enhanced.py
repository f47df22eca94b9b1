"""Enhanced multi-frame CT and MR: geometry, order and timing of every frame are kept, personal data are removed."""

import numpy as np
import pydicom
import pytest
from pydicom import DataElement, Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.sequence import Sequence
from pydicom.uid import LegacyConvertedEnhancedMRImageStorage

from helpers import enhanced_factory
from helpers.enhanced_factory import FRAMES, enhanced_dataset
from helpers.phi_factory import secrets_in
from mrct.deid.allow_list import Rule, allowed_attributes
from mrct.deid.attribute_rules import Context, apply_rule
from mrct.deid.deidentify import Options, deidentify
from mrct.deid.pseudonyms import demonstration
from mrct.dicom.read import read_dataset
from mrct.dicom.write import save_dataset

KEYS = demonstration()


@pytest.fixture(params=["CT", "MR"])
def pair(request, tmp_path) -> tuple[Dataset, Dataset, bytes]:
    """Return an enhanced image as read, its safe form as read back, and the bytes of that file."""
    enhanced_dataset(request.param).save_as(tmp_path / "in.dcm", enforce_file_format=True)
    source = read_dataset(tmp_path / "in.dcm", pixels=True)
    assert len(secrets_in((tmp_path / "in.dcm").read_bytes())) > 8  # otherwise this test could not fail
    save_dataset(deidentify(source, KEYS, Options()).dataset, tmp_path / "out.dcm")
    return source, pydicom.dcmread(tmp_path / "out.dcm"), (tmp_path / "out.dcm").read_bytes()


def per_frame(image: Dataset, group: str, keyword: str) -> list:
    return [frame[group][0][keyword].value for frame in image.PerFrameFunctionalGroupsSequence]


def test_no_secret_is_left_in_the_written_bytes(pair):
    _, result, content = pair
    assert secrets_in(content) == []
    assert not [element for element in result.iterall() if element.tag.is_private]


def test_frames_keep_their_order_position_and_rescale(pair):
    source, result, _ = pair
    assert len(result.PerFrameFunctionalGroupsSequence) == result.NumberOfFrames == FRAMES
    for group, keyword in (
        ("PlanePositionSequence", "ImagePositionPatient"),
        ("FrameContentSequence", "DimensionIndexValues"),
        ("FrameContentSequence", "InStackPositionNumber"),
        ("PixelValueTransformationSequence", "RescaleSlope"),
        ("PixelValueTransformationSequence", "RescaleIntercept"),
    ):
        assert per_frame(result, group, keyword) == per_frame(source, group, keyword), keyword
        assert len({str(value) for value in per_frame(source, group, keyword)}) > 1 or "Inter" in keyword
    shared = result.SharedFunctionalGroupsSequence[0]
    assert shared.PixelMeasuresSequence[0].PixelSpacing == [0.5, 0.5]
    assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == [1, 0, 0, 0, 1, 0]
    assert np.array_equal(result.pixel_array, source.pixel_array)
    assert result.pixel_array.shape[0] == FRAMES


def test_timing_stays_per_frame_and_shared(tmp_path):
    result = deidentify(enhanced_dataset("MR"), KEYS, Options()).dataset
    assert per_frame(result, "MREchoSequence", "EffectiveEchoTime") == [20.0, 40.0, 60.0, 80.0]
    timing = result.SharedFunctionalGroupsSequence[0].MRTimingAndRelatedParametersSequence[0]
    assert (timing.RepetitionTime, timing.RFEchoTrainLength) == (4500, 16)


def test_coded_strings_of_the_standard_survive_as_they_are(pair):
    """An enumerated value that is not in the vocabulary would be lost, and the file would be invalid."""
    source, result, _ = pair

    def codes(image: Dataset) -> list[tuple[str, str]]:
        rules = allowed_attributes(("enhanced_ct", "enhanced_mr"))
        elements = [
            element for element in image.iterall() if rules.get(int(element.tag), ("", 0))[0] == "code"
        ]
        return [(element.keyword, str(element.value)) for element in elements if element.VR == "CS"]

    assert len(codes(source)) > 15
    assert [code for code in codes(source) if code not in codes(result)] == []


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("EchoPulseSequence", "BOTH"),
        ("OperatingModeType", "STATIC FIELD"),
        ("ReconstructionAlgorithm", "FILTER_BACK_PROJ"),
        ("LossyImageCompressionMethod", "ISO_10918_1"),
        ("ResonantNucleus", "31P"),
        ("FrameLaterality", "U"),
        ("AcquisitionType", "SEQUENCED"),
        ("AcquisitionContrast", "T2_STAR"),
        ("VolumeBasedCalculationTechnique", "MAX_IP"),
        ("FlowCompensationDirection", "SLICE_AND_FREQ"),
        ("PresentationLUTShape", "IDENTITY"),
        ("CoverageOfKSpace", "ELLIPSOIDAL"),
    ],
)
def test_defined_terms_pass_the_vocabulary(keyword, value):
    context = Context(KEYS, "P0", 1, False, False, False)
    rule = Rule("code", 1)
    assert apply_rule(rule, DataElement(tag_for_keyword(keyword), "CS", value), context)[1] == "kept"
    joined = DataElement(tag_for_keyword(keyword), "CS", f"{value} HOLLYOAK")
    assert "HOLLYOAK" not in str(apply_rule(rule, joined, context)[0].value)


def test_references_to_dimensions_stay_consistent(pair):
    source, result, _ = pair
    uid = result.DimensionOrganizationSequence[0].DimensionOrganizationUID
    assert uid == KEYS.uid(source.DimensionOrganizationSequence[0].DimensionOrganizationUID)
    assert {item.DimensionOrganizationUID for item in result.DimensionIndexSequence} == {uid}
    assert [int(item.DimensionIndexPointer) for item in result.DimensionIndexSequence] == [
        0x00209056,
        0x00209057,
    ]


def test_dates_of_frames_move_with_the_study_and_times_go(pair):
    _, result, _ = pair
    assert set(per_frame(result, "FrameContentSequence", "FrameAcquisitionDateTime")) == {result.StudyDate}
    assert result.ContentTime == "000000"  # type 1 in an enhanced image: midnight for everyone
    assert not result.StudyTime


def test_codes_stay_with_their_published_meaning_only(pair):
    _, result, _ = pair
    region = result.SharedFunctionalGroupsSequence[0].FrameAnatomySequence[0].AnatomicRegionSequence[0]
    assert [element.value for element in region] == ["12738006", "SCT", "Brain"]


def test_a_code_of_the_hospital_itself_is_dropped():
    image = enhanced_dataset("MR")
    own = enhanced_factory.code("QUEN1", "99WOLKENSTEIN", "Brain of Zebulon")
    image.SharedFunctionalGroupsSequence[0].FrameAnatomySequence[0].AnatomicRegionSequence = own
    shared = deidentify(image, KEYS, Options()).dataset.SharedFunctionalGroupsSequence[0]
    assert "AnatomicRegionSequence" not in shared.FrameAnatomySequence[0]


def test_what_an_enhanced_image_must_not_leave_empty_gets_a_dummy():
    result = deidentify(enhanced_dataset("MR", ManufacturerModelName="Hollyoak"), KEYS, Options()).dataset
    for keyword in ("DeviceSerialNumber", "SoftwareVersions", "ManufacturerModelName"):
        assert result[keyword].value == "REMOVED", keyword
    assert len(result.AcquisitionContextSequence) == 0


def test_a_frame_without_anything_to_keep_holds_its_place():
    image = enhanced_dataset("MR")
    frames = list(image.PerFrameFunctionalGroupsSequence)
    frames[1] = Dataset()
    image.PerFrameFunctionalGroupsSequence = Sequence(frames)
    kept = deidentify(image, KEYS, Options()).dataset.PerFrameFunctionalGroupsSequence
    assert [len(frame) > 0 for frame in kept] == [True, False, True, True]


def test_a_legacy_converted_image_keeps_the_attributes_of_both_kinds():
    image = enhanced_dataset("MR", SOPClassUID=LegacyConvertedEnhancedMRImageStorage)
    frame = Dataset()
    frame.EchoTime, frame.KVP, frame.PatientName = "98", "120", "Quenneville"
    image.PerFrameFunctionalGroupsSequence[0].UnassignedPerFrameConvertedAttributesSequence = Sequence(
        [frame]
    )
    kept = deidentify(image, KEYS, Options()).dataset.PerFrameFunctionalGroupsSequence[0]
    assert kept.UnassignedPerFrameConvertedAttributesSequence[0].dir() == ["EchoTime"]
