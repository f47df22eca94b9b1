"""DICOM images of a series: geometry, pixels, file meta information (PS3.3 C.7 and C.8, PS3.10).

The preamble and the file meta information hold the patient's name, as in some real exports.
"""

from collections.abc import Iterator, Mapping
from typing import cast

import numpy as np
from PIL import Image, ImageDraw
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    CTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    SecondaryCaptureImageStorage,
)

from virtual_hospital.ct import outside_circle
from virtual_hospital.elements import UID_ROOT, HeaderValue, even, one_item
from virtual_hospital.geometry import Grid
from virtual_hospital.headers import Acquisition, shared_attributes
from virtual_hospital.persona import Persona

_SOP_CLASSES = {"CT": CTImageStorage, "MR": MRImageStorage, "PT": PositronEmissionTomographyImageStorage}
# Attributes of a classic image that move into the functional groups of an enhanced one
_TIMING = (
    "RepetitionTime",
    "EchoTime",
    "EchoTrainLength",
    "FlipAngle",
    "ScanningSequence",
    "SequenceVariant",
)
_PIXEL_MEASURES = ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices")
_RESCALE = ("RescaleSlope", "RescaleIntercept", "RescaleType")
_PLANE = ("ImagePositionPatient", "ImageOrientationPatient", "SliceLocation", *_PIXEL_MEASURES, *_RESCALE)


def make_images(acquisition: Acquisition) -> Iterator[Dataset]:
    """Yield the images of a series by InstanceNumber, complete with preamble and file meta information.

    InstanceNumber increases with the position; for every fifth patient it is random.
    """
    series = acquisition.series
    attributes = series.grid_attributes or ({},) * len(series.grids)
    slices = [
        (grid, values, k, own)
        for grid, values, own in zip(series.grids, series.values, attributes, strict=True)
        for k in range(len(values))
    ]
    if acquisition.n % 5 == 2:
        rng = np.random.default_rng((acquisition.seed, acquisition.n, acquisition.number))
        slices = [slices[index] for index in rng.permutation(len(slices))]
    shared = shared_attributes(acquisition)
    for number, (grid, values, k, own) in enumerate(slices, 1):
        image = Dataset()
        image.update(shared)
        image.SOPInstanceUID = f"{acquisition.series_uid}.{number}"
        image.InstanceNumber = str(number)
        if series.form == "capture":
            _add_capture(image, values[k], acquisition.persona)
        else:
            _add_geometry(image, grid, k)
            _add_pixels(image, values[k], acquisition)
        _replace_attributes(image, own)
        image.file_meta = _file_meta(image, acquisition)
        image.preamble = _preamble(acquisition)
        if series.form == "multiframe":
            yield to_multiframe(image, grid, _stored(values, acquisition))
            return
        yield image


def _replace_attributes(image: Dataset, attributes: Mapping[str, HeaderValue]) -> None:
    """Set attributes as new elements, because all images share the old elements."""
    for keyword, value in attributes.items():
        image.pop(keyword, None)
        setattr(image, keyword, value)


def _add_geometry(image: Dataset, grid: Grid, k: int) -> None:
    """Add the image plane module (PS3.3 C.7.6.2), rounded to what a decimal string holds."""
    orientation = [*grid.row_direction, *grid.column_direction]
    image.ImageOrientationPatient = [_decimal(value, 8) for value in orientation]
    image.ImagePositionPatient = [_decimal(value, 5) for value in grid.position(k)]
    image.PixelSpacing = [_decimal(grid.pixel_spacing_mm, 8)] * 2
    image.SliceThickness = _decimal(grid.thickness_mm, 3)
    image.SpacingBetweenSlices = _decimal(grid.spacing_mm, 3)
    image.SliceLocation = _decimal(float(grid.position(k) @ grid.normal), 3)


def _add_pixels(image: Dataset, values: np.ndarray, acquisition: Acquisition) -> None:
    """Add 12-bit unsigned or 16-bit signed pixels: stored value x slope + intercept is the value."""
    scanner = acquisition.scanner
    stored = _stored(values, acquisition)
    if scanner.padding is not None and acquisition.series.kind == "clean":
        stored[outside_circle(stored.shape)] = scanner.padding
        image.add_new("PixelPaddingValue", "SS", scanner.padding)
    bits = 16 if scanner.signed else 12
    _add_pixel_module(image, stored.astype("<i2" if scanner.signed else "<u2"), bits, scanner.signed)
    image.RescaleSlope = _decimal(scanner.slope, 6)
    image.RescaleIntercept = _decimal(scanner.intercept, 6)
    image.RescaleType = "HU" if scanner.modality == "CT" else "US"


def _stored(values: np.ndarray, acquisition: Acquisition) -> np.ndarray:
    """Return stored values, rounded and clipped to the bits of the scanner, of the same shape."""
    scanner = acquisition.scanner
    low, high = (-32768, 32767) if scanner.signed else (0, 4095)
    return np.clip(np.rint((values - scanner.intercept) / scanner.slope), low, high)


def _add_capture(image: Dataset, values: np.ndarray, persona: Persona) -> None:
    """Add an 8-bit screen capture with the patient's name burned in; it has no position."""
    text = f"{persona.family} {persona.given} {persona.patient_id}"
    _add_pixel_module(image, _with_text(values.astype(np.uint8), text), 8)


def _with_text(pixels: np.ndarray, text: str) -> np.ndarray:
    """Draw white text, scaled to fit, in the upper left corner of the image, uint8 (H, W)."""
    label = Image.new("L", (6 * len(text) + 4, 12), 0)
    draw = ImageDraw.Draw(label)
    draw.fontmode = "1"  # no antialiasing, so that all font renderers give the same pixels
    draw.text((2, 0), text, fill=255)
    width = min(pixels.shape[1] - 2, label.width)
    height = max(6, label.height * width // label.width)
    stamp = np.asarray(label.resize((width, height), Image.Resampling.NEAREST))
    burned = pixels.copy()
    corner = burned[1 : 1 + height, 1 : 1 + width]
    np.maximum(corner, stamp[: corner.shape[0]], out=corner)
    return burned


def _add_pixel_module(image: Dataset, stored: np.ndarray, bits: int, signed: bool = False) -> None:
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.Rows, image.Columns = stored.shape
    image.BitsAllocated = 8 * stored.dtype.itemsize
    image.BitsStored, image.HighBit, image.PixelRepresentation = bits, bits - 1, int(signed)
    image.add_new("PixelData", "OB" if stored.dtype.itemsize == 1 else "OW", even(stored.tobytes()))


def _file_meta(image: Dataset, acquisition: Acquisition) -> FileMetaDataset:
    """Set the SOP class of the image and return file meta information that holds the family name."""
    captured = acquisition.series.form == "capture"
    image.SOPClassUID = (
        SecondaryCaptureImageStorage if captured else _SOP_CLASSES[acquisition.series.modality]
    )
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = image.SOPClassUID
    meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    meta.TransferSyntaxUID = ImplicitVRLittleEndian if acquisition.scanner.signed else ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(f"{UID_ROOT}.1")
    meta.ImplementationVersionName = "CORVINA_1"
    meta.SourceApplicationEntityTitle = "CORVINA_PACS"
    meta.PrivateInformationCreatorUID = UID(f"{UID_ROOT}.2")
    meta.PrivateInformation = even(acquisition.persona.family.encode())
    return meta


def _preamble(acquisition: Acquisition) -> bytes:
    """Return 128 bytes: the name for every third patient, otherwise zeros."""
    text = f"{acquisition.persona.family} {acquisition.persona.given}" if acquisition.n % 3 == 1 else ""
    return text.encode().ljust(128, b"\0")


def _decimal(value: float, digits: int) -> str:
    # + 0.0 turns -0.0 into 0.0
    return f"{round(float(value), digits) + 0.0:.{digits}f}"


def to_multiframe(image: Dataset, grid: Grid, stored: np.ndarray) -> Dataset:
    """Turn a classic MR image into an Enhanced MR image of all slices (PS3.3 A.36, C.7.6.16, C.8.13).

    Args:
        image: An image of the series; it is changed.
        grid: The slices.
        stored: Stored values of all slices, (D, H, W).

    Returns:
        The image, with its geometry and timing in functional groups.
    """
    timing, plane = _removed(image, _TIMING), _removed(image, _PLANE)
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    image.NumberOfFrames = str(len(stored))
    image.PixelData = np.ascontiguousarray(stored, "<u2").tobytes()
    image.EchoPulseSequence, image.AcquisitionContrast, image.MultipleSpinEcho = "SPIN", "T2", "NO"
    image.SharedFunctionalGroupsSequence = Sequence([_shared_groups(timing, plane)])
    echo_ms = float(str(timing["EchoTime"]))
    image.PerFrameFunctionalGroupsSequence = Sequence(
        [_frame_groups(grid, k, echo_ms) for k in range(len(stored))]
    )
    return image


def _removed(image: Dataset, keywords: tuple[str, ...]) -> dict[str, HeaderValue]:
    """Remove the attributes that the image has; return their values by keyword."""
    return {keyword: cast(HeaderValue, image.pop(keyword).value) for keyword in keywords if keyword in image}


def _shared_groups(timing: Mapping[str, HeaderValue], plane: Mapping[str, HeaderValue]) -> Dataset:
    shared = Dataset()
    shared.PixelMeasuresSequence = one_item(**{keyword: plane[keyword] for keyword in _PIXEL_MEASURES})
    shared.PlaneOrientationSequence = one_item(ImageOrientationPatient=plane["ImageOrientationPatient"])
    shared.PixelValueTransformationSequence = one_item(**{keyword: plane[keyword] for keyword in _RESCALE})
    shared.MRTimingAndRelatedParametersSequence = one_item(
        RepetitionTime=timing["RepetitionTime"],
        FlipAngle=timing["FlipAngle"],
        EchoTrainLength=int(str(timing["EchoTrainLength"])),
    )
    return shared


def _frame_groups(grid: Grid, k: int, echo_time_ms: float) -> Dataset:
    frame = Dataset()
    frame.FrameContentSequence = one_item(
        StackID="1", InStackPositionNumber=k + 1, DimensionIndexValues=[1, k + 1]
    )
    position = [f"{value:.5f}" for value in grid.position(k)]
    frame.PlanePositionSequence = one_item(ImagePositionPatient=position)
    frame.MREchoSequence = one_item(EffectiveEchoTime=echo_time_ms)
    return frame
