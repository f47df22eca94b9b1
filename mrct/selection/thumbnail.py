"""A small gray picture of the middle slice of a series, for the report."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.image import imsave
from skimage.transform import resize

from mrct.dicom.errors import Unreadable
from mrct.dicom.series import Instance, Series
from mrct.dicom.volume import read_slice

HEIGHT_PX = 96
_CT_WINDOW_HU = (-160.0, 240.0)
_MR_PERCENTILES = (1.0, 99.5)
# slices of CT and MR are about square; a wider one has a damaged header
_MAX_WIDTH_PX = 3 * HEIGHT_PX
# matplotlib otherwise writes its version into the file
_NO_METADATA: dict[str, Any] = {"Software": None}


def series_thumbnail(series: Series) -> np.ndarray:
    """Return the picture of the middle slice by level (by number without geometry); black if it is unreadable."""
    middle = _by_level(series)[len(series.instances) // 2]
    try:
        return thumbnail(read_slice(middle, series.modality), middle.pixel_spacing_mm, series.modality)
    except Unreadable:
        return blank()


def blank() -> np.ndarray:
    """Return the black picture of what cannot be shown."""
    return np.zeros((HEIGHT_PX, HEIGHT_PX), np.float32)


def thumbnail(plane: np.ndarray, pixel_spacing_mm: tuple[float, ...] | None, modality: str) -> np.ndarray:
    """Return a gray picture in [0, 1] with true proportions, 96 pixels high.

    Args:
        plane: A slice (rows, columns), CT in HU or MR in any unit.
        pixel_spacing_mm: (between rows, between columns); None stands for square pixels.
        modality: CT is shown in a soft-tissue window, MR between two percentiles.
    """
    between_rows, between_columns = pixel_spacing_mm or (1.0, 1.0)
    low, high = _CT_WINDOW_HU if modality == "CT" else np.percentile(plane, _MR_PERCENTILES)
    gray = np.clip((plane - low) / (high - low or 1.0), 0.0, 1.0)
    ratio = plane.shape[1] * between_columns / (plane.shape[0] * between_rows)
    width = int(np.clip(round(HEIGHT_PX * ratio), 1, _MAX_WIDTH_PX))
    return np.clip(resize(gray, (HEIGHT_PX, width), order=1, anti_aliasing=True), 0.0, 1.0)


def save_thumbnail(path: Path, picture: np.ndarray) -> None:
    """Write a PNG without metadata; the same picture gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    imsave(path, picture, cmap="gray", vmin=0.0, vmax=1.0, metadata=_NO_METADATA)


def _by_level(series: Series) -> list[Instance]:
    if any(instance.position is None or instance.orientation is None for instance in series.instances):
        return list(series.instances)
    orientation = np.asarray(series.first.orientation)
    normal = np.cross(orientation[:3], orientation[3:])
    return sorted(series.instances, key=lambda instance: float(np.dot(instance.position or (), normal)))
