"""Draw docs/images/pipeline.svg: where the data goes, and up to where it holds names.

python docs/pipeline_figure.py [FILE]

FILE: another file to write, for example a PNG to look at.
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

OUT = Path(__file__).with_name("images") / "pipeline.svg"
NAMES, FACES, FREE, OUTSIDE = "#f6c9c3", "#fbe6b4", "#cfe8cf", "#e4e4e4"
INK, QUIET = "#1d2733", "#53606d"
WIDTH, HEIGHT = 3.0, 0.62
LEFT, RIGHT = 0.3, 4.6
STEP = 1.16


def box(axes: Axes, x: float, y: float, name: str, color: str, about: str = "") -> None:
    """A folder or file, with what is in it below its name."""
    shape = FancyBboxPatch(
        (x, y), WIDTH, HEIGHT, boxstyle="round,pad=0.02,rounding_size=0.08", fc=color, ec=INK, lw=0.8
    )
    axes.add_patch(shape)
    middle = x + WIDTH / 2
    axes.text(
        middle,
        y + (0.42 if about else 0.31),
        name,
        ha="center",
        va="center",
        color=INK,
        weight="bold",
        size=9.5,
    )
    if about:
        axes.text(middle, y + 0.17, about, ha="center", va="center", color=INK, size=7.6)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], dashed: bool = False) -> None:
    """An arrow between two points."""
    style = {"linestyle": (0, (4, 3)), "color": QUIET} if dashed else {"color": INK}
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=11, lw=1.1, **style))


def stage(axes: Axes, row: int, name: str, about: str) -> None:
    """The stage above the row: the arrow down to it, and what it does."""
    y = -row * STEP + HEIGHT
    arrow(axes, (LEFT + 0.6, y + STEP - HEIGHT - 0.03), (LEFT + 0.6, y + 0.03))
    axes.text(LEFT + 0.75, y + 0.27, name, va="center", color=INK, size=9, style="italic", weight="bold")
    axes.text(LEFT + 0.75 + 0.105 * len(name) + 0.12, y + 0.27, about, va="center", color=QUIET, size=7.8)


def draw(axes: Axes) -> None:
    """All boxes and arrows, from top to bottom."""

    def at(row: float) -> float:
        return -row * STEP

    box(axes, LEFT, at(0), "data/raw (your export)", NAMES, "names, ids, dates, faces; read only")
    box(axes, LEFT, at(1), "data/anonymized", FACES, "DICOM under pseudonyms, audit")
    box(axes, LEFT, at(2), "data/selected", FACES, "one CT and one MR per patient")
    box(axes, LEFT, at(3), "data/registered", FACES, "CT and MR on one grid, head mask")
    box(axes, LEFT, at(4), "data/normalized", FACES, "arrays in [-1, 1], CT also in HU")
    box(axes, LEFT, at(5), "models/<method>", FREE, "weights, curves")
    box(axes, LEFT, at(6), "reports/metrics/<method>", FREE, "metrics per slice and patient")
    box(axes, LEFT, at(7), "reports/index.html", FREE, "one page, opens offline")
    stage(axes, 1, "anonymize", "allow-list, leak scan")
    stage(axes, 2, "select", "rules, each rejection listed")
    stage(axes, 3, "register", "rigid; on request the face is cut off")
    stage(axes, 4, "normalize", "")
    stage(axes, 5, "train", "one training per method")
    stage(axes, 6, "evaluate", "test patients, scored once")
    stage(axes, 7, "report", "")

    box(axes, RIGHT, at(0), "secret key", NAMES, "~/.config/mrct, outside the project")
    arrow(axes, (RIGHT, at(0) + 0.1), (LEFT + 3.35, at(1) + HEIGHT + 0.27), dashed=True)
    box(axes, RIGHT, at(1), "re-identification table", NAMES, "on request, outside the project")
    arrow(axes, (LEFT + WIDTH + 0.05, at(1) + 0.31), (RIGHT - 0.05, at(1) + 0.31), dashed=True)
    box(axes, RIGHT, at(3), "data/pairs", FREE, "pairs, splits, contact sheets")
    arrow(axes, (LEFT + WIDTH + 0.05, at(3) + 0.31), (RIGHT - 0.05, at(3) + 0.31))
    axes.text(
        (LEFT + WIDTH + RIGHT) / 2,
        at(3) + 0.46,
        "pair",
        ha="center",
        color=INK,
        size=9,
        style="italic",
        weight="bold",
    )
    arrow(axes, (RIGHT + 0.4, at(3) - 0.04), (LEFT + WIDTH + 0.05, at(4) + 0.42))
    box(axes, RIGHT, at(4), "params.yaml", OUTSIDE, "methods and their parameters")
    arrow(axes, (RIGHT + WIDTH / 2, at(4) - 0.04), (RIGHT + WIDTH / 2, at(5) + HEIGHT + 0.05))
    axes.text(
        RIGHT + WIDTH / 2 + 0.1,
        at(5) + HEIGHT + 0.27,
        "configure",
        va="center",
        color=INK,
        size=9,
        style="italic",
        weight="bold",
    )
    box(axes, RIGHT, at(5), "data/methods/<method>.json", FREE, "checked before training")
    arrow(axes, (RIGHT - 0.05, at(5) + 0.31), (LEFT + WIDTH + 0.05, at(5) + 0.31))
    box(axes, RIGHT, at(7), "MLflow", OUTSIDE, "curves, figures, example slices")
    arrow(axes, (LEFT + WIDTH + 0.05, at(5) + 0.12), (RIGHT - 0.05, at(7) + 0.5), dashed=True)
    arrow(axes, (LEFT + WIDTH + 0.05, at(6) + 0.12), (RIGHT - 0.05, at(7) + 0.35), dashed=True)

    line = at(1) + HEIGHT + 0.42
    axes.plot([LEFT - 0.2, LEFT + 0.45], [line, line], color="#b3261e", lw=1.6, ls=(0, (5, 3)))
    axes.plot([LEFT + 3.9, RIGHT + WIDTH + 0.15], [at(1) - 0.24] * 2, color="#b3261e", lw=1.6, ls=(0, (5, 3)))
    axes.plot([LEFT + 3.9] * 2, [at(1) - 0.24, line], color="#b3261e", lw=1.6, ls=(0, (5, 3)))
    axes.plot([LEFT + 0.75, LEFT + 3.9], [line, line], color="#b3261e", lw=1.6, ls=(0, (5, 3)))
    axes.text(
        RIGHT,
        at(1) - 0.47,
        "Below the red line: pseudonyms and moved dates.",
        size=7.8,
        color="#b3261e",
    )
    legend(axes, at(7) - 0.5)


def legend(axes: Axes, y: float) -> None:
    """Draw the legend of the colors."""
    entries = [
        (NAMES, "holds names, or leads back to them"),
        (FACES, "no names; may show a face: never pushed"),
        (FREE, "no names; goes with dvc push"),
    ]
    x = LEFT - 0.2
    for color, text in entries:
        axes.add_patch(
            FancyBboxPatch((x, y), 0.22, 0.14, boxstyle="round,pad=0.01", fc=color, ec=INK, lw=0.6)
        )
        axes.text(x + 0.32, y + 0.07, text, va="center", color=INK, size=7.6)
        x += 0.55 + 0.059 * len(text)


def main(out: Path) -> None:
    """Write the figure in the format of the file's suffix."""
    matplotlib.rcParams |= {"svg.hashsalt": "pipeline", "font.family": "DejaVu Sans"}
    figure = plt.figure(figsize=(8.2, 9.6), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, 7.95)
    axes.set_ylim(-7 * STEP - 0.75, HEIGHT + 0.25)
    axes.axis("off")
    draw(axes)
    metadata = {"Date": None} if out.suffix == ".svg" else None
    figure.savefig(out, metadata=metadata, dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else OUT)
