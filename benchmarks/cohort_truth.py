"""Compare the results of the data stages with the truth of the virtual hospital: series, poses and pairs.

    dvc exp run -S cohort.patients=87 pair && python benchmarks/cohort_truth.py [DATA]

DATA is the folder in which the stages from `cohort` to `pair` have run, by default data. The error of a patient's
pose is taken over all voxels of the head that both scans cover. The error of a pair is the largest displacement
normal to its slice, over the voxels of the slice.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mrct.core.contracts import PAIRS, SELECTED_PATIENTS, SELECTED_SERIES, VIRTUAL_PATIENTS, VIRTUAL_SERIES
from mrct.core.files import read_json
from mrct.deid.pseudonyms import demonstration
from mrct.imaging import volumes
from virtual_hospital.selection_score import score_selection

MAPPING = demonstration()  # the key of the virtual hospital is published
MOST_SLICES_OFF = 0.5  # largest error of a correct pair, in slice spacings


class Placed(NamedTuple):
    """Errors of a patient: per voxel of the head in mm, and the largest per slice in slice spacings."""

    errors_mm: np.ndarray
    slices_off: dict[int, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=Path("data"))
    data = parser.parse_args().data
    print(_series(data))
    print(_poses_and_pairs(data))


def _series(data: Path) -> str:
    truth = VIRTUAL_SERIES.read(data / "cohort_truth")
    series, patients = SELECTED_SERIES.read(data / "selected"), SELECTED_PATIENTS.read(data / "selected")
    score = score_selection(
        truth, series, patients, MAPPING.patient, lambda uid: MAPPING.short("series", uid)
    )
    return score.summary()


def _poses_and_pairs(data: Path) -> str:
    truth = VIRTUAL_PATIENTS.read(data / "cohort_truth")
    pairs = PAIRS.read(data / "pairs")
    means, worst, off = [], [], []
    for number, patient_id in enumerate(truth["patient_id"]):
        patient = MAPPING.patient(patient_id)
        if not (data / "registered" / patient).is_dir():
            continue
        placed = _placed(data / "registered" / patient, data / "cohort_truth" / str(number) / "ct_to_mr.json")
        means.append(placed.errors_mm.mean())
        worst.append(placed.errors_mm.max())
        off += [placed.slices_off[int(k)] for k in pairs.loc[pairs["patient"] == patient, "k"]]
    wrong = sum(share > MOST_SLICES_OFF for share in off)
    return (
        f"{len(means)} patients registered: median of their mean errors {np.median(means):.2f} mm, "
        f"worst voxel {max(worst):.2f} mm\n"
        f"{len(off)} pairs: {wrong} further than half a slice from the truth, worst {max(off):.2f} slices"
    )


def _placed(folder: Path, truth: Path) -> Placed:
    """Map each voxel of the MR by the found pose to the CT and by the true pose back; the MR is the fixed image."""
    true, found = (np.array(read_json(file)["matrix"]) for file in (truth, folder / "ct_to_mr.json"))
    mask, coverage = (volumes.read_volume(folder / f"{name}.nii.gz") for name in ("mask", "coverage"))
    index = np.argwhere((volumes.to_array(mask) > 0) & (volumes.to_array(coverage) > 0))
    points = volumes.transform_points(volumes.affine(mask), index[:, ::-1].astype(float))
    moved = volumes.transform_points(true @ np.linalg.inv(found), points) - points
    across = np.abs(moved @ volumes.affine(mask)[:3, 2]) / mask.GetSpacing()[2] ** 2
    slices = {int(k): float(across[index[:, 0] == k].max()) for k in np.unique(index[:, 0])}
    return Placed(np.linalg.norm(moved, axis=1), slices)


if __name__ == "__main__":
    main()
