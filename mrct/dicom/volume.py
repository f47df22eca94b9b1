"""The volume of a series: HU for CT, stored values after rescale for MR, on a rectilinear grid with LPS axes.

Convention: arrays are (k, j, i) = (D, H, W), with i along the row direction, j along the column and k along the
normal. Points are (x, y, z) in mm, LPS.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk
from pydicom import Dataset
from scipy.ndimage import shift

from mrct.core.contracts import AIR_HU
from mrct.dicom.decoding import decode_pixels
from mrct.dicom.errors import GeometryError, Unreadable
from mrct.dicom.header import frame_dataset
from mrct.dicom.read import read_dataset
from mrct.dicom.rescale import Rescale, inverted, padding, read_rescale
from mrct.dicom.series import Instance, Series
from mrct.dicom.stack import Stack, stack

#: Signal where an MR has no data.
MR_BACKGROUND = 0.0


class BuiltVolume(NamedTuple):
    """The volume of a series.

    Attributes:
        volume: float32; its axes are permuted and flipped to LPS.
        notes: What was left out or corrected.
        filled: uint8 on its voxels, 1 in slices that no image shows and that were interpolated; None if there are none.
    """

    volume: sitk.Image
    notes: tuple[str, ...]
    filled: sitk.Image | None


def build_volume(series: Series) -> BuiltVolume:
    """Build the volume of a series.

    A slice that holds one value everywhere, among others that do not, shows nothing: it counts as missing.

    Args:
        series: A CT or MR series.

    Raises:
        GeometryError: The slices do not form a volume, or one of them cannot be decoded.
    """
    layout = stack(series)
    background = AIR_HU if series.modality == "CT" else MR_BACKGROUND
    planes = dict(zip(layout.instances, _slices(layout.instances, series.modality), strict=True))
    notes: tuple[str, ...] = ()
    blank = {one for one, plane in planes.items() if plane.min() == plane.max()}
    if 0 < len(blank) < len(planes):
        layout = stack(replace(series, instances=tuple(one for one in series.instances if one not in blank)))
        unread = [one for one in layout.instances if one not in planes]
        planes |= dict(zip(unread, _slices(unread, series.modality), strict=True))
        notes = (f"{len(blank)} slice{'s' * (len(blank) > 1)} of one single value left out",)
    array = np.stack([planes[one] for one in layout.instances])
    origin = layout.origin
    if layout.is_sheared:
        array, origin = straighten(array, layout, background)
    if layout.weights is not None:
        array = np.tensordot(layout.weights.astype(np.float32), array, axes=1)
    notes = (*layout.notes, *notes)
    if any(instance.inverted for instance in layout.instances):
        notes = (*notes, "MONOCHROME1: stored values inverted where the rescale slope had not done it")
    volume = sitk.DICOMOrient(_image(array, layout, origin), "LPS")
    return BuiltVolume(volume, notes, _filled(layout, volume))


def _filled(layout: Stack, volume: sitk.Image) -> sitk.Image | None:
    if not layout.filled:
        return None
    axis = int(np.abs(np.reshape(volume.GetDirection(), (3, 3)).T @ layout.normal).argmax())
    mask = np.zeros(volume.GetSize(), np.uint8)
    for index in layout.filled:
        point = layout.origin + index * layout.slice_spacing_mm * layout.normal
        place = volume.TransformPhysicalPointToContinuousIndex(point.tolist())[axis]
        mask[(slice(None),) * axis + (round(place),)] = 1
    image = sitk.GetImageFromArray(mask.T)
    image.CopyInformation(volume)
    return image


def read_slice(instance: Instance, modality: str) -> np.ndarray:
    """Read one image as float32 (rows, columns).

    A CT is in HU and at least -1024; an MR is rescaled, with 0 where the image is padded. This serves thumbnails: if
    the frame of a multi-frame file is unknown, the middle frame is read, and without a usable rescale, stored values.

    Raises:
        Unreadable: The pixels cannot be decoded.
    """
    dataset, stored = _decoded(instance.path)
    return _measured(dataset, stored, instance.frame, modality, strict=False)


def _decoded(path: Path) -> tuple[Dataset, np.ndarray]:
    """Return the header of a file and its stored values (frames, rows, columns)."""
    dataset = read_dataset(path, pixels=True)
    stored = decode_pixels(dataset)
    del dataset.PixelData  # they are large, and `stored` holds them
    if stored.ndim not in (2, 3):
        raise Unreadable("the pixels are no grey image", damaged=True)
    return dataset, stored if stored.ndim == 3 else stored[None]


def _measured(
    dataset: Dataset, frames: np.ndarray, frame: int | None, modality: str, strict: bool = True
) -> np.ndarray:
    """Return the stored values of one frame after its own rescale; Unreadable if `strict` and it is not told."""
    header = dataset if frame is None else frame_dataset(dataset, frame)
    stored = frames[len(frames) // 2 if frame is None else frame]
    try:
        rescale = read_rescale(header, modality)
    except Unreadable:
        if strict:
            raise
        rescale = Rescale()
    values = rescale.apply(inverted(stored, header, rescale))
    background = AIR_HU if modality == "CT" else MR_BACKGROUND
    values = np.where(padding(stored, header), np.float32(background), values)
    return np.maximum(values, np.float32(AIR_HU)) if modality == "CT" else values


def straighten(array: np.ndarray, layout: Stack, background: float) -> tuple[np.ndarray, np.ndarray]:
    """Shift sheared slices back in their planes, by linear interpolation.

    Nothing is interpolated between slices. The grid grows by the drift, so that no part of a slice is cut off.

    Args:
        array: Sheared slices (D, H, W).
        layout: The stack to which the slices belong.
        background: Value where no slice has data.

    Returns:
        The rectilinear array (D, H', W') and its new origin, LPS mm.
    """
    between_rows, between_columns = layout.instances[0].pixel_spacing_mm or (1.0, 1.0)
    # (D, 2) in pixels, in the order of the last two axes of the array
    drift = layout.drift_mm[:, ::-1] / (between_rows, between_columns)
    lead = np.ceil(np.maximum(0.0, -drift.min(axis=0))).astype(int)
    tail = np.ceil(np.maximum(0.0, drift.max(axis=0))).astype(int)
    around = tuple(zip(lead, tail, strict=True))
    straight = np.stack(
        [_shifted(plane, offset, around, background) for plane, offset in zip(array, drift, strict=True)]
    )
    origin = layout.origin - lead[0] * between_rows * layout.column - lead[1] * between_columns * layout.row
    return straight.astype(np.float32), origin


def _shifted(
    plane: np.ndarray, offset: np.ndarray, around: tuple[tuple[int, int], ...], background: float
) -> np.ndarray:
    """Shift the padded plane by (rows, columns) pixels; pixels that it covers only in part become background."""
    moved = shift(np.pad(plane, around, mode="edge"), offset, order=1, mode="nearest")
    covered = []
    for size, step, (before, after) in zip(plane.shape, offset, around, strict=True):
        source = np.arange(size + before + after) - before - step
        covered.append((source > -1e-6) & (source < size - 1 + 1e-6))
    return np.where(np.outer(*covered), moved, background)


def _slices(instances: Sequence[Instance], modality: str) -> Iterator[np.ndarray]:
    """Yield the values of each image, in order; a file of many frames is decoded once. Raises GeometryError."""
    path = None
    for index, instance in enumerate(instances):
        where = f"slice {index + 1} of {len(instances)}"
        try:
            if instance.path != path:
                dataset, stored = _decoded(instance.path)
                path = instance.path
            values = _measured(dataset, stored, instance.frame, modality)
        except Unreadable as error:
            raise GeometryError(f"{where}: {error.reason}") from None
        if not np.isfinite(values).all():
            raise GeometryError(f"{where}: values that are not finite")
        yield values


def _image(array: np.ndarray, layout: Stack, origin: np.ndarray) -> sitk.Image:
    between_rows, between_columns = layout.instances[0].pixel_spacing_mm or (1.0, 1.0)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((between_columns, between_rows, layout.slice_spacing_mm))
    image.SetOrigin(origin.tolist())
    image.SetDirection(np.stack([layout.row, layout.column, layout.normal], axis=1).ravel().tolist())
    return image
