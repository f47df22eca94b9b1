"""The rows of all runs as tables, and what each loss changes, paired over the validation patients."""

from collections.abc import Mapping
from dataclasses import asdict

import pandas as pd

from mrct.experiments.judging import Row
from mrct.experiments.misalignment_run import Run
from mrct.metrics.statistics import paired_interval

#: What `carry_out` returns, by run.
Results = Mapping[Run, Mapping[str, list[Row]]]
RUN = ["seed", "warp_mm", "pixel_weighting", "structure_loss"]
METRICS = ["mae_hu", "iou_bone_300hu"]
PARTS = {
    "validation": ["patient", *METRICS],
    "detection": [
        *("label_warp_mm", "label", "score", "auroc"),
        *("n_positive", "mean_positive", "n_negative", "mean_negative"),
    ],
}
#: Each question: the column that answers it, its value with and without, and the other column.
QUESTIONS = {
    "p_pix": ("pixel_weighting", "minmax", "none", "structure_loss"),
    "structure": ("structure_loss", "sc_map", "none", "pixel_weighting"),
}


def rows_of(results: Results, part: str) -> pd.DataFrame:
    """The rows of `part` of every run, behind the run's own columns."""
    rows = [asdict(run) | row for run, result in results.items() for row in result[part]]
    return pd.DataFrame(rows, columns=[*RUN, *PARTS[part]])


def run_means(patients: pd.DataFrame) -> pd.DataFrame:
    """One row a run: means over the validation patients."""
    return patients.groupby(RUN, sort=False)[METRICS].mean().reset_index()


def differences(patients: pd.DataFrame, samples: int, seed: int) -> pd.DataFrame:
    """With minus without P_pix, and the structure loss, by warp: mean over patients with its 95 % interval.

    Seeds are averaged before patients are compared. `other` says under which value of the other loss, or
    `both`: averaged over them.
    """
    rows: list[Row] = []
    for question, (column, on, off, other_column) in QUESTIONS.items():
        for warp_mm, of_warp in patients.groupby("warp_mm"):
            choices = {str(value): chosen for value, chosen in of_warp.groupby(other_column)}
            for other, chosen in (choices | {"both": of_warp}).items():
                means = chosen.groupby(["patient", column])[METRICS].mean().unstack()
                for metric in METRICS:
                    values = means[metric]
                    mean, low, high = paired_interval(
                        values[on].to_numpy(), values[off].to_numpy(), samples, seed
                    )
                    row = {"question": question, "warp_mm": warp_mm, "other": other, "metric": metric}
                    counted = int((values[on] - values[off]).notna().sum())
                    rows.append(row | {"n_patients": counted, "difference": mean, "low": low, "high": high})
    return pd.DataFrame(rows)
