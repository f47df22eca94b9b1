"""Colors, display windows, and writing of figures; equal figures give equal bytes."""

import base64
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from PIL import Image

from mrct.core.errors import DataError
from mrct.core.files import atomic_file

INK, MUTED, RULE = "#1d2733", "#66717e", "#d9dee4"
DARK, DARK_INK, DARK_MUTED = "#0d1116", "#eef2f6", "#93a0ae"
GOOD, BAD = "#1f7a4d", "#b3382c"
RAIL, LOSS = "#c9d0d8", "#7d8893"
MAIN_COLOR = "#0a6c8f"
OTHER_COLORS = ("#c07a1e", "#7a5ea8", "#5b7f3a", "#a8485f", "#4f6d9c", "#8a7350", "#3f8580")

#: Black at zero difference, red for too high, blue for too low; both ends are equally bright.
DIFFERENCE_COLORMAP = LinearSegmentedColormap.from_list(
    "difference", ["#b9e0ff", "#4aa3e8", "#144a78", "#000000", "#7a220f", "#e8643a", "#ffd0b5"]
)
PANEL_DPI = 110
CHART_DPI = 150
WEBP_QUALITY = 90

_COMMON: dict[str, Any] = {
    # part of matplotlib, so that the files are equal on every machine
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titleweight": "bold",
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
}
CHART_STYLE = _COMMON | {
    "axes.edgecolor": "#aab3bd",
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "grid.color": "#edf0f3",
    "figure.facecolor": "white",
}
DARK_STYLE = _COMMON | {
    "axes.titlecolor": DARK_INK,
    "text.color": DARK_INK,
    "xtick.color": DARK_MUTED,
    "ytick.color": DARK_MUTED,
    "figure.facecolor": DARK,
    "axes.facecolor": "black",
}


@dataclass(frozen=True)
class DisplayWindow:
    """Display window: black at `low`, white at `high`; differences saturate at ±`limit`.

    All three are in `unit`, which is empty for MR on the scale [0, 1].

    Raises:
        DataError: `low` is not below `high`, or `limit` is not positive.
    """

    name: str
    low: float
    high: float
    limit: float
    unit: str

    def __post_init__(self) -> None:
        if not (self.high > self.low and self.limit > 0):
            raise DataError(f"display window {self.name}: got {self}, expected low < high and limit > 0")

    @property
    def text(self) -> str:
        """Format the window, as in `−60 to 140 HU`."""
        return f"{self.low:g} to {self.high:g} {self.unit}".rstrip().replace("-", "\N{MINUS SIGN}")


BONE = DisplayWindow("bone", -500.0, 1500.0, 600.0, "HU")
BRAIN = DisplayWindow("brain", -60.0, 140.0, 100.0, "HU")
MR = DisplayWindow("MR", 0.0, 1.0, 0.5, "")


def method_colors(methods: Sequence[str]) -> dict[str, str]:
    """Return the color of each method; the first one, the reference, has the color of the page."""
    others = {m: OTHER_COLORS[n % len(OTHER_COLORS)] for n, m in enumerate(methods[1:])}
    return {methods[0]: MAIN_COLOR} | others if methods else {}


def save_png(figure: Figure, path: Path, dpi: int) -> None:
    """Write the figure as PNG, without software version and time."""
    with atomic_file(path) as partial:
        figure.savefig(partial, format="png", dpi=dpi, metadata={"Software": None})


def as_webp(png: Path, max_width: int | None = None) -> bytes:
    """Encode a PNG file as WebP, about a fifth of its size, at most `max_width` pixels wide."""
    with Image.open(png) as source:
        image = source.convert("RGB")
        if max_width is not None and image.width > max_width:
            image = image.resize(
                (max_width, round(image.height * max_width / image.width)), Image.Resampling.LANCZOS
            )
        stream = BytesIO()
        image.save(stream, format="WEBP", quality=WEBP_QUALITY, method=4)
    return stream.getvalue()


def data_uri(png: Path, max_width: int | None = None) -> str:
    """Encode a PNG file as a data URI (WebP), so that the page is one file."""
    return "data:image/webp;base64," + base64.b64encode(as_webp(png, max_width)).decode("ascii")


def style(dark: bool) -> AbstractContextManager[None]:
    """Return a context in which new figures have the report's style; matplotlib's global style stays unchanged."""
    settings: Any = DARK_STYLE if dark else CHART_STYLE
    return matplotlib.rc_context(settings)
