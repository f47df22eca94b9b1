"""The examination of one patient: the head, its poses in the scanners, and all series.

Each patient has separate random generators, one per purpose. Therefore a patient does not depend on the number of
patients, and an additional draw for one purpose does not change the others.
"""

from dataclasses import dataclass, replace

import numpy as np

from virtual_hospital import ct
from virtual_hospital.anatomy import ORIGIN_INDEX, Head, draw_build, make_head
from virtual_hospital.contamination.everyday import everyday_series
from virtual_hospital.contamination.kinds import rare_series
from virtual_hospital.geometry import (
    Grid,
    Poses,
    pose,
    rotation_matrix,
    sample,
    scanner_to_head_index,
    stack,
)
from virtual_hospital.mr import Sequence
from virtual_hospital.scanners import ct_scanner, mr_scanner
from virtual_hospital.series import Series, Session, axial_mr_grid, spin_echo
from virtual_hospital.template import Template

# The position of a purpose decides its random numbers
PURPOSES = ("build", "anatomy", "persona", "ct", "mr", "poses", "rare series")
TILT_DEG = 15.0  # of the gantry, for one patient in eight
UNPAIRED_FROM = 8  # a cohort of at least this size has patients without a CT or an MR
# Which modality patient n % 40 lacks: all its series, or the clean series alone
NO_MODALITY = {5: "MR", 7: "CT"}
NO_CLEAN = {21: "MR", 33: "CT"}
INSIDE_SHARE = 0.95  # share of the head in a slice that the CT must cover


@dataclass(frozen=True)
class Examination:
    """Head, poses and series of a patient; the series are in the order in which they were made."""

    head: Head
    poses: Poses
    series: tuple[Series, ...]

    def clean(self, modality: str) -> Series | None:
        """Return the wanted series of a modality; None if the patient has none."""
        return next((s for s in self.series if s.kind == "clean" and s.modality == modality), None)


def random_generators(seed: int, n: int) -> dict[str, np.random.Generator]:
    """Return the generators of patient n by purpose."""
    return {
        purpose: np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(n, index)))
        for index, purpose in enumerate(PURPOSES)
    }


def examine(
    template: Template, seed: int, n: int, patients: int, image_size: int, contamination: bool
) -> Examination:
    """Make the head of patient n and scan it.

    Args:
        template: The head from which all patients are made.
        seed: Seed of the cohort.
        n: Number of the patient, from 0.
        patients: Size of the cohort: a small one has no patient without a CT or an MR.
        image_size: Rows and columns of the wanted series; other series are smaller.
        contamination: Whether to make unwanted series.
    """
    rng = random_generators(seed, n)
    head = make_head(template, draw_build(rng["build"]), rng["anatomy"])
    poses = draw_poses(head, rng["poses"])
    tilt = TILT_DEG if n % 8 == 3 else 0.0
    clean = clean_ct(head, poses, image_size, tilt, rng["ct"])
    session = Session(head, poses, clean, image_size, mr_scanner(n).vendor, ct_scanner(n).vendor, rng["mr"])
    made = [clean, _clean_mr(session)]
    if contamination:
        made += everyday_series(n, replace(session, rng=rng["poses"]))
        made += rare_series(n, replace(session, rng=rng["rare series"]))
    if contamination and patients >= UNPAIRED_FROM:
        made = [series for series in made if not _lacks(n, series)]
    return Examination(head, poses, tuple(made))


def draw_poses(head: Head, rng: np.random.Generator) -> Poses:
    """Draw the poses, rotated by a few degrees: on the headholder of the CT, and elsewhere in the coil of the MR."""
    occiput = np.flatnonzero((head.labels > 0).any(axis=(0, 2)))[-1] - ORIGIN_INDEX[1]
    ct_angles = tuple(rng.uniform(-4.0, 4.0, 3))
    mr_angles = tuple(rng.uniform(-6.0, 6.0, 3))
    on_headholder = ct.HEADHOLDER_MM - 3.0 - float(occiput)
    ct_shift = (rng.uniform(-4, 4), on_headholder, rng.uniform(-60, 60))
    mr_shift = tuple(rng.uniform((-6, -8, -25), (6, 12, 25)))
    return Poses(pose(ct_angles, ct_shift), pose(mr_angles, mr_shift))


def clean_ct(head: Head, poses: Poses, size: int, tilt_deg: float, rng: np.random.Generator) -> Series:
    """Make the wanted CT of the head."""
    grid = ct_grid(poses.head_to_ct, size, tilt_deg, rng)
    values = ct.acquire(head, grid, poses.head_to_ct, rng.uniform(3.8, 5.0), rng)
    return Series(
        "clean",
        "CT",
        "Head 5.0 routine",
        "HeadRoutine",
        (values,),
        (grid,),
        ("ORIGINAL", "PRIMARY", "AXIAL"),
        {"GantryDetectorTilt": f"{tilt_deg:.1f}", "WindowCenter": "40", "WindowWidth": "80"},
        wanted="yes",
    )


def ct_grid(head_to_ct: np.ndarray, size: int, tilt_deg: float, rng: np.random.Generator) -> Grid:
    """Draw the grid of a head CT: 24 to 32 slices from the skull base; about one in three ends below the vertex.

    With a tilted gantry, the slices are rotated about x, and the table still moves along z.
    """
    spacing = float(rng.choice((4.5, 5.0, 5.0, 5.5)))
    bottom = rng.uniform(-66, -54)
    top = rng.uniform(52, 66) if rng.random() < 0.35 else rng.uniform(82, 96)
    count = int(np.clip(round((top - bottom) / spacing), 24, 32))
    field_mm = 240.0
    rotation = rotation_matrix((tilt_deg, 0.0, 0.0))
    middle_mm = (head_to_ct @ (0.0, 0.0, (bottom + top) / 2, 1.0))[:3]
    center = np.array([0.0, 0.0, middle_mm[2]])
    table = np.array([0.0, 0.0, 1.0])
    return stack(rotation, center, (count, size, size), field_mm / size, spacing, spacing, table)


def _clean_mr(session: Session) -> Series:
    """Make the wanted MR: an axial conventional spin echo, T2-weighted."""
    grid = axial_mr_grid(session.poses.head_to_mr, session.size, session.rng)
    sequence = Sequence(
        tr_ms=float(session.rng.integers(35, 50) * 100), te_ms=float(session.rng.integers(90, 101))
    )
    siemens = session.mr_vendor == "siemens"
    names = ("t2_se_tra", "t2_se_tra_320") if siemens else ("AX T2 SE", "T2W_SE_AX")
    return replace(spin_echo(session, "clean", names, (grid,), sequence), wanted="yes")


def _lacks(n: int, series: Series) -> bool:
    """Return whether patient n has no such series, so that no pair can be made."""
    without_clean = NO_CLEAN.get(n % 40) == series.modality and series.wanted != "no"
    return NO_MODALITY.get(n % 40) == series.modality or without_clean


def inside_ct(head: Head, poses: Poses, ct_slices: Grid, mr_slices: Grid) -> list[bool]:
    """Return for each MR slice whether the CT covers at least INSIDE_SHARE of the head in it."""
    labels = sample(head.labels, mr_slices, scanner_to_head_index(poses.head_to_mr), 0, nearest=True) > 0
    k, j, i = np.nonzero(labels)
    points = np.stack([i, j, k, np.ones_like(i)]).astype(float)
    index = (
        np.linalg.inv(ct_slices.index_to_mm) @ np.linalg.inv(poses.ct_to_mr) @ mr_slices.index_to_mm @ points
    )
    size = np.array(ct_slices.shape[::-1])[:, None]
    covered = ((index[:3] >= -0.5) & (index[:3] <= size - 0.5)).all(axis=0)
    total = np.bincount(k, minlength=mr_slices.shape[0])
    share = np.bincount(k, weights=covered, minlength=mr_slices.shape[0]) / np.maximum(total, 1)
    return [bool(value >= INSIDE_SHARE) for value in share]
