"""Compare the spread of rigid registrations with their true errors, on virtual patients with degraded images.

    python benchmarks/registration_confidence.py [--seed N] [--patients N] [--variants N] [--limit MM] [--table FILE]

Each virtual patient is degraded several times: bone is clipped at 80 HU, a part of the field is missing in the CT, the
MR or both, and the MR is moved by up to 20 degrees and 40 mm. Mild variants lack a quarter of the field. Hard ones lack
25 to 45 %, and their MR has thicker slices, noise and a coil's gradient. The slices of the virtual hospital are 5 to
6 mm apart. One variant in ten is left as it is, but for the motion.

The error is the mean distance over the MR's head between the found and the true place. Times are CPU seconds of one
thread. Intervals are Wilson's, 95 %. FILE receives one row per variant.
"""

import argparse
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from time import process_time

import numpy as np
import pandas as pd
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from mrct.core.contracts import AIR_HU
from mrct.core.errors import DataError
from mrct.imaging import volumes
from mrct.registration import alignment, confidence
from mrct.registration.rigid import register_rigid
from virtual_hospital.examination import examine
from virtual_hospital.series import Series
from virtual_hospital.template import make_template, read_labels

LABELS = Path("data/sample/colin27/labels.nii.gz")
IMAGE_SIZE = 128  # registration needs no finer pixels
BONE_HU = 80.0
WRONG_MM, RIGHT_MM = 3.0, 1.5
MAX_ANGLE_DEG, MAX_SHIFT_MM = 20.0, 40.0
# sides of the head, as array axis and whether the upper end is missing; None: one quadrant of each slice
SIDES = [*((axis, upper) for axis in range(3) for upper in (False, True)), None]


@dataclass(frozen=True)
class Pair:
    """CT and MR volumes with the true pose, 4x4, a point of the CT to the point of the MR."""

    ct: sitk.Image
    mr: sitk.Image
    ct_to_mr: np.ndarray


@dataclass(frozen=True)
class Result:
    """Row of the table: a variant, its error and measures, and the CPU seconds of the steps."""

    patient: int
    variant: int
    level: str
    error_mm: float
    worst_mm: float
    spread_mm: float
    similarity: float
    masks_s: float
    registration_s: float
    spread_s: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seed", type=int, default=401)
    parser.add_argument("--patients", type=int, default=10)
    parser.add_argument("--variants", type=int, default=10)
    parser.add_argument("--limit", type=float, default=3.5)
    parser.add_argument("--table", type=Path)
    arguments = parser.parse_args()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    results, refused = [], 0
    for number, pair in virtual_pairs(arguments.seed, arguments.patients):
        for variant in range(arguments.variants):
            rng = np.random.default_rng((arguments.seed, number, variant))
            level = str(rng.choice(["none", "mild", "hard"], p=[0.1, 0.4, 0.5]))
            try:
                results.append(measured(number, variant, level, degraded(pair, level, rng)))
            except DataError as error:
                refused += 1
                print(f"patient {number}, variant {variant}: refused: {error}", flush=True)
                continue
            print(results[-1], flush=True)
            if arguments.table:
                pd.DataFrame([asdict(result) for result in results]).to_csv(arguments.table, index=False)
    print(summary(pd.DataFrame([asdict(result) for result in results]), arguments.limit))
    print(f"{refused} variants were refused before the spread")


def virtual_pairs(seed: int, count: int) -> Iterator[tuple[int, Pair]]:
    """Yield number and pair of virtual patients without a tilted gantry."""
    template = make_template(read_labels(LABELS))
    for n in [n for n in range(2 * count) if n % 8 != 3][:count]:
        examination = examine(template, seed, n, n + 1, IMAGE_SIZE, contamination=False)
        ct, mr = (_volume(examination.clean(modality)) for modality in ("CT", "MR"))
        yield n, Pair(ct, mr, examination.poses.ct_to_mr)


def _volume(series: Series | None) -> sitk.Image:
    assert series is not None
    values = series.values[0].astype(np.float32)
    return volumes.to_lps(volumes.from_array(values, series.grids[0].index_to_mm))


def degraded(pair: Pair, level: str, rng: np.random.Generator) -> Pair:
    """Move the MR, and degrade both images by the level: none, mild or hard."""
    ct, mr = pair.ct, pair.mr
    if level != "none":
        ct = sitk.Clamp(ct, sitk.sitkFloat32, AIR_HU, BONE_HU)
        share = rng.uniform(0.25, 0.45) if level == "hard" else 0.25
        lacking = rng.choice(["ct", "mr", "both"])
        if lacking != "mr":
            ct = _without_part(ct, share, AIR_HU, rng)
        if lacking != "ct":
            mr = _without_part(mr, share, 0.0, rng)
    if level == "hard":
        mr = _poor(mr, rng)
    motion = _motion(rng)
    moved = volumes.from_array(volumes.to_array(mr), motion @ volumes.affine(mr))
    return Pair(ct, moved, motion @ pair.ct_to_mr)


def _without_part(volume: sitk.Image, share: float, air: float, rng: np.random.Generator) -> sitk.Image:
    """Cut a share of the head off at one side, or fill it with air; or fill one quadrant of each slice with air."""
    array = volumes.to_array(volume)
    box = [slice(0, n) for n in array.shape]
    side, cropped = SIDES[rng.integers(len(SIDES))], bool(rng.random() < 0.5)
    ends = [_ends(array, axis) for axis in range(3)]
    if side is None:
        filled = array.copy()
        filled[:, : round(sum(ends[1]) / 2), : round(sum(ends[2]) / 2)] = air
        return volumes.like(filled, volume)
    axis, upper = side
    first, last = ends[axis]
    missing = round(share * (last - first))
    box[axis] = slice(0, last - missing) if upper else slice(first + missing, array.shape[axis])
    if cropped:
        starts = [one.start for one in box[::-1]]
        sizes = [one.stop - one.start for one in box[::-1]]
        return sitk.RegionOfInterest(volume, sizes, starts)
    filled = np.full_like(array, air)
    filled[tuple(box)] = array[tuple(box)]
    return volumes.like(filled, volume)


def _ends(array: np.ndarray, axis: int) -> tuple[int, int]:
    """Find the first and one past the last plane of the head, by brightness."""
    bright = array > array.min() + 0.12 * (np.percentile(array, 99.5) - array.min())
    planes = np.flatnonzero(bright.mean(axis=tuple(other for other in range(3) if other != axis)) > 0.02)
    return int(planes[0]), int(planes[-1]) + 1


def _poor(mr: sitk.Image, rng: np.random.Generator) -> sitk.Image:
    """Thicken the slices to 5 to 8 mm, add noise in both channels and a gradient of the coil's gain."""
    thick = volumes.match_resolution(mr, (rng.uniform(5.0, 8.0), *volumes.spacing_kji_mm(mr)[1:]))
    clean = volumes.to_array(thick)
    noise = rng.uniform(0.0, 0.15) * np.percentile(clean, 99.5) * rng.standard_normal((2, *clean.shape))
    across, down = rng.uniform(-0.6, 0.6, 2)
    rows, columns = (np.linspace(-1.0, 1.0, n) for n in clean.shape[1:])
    gain = np.exp(down * rows[:, None] + across * columns)
    return volumes.like((np.hypot(clean + noise[0], noise[1]) * gain).astype(np.float32), mr)


def _motion(rng: np.random.Generator) -> np.ndarray:
    axis, direction = (vector / np.linalg.norm(vector) for vector in rng.normal(size=(2, 3)))
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_rotvec(axis * rng.uniform(0, MAX_ANGLE_DEG), degrees=True).as_matrix()
    motion[:3, 3] = direction * rng.uniform(0, MAX_SHIFT_MM)
    return motion


def measured(patient: int, variant: int, level: str, images: Pair) -> Result:
    """Register a pair with the MR fixed and compare with the truth.

    Raises:
        DataError: An image shows no head, or the pair cannot be registered.
    """
    begin = process_time()
    pair = alignment.make_pair(images.ct, images.mr)
    ct, mr = alignment.prepared_heads(pair)
    masked = process_time()
    ct_to_mr = register_rigid(fixed=mr, moving=ct)
    registered = process_time()
    spread = confidence.spread_mm(mr, ct, np.linalg.inv(ct_to_mr))
    spread_s = process_time() - registered
    found = alignment.RigidRegistration(ct_to_mr, "mr")
    index = np.argwhere(volumes.to_array(pair.mr.head) > 0)[::11, ::-1]
    points = volumes.transform_points(volumes.affine(pair.mr.head), index.astype(float))
    places = volumes.transform_points(images.ct_to_mr @ np.linalg.inv(ct_to_mr), points)
    errors = np.linalg.norm(places - points, axis=1)
    return Result(
        patient=patient,
        variant=variant,
        level=level,
        error_mm=float(errors.mean()),
        worst_mm=float(errors.max()),
        spread_mm=spread,
        similarity=alignment.similarity_nats(alignment.align(pair, found)),
        masks_s=masked - begin,
        registration_s=registered - masked,
        spread_s=spread_s,
    )


def summary(table: pd.DataFrame, limit_mm: float) -> str:
    """Say how well a limit on the spread tells wrong from right registrations, and what it costs."""
    error, spread = table["error_mm"], table["spread_mm"]
    wrong, right = spread[error > WRONG_MM], spread[error < RIGHT_MM]
    lines = [
        f"{len(table)} registrations; error mm: {_quantiles(error)}",
        *(
            f"  {level:4} ({len(rows)}): error mm: {_quantiles(rows['error_mm'])}"
            for level, rows in table.groupby("level")
        ),
        f"spread mm where the error is over {WRONG_MM:g} mm: {_quantiles(wrong)}",
        f"spread mm where the error is under {RIGHT_MM:g} mm: {_quantiles(right)}",
        f"rank correlation of spread and error: {spread.corr(error, method='spearman'):.2f}",
        f"limit {limit_mm:g} mm: finds {_share(wrong > limit_mm)} of those over {WRONG_MM:g} mm, "
        f"refuses {_share(right > limit_mm)} of those under {RIGHT_MM:g} mm",
        f"CPU seconds, median: masks {table['masks_s'].median():.2f}, registration "
        f"{table['registration_s'].median():.2f}, spread {table['spread_s'].median():.2f}",
    ]
    return "\n".join(lines)


def _quantiles(values: pd.Series) -> str:
    if values.empty:
        return "none"
    low, middle, high, top = np.quantile(values, (0.05, 0.5, 0.95, 1.0))
    return f"5 % {low:.2f}, median {middle:.2f}, 95 % {high:.2f}, highest {top:.2f}"


def _share(hits: pd.Series) -> str:
    """Return a count and its share with Wilson's 95 % interval (J. Am. Stat. Assoc. 22:209, 1927)."""
    n, z = len(hits), 1.96
    if not n:
        return "0 of 0"
    share = float(hits.mean())
    middle, half = share + z**2 / (2 * n), z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low, high = (abs(middle + sign * half) / (1 + z**2 / n) for sign in (-1, 1))
    return f"{int(hits.sum())} of {n} ({share:.0%}, {low:.0%} to {high:.0%})"


if __name__ == "__main__":
    main()
