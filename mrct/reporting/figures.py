"""Figures of slices, of one dot per patient, and of training curves, drawn from arrays and tables.

A slice is (H, W) with j to posterior and i to the patient's left. It is shown as in radiology: anterior on top, the
patient's right on the left side of the picture. Pixels are square. Differences are synthetic minus real: red is too
high, blue is too low, black is equal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from mrct.core.contracts import Direction
from mrct.core.errors import DataError
from mrct.metrics.statistics import Interval
from mrct.reporting import theme
from mrct.reporting.labels import curve_name
from mrct.reporting.theme import DisplayWindow

#: Figures of slices, in inches: width, margins, gaps between panels, color bar, title above a panel.
WIDTH_IN = 12.0
SIDE_IN, GAP_IN, BAR_IN, TITLE_IN = 0.12, 0.08, 0.75, 0.5
#: The grid of methods: their names on the left, the names of the cases on top, a note above each panel.
NAME_IN, CASE_IN, NOTE_IN = 0.32, 0.3, 0.24
#: Least number of columns; without it, the two panels of a single case would fill the page.
MIN_COLUMNS = 6
#: Charts: width in inches, curves side by side.
CHART_WIDTH_IN = 11.5
CURVES_PER_ROW = 4


def triptych(
    input_: np.ndarray,
    synthetic: np.ndarray,
    real: np.ndarray,
    *,
    window: DisplayWindow,
    titles: tuple[str, str, str] = ("MR", "synthetic CT", "real CT"),
    input_window: DisplayWindow | None = None,
    note: str = "",
) -> Figure:
    """Draw input, synthetic, real and difference side by side.

    Args:
        input_: Input slice (H, W).
        synthetic: Synthetic slice (H, W), in the unit of `window`.
        real: Real slice (H, W), in the unit of `window`.
        window: Display window of the synthetic and the real slice.
        titles: Titles of the first three panels.
        input_window: Display window of the input; None: its 0.5th and 99.5th percentiles.
        note: Small print above the difference.

    Raises:
        DataError: The shapes differ.
    """
    _require_equal_shapes(input_, synthetic, real)
    low, high = (input_window.low, input_window.high) if input_window else _percentiles(input_)
    with theme.style(dark=True):
        figure, (axes,) = _grid(1, 4, real.shape)
        _grey(axes[0], input_, low, high, titles[0], input_window.text if input_window else "")
        _grey(axes[1], synthetic, window.low, window.high, titles[1], window.text)
        _grey(axes[2], real, window.low, window.high, titles[2], window.text)
        image = _difference(axes[3], synthetic, real, window, "synthetic \N{MINUS SIGN} real", note)
        _difference_bar(image, window)
    return figure


def methods_grid(
    cases: Mapping[str, tuple[np.ndarray, np.ndarray]],
    synthetic: Mapping[str, Sequence[np.ndarray]],
    notes: Mapping[str, Sequence[str]],
    *,
    window: DisplayWindow,
    titles: tuple[str, str] = ("MR", "real CT"),
    input_window: DisplayWindow | None = None,
) -> Figure:
    """Draw one row per method: for each case its synthetic slice and the difference, below the input and real slice.

    Args:
        cases: Name of each case, to its input and real slice (H, W).
        synthetic: Name of each method, to its slices (H, W) in the order of the cases.
        notes: Name of each method, to the small print above its differences.
        window: Display window of the synthetic and real slices.
        titles: Titles of the input and the real slice.
        input_window: Display window of the input; None: its 0.5th and 99.5th percentiles.

    Raises:
        DataError: There is no method, or the shapes differ.
    """
    if not synthetic:
        raise DataError("methods_grid: got no method, expected at least one")
    _require_equal_shapes(*(s for row in (*cases.values(), *synthetic.values()) for s in row))
    reals = [real for _, real in cases.values()]
    n_columns = max(2 * len(cases), MIN_COLUMNS)
    with theme.style(dark=True):
        figure, (top, *rows) = _grid(
            1 + len(synthetic), n_columns, reals[0].shape, left_in=NAME_IN, above_in=NOTE_IN, top_in=CASE_IN
        )
        for axes, (name, (input_, real)) in zip(_pairs(top), cases.items(), strict=False):
            low, high = (input_window.low, input_window.high) if input_window else _percentiles(input_)
            _grey(axes[0], input_, low, high, note=titles[0])
            _grey(axes[1], real, window.low, window.high, note=titles[1])
            _text(axes[0], name, (0.0, 1.0), above_pt=18, weight="bold")
        for row, (name, images) in zip(rows, synthetic.items(), strict=True):
            _text(row[0], name, (-0.06, 0.5), weight="bold", rotation=90, ha="right", va="center")
            for axes, image, real, note in zip(_pairs(row), images, reals, notes[name], strict=False):
                _grey(axes[0], image, window.low, window.high)
                last = _difference(axes[1], image, real, window, note=note)
        _difference_bar(last, window)
    return figure


def _grid(
    n_rows: int,
    n_columns: int,
    shape: tuple[int, ...],
    left_in: float = SIDE_IN,
    above_in: float = TITLE_IN,
    top_in: float = 0.0,
) -> tuple[Figure, list[list[Axes]]]:
    """Make panels with the slice's proportions at fixed places, so that the figures line up on the page."""
    inner = WIDTH_IN - left_in - SIDE_IN - BAR_IN - GAP_IN * (n_columns - 1)
    width = inner / n_columns
    height = width * shape[0] / shape[1]
    total = n_rows * (height + above_in) + SIDE_IN + top_in
    figure = Figure(figsize=(WIDTH_IN, total))
    axes = []
    for row in range(n_rows):
        bottom = (SIDE_IN + (n_rows - 1 - row) * (height + above_in)) / total
        lefts = [(left_in + column * (width + GAP_IN)) / WIDTH_IN for column in range(n_columns)]
        axes.append([figure.add_axes((left, bottom, width / WIDTH_IN, height / total)) for left in lefts])
    for panel in (panel for line in axes for panel in line):
        panel.set_axis_off()
    return figure, axes


def _pairs(row: list[Axes]) -> list[tuple[Axes, Axes]]:
    return list(zip(row[::2], row[1::2], strict=False))


def _grey(axes: Axes, values: np.ndarray, low: float, high: float, title: str = "", note: str = "") -> None:
    axes.imshow(values, cmap="gray", vmin=low, vmax=high, interpolation="bilinear", aspect="auto")
    _caption(axes, title, note)


def _difference(
    axes: Axes,
    synthetic: np.ndarray,
    real: np.ndarray,
    window: DisplayWindow,
    title: str = "",
    note: str = "",
) -> AxesImage:
    image = axes.imshow(
        np.asarray(synthetic, dtype=np.float64) - real,
        cmap=theme.DIFFERENCE_COLORMAP,
        vmin=-window.limit,
        vmax=window.limit,
        interpolation="bilinear",
        aspect="auto",
    )
    _caption(axes, title, note)
    return image


def _difference_bar(image: AxesImage, window: DisplayWindow) -> None:
    """Add a symmetric color bar with its unit to the right of the panel."""
    figure, place = image.figure, image.axes.get_position()
    bar = figure.add_axes((place.x1 + 0.01, place.y0, 0.009, place.height))
    scale = figure.colorbar(image, cax=bar, ticks=[-window.limit, 0.0, window.limit])
    scale.ax.set_yticklabels([f"\N{MINUS SIGN}{window.limit:g}", "0", f"+{window.limit:g}"])
    scale.ax.tick_params(length=2, labelsize=8)
    scale.outline.set_visible(False)
    bar.set_title(window.unit, fontsize=8, fontweight="normal", loc="left", color=theme.DARK_MUTED)


def _caption(axes: Axes, title: str, note: str) -> None:
    if title:
        _text(axes, title, (0.0, 1.0), above_pt=3, fontsize=10.5, weight="bold")
    if note:
        _text(axes, note, (1.0, 1.0), above_pt=3, fontsize=8, ha="right", color=theme.DARK_MUTED)


def _text(axes: Axes, text: str, place: tuple[float, float], above_pt: float = 0.0, **style: Any) -> None:
    """Write at `place` in the panel's coordinates, `above_pt` points higher."""
    font: dict[str, Any] = {"fontsize": 9.5, "ha": "left", "va": "bottom"} | style
    axes.annotate(text, place, (0.0, above_pt), "axes fraction", "offset points", **font)


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    low, high = (float(v) for v in np.percentile(values, (0.5, 99.5)))
    return (low, high) if high > low else (low, low + 1.0)


def _require_equal_shapes(*slices: np.ndarray) -> None:
    shapes: Sequence[tuple[int, ...]] = sorted({s.shape for s in slices})
    if len(shapes) != 1 or len(shapes[0]) != 2:
        raise DataError(f"got slices of shapes {list(shapes)}, expected one (H, W)")


@dataclass(frozen=True)
class DotPanel:
    """Metric of the dot chart.

    `values` holds per method one value per patient, the same patients in the same order, NaN where a value is
    undefined. `better` is the text below the panel.
    """

    title: str
    better: str
    values: Mapping[str, np.ndarray]
    intervals: Mapping[str, Interval]


def patient_dots(panels: Sequence[DotPanel], names: Mapping[str, str], colors: Mapping[str, str]) -> Figure:
    """Draw one panel per metric, one row per method and one dot per test patient; lines join the same patient.

    The black diamond is the mean and its bar the 95 % interval over patients, where there is one.

    Args:
        panels: The metrics.
        names: Name of each method on the page, in the order of the rows.
        colors: Color of each method.

    Raises:
        DataError: There is no metric.
    """
    if not panels:
        raise DataError("patient_dots: got no metric, expected at least one")
    with theme.style(dark=False):
        figure = Figure(figsize=(CHART_WIDTH_IN, 1.15 + 0.52 * len(names)), layout="constrained")
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
    axis.plot(table, rows, color=theme.RAIL, linewidth=0.6, alpha=0.7, zorder=1)
    for row, method in enumerate(methods):
        axis.scatter(table[row], np.full(table.shape[1], row), s=20, color=colors[method], alpha=0.65,
                     linewidths=0, zorder=2)  # fmt: skip
        mean, low, high = panel.intervals.get(method, Interval(np.nan, None, None))
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
    """Check whether a column of the history is measured on validation patients."""
    return column.startswith("val")


def curve_columns(history: pd.DataFrame) -> list[str]:
    """List the columns that are drawn, validation first: all with a finite value except `epoch` and `phase`."""
    columns = [column for column in history.columns if column not in ("epoch", "phase")]
    drawn = [column for column in columns if np.isfinite(history[column].to_numpy(dtype=float)).any()]
    return sorted(drawn, key=lambda column: not is_validation(column))


def training_curves(history: pd.DataFrame, best_epochs: Mapping[Direction, int]) -> Figure:
    """Draw one panel per loss term and validation error; validation comes first, in the color of the page.

    Args:
        history: The table HISTORY. A method that is trained in several phases has a column `phase`; a grey line in
            every panel marks where a phase begins.
        best_epochs: Epoch whose weights were kept, per direction; a dashed line in its validation panel.

    Raises:
        DataError: The history has no finite value.
    """
    columns = curve_columns(history)
    if not columns:
        raise DataError(
            f"training history: no finite value in the columns {list(history.columns)}; expected a loss term or a "
            "validation error; run the stage train again"
        )
    n_rows = -(-len(columns) // CURVES_PER_ROW)
    with theme.style(dark=False):
        figure = Figure(figsize=(CHART_WIDTH_IN, 2.05 * n_rows), layout="constrained")
        axes = figure.subplots(n_rows, CURVES_PER_ROW, squeeze=False).ravel()
        for axis, column in zip(axes, columns, strict=False):
            values = history[column].to_numpy(dtype=float)
            _curve(axis, history["epoch"].to_numpy(), values, column, best_of(column, best_epochs))
            for start in phase_starts(history):
                axis.axvline(start - 0.5, color=theme.RAIL, linewidth=1.0, zorder=1)
        for unused in axes[len(columns) :]:
            unused.set_visible(False)
    return figure


def phase_starts(history: pd.DataFrame) -> list[int]:
    """List the first epoch of the second and each later phase."""
    if "phase" not in history:
        return []
    changed = history["phase"].diff().fillna(0) != 0
    return [int(epoch) for epoch in history.loc[changed, "epoch"]]


def best_of(column: str, best_epochs: Mapping[Direction, int]) -> int | None:
    """Return the kept epoch of a validation column's direction; None for loss terms, which do not choose an epoch."""
    found = [epoch for direction, epoch in best_epochs.items() if column.endswith(direction)]
    return found[0] if is_validation(column) and found else None


def _curve(axis: Axes, epochs: np.ndarray, values: np.ndarray, column: str, best_epoch: int | None) -> None:
    finite = np.isfinite(values)
    color = theme.MAIN_COLOR if is_validation(column) else theme.LOSS
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
