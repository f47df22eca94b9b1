"""Synthesis for a new patient: an MR series in, a synthetic CT series out, or the other way round.

The input is normalized as the training volumes were, from its own voxels alone; the result lies on the input's voxels.
An input that is not like the images of the training is refused (mrct/inference/suitability.py).
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from mrct.core.contracts import AIR_HU
from mrct.core.errors import DataError, OutputExistsError
from mrct.core.files import VOLUME_SUFFIXES, is_volume_file
from mrct.dicom.write import write_synthetic_series
from mrct.imaging.volumes import like, to_array, write_volume
from mrct.inference.model import Model
from mrct.inference.source import FoundSeries, Request, read_source
from mrct.normalization.normalization import Modality

#: Synthetic MR has no unit: [0, 1] is written as 0 to 1000.
MR_UNITS = 1000.0
# a folder may be named scan.2 or 2024.05: an ending that begins with a digit is no suffix
_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]*")


@dataclass(frozen=True)
class Synthesized:
    """Files that were written, with remarks.

    Attributes:
        files: The files.
        notes: Remarks for the user.
        departures: How the input differs from the images of the training; empty unless it was forced.
        series: All series of the input, for DICOM; the one that was used has no reason, or was forced.
    """

    files: tuple[Path, ...]
    notes: tuple[str, ...]
    departures: tuple[str, ...]
    series: tuple[FoundSeries, ...]


def synthesize(request: Request, out: Path, model: Model) -> Synthesized:
    """Translate one patient's series or volume and write the result.

    Args:
        request: The input: one patient's DICOM (a folder or a multi-frame file), or a NIfTI or MetaImage file.
        out: A new folder for a DICOM series, or a new file with the suffix of a volume.
        model: The model.

    Raises:
        WrongInputError: The input is of another kind than the images of the training, holds no usable series, or is of
            several patients.
        OutputExistsError: `out` is a file, or a folder that is not empty.
        DataError: `out` has an unknown suffix, or the volume has no contrast.
    """
    require_new(out)
    source = read_source(request, model)
    synthetic = _blanked(translate_volume(source.volume, model), source.filled, model.target)
    if is_volume_file(out):
        write_volume(out, synthetic)
        files = [out]
    else:
        warning = "; ".join(source.departures)
        files = write_synthetic_series(
            synthetic, source.headers, out, model.target, filled=source.filled, warning=warning
        )
    return Synthesized(tuple(files), source.notes, source.departures, source.series)


def require_new(out: Path) -> None:
    """Check that the place for the result is free and that its name says what to write.

    Raises:
        OutputExistsError: It is a file, or a folder that is not empty.
        DataError: It has a suffix that is not that of a volume file, and is no folder.
    """
    if out.is_dir():
        if any(out.iterdir()):
            raise OutputExistsError(
                f"{out}: not empty; name a new folder, so that nothing is mixed or overwritten"
            )
        if is_volume_file(out):
            raise OutputExistsError(f"{out}: a folder, whose name is that of a volume file; name another one")
        return
    if out.exists():
        raise OutputExistsError(f"{out}: exists; name a new file or folder, so that nothing is overwritten")
    if _SUFFIX.fullmatch(out.suffix) and not is_volume_file(out):
        raise DataError(
            f"{out}: {out.suffix} is no suffix of a volume file that can be written; expected one of "
            f"{', '.join(VOLUME_SUFFIXES)}, or a name without suffix: a new folder for DICOM"
        )


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
