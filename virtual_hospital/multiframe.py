"""The Enhanced MR form of a series: one object with functional groups (PS3.3 A.36, C.7.6.16, C.8.13)."""

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID

from virtual_hospital.geometry import Grid

ENHANCED_MR = UID("1.2.840.10008.5.1.4.1.1.4.1")
_IN_GROUPS = (
    "RepetitionTime",
    "EchoTime",
    "EchoTrainLength",
    "FlipAngle",
    "ScanningSequence",
    "SequenceVariant",
)
_MOVED = (
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices",
    "SliceLocation", "RescaleSlope", "RescaleIntercept", "RescaleType",
)  # fmt: skip


def to_multiframe(image: Dataset, grid: Grid, stored: np.ndarray) -> Dataset:
    """A classic image of the series, with its attributes in functional groups and all its frames.

    `stored` (D, H, W) are the numbers as stored, `image` holds slope and intercept; it is changed and returned.
    """
    timing = {keyword: image.pop(keyword).value for keyword in _IN_GROUPS if keyword in image}
    plane = {keyword: image.pop(keyword).value for keyword in _MOVED if keyword in image}
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = ENHANCED_MR
    image.NumberOfFrames = str(len(stored))
    image.PixelData = np.ascontiguousarray(stored, "<u2").tobytes()
    image.EchoPulseSequence, image.AcquisitionContrast, image.MultipleSpinEcho = "SPIN", "T2", "NO"
    image.SharedFunctionalGroupsSequence = Sequence([_shared(timing, plane)])
    image.PerFrameFunctionalGroupsSequence = Sequence(
        [_frame(grid, k, float(str(timing["EchoTime"]))) for k in range(len(stored))]
    )
    return image


def _item(**values: object) -> Sequence:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return Sequence([item])


def _shared(timing: dict[str, object], plane: dict[str, object]) -> Dataset:
    pixels = ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices")
    rescale = ("RescaleSlope", "RescaleIntercept", "RescaleType")
    shared = Dataset()
    shared.PixelMeasuresSequence = _item(**{keyword: plane[keyword] for keyword in pixels})
    shared.PlaneOrientationSequence = _item(ImageOrientationPatient=plane["ImageOrientationPatient"])
    shared.PixelValueTransformationSequence = _item(**{keyword: plane[keyword] for keyword in rescale})
    shared.MRTimingAndRelatedParametersSequence = _item(
        RepetitionTime=timing["RepetitionTime"],
        FlipAngle=timing["FlipAngle"],
        EchoTrainLength=int(str(timing["EchoTrainLength"])),
    )
    return shared


def _frame(grid: Grid, k: int, echo_time_ms: float) -> Dataset:
    frame = Dataset()
    frame.FrameContentSequence = _item(
        StackID="1", InStackPositionNumber=k + 1, DimensionIndexValues=[1, k + 1]
    )
    position = [f"{value:.5f}" for value in grid.position(k)]
    frame.PlanePositionSequence = _item(ImagePositionPatient=position)
    frame.MREchoSequence = _item(EffectiveEchoTime=echo_time_ms)
    return frame
