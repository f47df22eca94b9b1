"""The page's pictures, drawn into a folder: test patients, methods side by side, dots, training curves."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from mrct.reporting import comparison, content, page, theme
from mrct.reporting.cases import Case, common_head_box, load_case, spread, typical_slice
from mrct.reporting.charts import patient_dots, training_curves
from mrct.reporting.figures import methods_grid, triptych
from mrct.reporting.inputs import Folders, Inputs
from mrct.reporting.labels import DIRECTIONS, Windows, method_name, metric, number

CASES_PER_GRID = 4
GRID_WINDOWS = {"mr_to_ct": (theme.BONE, theme.BRAIN), "ct_to_mr": (theme.MR,)}
Picture = dict[str, Any]
Box = tuple[slice, slice]


def read_cases(inputs: Inputs, folders: Folders, n: int) -> list[Case]:
    """n test patients from best to worst by the main method, each at the slice with its median error."""
    main = inputs.results[0]
    column = content.key_column(inputs)
    chosen = spread(main.values("mr_to_ct", column), n)
    slices = inputs.slices[main.method]
    errors = [column, *(str(c) for c in slices if str(c).startswith("mae_"))]
    predictions = {
        (result.method, direction): folders.metrics / result.method / "predictions"
        for result in inputs.results
        for direction in DIRECTIONS
        if result.has(direction)
    }
    return [load_case(folders.normalized, predictions, p, typical_slice(slices, p, errors)) for p in chosen]


def draw_cases(inputs: Inputs, cases: Sequence[Case], figures: Path) -> list[Picture]:
    """The main method's pictures of every case, under the patient's error."""
    main = inputs.results[0]
    column = content.key_column(inputs)
    scores, label = main.values("mr_to_ct", column), metric(column, {})
    rows = []
    for case in cases:
        drawn = draw_case(case, main.method, common_head_box(cases), figures)
        score = f"{label.name} {number(scores[case.patient], label.digits)} {label.unit}".rstrip()
        rows.append({"patient": case.patient, "k": case.k, "score": score, "pictures": drawn})
    return rows


def draw_case(case: Case, method: str, box: Box, figures: Path) -> list[Picture]:
    """MR to CT at the brain and the bone window, and CT to MR where the method has it."""
    where = f"test patient {case.patient}, slice {case.k}"
    mr, ct = case.mr[box], case.ct[box]
    synthetic = {direction: case.synthetic[method, direction][box] for direction in DIRECTIONS
                 if (method, direction) in case.synthetic}  # fmt: skip
    rows = []
    for window in (theme.BRAIN, theme.BONE):
        figure = triptych(mr, synthetic["mr_to_ct"], ct, window=window)
        alt = f"MR, synthetic CT, real CT and their difference, {window.name} window, {where}"
        rows.append(_draw(figure, figures, f"{case.patient}_mr_to_ct_{window.name}", alt))
    if "ct_to_mr" in synthetic:
        figure = triptych(
            ct, synthetic["ct_to_mr"], mr, window=theme.MR,
            titles=("CT", "synthetic MR", "real MR"), input_window=theme.BRAIN,
        )  # fmt: skip
        alt = f"CT, synthetic MR, real MR and their difference, {where}"
        rows.append(_draw(figure, figures, f"{case.patient}_ct_to_mr", alt))
    return rows


def draw_methods(inputs: Inputs, cases: Sequence[Case], figures: Path) -> dict[str, list[Picture]]:
    """By direction and window: a row a method for the same slices, where two methods or more translate this way."""
    groups = [cases[start : start + CASES_PER_GRID] for start in range(0, len(cases), CASES_PER_GRID)]
    drawn: dict[str, list[Picture]] = {}
    for direction, windows in GRID_WINDOWS.items():
        methods = [r.method for r in comparison.with_direction(inputs.results, direction)]
        if not cases or len(methods) < 2:
            continue
        drawn[direction] = []
        for window in windows:
            alt = f"{DIRECTIONS[direction]}, {window.name} window: {', '.join(map(method_name, methods))}"
            shown = []
            for number_, group in enumerate(groups, start=1):
                figure = grid_of(inputs, group, methods, direction, window, common_head_box(cases))
                name = f"methods_{direction}_{window.name}_{number_}"
                shown.append(_draw(figure, figures, name, f"{alt}, each with its difference"))
            drawn[direction].append({"window": window.name, "pictures": shown})
    return drawn


def grid_of(
    inputs: Inputs,
    cases: Sequence[Case],
    methods: Sequence[str],
    direction: str,
    window: theme.DisplayWindow,
    box: Box,
) -> Figure:
    """The grid of one window; above each difference the error of that slice."""
    to_ct = direction == "mr_to_ct"
    images = {
        f"{case.patient}, slice {case.k}": (case.mr[box], case.ct[box])
        if to_ct
        else (case.ct[box], case.mr[box])
        for case in cases
    }
    return methods_grid(
        images,
        {method_name(m): [case.synthetic[m, direction][box] for case in cases] for m in methods},
        {method_name(m): [slice_error(inputs.slices[m], direction, case) for case in cases] for m in methods},
        window=window,
        titles=("MR", "real CT") if to_ct else ("CT", "real MR"),
        input_window=None if to_ct else theme.BRAIN,
    )


def slice_error(slices: pd.DataFrame, direction: str, case: Case) -> str:
    """`MAE 71.2 HU` of one slice, from the table that evaluate wrote; empty where it has none."""
    here = (slices["direction"] == direction) & (slices["patient"] == case.patient) & (slices["k"] == case.k)
    for column in content.KEY_METRICS:
        if column in slices and len(values := slices.loc[here, column].dropna()):
            label = metric(column, {})
            return f"MAE {number(float(values.iloc[0]), label.digits)} {label.unit}"
    return ""


def draw_dots(inputs: Inputs, windows_8bit_hu: Windows, figures: Path) -> dict[str, Picture]:
    """By direction: one dot a test patient and method."""
    drawn = {}
    colors = theme.method_colors([r.method for r in inputs.results])
    for direction, name in DIRECTIONS.items():
        names = {
            r.method: method_name(r.method) for r in comparison.with_direction(inputs.results, direction)
        }
        panels = content.dot_panels(inputs, direction, windows_8bit_hu) if names else []
        if panels:
            alt = f"{name}: one dot a test patient for {', '.join(names.values())}"
            drawn[direction] = _draw(
                patient_dots(panels, names, colors), figures, f"patients_{direction}", alt
            )
    return drawn


def draw_curves(inputs: Inputs, figures: Path) -> list[Picture]:
    """Training curves of every method that has a history, the main one first."""
    drawn = []
    for method, history in inputs.histories.items():
        best = inputs.models.get(method, {}).get("best_epoch", {})
        alt = f"loss terms and validation metrics of {method_name(method)} over {len(history)} epochs"
        picture = _draw(training_curves(history, best), figures, f"training_{method}", alt)
        kept = [
            f"{name} epoch {best[direction]}" for direction, name in DIRECTIONS.items() if direction in best
        ]
        drawn.append({"name": method_name(method), "epochs": len(history), "best": kept, **picture})
    return drawn


def _draw(figure: Figure, figures: Path, name: str, alt: str) -> Picture:
    """Saves the figure and embeds it; photographs stand on dark ground, charts on white."""
    path = figures / f"{name}.png"
    dark = figure.get_facecolor() != (1.0, 1.0, 1.0, 1.0)
    theme.save_png(figure, path, theme.PANEL_DPI if dark else theme.CHART_DPI)
    return {"picture": page.embed(path), "alt": alt, "file": f"figures/{name}.png"}
