"""What each tissue is to an X-ray and to a spin echo.

The numbers are round ones: CT numbers as read in practice at 120 kV; relaxation at 3 T of the order measured
by Wansapura et al., JMRI 1999 (brain), Stanisz et al., MRM 2005 (muscle, blood) and de Bazelaire et al.,
Radiology 2004 (fat, marrow), then chosen so that the pictures have a radiographer's grey levels. They make
virtual patients, and are no source for tissue values. Flowing blood is a flow void in a conventional spin
echo, so its proton density is set low.
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np


class Tissue(IntEnum):
    """Labels of the virtual head."""

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


class Properties(NamedTuple):
    """CT number in HU, its natural variation, and proton density (water = 1), T1 and T2 in ms at 3 T."""

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


def lookup(name: str) -> np.ndarray:
    """float32 (256,): the property `name` by label; unused labels are 0."""
    table = np.zeros(256, np.float32)
    for tissue, properties in PROPERTIES.items():
        table[tissue] = getattr(properties, name)
    return table
