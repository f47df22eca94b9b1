"""Charts: one dot a patient, and training curves.  Tables in, Figure out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mrct.core.errors import DataError
from mrct.metrics.statistics import Interval
from mrct.reporting import theme
from mrct.reporting.labels import curve_name

CURVES_PER_ROW = 4


@dataclass(frozen=True)
class DotPanel:
    """One metric: per method the values of the same patients in the same order (NaN where undefined)."""

    title: str
    better: str
    values: Mapping[str, np.ndarray]
    intervals: Mapping[str, Interval]


def patient_dots(panels: Sequence[DotPanel], names: Mapping[str, str], colors: Mapping[str, str]) -> Figure:
    """A panel a metric, a row a method, a dot a test patient; thin lines join the same patient.

    The black mark is the mean, its bar the 95 % interval over patients (absent under 5 patients).
    `names` maps methods, in the order of the rows, to what people read; `colors` maps them to their color,
    so that a method has one color in every chart.
    """
    if not panels:
        raise DataError("patient_dots: got no metric, expected at least one")
    with theme.style(dark=False):
        figure = Figure(figsize=(11.5, 1.15 + 0.52 * len(names)), layout="constrained")
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axis, panel in zip(axes, panels, strict=True):
            _dots(axis, panel, list(names), colors)
        axes[0].set_yticks(range(len(names)), list(names.values()), color=theme.INK)
        axes[0].set_ylim(len(names) - 0.5, -0.5)
    return figure


def _dots(axis: Axes, panel: DotPanel, methods: list[str], colors: Mapping[str, str]) -> None:
    rows = np.arange(len(methods))
    missing = np.full(len(next(iter(panel.values.values()))), np.nan)
    table = np.stack([np.where(np.isfinite(v := panel.values.get(m, missing)), v, np.nan) for m in methods])
    axis.plot(table, rows, color="#c9d0d8", linewidth=0.6, alpha=0.7, zorder=1)
    for row, method in enumerate(methods):
        axis.scatter(table[row], np.full(table.shape[1], row), s=20, color=colors[method], alpha=0.65,
                     linewidths=0, zorder=2)  # fmt: skip
        mean, low, high = panel.intervals.get(method, (np.nan, None, None))
        if low is not None and high is not None:
            axis.plot([low, high], [row + 0.26] * 2, color=theme.INK, linewidth=1.6, zorder=3)
        axis.scatter([mean], [row + 0.26], marker="D", s=16, color=theme.INK, linewidths=0, zorder=4)
    axis.set_title(panel.title)
    axis.set_xlabel(panel.better, fontsize=8)
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="y", length=0)
    axis.tick_params(axis="x", labelsize=8)
    axis.grid(axis="x")
    axis.set_axisbelow(True)


def is_validation(column: str) -> bool:
    """True for columns measured on validation patients: `val_...`, `validation_...`."""
    return column.startswith("val")


def curve_columns(history: pd.DataFrame) -> list[str]:
    """What is drawn: numeric columns other than epoch and phase that hold a finite value; validation first."""
    numeric = [
        c
        for c in history.columns
        if c not in ("epoch", "phase") and pd.api.types.is_numeric_dtype(history[c])
    ]
    drawn = [c for c in numeric if np.isfinite(history[c].to_numpy(dtype=float)).any()]
    return sorted(drawn, key=lambda c: not is_validation(c))


def training_curves(history: pd.DataFrame, best_epochs: Mapping[str, int]) -> Figure:
    """history: `epoch` and one column a loss term or validation metric -> a small panel a column.

    Validation comes first and in the page's color. `best_epochs`: direction to the epoch whose weights were
    kept, a dashed line in that direction's validation panel. A method trained in several phases has a column
    `phase`; a grey line in every panel stands where the next phase begins.
    Errors: no `epoch` column, or nothing finite to draw.
    """
    columns = curve_columns(history)
    if "epoch" not in history or not columns:
        raise DataError(f"training history: got columns {list(history.columns)}, expected epoch and a curve")
    n_rows = -(-len(columns) // CURVES_PER_ROW)
    with theme.style(dark=False):
        figure = Figure(figsize=(11.5, 2.05 * n_rows), layout="constrained")
        axes = figure.subplots(n_rows, CURVES_PER_ROW, squeeze=False).ravel()
        for axis, column in zip(axes, columns, strict=False):
            values = history[column].to_numpy(dtype=float)
            _curve(axis, history["epoch"].to_numpy(), values, column, best_of(column, best_epochs))
            for start in phase_starts(history):
                axis.axvline(start - 0.5, color="#c9d0d8", linewidth=1.0, zorder=1)
        for unused in axes[len(columns) :]:
            unused.set_visible(False)
    return figure


def phase_starts(history: pd.DataFrame) -> list[int]:
    """First epochs of the second and later phases; none without a column `phase`."""
    if "phase" not in history:
        return []
    changed = history["phase"].diff().fillna(0) != 0
    return [int(epoch) for epoch in history.loc[changed, "epoch"]]


def best_of(column: str, best_epochs: Mapping[str, int]) -> int | None:
    """The kept epoch that belongs to a validation column; None for loss terms, which choose nothing."""
    found = [epoch for direction, epoch in best_epochs.items() if column.endswith(direction)]
    return found[0] if is_validation(column) and found else None


def _curve(axis: Axes, epochs: np.ndarray, values: np.ndarray, column: str, best_epoch: int | None) -> None:
    finite = np.isfinite(values)
    color = theme.MAIN_COLOR if is_validation(column) else "#7d8893"
    marker = "o" if finite.sum() < 3 else None
    axis.plot(epochs[finite], values[finite], color=color, linewidth=1.6, marker=marker, markersize=3)
    if best_epoch is not None:
        axis.axvline(best_epoch, color=theme.GOOD, linewidth=1.0, linestyle=(0, (4, 3)))
        for value in values[(epochs == best_epoch) & finite]:
            axis.scatter([best_epoch], [value], s=22, color=theme.GOOD, linewidths=0, zorder=3)
    axis.set_title(curve_name(column), fontsize=8.5)
    axis.tick_params(labelsize=7.5, length=2)
    axis.set_xlim(epochs.min() - 0.5, epochs.max() + 0.5)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    axis.grid(axis="y")
    axis.set_axisbelow(True)
