"""Which series a virtual patient has: the wanted pair, and what contaminates a real export."""

from dataclasses import dataclass, replace

import numpy as np

from virtual_hospital.anatomy import Head, draw_build, make_head
from virtual_hospital.contamination.kinds import contaminate
from virtual_hospital.contamination.scene import Scene
from virtual_hospital.geometry import Grid, sample, scanner_to_head_index
from virtual_hospital.mr import Sequence
from virtual_hospital.scanners import ct_scanner, mr_scanner
from virtual_hospital.series import (
    TILT_DEG,
    Poses,
    Series,
    clean_ct,
    coronal_grid,
    draw_poses,
    localizer_grids,
    mr_grid,
    reformatted_ct,
    spin_echo,
    streams,
)
from virtual_hospital.template import Template

UNPAIRED_FROM = 8  # with so many patients one has no MR and one has no CT
# by n % 40: what such a patient lacks, a whole modality or (of a larger cohort) its clean series alone
NO_MODALITY = {5: "MR", 7: "CT"}
NO_CLEAN = {21: "MR", 33: "CT"}
INSIDE_SHARE = 0.95  # share of a slice's head that the CT must cover for the slice to count as inside


@dataclass(frozen=True)
class Examination:
    """A virtual patient's head, poses and series, in the order in which they were made."""

    head: Head
    poses: Poses
    series: tuple[Series, ...]

    def clean(self, modality: str) -> Series | None:
        """The wanted series of a modality, if the patient has one."""
        return next((s for s in self.series if s.kind == "clean" and s.modality == modality), None)


def examine(
    template: Template, seed: int, n: int, patients: int, image_size: int, contamination: bool
) -> Examination:
    """Patient n of `patients`; slices of the wanted series are image_size² pixels, the others smaller."""
    rng = streams(seed, n)
    head = make_head(template, draw_build(rng["build"]), rng["anatomy"])
    poses = draw_poses(head, rng["plan"])
    tilt = TILT_DEG if n % 8 == 3 else 0.0
    made = [
        clean_ct(head, poses, image_size, tilt, rng["ct"]),
        _clean_mr(head, poses, image_size, mr_scanner(n).vendor, rng["mr"]),
    ]
    if contamination:
        made += _contaminants(head, poses, made, n, image_size, rng["plan"])
        vendors = mr_scanner(n).vendor, ct_scanner(n).vendor
        made += contaminate(n, Scene(head, poses, made[0], image_size, *vendors, rng["clutter"]))
    if contamination and patients >= UNPAIRED_FROM:
        made = [series for series in made if not _lacks(n, series)]
    return Examination(head, poses, tuple(made))


def _lacks(n: int, series: Series) -> bool:
    """Whether patient n has no such series, so that he cannot make a pair."""
    without_clean = NO_CLEAN.get(n % 40) == series.modality and series.wanted != "no"
    return NO_MODALITY.get(n % 40) == series.modality or without_clean


def inside_ct(head: Head, poses: Poses, ct: Grid, mr: Grid) -> list[bool]:
    """For each MR slice: at least INSIDE_SHARE of its head lies within the CT's slices and field of view."""
    labels = sample(head.labels, mr, scanner_to_head_index(poses.head_to_mr), 0, nearest=True) > 0
    k, j, i = np.nonzero(labels)
    points = np.stack([i, j, k, np.ones_like(i)]).astype(float)
    index = np.linalg.inv(ct.index_to_mm) @ np.linalg.inv(poses.ct_to_mr) @ mr.index_to_mm @ points
    size = np.array(ct.shape[::-1])[:, None]
    covered = ((index[:3] >= -0.5) & (index[:3] <= size - 0.5)).all(axis=0)
    total = np.bincount(k, minlength=mr.shape[0])
    share = np.bincount(k, weights=covered, minlength=mr.shape[0]) / np.maximum(total, 1)
    return [bool(value >= INSIDE_SHARE) for value in share]


def _clean_mr(head: Head, poses: Poses, size: int, vendor: str, rng: np.random.Generator) -> Series:
    """The axial conventional spin echo T2 that the pipeline wants."""
    grid = mr_grid(poses.head_to_mr, size, rng)
    sequence = Sequence(tr_ms=float(rng.integers(35, 50) * 100), te_ms=float(rng.integers(90, 101)))
    names = ("t2_se_tra", "t2_se_tra_320") if vendor == "siemens" else ("AX T2 SE", "T2W_SE_AX")
    made = spin_echo("clean", names, head, poses.head_to_mr, (grid,), sequence, rng)
    return replace(made, wanted="yes")


def _contaminants(
    head: Head, poses: Poses, made: list[Series], n: int, size: int, rng: np.random.Generator
) -> list[Series]:
    to_mr, mr_shape = poses.head_to_mr, size // 2
    axial = mr_grid(to_mr, mr_shape, rng, count=18)
    found = [spin_echo("localizer", ("Survey", "Survey_32ch"), head, to_mr, localizer_grids(to_mr, mr_shape),
                       Sequence(900.0, 8.0), rng)]  # fmt: skip
    if n % 4 != 3:
        grid = coronal_grid(to_mr, mr_shape)
        name = ("AX T2 SE cor", "T2W_SE_AX") if n % 6 == 4 else ("COR T2", "T2W_SE_COR")
        found.append(spin_echo("coronal", name, head, to_mr, (grid,), Sequence(4200.0, 95.0), rng))
    found.append(_turbo(head, to_mr, n, size, rng))
    name = ("AX T2 repeat", "T1W_SE_AX") if n % 8 == 6 else ("AX T1", "T1W_SE_AX")
    found.append(spin_echo("t1", name, head, to_mr, (axial,), Sequence(560.0, 12.0), rng))
    name = ("AX T2 dark fluid", "T2W_FLAIR") if n % 3 == 1 else ("AX FLAIR", "FLAIR_longTR")
    flair = Sequence(9500.0, 120.0, 24, 2600.0)
    found.append(spin_echo("flair", name, head, to_mr, (axial,), flair, rng))
    found.append(reformatted_ct(made[0], sagittal=n % 2 == 1, size=size // 2, no_text=n % 4 != 1))
    found.append(_snapshot(made[0]))
    return found


def _turbo(head: Head, to_mr: np.ndarray, n: int, size: int, rng: np.random.Generator) -> Series:
    """An axial TSE T2, the wanted series' double; train length, name or both give it away."""
    grid = mr_grid(to_mr, size * 3 // 4, rng, count=18)
    names = (("AX T2 TSE", "T2W_TSE_AX"), ("AX T2", "T2W_AX"), ("T2W_TSE_CLEAR", "T2W_TSE_CLEAR"))[n % 3]
    unsaid = {"EchoTrainLength": None, "SequenceVariant": None} if n % 3 == 2 else None
    return spin_echo("tse", names, head, to_mr, (grid,), Sequence(3900.0, 98.0, 15), rng, unsaid)


def _snapshot(source: Series) -> Series:
    """A key picture of the CT as 8-bit grey (1, H, W); the writer burns the patient's name into it."""
    grid, values = source.grids[0], source.values[0]
    middle = values[len(values) // 2 : len(values) // 2 + 1]
    grey = np.clip((middle + 10.0) * 255.0 / 90.0, 0.0, 255.0)
    image_type = ("DERIVED", "SECONDARY")
    attributes = {"BurnedInAnnotation": "YES", "ConversionType": "WSD"}
    made = Series("secondary_capture", "CT", "Key images", "", (grey,), (grid,), image_type, attributes)
    return replace(made, form="capture")
