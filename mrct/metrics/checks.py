"""Checks of tables of metrics before they are written."""

import pandas as pd

from mrct.core.errors import DataError
from mrct.metrics.image import BOUND_SUFFIX

BOUND_TOLERANCE_DB = 1e-6


class ImplausibleMetricsError(DataError):
    """Error for a metric with an impossible value: the evaluation is wrong, not the model."""


def require_bounds(table: pd.DataFrame, where: str) -> None:
    """Check that every value is possible: PSNR below its bound, MAE >= 0, SSIM in [-1, 1], IoU in [0, 1].

    Args:
        table: A table of metrics, one row per slice or patient.
        where: Description of the table for the message.

    Raises:
        ImplausibleMetricsError: A value is impossible; the message names its row and column.
    """
    for column in table.columns:
        values = table[column]
        if column.endswith(BOUND_SUFFIX):
            psnr = table[column.removesuffix(BOUND_SUFFIX) + "_db"]
            _require(table, psnr <= values + BOUND_TOLERANCE_DB, column, where)
        elif column.startswith("mae"):
            _require(table, values >= 0, column, where)
        elif column.startswith("ssim"):
            _require(table, values.abs() <= 1 + 1e-9, column, where)
        elif column.startswith("iou"):
            _require(table, values.between(0, 1), column, where)


def require_disjoint(splits: dict[str, set[str]]) -> None:
    """Raise ImplausibleMetricsError if a patient is in two splits; `splits` holds the patients of each split."""
    names = sorted(splits)
    for first in names:
        for second in names:
            shared = splits[first] & splits[second]
            if first < second and shared:
                raise ImplausibleMetricsError(
                    f"{len(shared)} patients are in both {first} and {second} (first: {min(shared)}); run the stage "
                    "pair again"
                )


def _require(table: pd.DataFrame, holds: pd.Series, column: str, where: str) -> None:
    broken = table[~holds & table[column].notna()]
    if len(broken):
        row = broken.iloc[0]
        identity = ", ".join(f"{key} {row[key]}" for key in ("direction", "patient", "k") if key in row)
        raise ImplausibleMetricsError(
            f"{where}: {column} = {row[column]!r} is out of bounds for {identity} ({len(broken)} rows in all). "
            "The metrics are computed wrongly; please report this as a defect"
        )
