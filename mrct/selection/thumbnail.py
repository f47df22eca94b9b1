"""A small grey picture of a series' middle slice, for tables that people look at."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.image import imsave
from skimage.transform import resize

from mrct.dicom.read import Unreadable
from mrct.dicom.series import Series
from mrct.dicom.volume import read_slice

HEIGHT_PX = 96
CT_WINDOW_HU = (-160.0, 240.0)
MR_PERCENTILES = (1.0, 99.5)
# an MR or CT slice is about square; what is longer is a damaged header
MAX_WIDTH_PX = 3 * HEIGHT_PX
# matplotlib signs its files otherwise
_NO_METADATA: dict[str, Any] = {"Software": None}


def series_thumbnail(series: Series) -> np.ndarray:
    """The middle slice (by level, or by number without geometry) as picture; black if it is unreadable."""
    middle = _by_level(series)[len(series.instances) // 2]
    try:
        return thumbnail(read_slice(middle, series.modality), middle.pixel_spacing_mm, series.modality)
    except Unreadable:
        return np.zeros((HEIGHT_PX, HEIGHT_PX), np.float32)


def thumbnail(plane: np.ndarray, pixel_spacing_mm: tuple[float, ...] | None, modality: str) -> np.ndarray:
    """(rows, columns) -> grey [0, 1], 96 px high, with true proportions; CT in a soft-tissue window."""
    between_rows, between_columns = pixel_spacing_mm or (1.0, 1.0)
    low, high = CT_WINDOW_HU if modality == "CT" else np.percentile(plane, MR_PERCENTILES)
    grey = np.clip((plane - low) / max(high - low, 1e-6), 0.0, 1.0)
    ratio = plane.shape[1] * between_columns / (plane.shape[0] * between_rows)
    width = int(np.clip(round(HEIGHT_PX * ratio), 1, MAX_WIDTH_PX))
    return np.clip(resize(grey, (HEIGHT_PX, width), order=1, anti_aliasing=True), 0.0, 1.0)


def save_thumbnail(path: Path, picture: np.ndarray) -> None:
    """PNG without metadata: the same picture gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    imsave(path, picture, cmap="gray", vmin=0.0, vmax=1.0, metadata=_NO_METADATA)


def _by_level(series: Series) -> list:
    if any(instance.position is None or instance.orientation is None for instance in series.instances):
        return list(series.instances)
    orientation = np.asarray(series.first.orientation)
    normal = np.cross(orientation[:3], orientation[3:])
    return sorted(series.instances, key=lambda instance: float(np.dot(instance.position, normal)))
