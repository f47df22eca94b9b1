"""DICOM instances of a virtual patient's series: geometry, pixels, file meta information.

PS3.3 C.7 and C.8 for what a CT or MR image holds, PS3.10 for the file; even preamble and file meta tell the
patient's name, as some exports do.
"""

from collections.abc import Iterator

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from virtual_hospital.ct import outside_circle
from virtual_hospital.geometry import Grid
from virtual_hospital.multiframe import to_multiframe
from virtual_hospital.persona import Persona
from virtual_hospital.phi import UID_ROOT, Acquisition, even, shared_attributes
from virtual_hospital.snapshot import burn_in

SOP_CLASSES = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "PT": "1.2.840.10008.5.1.4.1.1.128",
}
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def instances(acquisition: Acquisition) -> Iterator[Dataset]:
    """The series' images, ready for `save_as(..., enforce_file_format=True)`, ordered by InstanceNumber.

    InstanceNumber follows the position, but for every fifth patient it runs at random, as it may.
    """
    series = acquisition.series
    stacks = zip(series.grids, series.values, strict=True)
    each = series.each or ({},) * len(series.grids)
    planes = [
        (grid, values, k, own)
        for (grid, values), own in zip(stacks, each, strict=True)
        for k in range(len(values))
    ]
    if acquisition.n % 5 == 2:
        rng = np.random.default_rng((acquisition.seed, acquisition.n, acquisition.number))
        planes = [planes[index] for index in rng.permutation(len(planes))]
    shared = shared_attributes(acquisition)
    for number, (grid, values, k, own) in enumerate(planes, 1):
        image = Dataset()
        image.update(shared)
        image.SOPInstanceUID = f"{acquisition.series_uid}.{number}"
        image.InstanceNumber = str(number)
        if series.form == "capture":
            _put_snapshot(image, values[k], acquisition.persona)
        else:
            _put_geometry(image, grid, k)
            _put_pixels(image, values[k], acquisition)
        for keyword, value in own.items():
            image.pop(keyword, None)  # the element is shared by the series' images
            setattr(image, keyword, value)
        image.file_meta = _file_meta(image, acquisition)
        image.preamble = _preamble(acquisition)
        if series.form == "multiframe":
            yield to_multiframe(image, grid, _stored(values, acquisition))
            return
        yield image


def _put_geometry(image: Dataset, grid: Grid, k: int) -> None:
    """Image plane module, PS3.3 C.7.6.2; numbers rounded to what a decimal string holds."""
    orientation = [*grid.row_direction, *grid.column_direction]
    image.ImageOrientationPatient = [_decimal(value, 8) for value in orientation]
    image.ImagePositionPatient = [_decimal(value, 5) for value in grid.position(k)]
    image.PixelSpacing = [_decimal(grid.pixel_spacing_mm, 8)] * 2
    image.SliceThickness = _decimal(grid.thickness_mm, 3)
    image.SpacingBetweenSlices = _decimal(grid.spacing_mm, 3)
    image.SliceLocation = _decimal(float(grid.position(k) @ grid.normal), 3)


def _put_pixels(image: Dataset, values: np.ndarray, acquisition: Acquisition) -> None:
    """12 bits unsigned, or the scanner's 16 bits signed, so that stored x slope + intercept is the value."""
    scanner = acquisition.scanner
    stored = _stored(values, acquisition)
    if scanner.padding is not None and acquisition.series.kind == "clean":
        stored[outside_circle(stored.shape)] = scanner.padding
        image.add_new("PixelPaddingValue", "SS", scanner.padding)
    bits = 16 if scanner.signed else 12
    _put_image(image, stored.astype("<i2" if scanner.signed else "<u2"), bits, scanner.signed)
    image.RescaleSlope = _decimal(scanner.slope, 6)
    image.RescaleIntercept = _decimal(scanner.intercept, 6)
    image.RescaleType = "HU" if scanner.modality == "CT" else "US"


def _stored(values: np.ndarray, acquisition: Acquisition) -> np.ndarray:
    """Whole numbers, same shape, as far as the scanner's bits reach."""
    scanner = acquisition.scanner
    low, high = (-32768, 32767) if scanner.signed else (0, 4095)
    return np.clip(np.rint((values - scanner.intercept) / scanner.slope), low, high)


def _put_snapshot(image: Dataset, values: np.ndarray, persona: Persona) -> None:
    """An 8-bit screenshot with the patient's name in the picture; it has no place in space."""
    _put_image(
        image, burn_in(values.astype(np.uint8), f"{persona.family} {persona.given} {persona.patient_id}"), 8
    )


def _put_image(image: Dataset, stored: np.ndarray, bits: int, signed: bool = False) -> None:
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.Rows, image.Columns = stored.shape
    image.BitsAllocated = 8 * stored.dtype.itemsize
    image.BitsStored, image.HighBit, image.PixelRepresentation = bits, bits - 1, int(signed)
    image.add_new("PixelData", "OB" if stored.dtype.itemsize == 1 else "OW", even(stored.tobytes()))


def _file_meta(image: Dataset, acquisition: Acquisition) -> FileMetaDataset:
    captured = acquisition.series.form == "capture"
    image.SOPClassUID = SECONDARY_CAPTURE if captured else SOP_CLASSES[acquisition.series.modality]
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
    """128 bytes: zeros, for every third patient his name."""
    text = f"{acquisition.persona.family} {acquisition.persona.given}" if acquisition.n % 3 == 1 else ""
    return text.encode().ljust(128, b"\0")


def _decimal(value: float, digits: int) -> str:
    return f"{round(float(value), digits) + 0.0:.{digits}f}"
