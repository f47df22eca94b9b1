"""Pictures of slices: triptych and methods side by side.  Arrays in, Figure out.

Convention: a slice is (H, W) with j to posterior and i to the patient's left, so that it appears as in
radiology: anterior on top, the patient's right on the left of the picture. Pixels are square.
Differences are synthetic minus real: red is too high, blue too low, black is right.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from mrct.reporting import theme
from mrct.reporting.theme import DisplayWindow

WIDTH_IN = 12.0
SIDE_IN, GAP_IN, BAR_IN, TITLE_IN = 0.12, 0.08, 0.75, 0.5


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


def methods_side_by_side(
    input_: np.ndarray,
    real: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    *,
    window: DisplayWindow,
    titles: tuple[str, str] = ("MR", "real CT"),
    notes: Mapping[str, str] | None = None,
) -> Figure:
    """Above: real, then each method's slice; below: the input, then each method's difference; all (H, W)."""
    _require_equal_shapes(input_, real, *predictions.values())
    notes = notes or {}
    with theme.style(dark=True):
        figure, (above, below) = _grid(2, 1 + max(len(predictions), 2), real.shape)
        _grey(above[0], real, window.low, window.high, titles[1], window.text)
        _grey(below[0], input_, *_percentiles(input_), titles[0])
        last: AxesImage | None = None
        for (name, synthetic), top, bottom in zip(predictions.items(), above[1:], below[1:], strict=False):
            _grey(top, synthetic, window.low, window.high, name)
            last = _difference(bottom, synthetic, real, window, "difference", notes.get(name, ""))
        for unused in (*above[1 + len(predictions) :], *below[1 + len(predictions) :]):
            unused.set_visible(False)
        if last is not None:
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


def _grid(n_rows: int, n_columns: int, shape: tuple[int, ...]) -> tuple[Figure, list[list[Axes]]]:
    """Panels of the slice's own proportion at fixed places, so that figures line up on the page."""
    inner = WIDTH_IN - 2 * SIDE_IN - BAR_IN - GAP_IN * (n_columns - 1)
    width = inner / n_columns
    height = width * shape[0] / shape[1]
    total = n_rows * (height + TITLE_IN) + SIDE_IN
    figure = Figure(figsize=(WIDTH_IN, total))
    axes = []
    for row in range(n_rows):
        bottom = (SIDE_IN + (n_rows - 1 - row) * (height + TITLE_IN)) / total
        lefts = [(SIDE_IN + column * (width + GAP_IN)) / WIDTH_IN for column in range(n_columns)]
        axes.append([figure.add_axes((left, bottom, width / WIDTH_IN, height / total)) for left in lefts])
    for panel in (panel for line in axes for panel in line):
        panel.set_axis_off()
    return figure, axes


def _grey(axes: Axes, values: np.ndarray, low: float, high: float, title: str, note: str = "") -> None:
    axes.imshow(values, cmap="gray", vmin=low, vmax=high, interpolation="bilinear", aspect="auto")
    _caption(axes, title, note)


def _difference(
    axes: Axes, synthetic: np.ndarray, real: np.ndarray, window: DisplayWindow, title: str, note: str
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
    axes.text(0.0, 1.02, title, transform=axes.transAxes, fontsize=10.5, fontweight="bold", va="bottom")
    if note:
        axes.text(1.0, 1.02, note, transform=axes.transAxes, fontsize=8, va="bottom", ha="right",
                  color=theme.DARK_MUTED)  # fmt: skip


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    low, high = (float(v) for v in np.percentile(values, (0.5, 99.5)))
    return (low, high) if high > low else (low, low + 1.0)


def _require_equal_shapes(*slices: np.ndarray) -> None:
    shapes: Sequence[tuple[int, ...]] = sorted({s.shape for s in slices})
    if len(shapes) != 1 or len(shapes[0]) != 2:
        raise ValueError(f"got slices of shapes {list(shapes)}, expected one (H, W)")
