"""Pictures of slices: triptych and the grid of methods.  Arrays in, Figure out.

Convention: a slice is (H, W) with j to posterior and i to the patient's left, so that it appears as in
radiology: anterior on top, the patient's right on the left of the picture. Pixels are square.
Differences are synthetic minus real: red is too high, blue too low, black is right.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from mrct.core.errors import DataError
from mrct.reporting import theme
from mrct.reporting.theme import DisplayWindow

WIDTH_IN = 12.0
SIDE_IN, GAP_IN, BAR_IN, TITLE_IN = 0.12, 0.08, 0.75, 0.5
#: Of the grid of methods: their names at the left, the cases' names on top, the small print above each panel.
NAME_IN, CASE_IN, NOTE_IN = 0.32, 0.3, 0.24
#: A single case would fill the page's width with two panels.
MIN_COLUMNS = 6


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
    """input | synthetic | real | difference, each (H, W); synthetic and real in `window`'s unit.

    `input_window` is the input's; None takes its 0.5th and 99.5th percentile.
    `note` stands in small type above the difference. Errors: shapes that differ.
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
    """A row a method, for every case its synthetic slice and the difference; above them input and real.

    All slices are (H, W). `cases`: a case's name to (input, real); `synthetic` and `notes`: a method's name to
    its slices and to the small print above its differences, in the order of the cases.
    Errors: no method, shapes that differ.
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


def head_box(mask: np.ndarray, margin: int = 4) -> tuple[slice, slice]:
    """(H, W) boolean -> rows and columns of the head with a margin in pixels; everything without a head."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return slice(0, mask.shape[0]), slice(0, mask.shape[1])
    return (
        slice(max(int(rows[0]) - margin, 0), min(int(rows[-1]) + margin + 1, mask.shape[0])),
        slice(max(int(columns[0]) - margin, 0), min(int(columns[-1]) + margin + 1, mask.shape[1])),
    )


def _grid(
    n_rows: int,
    n_columns: int,
    shape: tuple[int, ...],
    left_in: float = SIDE_IN,
    above_in: float = TITLE_IN,
    top_in: float = 0.0,
) -> tuple[Figure, list[list[Axes]]]:
    """Panels of the slice's own proportion at fixed places, so that figures line up on the page."""
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
    """A symmetric color bar right of the panel, with its unit."""
    figure, place = image.figure, image.axes.get_position()
    bar = figure.add_axes((place.x1 + 0.01, place.y0, 0.009, place.height))
    scale = figure.colorbar(image, cax=bar, ticks=[-window.limit, 0.0, window.limit])
    scale.ax.set_yticklabels([f"\N{MINUS SIGN}{window.limit:g}", "0", f"+{window.limit:g}"])
    scale.ax.tick_params(length=2, labelsize=8)
    scale.outline.set_visible(False)  # type: ignore[operator]
    bar.set_title(window.unit, fontsize=8, fontweight="normal", loc="left", color=theme.DARK_MUTED)


def _caption(axes: Axes, title: str, note: str) -> None:
    if title:
        _text(axes, title, (0.0, 1.0), above_pt=3, fontsize=10.5, weight="bold")
    if note:
        _text(axes, note, (1.0, 1.0), above_pt=3, fontsize=8, ha="right", color=theme.DARK_MUTED)


def _text(axes: Axes, text: str, place: tuple[float, float], above_pt: float = 0.0, **style: Any) -> None:
    """`place` in the panel's own coordinates, then so many points upwards."""
    font: dict[str, Any] = {"fontsize": 9.5, "ha": "left", "va": "bottom"} | style
    axes.annotate(text, place, (0.0, above_pt), "axes fraction", "offset points", **font)


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    low, high = (float(v) for v in np.percentile(values, (0.5, 99.5)))
    return (low, high) if high > low else (low, low + 1.0)


def _require_equal_shapes(*slices: np.ndarray) -> None:
    shapes: Sequence[tuple[int, ...]] = sorted({s.shape for s in slices})
    if len(shapes) != 1 or len(shapes[0]) != 2:
        raise DataError(f"got slices of shapes {list(shapes)}, expected one (H, W)")
