"""The experiment at a glance: error against warp, AUROC of both scores, one warped slice.  Tables in, Figure out."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from mrct.imaging.intensity import signed_to_hu
from mrct.losses.pixel import WEIGHT_FLOOR
from mrct.reporting import theme

RESIDUAL_LIMIT_HU = 600.0
VARIANTS = {
    ("minmax", "sc_map"): ("P_pix and structure", theme.MAIN_COLOR),
    ("minmax", "none"): ("P_pix alone", theme.OTHER_COLORS[0]),
    ("none", "sc_map"): ("structure alone", theme.OTHER_COLORS[1]),
    ("none", "none"): ("neither", theme.MUTED),
}
#: Score and weighting of the pixel loss in training (None: both), how people call it, its color.
BARS = (
    ("distrust", "minmax", "1 \N{MINUS SIGN} P_pix, as weight", theme.MAIN_COLOR),
    ("distrust", "none", "the same, without weight", theme.OTHER_COLORS[0]),
    ("residual_hu", None, "|y \N{MINUS SIGN} G(x)|", theme.MUTED),
)
LABELS = {
    "displaced": "displaced > 1 mm",
    "displaced_and_changed": "displaced, and changed > 100 HU",
}


@dataclass(frozen=True)
class Example:
    """One slice of a warped patient, (H, W): MR, CT and target in [-1, 1], P_pix, |target - G(x)| in HU."""

    warp_mm: float
    hu_window: tuple[float, float]
    mr: np.ndarray
    ct: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    residual_hu: np.ndarray


def draw(runs: pd.DataFrame, auroc: pd.DataFrame, example: Example) -> Figure:
    """runs.csv and auroc.csv as tables; a dot a run, lines and bars their means, dashes the means of the control."""
    with theme.style(dark=False):
        figure = Figure(figsize=(12.5, 6.6), layout="constrained")
        parts: Any = figure.subfigures(2, 1, height_ratios=[3.6, 3.0])
        above, below = parts
        axes = above.subplots(1, 4, width_ratios=[1, 1, 1.2, 1.2])
        _errors(axes[0], runs, "mae_hu", "MAE in the head, HU (lower is better)")
        _errors(axes[1], runs, "iou_bone_300hu", "IoU of bone (higher is better)")
        for axis, (label, title) in zip(axes[2:], LABELS.items(), strict=True):
            _detection(axis, auroc[auroc["label"] == label], f"AUROC: {title}")
        for axis, side in ((axes[0], "left"), (axes[2], "right")):
            handles, names = axis.get_legend_handles_labels()
            above.legend(handles, names, loc=f"outside lower {side}", ncols=4, frameon=False, fontsize=7.5)
        _slices(below, example)
    return figure


def _errors(axis: Axes, runs: pd.DataFrame, metric: str, title: str) -> None:
    for place, ((weighting, structure), (name, color)) in enumerate(VARIANTS.items()):
        chosen = runs[(runs["pixel_weighting"] == weighting) & (runs["structure_loss"] == structure)]
        means = chosen.groupby("warp_mm")[metric].mean()
        shift_mm = 0.08 * (place - 1.5)  # so that equal dots stay apart
        axis.plot(means.index + shift_mm, means, color=color, linewidth=1.6, label=name)
        axis.scatter(chosen["warp_mm"] + shift_mm, chosen[metric], s=14, color=color, linewidths=0)
    axis.set_title(title, fontsize=8.5)
    axis.set_xlabel("warp of half of the training CT, RMS in mm", fontsize=8)
    axis.set_xticks(sorted(runs["warp_mm"].unique()))
    axis.tick_params(labelsize=8)
    axis.grid(axis="y")


def _detection(axis: Axes, rows: pd.DataFrame, title: str) -> None:
    warps = sorted(rows["label_warp_mm"].unique())
    width = 0.8 / len(BARS)
    for place, (score, weighting, name, color) in enumerate(BARS):
        of_bar = rows[rows["score"] == score]
        if weighting:
            of_bar = of_bar[of_bar["pixel_weighting"] == weighting]
        for at, warp_mm in enumerate(warps):
            found = of_bar[of_bar["label_warp_mm"] == warp_mm]
            trained, control = found[found["warp_mm"] > 0]["auroc"], found[found["warp_mm"] == 0]["auroc"]
            x = at + (place - (len(BARS) - 1) / 2) * width
            axis.bar(x, trained.mean(), 0.9 * width, color=color, alpha=0.45, label="" if at else name)
            axis.scatter([x] * len(trained), trained, s=12, color=color, linewidths=0, zorder=3)
            axis.hlines(control.mean(), x - 0.45 * width, x + 0.45 * width, color=theme.INK, linewidth=1.4,
                        label="" if at or place else "trained without warp")  # fmt: skip
    axis.axhline(0.5, color=theme.MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    axis.set_title(title, fontsize=8.5)
    axis.set_xticks(range(len(warps)), [f"{warp_mm:g} mm" for warp_mm in warps])
    axis.set_ylim(0, 1)
    axis.tick_params(labelsize=8)


def _slices(figure: SubFigure, example: Example) -> None:
    """MR, CT, its warped version as trained on, P_pix and the residual, with scales for the last two."""
    bone, ct, target = theme.BONE, *(signed_to_hu(x, example.hu_window) for x in (example.ct, example.target))
    panels = (
        ("MR", example.mr, "gray", -1.0, 1.0, False),
        ("CT", ct, "gray", bone.low, bone.high, False),
        (f"y: CT warped by {example.warp_mm:g} mm", target, "gray", bone.low, bone.high, False),
        ("P_pix", example.weight, "viridis", WEIGHT_FLOOR, 1.0, True),
        ("|y \N{MINUS SIGN} G(x)|, HU", example.residual_hu, "magma", 0.0, RESIDUAL_LIMIT_HU, True),
    )
    for axis, (title, image, colors, low, high, scaled) in zip(
        figure.subplots(1, len(panels)), panels, strict=True
    ):
        shown = axis.imshow(image, cmap=colors, vmin=low, vmax=high)
        axis.set_title(title, fontsize=8.5)
        axis.set_axis_off()
        if scaled:
            figure.colorbar(shown, ax=axis, shrink=0.8).ax.tick_params(labelsize=7)
