"""Test patients as pictures: which are shown, which slice, and their arrays.  Nothing is picked by looks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mrct.core.errors import DataError, NotFoundError
from mrct.core.files import open_array
from mrct.reporting.figures import head_box


@dataclass(frozen=True)
class Case:
    """One slice k of a test patient: `mr` [0, 1], `ct` HU, `head` boolean, all (H, W).

    `synthetic` holds (H, W) slices by (method, direction), CT in HU and MR in [0, 1].
    """

    patient: str
    k: int
    mr: np.ndarray
    ct: np.ndarray
    head: np.ndarray
    synthetic: dict[tuple[str, str], np.ndarray]


def spread(scores: pd.Series, n: int) -> list[str]:
    """n patients at even ranks of `scores`, lowest and highest among them: good and bad cases alike."""
    ranked = list(scores.sort_index().sort_values(kind="stable", na_position="last").index)
    if n <= 0:
        return []
    if n == 1:
        return [ranked[(len(ranked) - 1) // 2]]
    places = np.linspace(0, len(ranked) - 1, min(n, len(ranked))).round().astype(int)
    return [ranked[place] for place in places]


def typical_slice(slices: pd.DataFrame, patient: str, columns: Sequence[str]) -> int:
    """k of the slice with the patient's median error (the lower of the middle two): neither best nor worst.

    The error is the first of `columns` that the table has; without any the middle slice by position.
    """
    rows = slices[(slices["patient"] == patient) & (slices["direction"] == "mr_to_ct")]
    if rows.empty:
        raise DataError(f"slices.csv has no slice of test patient {patient}; rerun evaluate")
    ordered = rows.sort_values([*[c for c in columns if c in rows][:1], "k"])
    return int(ordered["k"].iloc[(len(ordered) - 1) // 2])


def load_case(normalized: Path, predictions: dict[tuple[str, str], Path], patient: str, k: int) -> Case:
    """The slice from a `normalized` folder and, by (method, direction), from each predictions folder.

    Errors: a prediction that is missing or of another shape than the CT.
    """
    folder = normalized / patient
    ct = open_array(folder / "ct_hu.npy")
    if not 0 <= k < len(ct):
        raise DataError(f"slice {k} of {patient}: the normalized volume has {len(ct)}; rerun evaluate")
    synthetic = {}
    for (method, direction), root in predictions.items():
        path = root / f"{patient}_{direction}.npy"
        if not path.is_file():
            raise NotFoundError(f"{path}: no such prediction; rerun evaluate for {method}")
        volume = open_array(path)
        if volume.shape != ct.shape:
            raise DataError(f"{path}: got {volume.shape}, expected the CT's {ct.shape}; rerun evaluate")
        synthetic[method, direction] = np.array(volume[k], dtype=np.float32)
    mr = (np.array(open_array(folder / "mr.npy")[k], dtype=np.float32) + 1.0) / 2.0
    head = np.array(open_array(folder / "mask.npy")[k]) > 0
    return Case(patient, k, mr, np.array(ct[k], dtype=np.float32), head, synthetic)


def common_head_box(cases: Sequence[Case], margin: int = 4) -> tuple[slice, slice]:
    """Rows and columns that hold every case's head: one crop for all, so that sizes can be compared."""
    union = np.logical_or.reduce([case.head for case in cases])
    return head_box(union, margin)
