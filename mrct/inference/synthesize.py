"""Synthesis for a new patient: an MR series in, a synthetic CT series out, or the other way round.

The input is normalized as the training volumes were, from its own voxels alone; the result lies on the input's voxels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom import Dataset

from mrct.core.contracts import AIR_HU
from mrct.core.errors import DataError, OutputExistsError
from mrct.core.files import VOLUME_SUFFIXES
from mrct.dicom.errors import Unreadable
from mrct.dicom.grouping import group
from mrct.dicom.header import frame_dataset
from mrct.dicom.read import find_files, read_dataset
from mrct.dicom.series import Series, read_instances
from mrct.dicom.stack import MAX_ANGLE_DEG, plane
from mrct.dicom.volume import build_volume, filled_slices
from mrct.dicom.write import write_synthetic_series
from mrct.imaging.volumes import like, read_volume, to_array, write_volume
from mrct.inference.model import Model
from mrct.normalization.normalization import Modality

#: Synthetic MR has no unit: [0, 1] is written as 0 to 1000.
MR_UNITS = 1000.0
#: Limits for the first percentile of a volume: an MR does not lie below the first, a CT in HU lies below the second.
NO_MR_BELOW, NO_CT_FROM = -500.0, 0.0


class WrongInputError(DataError):
    """Error for an input to which the model cannot be applied."""


@dataclass(frozen=True)
class Source:
    """Volume to translate and, for DICOM, the headers of its images, to which the result refers.

    `notes` are remarks for the user. `filled` is above 0 in slices that no image shows, and that are interpolated; None
    if there are none.
    """

    volume: sitk.Image
    headers: Sequence[Dataset] | None
    notes: tuple[str, ...] = ()
    filled: sitk.Image | None = None


def synthesize(path: Path, out: Path, model: Model) -> tuple[list[Path], tuple[str, ...]]:
    """Translate one patient's series or volume and write the result.

    Args:
        path: One DICOM series (a folder or a multi-frame file), or a NIfTI or MetaImage file.
        out: A new folder for a DICOM series, or a file with the suffix of a volume.
        model: The model.

    Returns:
        The files written, and remarks for the user.

    Raises:
        WrongInputError: The input has another modality, is not roughly axial, or is not exactly one series.
        OutputExistsError: The folder `out` is not empty.
        DataError: The volume has no contrast.
    """
    if out.is_dir() and any(out.iterdir()):
        raise OutputExistsError(
            f"{out}: not empty; name a new folder, so that nothing is mixed or overwritten"
        )
    source = _read_source(path, model.source)
    synthetic = _blanked(translate_volume(source.volume, model), source.filled, model.target)
    if out.name.endswith(VOLUME_SUFFIXES):
        write_volume(out, synthetic)
        return [out], source.notes
    files = write_synthetic_series(synthetic, source.headers, out, model.target, filled=source.filled)
    return files, source.notes


def translate_volume(volume: sitk.Image, model: Model) -> sitk.Image:
    """Translate a whole volume in LPS axes.

    Args:
        volume: An MR in any unit or a CT in HU, as the model's source says.
        model: The model.

    Returns:
        float32 on the same voxels: HU, or MR from 0 to `MR_UNITS`.

    Raises:
        DataError: The MR has no contrast.
    """
    fitted = model.normalization.fit(volume, model.source)
    signed = model.translate(fitted.transform(volume, model.source), fitted.slice_spacing_mm)
    values = model.normalization.inverse_transform(signed, model.target)
    if model.target == "MR":
        values = values * MR_UNITS
    return fitted.restore(values, model.target, volume)


def _blanked(synthetic: sitk.Image, filled: sitk.Image | None, target: Modality) -> sitk.Image:
    """Put air (CT) or 0 (MR) where no image of the source shows a slice."""
    if filled is None:
        return synthetic
    blank = AIR_HU if target == "CT" else 0.0
    return like(np.where(to_array(filled) > 0, np.float32(blank), to_array(synthetic)), synthetic)


def _read_source(path: Path, modality: Modality) -> Source:
    """Read one roughly axial series of the modality, or one volume file, whose header does not state the modality."""
    if not path.exists():
        raise WrongInputError(f"{path}: no such file or folder")
    if path.is_file() and path.name.endswith(VOLUME_SUFFIXES):
        volume = read_volume(path)
        _require_plausible(to_array(volume), modality, path.name)
        return Source(volume, None, (f"{path.name}: no header says that this is {modality}; taken as such",))
    series = _only_series(path, modality)
    name, angle_deg = plane(series)
    if angle_deg is None:
        raise WrongInputError(
            f"the {modality} series has no usable orientation of its slices or frames; "
            "expected one stack of axial slices: export it again, as single images where it is one file"
        )
    if name != "axial" or angle_deg > MAX_ANGLE_DEG:
        raise WrongInputError(
            f"the {modality} series is {name}, {angle_deg} degrees from axial; expected axial within "
            f"{MAX_ANGLE_DEG:g} degrees, as the model was trained on"
        )
    volume, notes = build_volume(series)
    _require_plausible(to_array(volume), modality, "the series")
    return Source(volume, _image_headers(series), notes, filled_slices(series, volume))


def _image_headers(series: Series) -> list[Dataset]:
    """Read the header of every image; that of a frame gets its ReferencedFrameNumber, which counts from 1."""
    files = {path: read_dataset(path, pixels=False) for path in {one.path for one in series.instances}}
    headers = []
    for one in series.instances:
        header = files[one.path] if one.frame is None else frame_dataset(files[one.path], one.frame)
        if one.frame is not None:
            header.ReferencedFrameNumber = one.frame + 1
        headers.append(header)
    return headers


def _only_series(path: Path, modality: Modality) -> Series:
    """Find the single series of the modality below `path`; errors quote no header and no name of its files."""
    instances = []
    for file in find_files(path) if path.is_dir() else [path]:
        try:
            instances += read_instances(file)
        except Unreadable:
            # a CD holds viewers and indexes beside the images
            continue
    series = group(instances, key=lambda instance: ("", instance.series_uid))
    wanted = [one for one in series if one.modality == modality]
    if len(wanted) != 1:
        found = (
            ", ".join(f"{one.modality or 'unknown'} with {len(one.instances)} images" for one in series)
            or "no DICOM"
        )
        raise WrongInputError(
            f"the input holds {found}; expected exactly one {modality} series: give the folder of one series"
        )
    return wanted[0]


def _require_plausible(array: np.ndarray, modality: Modality, name: str) -> None:
    """Raise WrongInputError for a CT given as MR and for an MR given as CT, by the darkest values."""
    low = float(np.percentile(array, 1))
    if modality == "MR" and low < NO_MR_BELOW:
        raise WrongInputError(f"{name}: its darkest values are {low:.0f}, as of a CT in HU; expected an MR")
    if modality == "CT" and low >= NO_CT_FROM:
        raise WrongInputError(
            f"{name}: its darkest values are {low:.0f}; expected a CT in HU with air near -1000"
        )
