"""A trained model on a new patient: an MR series in, a synthetic CT series out (or the other way round).

Repeats what `normalize` did to the training data from the input alone, translates it, inverts
the normalization exactly and puts the result back on the input's own voxels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom import Dataset

from mrct.core.errors import DataError, OutputExistsError
from mrct.dicom.header import frame_dataset
from mrct.dicom.read import Unreadable, find_files, read_dataset
from mrct.dicom.series import Series, group, read_instances
from mrct.dicom.stack import plane
from mrct.dicom.volume import build_volume
from mrct.dicom.write import write_synthetic_series
from mrct.imaging.grid import from_grid, make_grid, to_grid
from mrct.imaging.volumes import read_volume, to_array, write_volume
from mrct.inference.model import Model
from mrct.normalization.bias import without_bias
from mrct.normalization.intensity import MrScaling, hu_to_signed, signed_to_hu

AIR_HU = -1024.0
#: Synthetic MR has no unit: [0, 1] is written as 0..1000.
MR_SCALE = 1000.0
MAX_ANGLE_DEG = 20.0
VOLUME_SUFFIXES = (".nii.gz", ".nii", ".mha", ".mhd")
SOURCE_MODALITY = {"mr_to_ct": "MR", "ct_to_mr": "CT"}


class WrongInputError(DataError):
    """The input is nothing this model may be applied to."""


@dataclass(frozen=True)
class Source:
    """The volume to translate and, for DICOM, the headers that the result belongs beside."""

    volume: sitk.Image
    headers: Sequence[Dataset] | None
    notes: tuple[str, ...] = ()


def synthesize(path: Path, out: Path, model: Model) -> tuple[list[Path], tuple[str, ...]]:
    """Translate `path` (one DICOM series: a folder or a multi-frame file; or a NIfTI or MetaImage file) into `out`.

    DICOM gives a DICOM series in the folder `out`; a volume file gives a volume file, or a DICOM series where
    `out` has no volume suffix. Returns the files written and notes worth telling. Raises WrongInputError for a
    wrong modality, an oblique or coronal series, more than one series; FileExistsError for a full folder.
    """
    as_volume = out.name.endswith(VOLUME_SUFFIXES)
    if out.is_dir() and any(out.iterdir()):
        raise OutputExistsError(
            f"{out}: not empty; name a new folder, so that nothing is mixed or overwritten"
        )
    source = read_source(path, SOURCE_MODALITY[model.direction])
    synthetic = translate_volume(source.volume, model)
    if as_volume:
        write_volume(out, synthetic)
        return [out], source.notes
    modality = "CT" if model.direction == "mr_to_ct" else "MR"
    return write_synthetic_series(synthetic, source.headers, out, modality), source.notes


def translate_volume(volume: sitk.Image, model: Model) -> sitk.Image:
    """LPS volume in the model's source modality -> synthetic volume on the same voxels (HU, or MR 0..1000)."""
    normalization = model.normalization
    window = (float(normalization["hu_window"][0]), float(normalization["hu_window"][1]))
    grid = make_grid(volume, int(normalization["image_size"]), float(normalization["pixel_spacing_mm"]))
    to_ct = model.direction == "mr_to_ct"
    if to_ct:
        scaling = MrScaling.from_json(normalization["mr"])
        flat = without_bias(volume) if scaling.n4 else volume
        scale = scaling.fit(to_array(flat))
        signed = scale.to_signed(to_grid(flat, grid, fill=scale.low))
    else:
        signed = hu_to_signed(to_grid(volume, grid, fill=AIR_HU), window)
    translated = model.translate(signed, grid.spacing_mm()[2])
    if to_ct:
        return from_grid(signed_to_hu(translated, window), grid, volume, fill=AIR_HU)
    return from_grid((translated + 1) / 2 * MR_SCALE, grid, volume, fill=0.0)


def read_source(path: Path, modality: str) -> Source:
    """One series of the wanted modality, roughly axial; or one volume file, whose modality nobody can check."""
    if not path.exists():
        raise WrongInputError(f"{path}: no such file or folder")
    if path.is_file() and path.name.endswith(VOLUME_SUFFIXES):
        volume = read_volume(path)
        require_plausible(to_array(volume), modality, path.name)
        return Source(volume, None, (f"{path.name}: no header says that this is {modality}; taken as such",))
    series = only_series(path, modality)
    name, angle_deg = plane(series)
    if angle_deg is None:
        raise WrongInputError(
            f"the {modality} series does not tell how its slices or frames lie (no usable orientation); "
            "expected one stack of axial slices: export it anew, as single images where it is one file"
        )
    if name != "axial" or angle_deg > MAX_ANGLE_DEG:
        raise WrongInputError(
            f"the {modality} series is {name}, {angle_deg} degrees from axial; expected axial within "
            f"{MAX_ANGLE_DEG:g} degrees, as the model was trained on"
        )
    volume, notes = build_volume(series)
    require_plausible(to_array(volume), modality, "the series")
    return Source(volume, image_headers(series), notes)


def image_headers(series: Series) -> list[Dataset]:
    """The header of every image; a frame's own is told apart by ReferencedFrameNumber, which counts from 1."""
    files = {path: read_dataset(path, pixels=False) for path in {one.path for one in series.instances}}
    headers = []
    for one in series.instances:
        header = files[one.path] if one.frame is None else frame_dataset(files[one.path], one.frame)
        if one.frame is not None:
            header.ReferencedFrameNumber = one.frame + 1
        headers.append(header)
    return headers


def only_series(path: Path, modality: str) -> Series:
    """The single series of the modality below `path`; its files' names and headers are not quoted."""
    instances = []
    for file in find_files(path) if path.is_dir() else [path]:
        try:
            instances += read_instances(file)
        except Unreadable:
            continue  # a folder from a CD holds viewers and indexes beside the images
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


def require_plausible(array: np.ndarray, modality: str, name: str) -> None:
    """WrongInputError for a CT given as MR (values down to air in HU) and for an MR given as CT."""
    low = float(np.percentile(array, 1))
    if modality == "MR" and low < -500:
        raise WrongInputError(f"{name}: its darkest values are {low:.0f}, as of a CT in HU; expected an MR")
    if modality == "CT" and low >= 0:
        raise WrongInputError(
            f"{name}: its darkest values are {low:.0f}; expected a CT in HU with air near -1000"
        )
