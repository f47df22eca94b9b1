"""How a contaminating MR series looks: signals that its physics changes, and what motion or an EPI train does.

The numbers are round ones that give the picture its likeness; a look is named in mr.csv.
"""

from collections.abc import Callable, Mapping

import numpy as np
from scipy import ndimage

from virtual_hospital.anatomy import Head
from virtual_hospital.fields import smooth_field
from virtual_hospital.tissues import PROPERTIES, Tissue

_SOFT = (Tissue.WHITE_MATTER, Tissue.GREY_MATTER, Tissue.DEEP_GREY, Tissue.EDEMA)
# signal (water at full recovery is 1) that flow, diffusion, an agent or a tracer gives a tissue
CHANGED: Mapping[str, Mapping[Tissue, float]] = {
    "inflow": {Tissue.BLOOD: 0.9},
    "veins": {Tissue.BLOOD: 0.02},
    "gadolinium": {Tissue.BLOOD: 0.7, Tissue.DURA: 0.6, Tissue.TUMOR: 0.75},
    "dark_fat": {Tissue.FAT: 0.04, Tissue.DIPLOE: 0.08},
    "bright_fluid": {Tissue.CSF: 0.9, Tissue.VITREOUS: 0.9},
    "diffusion": {Tissue.CSF: 0.01, Tissue.VITREOUS: 0.01, Tissue.INFARCT: 0.6, Tissue.FAT: 0.0},
    # apparent diffusion coefficients in 1e-3 mm²/s, a third each
    "adc": dict.fromkeys(PROPERTIES, 0.0)
    | dict.fromkeys(_SOFT, 0.27)
    | {Tissue.CSF: 1.0, Tissue.VITREOUS: 1.0, Tissue.INFARCT: 0.15},
    "uptake": dict.fromkeys(PROPERTIES, 0.05)
    | {Tissue.GREY_MATTER: 1.0, Tissue.DEEP_GREY: 1.0, Tissue.WHITE_MATTER: 0.3, Tissue.OUTSIDE: 0.0},
}


def blurred(values: np.ndarray) -> np.ndarray:
    """(D, H, W) with the point spread of a long echo train."""
    return ndimage.gaussian_filter(values, (0.0, 1.3, 0.7), truncate=3.0)


def moved(values: np.ndarray) -> np.ndarray:
    """(D, H, W) with two ghosts along the columns, as of a patient who nods."""
    return 0.7 * values + sum(0.22 * np.roll(values, shift, axis=1) for shift in (-5, 5))


def phase(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(D, H, W) in the range of `values`: a wrapped smooth phase, noise where no signal is."""
    turns = 2.0 * smooth_field(values.shape, max(values.shape) / 3, rng)
    weak = values < 0.1 * np.percentile(values, 95)
    turns[weak] = rng.uniform(0.0, 1.0, int(weak.sum()))
    return np.mod(turns, 1.0).astype(np.float32) * np.float32(values.max())


def water(head: Head) -> Head:
    """A quality phantom: a cylinder of doped water along z, 95 mm in radius, as long as the head's array."""
    shape = head.labels.shape
    _, j, i = np.ogrid[: shape[0], : shape[1], : shape[2]]
    inside = np.hypot(j - shape[1] / 2, i - shape[2] / 2) <= 95.0
    labels = np.where(np.broadcast_to(inside, shape), Tissue.INFARCT, 0).astype(np.uint8)
    return Head(labels, np.zeros_like(head.texture), head.build)


def leg(head: Head) -> Head:
    """Two bones with marrow in muscle, fat and skin, as long as the head's array: a knee's cross section."""
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


# what is imaged instead of the head
INSTEAD: Mapping[str, Callable[[Head], Head]] = {"leg": leg, "water": water}
