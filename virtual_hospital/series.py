"""A virtual patient's examinations: which series, on which slices, with which pictures.

Every patient draws from his own random streams, one a purpose, so that the same patient comes out whatever
the number of patients, and a new draw for one series leaves the others as they were.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from virtual_hospital import ct, mr
from virtual_hospital.anatomy import ORIGIN_INDEX, Head
from virtual_hospital.geometry import CORONAL, SAGITTAL, Grid, pose, rotation_matrix, sample, stack
from virtual_hospital.mr import Sequence

STREAMS = ("build", "anatomy", "persona", "ct", "mr", "plan", "clutter")
MR_SCALE = 1400.0  # vendor units of a signal of 1
TILT_DEG = 15.0

Wanted = Literal["yes", "acceptable", "no"]


@dataclass(frozen=True)
class Series:
    """Pictures (D, H, W) on one or more grids, and what the header says of them.

    CT values are HU, MR values vendor units; `grids` holds one grid, or for a localizer one a plane. `each`
    has header attributes of one grid's images alone. `wanted`: whether selection would be right to keep the
    series ("acceptable": as good as the clean one, which is "yes"). `form`: how its pictures become images.
    """

    kind: str
    modality: str
    description: str
    protocol: str
    values: tuple[np.ndarray, ...]
    grids: tuple[Grid, ...]
    image_type: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    each: tuple[dict[str, Any], ...] = ()
    wanted: Wanted = "no"
    wanted_te_ms: str = ""  # the echo to which `wanted` applies, where a series has several
    form: Literal["slices", "capture", "multiframe"] = "slices"
    days_later: int = 0  # than the modality's examination, in a study of its own


@dataclass(frozen=True)
class Poses:
    """4x4 LPS mm: a head point to a point of each scanner; the true CT to MR map follows."""

    head_to_ct: np.ndarray
    head_to_mr: np.ndarray

    @property
    def ct_to_mr(self) -> np.ndarray:
        """4x4 LPS mm: a CT patient-coordinate point to the MR patient-coordinate point."""
        return self.head_to_mr @ np.linalg.inv(self.head_to_ct)


def streams(seed: int, n: int) -> dict[str, np.random.Generator]:
    """One generator a purpose for patient n."""
    return {
        name: np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(n, index)))
        for index, name in enumerate(STREAMS)
    }


def draw_poses(head: Head, rng: np.random.Generator) -> Poses:
    """The head rests on the CT's headholder, a few degrees askew, and lies elsewhere in the MR's coil."""
    occiput = np.flatnonzero((head.labels > 0).any(axis=(0, 2)))[-1] - ORIGIN_INDEX[1]
    ct_angles = tuple(rng.uniform(-4.0, 4.0, 3))
    mr_angles = tuple(rng.uniform(-6.0, 6.0, 3))
    rest = ct.CRADLE_MM - 3.0 - float(occiput)
    ct_shift = (rng.uniform(-4, 4), rest, rng.uniform(-60, 60))
    mr_shift = tuple(rng.uniform((-6, -8, -25), (6, 12, 25)))
    return Poses(pose(ct_angles, ct_shift), pose(mr_angles, mr_shift))


def ct_grid(head_to_ct: np.ndarray, size: int, tilt_deg: float, rng: np.random.Generator) -> Grid:
    """24 to 32 slices, 4 to 6 mm apart, from the skull base; about one in three stops short of the vertex.

    A tilted gantry leans its slices about x while the table still moves along z, as a real one does.
    """
    spacing = float(rng.choice((4.5, 5.0, 5.0, 5.5)))
    bottom = rng.uniform(-66, -54)
    top = rng.uniform(52, 66) if rng.random() < 0.35 else rng.uniform(82, 96)
    count = int(np.clip(round((top - bottom) / spacing), 24, 32))
    field_mm = 240.0
    rotation = rotation_matrix((tilt_deg, 0.0, 0.0))
    middle_mm = (head_to_ct @ (0.0, 0.0, (bottom + top) / 2, 1.0))[:3]
    center = np.array([0.0, 0.0, middle_mm[2]])
    return stack(
        rotation, center, (count, size, size), field_mm / size, spacing, spacing, np.array([0.0, 0.0, 1.0])
    )


def mr_grid(head_to_mr: np.ndarray, size: int, rng: np.random.Generator, count: int | None = None) -> Grid:
    """20 to 24 axial slices, 5 mm thick with a gap, angulated a few degrees towards the skull base line."""
    spacing = float(rng.choice((5.0, 5.5, 5.5, 6.0)))
    slices = int(rng.integers(20, 25)) if count is None else count
    center = (head_to_mr @ (0.0, -2.0, rng.uniform(4, 18), 1.0))[:3]
    rotation = rotation_matrix((rng.uniform(-7, 7), 0.0, 0.0))
    return stack(rotation, center, (slices, size, size), 234.0 / size, spacing, 5.0)


def clean_ct(head: Head, poses: Poses, size: int, tilt_deg: float, rng: np.random.Generator) -> Series:
    """The head CT that the pipeline wants."""
    grid = ct_grid(poses.head_to_ct, size, tilt_deg, rng)
    values = ct.acquire(head, grid, poses.head_to_ct, rng.uniform(3.8, 5.0), rng)
    attributes = {"GantryDetectorTilt": f"{tilt_deg:.1f}", "WindowCenter": "40", "WindowWidth": "80"}
    image_type = ("ORIGINAL", "PRIMARY", "AXIAL")
    return Series(
        "clean",
        "CT",
        "Head 5.0 routine",
        "HeadRoutine",
        (values,),
        (grid,),
        image_type,
        attributes,
        wanted="yes",
    )


def spin_echo(
    kind: str,
    names: tuple[str, str],
    head: Head,
    head_to_mr: np.ndarray,
    grids: tuple[Grid, ...],
    sequence: Sequence,
    rng: np.random.Generator,
    attributes: dict[str, Any] | None = None,
) -> Series:
    """An MR series of `kind`; names are (SeriesDescription, ProtocolName); small pixels are noisier."""
    noise = 0.011 if grids[0].pixel_spacing_mm < 1.5 else 0.008
    signal = mr.head_signal(head, sequence)
    values = tuple(MR_SCALE * mr.acquire(signal, grid, head_to_mr, noise, rng) for grid in grids)
    timing = timing_attributes(sequence)
    kept = {key: value for key, value in {**timing, **(attributes or {})}.items() if value is not None}
    return Series(kind, "MR", *names, values, grids, ("ORIGINAL", "PRIMARY", "M", "SE"), kept)


def timing_attributes(sequence: Sequence) -> dict[str, Any]:
    """What a header tells of the sequence, as if it were a 2D spin echo."""
    timing: dict[str, Any] = {
        "RepetitionTime": f"{sequence.tr_ms:g}",
        "EchoTime": f"{sequence.te_ms:g}",
        "EchoTrainLength": str(sequence.echo_train_length),
        "ScanningSequence": "SE" if sequence.ti_ms is None else ["SE", "IR"],
        "SequenceVariant": "SK" if sequence.echo_train_length > 1 else "NONE",
        "FlipAngle": "90",
        "MRAcquisitionType": "2D",
    }
    if sequence.ti_ms is not None:
        timing["InversionTime"] = f"{sequence.ti_ms:.0f}"
    return timing


def localizer_grids(head_to_mr: np.ndarray, size: int) -> tuple[Grid, ...]:
    """Three slices each in three planes, thick and coarse."""
    center = head_to_mr[:3, 3]
    return tuple(
        stack(plane, center, (3, size, size), 250.0 / size, 20.0, 8.0)
        for plane in (np.eye(3), CORONAL, SAGITTAL)
    )


def coronal_grid(head_to_mr: np.ndarray, size: int) -> Grid:
    """Sixteen coronal slices over the brain."""
    return stack(CORONAL, head_to_mr[:3, 3], (16, size, size), 234.0 / size, 8.0, 5.0)


def reformatted_ct(source: Series, sagittal: bool, size: int, no_text: bool) -> Series:
    """An MPR of the CT series, computed from its slices as a workstation does: with their blur and noise.

    With `no_text` its header says that no text is burned in; many workstations leave that open.
    """
    grid, values = source.grids[0], source.values[0]
    plane = SAGITTAL if sagittal else CORONAL
    middle = grid.index_to_mm @ np.append((np.array(grid.shape[::-1]) - 1) / 2, 1.0)
    target = stack(plane, middle[:3], (16, size, size), 240.0 / size, 9.0, 5.0)
    pixels = sample(values, target, np.linalg.inv(grid.index_to_mm), ct.OUTSIDE_CIRCLE_HU)
    name = "MPR sag 5mm" if sagittal else "MPR cor 5mm"
    image_type = ("DERIVED", "SECONDARY", "REFORMATTED")
    attributes = {"WindowCenter": "40", "WindowWidth": "80"}
    if no_text:
        attributes["BurnedInAnnotation"] = "NO"
    return Series("derived", "CT", name, "HeadRoutine", (pixels,), (target,), image_type, attributes)
