"""Compare time and error of the rigid registration with SimpleITK's example settings, alternating in one run.

    python benchmarks/registration.py [--patients N] [--starts N]

The pairs are RIRE 001 with its published truth, and virtual patients with theirs. The example is SimpleITK's
introductory notebook for CT and MR (centers of the volumes as start, Mattes mutual information with 50 bins of
1 % of the voxels, gradient descent over three resolutions). Times are CPU seconds of one thread, without reading the
files. The column "masks s" is the time for the head masks, which the stage needs in any case.
--starts N registers RIRE 001 from N random starts within 30 degrees and 60 mm and prints how far each result lies from
the default one.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import process_time
from typing import NamedTuple, TypeVar

import numpy as np
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from mrct.imaging import volumes
from mrct.registration import alignment
from virtual_hospital.examination import examine
from virtual_hospital.geometry import Grid
from virtual_hospital.series import Series
from virtual_hospital.template import make_template, read_labels

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from helpers import rire

Result = TypeVar("Result")
SAMPLE = Path("data/sample")
SEED = 101
MAX_ANGLE_DEG, MAX_SHIFT_MM = 30.0, 60.0


class Case(NamedTuple):
    """CT and MR volumes, and points (n, 3) of the CT with their true positions in the MR."""

    name: str
    ct: sitk.Image
    mr: sitk.Image
    points: np.ndarray
    places: np.ndarray

    def errors_mm(self, ct_to_mr: np.ndarray) -> np.ndarray:
        """Return the distances (n,) between the points mapped by a matrix and their true positions."""
        return rire.corner_error_mm(ct_to_mr, self.points, self.places)


def main() -> None:
    """Print one line per pair, then the results of the random starts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--patients", type=int, default=6)
    parser.add_argument("--starts", type=int, default=0)
    arguments = parser.parse_args()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    print(
        f"{'pair':12} {'ours: s':>8} {'masks s':>8} {'mean mm':>8} {'max mm':>8} {'example: s':>11} {'mean mm':>8}"
    )
    ratios = [_compare(case) for case in (rire_case(), *virtual_cases(arguments.patients))]
    print(f"time of ours over the example's, median: {np.median(ratios):.2f}")
    if arguments.starts:
        _random_starts(rire_case(), arguments.starts)


def _compare(case: Case) -> float:
    masks_s, pair = _timed(lambda: alignment.make_pair(case.ct, case.mr))
    example_s, theirs = _timed(lambda: example(case.mr, case.ct))
    ours_s, ours = _timed(lambda: alignment.register_pair(pair, "mr").ct_to_mr)
    errors = case.errors_mm(ours)
    their_mean = "lost" if theirs is None else f"{case.errors_mm(theirs).mean():.2f}"
    print(
        f"{case.name:12} {ours_s:8.1f} {masks_s:8.1f} {errors.mean():8.2f} {errors.max():8.2f} "
        f"{example_s:11.1f} {their_mean:>8}",
        flush=True,
    )
    return ours_s / example_s


def example(fixed: sitk.Image, moving: sitk.Image) -> np.ndarray | None:
    """Register as SimpleITK's notebook 60_Registration_Introduction does: 4x4, moving to fixed; None if it fails."""
    start = sitk.CenteredTransformInitializer(
        fixed, moving, sitk.Euler3DTransform(), sitk.CenteredTransformInitializerFilter.GEOMETRY
    )
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(numberOfHistogramBins=50)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(0.01, seed=1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsGradientDescent(
        learningRate=1.0, numberOfIterations=100, convergenceMinimumValue=1e-6, convergenceWindowSize=10
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2, 1])
    method.SetSmoothingSigmasPerLevel([2, 1, 0])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    pose = sitk.Euler3DTransform(start)
    method.SetInitialTransform(pose, inPlace=True)
    try:
        method.Execute(fixed, moving)
    except RuntimeError:
        return None
    return np.linalg.inv(volumes.to_matrix(pose))


def rire_case() -> Case:
    """Return the real patient with the T1 MR."""
    folder = SAMPLE / "rire_001"
    ct, mr = (volumes.read_volume(folder / name) for name in ("ct.nii.gz", "mr_t1.nii.gz"))
    return Case("RIRE 001", ct, mr, *rire.read_standard(folder / "ct_T1.standard"))


def virtual_cases(count: int) -> Iterator[Case]:
    """Yield virtual patients without a tilted gantry, with points spread over the box that CT and MR both cover."""
    template = make_template(read_labels(SAMPLE / "colin27" / "labels.nii.gz"))
    for n in [n for n in range(2 * count) if n % 8 != 3][:count]:
        examination = examine(template, SEED, n, n + 1, 256, contamination=False)
        ct, mr = (_volume(examination.clean(modality)) for modality in ("CT", "MR"))
        points = np.random.default_rng(n).uniform(-70, 70, (2000, 3)) + _middle_mm(ct)
        yield Case(
            f"virtual {n}", ct, mr, points, volumes.transform_points(examination.poses.ct_to_mr, points)
        )


def _volume(series: Series | None) -> sitk.Image:
    assert series is not None
    grid: Grid = series.grids[0]
    return sitk.DICOMOrient(volumes.from_array(series.values[0].astype(np.float32), grid.index_to_mm), "LPS")


def _middle_mm(volume: sitk.Image) -> np.ndarray:
    return np.array(volume.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in volume.GetSize()]))


def _random_starts(case: Case, count: int) -> None:
    """Move the CT at random and register again; each result should equal the default one up to that motion."""
    rng = np.random.default_rng(1)
    settled = alignment.register_pair(alignment.make_pair(case.ct, case.mr), "mr").ct_to_mr
    truth = volumes.transform_points(settled, case.points)
    farthest = []
    for n in range(count):
        start = _random_motion(rng, _middle_mm(case.ct))
        moved = volumes.from_array(volumes.to_array(case.ct), start @ volumes.affine(case.ct))
        found = alignment.register_pair(alignment.make_pair(moved, case.mr), "mr").ct_to_mr @ start
        farthest.append(float(rire.corner_error_mm(found, case.points, truth).max()))
        print(
            f"start {n + 1}: {volumes.rotation_deg(start):4.1f} degrees off, ends {farthest[-1]:.2f} mm from the "
            f"default result at the farthest corner, {case.errors_mm(found).mean():.2f} mm from the truth",
            flush=True,
        )
    print(f"{sum(f <= 0.3 for f in farthest)} of {count} starts end within 0.3 mm of the default result")


def _random_motion(rng: np.random.Generator, center_mm: np.ndarray) -> np.ndarray:
    """Draw a 4x4 matrix: a rotation about a random axis through the center, then a shift in a random direction."""
    axis, direction = (vector / np.linalg.norm(vector) for vector in rng.normal(size=(2, 3)))
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_rotvec(axis * rng.uniform(0, MAX_ANGLE_DEG), degrees=True).as_matrix()
    motion[:3, 3] = center_mm + direction * rng.uniform(0, MAX_SHIFT_MM) - motion[:3, :3] @ center_mm
    return motion


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    start = process_time()
    result = work()
    return process_time() - start, result


if __name__ == "__main__":
    main()
