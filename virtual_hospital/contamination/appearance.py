"""How the images of unwanted MR series differ from a spin echo of the head: other signals, artifacts, other objects.

mr.csv names the appearance of each kind. The numbers are rounded and chosen for the look of the images.
"""

from collections.abc import Callable, Mapping

import numpy as np
from scipy import ndimage

from virtual_hospital.anatomy import Head, smooth_field
from virtual_hospital.tissues import PROPERTIES, Tissue

_SOFT = (Tissue.WHITE_MATTER, Tissue.GREY_MATTER, Tissue.DEEP_GREY, Tissue.EDEMA)
#: Signals (that of water with full recovery is 1) that flow, diffusion, a contrast agent or a tracer changes.
SIGNALS: Mapping[str, Mapping[Tissue, float]] = {
    "inflow": {Tissue.BLOOD: 0.9},
    "veins": {Tissue.BLOOD: 0.02},
    "gadolinium": {Tissue.BLOOD: 0.7, Tissue.DURA: 0.6, Tissue.TUMOR: 0.75},
    "dark_fat": {Tissue.FAT: 0.04, Tissue.DIPLOE: 0.08},
    "bright_fluid": {Tissue.CSF: 0.9, Tissue.VITREOUS: 0.9},
    "diffusion": {Tissue.CSF: 0.01, Tissue.VITREOUS: 0.01, Tissue.INFARCT: 0.6, Tissue.FAT: 0.0},
    # Apparent diffusion coefficients: a third of their values in 1e-3 mm²/s
    "adc": dict.fromkeys(PROPERTIES, 0.0)
    | dict.fromkeys(_SOFT, 0.27)
    | {Tissue.CSF: 1.0, Tissue.VITREOUS: 1.0, Tissue.INFARCT: 0.15},
    "uptake": dict.fromkeys(PROPERTIES, 0.05)
    | {Tissue.GREY_MATTER: 1.0, Tissue.DEEP_GREY: 1.0, Tissue.WHITE_MATTER: 0.3, Tissue.OUTSIDE: 0.0},
}


def water_phantom(head: Head) -> Head:
    """Return a cylinder of doped water along z, 95 mm in radius, in arrays of the head's shape."""
    shape = head.labels.shape
    _, j, i = np.ogrid[: shape[0], : shape[1], : shape[2]]
    inside = np.hypot(j - shape[1] / 2, i - shape[2] / 2) <= 95.0
    labels = np.where(np.broadcast_to(inside, shape), Tissue.INFARCT, 0).astype(np.uint8)
    return Head(labels, np.zeros_like(head.texture), head.build)


def knee(head: Head) -> Head:
    """Return two bones with marrow in muscle, fat and skin, the same in each slice, in arrays of the head's shape."""
    shape = head.labels.shape
    _, j, i = np.ogrid[: shape[0], : shape[1], : shape[2]]
    radius = np.hypot(j - shape[1] / 2, i - shape[2] / 2)
    labels = np.zeros(shape, np.uint8)
    for tissue, limit in ((Tissue.SKIN, 64.0), (Tissue.FAT, 62.0), (Tissue.MUSCLE, 52.0)):
        labels[np.broadcast_to(radius <= limit, shape)] = tissue
    for row, column, width in ((-8.0, 0.0, 21.0), (24.0, 30.0, 9.0)):
        bone = np.hypot(j - shape[1] / 2 - row, i - shape[2] / 2 - column)
        labels[np.broadcast_to(bone <= width, shape)] = Tissue.COMPACT_BONE
        labels[np.broadcast_to(bone <= width - 4.0, shape)] = Tissue.FAT
    return Head(labels, head.texture, head.build)


#: What is scanned in place of the head.
OBJECTS: Mapping[str, Callable[[Head], Head]] = {"knee": knee, "water_phantom": water_phantom}


def with_artifact(appearance: str, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return images (D, H, W) with the artifact of an appearance; unchanged if it has none."""
    if appearance == "blurred":
        return _blurred(values)
    if appearance == "ghosts":
        return _with_ghosts(values)
    return _phase(values, rng) if appearance == "phase" else values


def _blurred(values: np.ndarray) -> np.ndarray:
    """Blur as a long echo train does."""
    return ndimage.gaussian_filter(values, (0.0, 1.3, 0.7), truncate=3.0)


def _with_ghosts(values: np.ndarray) -> np.ndarray:
    """Add two ghosts along the columns, as a nodding patient makes them."""
    return 0.7 * values + sum(0.22 * np.roll(values, shift, axis=1) for shift in (-5, 5))


def _phase(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a smooth wrapped phase in the range of the values, with noise where there is no signal."""
    turns = 2.0 * smooth_field(values.shape, max(values.shape) / 3, rng)
    weak = values < 0.1 * np.percentile(values, 95)
    turns[weak] = rng.uniform(0.0, 1.0, int(weak.sum()))
    return np.mod(turns, 1.0).astype(np.float32) * np.float32(values.max())
