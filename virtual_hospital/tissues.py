"""Properties of tissues for X-rays and for magnetic resonance.

The values are rounded. CT numbers are those read in practice at 120 kV. Relaxation times at 3 T are of the order of
Wansapura et al., JMRI 1999 (brain), Stanisz et al., MRM 2005 (muscle, blood) and de Bazelaire et al., Radiology 2004
(fat, marrow), adjusted until the images have the gray levels that a radiographer expects. Do not use them as a source
of tissue values. Flowing blood gives no signal in a conventional spin echo, so its proton density is low.
"""

from enum import IntEnum
from typing import Literal, NamedTuple

import numpy as np


class Tissue(IntEnum):
    """Label of a voxel of a virtual head."""

    OUTSIDE = 0
    WHITE_MATTER = 1
    GREY_MATTER = 2
    CSF = 3
    COMPACT_BONE = 4
    MUSCLE = 5
    CAVITY = 6
    DIPLOE = 7
    SKIN = 8
    FAT = 9
    DEEP_GREY = 10
    VITREOUS = 11
    LENS = 12
    DURA = 13
    BLOOD = 14
    CALCIFICATION = 15
    INFARCT = 16
    HEMATOMA = 17
    TUMOR = 18
    EDEMA = 19


PropertyName = Literal["hu", "hu_texture", "proton_density", "t1_ms", "t2_ms"]


class Properties(NamedTuple):
    """CT number and its natural variation in HU, proton density (water is 1), T1 and T2 in ms at 3 T."""

    hu: float
    hu_texture: float
    proton_density: float
    t1_ms: float
    t2_ms: float


PROPERTIES: dict[Tissue, Properties] = {
    Tissue.OUTSIDE: Properties(-1000, 0, 0.0, 1000, 10),
    Tissue.WHITE_MATTER: Properties(28, 1.5, 0.70, 840, 73),
    Tissue.GREY_MATTER: Properties(38, 1.5, 0.82, 1400, 95),
    Tissue.CSF: Properties(6, 1, 1.00, 4000, 1500),
    Tissue.COMPACT_BONE: Properties(1350, 120, 0.06, 250, 1),
    Tissue.MUSCLE: Properties(55, 6, 0.72, 1400, 34),
    Tissue.CAVITY: Properties(-990, 0, 0.0, 1000, 10),
    Tissue.DIPLOE: Properties(520, 180, 0.42, 420, 55),
    Tissue.SKIN: Properties(40, 8, 0.62, 900, 32),
    Tissue.FAT: Properties(-95, 8, 0.86, 380, 78),
    Tissue.DEEP_GREY: Properties(38, 1.5, 0.78, 1250, 74),
    Tissue.VITREOUS: Properties(8, 1, 1.00, 4000, 1200),
    Tissue.LENS: Properties(75, 3, 0.60, 1000, 28),
    Tissue.DURA: Properties(62, 4, 0.45, 900, 22),
    Tissue.BLOOD: Properties(58, 3, 0.10, 1900, 40),
    Tissue.CALCIFICATION: Properties(240, 60, 0.20, 800, 20),
    Tissue.INFARCT: Properties(17, 2, 0.93, 2200, 190),
    Tissue.HEMATOMA: Properties(68, 4, 0.75, 1200, 42),
    Tissue.TUMOR: Properties(44, 5, 0.86, 1700, 125),
    Tissue.EDEMA: Properties(20, 2, 0.90, 1800, 150),
}


def lookup(name: PropertyName) -> np.ndarray:
    """Return the property of each label, float32 (256,); labels that no tissue uses have 0."""
    table = np.zeros(256, np.float32)
    for tissue, properties in PROPERTIES.items():
        table[tissue] = properties._asdict()[name]
    return table
