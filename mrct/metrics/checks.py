"""Checks that a table of metrics must pass before anybody reads it."""

import numpy as np
import pandas as pd

from mrct.core.errors import DataError

BOUND_TOLERANCE_DB = 1e-6


class ImplausibleMetricsError(DataError):
    """A number that arithmetic forbids: the evaluation, not the model, is wrong."""


def require_bounds(table: pd.DataFrame, where: str) -> None:
    """Each `x_bound_db` column bounds its `x_db`; MAE >= 0; SSIM in [-1, 1]; IoU in [0, 1]. Names the row."""
    for column in table.columns:
        values = table[column]
        if column.endswith("_bound_db"):
            _require(
                table, table[column.replace("_bound_db", "_db")] <= values + BOUND_TOLERANCE_DB, column, where
            )
        elif column.startswith("mae"):
            _require(table, values >= 0, column, where)
        elif column.startswith("ssim"):
            _require(table, values.abs() <= 1 + 1e-9, column, where)
        elif column.startswith("iou"):
            _require(table, values.between(0, 1), column, where)


def require_disjoint(splits: dict[str, set[str]]) -> None:
    """No patient in two splits."""
    names = sorted(splits)
    for first in names:
        for second in names:
            shared = splits[first] & splits[second]
            if first < second and shared:
                raise ImplausibleMetricsError(
                    f"{len(shared)} patients are in both {first} and {second} (first: {min(shared)}); rerun pair"
                )


def _require(table: pd.DataFrame, holds: pd.Series, column: str, where: str) -> None:
    broken = table[~holds & table[column].notna()]
    if len(broken):
        row = broken.iloc[0]
        identity = ", ".join(f"{key} {row[key]}" for key in ("direction", "patient", "k") if key in row)
        raise ImplausibleMetricsError(
            f"{where}: {column} = {row[column]!r} breaks its bound for {identity} ({len(broken)} rows)"
        )


def mean_over_slices(slices: pd.DataFrame) -> pd.DataFrame:
    """Slice rows -> one row a (direction, patient): the mean of each metric, NaN and infinite values left out."""
    finite = slices.replace([np.inf, -np.inf], np.nan)
    columns = [c for c in slices.columns if c not in ("direction", "patient", "k")]
    return finite.groupby(["direction", "patient"], sort=True)[columns].mean().reset_index()
