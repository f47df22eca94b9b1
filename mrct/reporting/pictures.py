"""Pictures of the page: choice of test patients and slices by rule, and drawing and writing of all figures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mrct.core.contracts import Direction
from mrct.core.errors import DataError, NotFoundError
from mrct.core.files import open_array
from mrct.normalization.normalization import Normalization
from mrct.reporting import theme
from mrct.reporting.figures import DotPanel, methods_grid, patient_dots, training_curves, triptych
from mrct.reporting.inputs import MethodResults
from mrct.reporting.labels import DIRECTIONS, Metric, method_name, metric, number
from mrct.reporting.results import LEADING_METRICS, Comparison

CASES_PER_GRID = 4
GRID_WINDOWS = {Direction.MR_TO_CT: (theme.BONE, theme.BRAIN), Direction.CT_TO_MR: (theme.MR,)}
#: Margin around the head in the pictures, pixels.
HEAD_MARGIN = 4
BETTER = {True: "higher is better", False: "lower is better", None: ""}

#: Rows and columns of a slice.
Box = tuple[slice, slice]


@dataclass(frozen=True)
class Case:
    """Slice `k` of a test patient, all arrays (H, W): `mr` in [0, 1], `ct` in HU, `head` boolean.

    `synthetic` holds the slices by (method, direction), CT in HU and MR in [0, 1].
    """

    patient: str
    k: int
    mr: np.ndarray
    ct: np.ndarray
    head: np.ndarray
    synthetic: dict[tuple[str, str], np.ndarray]


@dataclass(frozen=True)
class Picture:
    """Figure as a data URI with its alternative text."""

    uri: str
    alt: str


@dataclass(frozen=True)
class CasePictures:
    """Pictures of one case by the reference method, with the patient's score as text."""

    patient: str
    k: int
    score: str
    pictures: list[Picture]


@dataclass(frozen=True)
class GridPictures:
    """Pictures of the same slices by every method, in one display window."""

    window: str
    pictures: list[Picture]


@dataclass(frozen=True)
class CurvePicture:
    """Training curves of one method; `best` names the kept epoch of each direction."""

    name: str
    epochs: int
    best: list[str]
    picture: Picture


@dataclass(frozen=True)
class Pictures:
    """All figures of the page; `grids` and `dots` are by direction."""

    cases: list[CasePictures]
    grids: dict[Direction, list[GridPictures]]
    dots: dict[Direction, Picture]
    curves: list[CurvePicture]


def read_cases(comparison: Comparison, normalized: Path, metrics: Path, n: int) -> list[Case]:
    """Choose n test patients by the reference's error, and for each the slice with its median error.

    Args:
        comparison: The methods.
        normalized: Output folder of the stage normalize.
        metrics: Output folder of the stage evaluate, which holds the predictions.
        n: The number of patients; fewer if there are not so many.

    Raises:
        DataError: Slices.csv lacks a patient, or a prediction has another shape than the CT.
        NotFoundError: A prediction is missing.
    """
    reference, column = comparison.reference, comparison.leading_column()
    errors = [column, *(str(c) for c in reference.slices if str(c).startswith("mae_"))]
    predictions = {
        (result.method, str(direction)): metrics / result.method / "predictions"
        for direction in comparison.directions
        for result in comparison.having(direction)
    }
    chosen = spread(reference.values(Direction.MR_TO_CT, column), n)
    return [
        load_case(normalized, predictions, patient, typical_slice(reference.slices, patient, errors))
        for patient in chosen
    ]


def spread(scores: pd.Series, n: int) -> list[str]:
    """Choose n patients at even ranks of their scores, with the lowest and the highest; undefined scores rank last."""
    ranked = list(scores.sort_index().sort_values(kind="stable", na_position="last").index)
    if n <= 0:
        return []
    if n == 1:
        return [ranked[(len(ranked) - 1) // 2]]
    places = np.linspace(0, len(ranked) - 1, min(n, len(ranked))).round().astype(int)
    return [ranked[place] for place in places]


def typical_slice(slices: pd.DataFrame, patient: str, columns: Sequence[str]) -> int:
    """Return k of the patient's slice with the median error from MR to CT, the lower one of an even number.

    The error is the first of `columns` that the table has. Without any, the slices are ranked by k.
    """
    rows = slices[(slices["patient"] == patient) & (slices["direction"] == Direction.MR_TO_CT)]
    if rows.empty:
        raise DataError(f"slices.csv: no slice of the test patient {patient}; run the stage evaluate again")
    ordered = rows.sort_values([*[c for c in columns if c in rows][:1], "k"])
    return int(ordered["k"].iloc[(len(ordered) - 1) // 2])


def load_case(normalized: Path, predictions: dict[tuple[str, str], Path], patient: str, k: int) -> Case:
    """Read one slice; `predictions` holds the folder of each (method, direction)."""
    folder = normalized / patient
    ct = open_array(folder / "ct_hu.npy")
    if not 0 <= k < len(ct):
        raise DataError(
            f"slice {k} of {patient}: the normalized volume has {len(ct)} slices; run the stage evaluate again"
        )
    synthetic = {}
    for (method, direction), root in predictions.items():
        path = root / f"{patient}_{direction}.npy"
        if not path.is_file():
            raise NotFoundError(f"{path}: no such prediction; run the stage evaluate again for {method}")
        volume = open_array(path)
        if volume.shape != ct.shape:
            raise DataError(
                f"{path}: got {volume.shape}, expected the CT's shape {ct.shape}; run the stage evaluate again"
            )
        synthetic[method, direction] = np.array(volume[k], dtype=np.float32)
    mr = Normalization.inverse_transform_mr(np.array(open_array(folder / "mr.npy")[k], dtype=np.float32))
    head = np.array(open_array(folder / "mask.npy")[k]) > 0
    return Case(patient, k, mr, np.array(ct[k], dtype=np.float32), head, synthetic)


def head_box(mask: np.ndarray, margin: int = HEAD_MARGIN) -> Box:
    """Find rows and columns of the head in a boolean (H, W), with a margin in pixels; all of them without a head."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return slice(0, mask.shape[0]), slice(0, mask.shape[1])
    return (
        slice(max(int(rows[0]) - margin, 0), min(int(rows[-1]) + margin + 1, mask.shape[0])),
        slice(max(int(columns[0]) - margin, 0), min(int(columns[-1]) + margin + 1, mask.shape[1])),
    )


def draw_all(comparison: Comparison, cases: Sequence[Case], figures: Path) -> Pictures:
    """Draw every figure of the page into the folder `figures`."""
    return Pictures(
        cases=draw_cases(comparison, cases, figures),
        grids=draw_grids(comparison, cases, figures),
        dots=draw_dots(comparison, figures),
        curves=draw_curves(comparison.results, figures),
    )


def draw_cases(comparison: Comparison, cases: Sequence[Case], figures: Path) -> list[CasePictures]:
    """Draw each case by the reference method, all with the same crop, so that sizes can be compared."""
    if not cases:
        return []
    reference, column = comparison.reference, comparison.leading_column()
    scores, label = reference.values(Direction.MR_TO_CT, column), metric(column, {})
    box = _common_box(cases)
    return [
        CasePictures(
            case.patient,
            case.k,
            _score(scores[case.patient], label),
            list(draw_case(case, reference.method, box, figures)),
        )
        for case in cases
    ]


def draw_case(case: Case, method: str, box: Box, figures: Path) -> Iterator[Picture]:
    """Draw MR to CT in the brain and the bone window, then CT to MR if the method has it."""
    where = f"test patient {case.patient}, slice {case.k}"
    mr, ct = case.mr[box], case.ct[box]
    for window in (theme.BRAIN, theme.BONE):
        figure = triptych(mr, case.synthetic[method, Direction.MR_TO_CT][box], ct, window=window)
        alt = f"MR, synthetic CT, real CT and their difference, {window.name} window, {where}"
        yield _write(figure, figures, f"{case.patient}_mr_to_ct_{window.name}", alt)
    if (method, Direction.CT_TO_MR) in case.synthetic:
        figure = triptych(
            ct,
            case.synthetic[method, Direction.CT_TO_MR][box],
            mr,
            window=theme.MR,
            titles=("CT", "synthetic MR", "real MR"),
            input_window=theme.BRAIN,
        )
        alt = f"CT, synthetic MR, real MR and their difference, {where}"
        yield _write(figure, figures, f"{case.patient}_ct_to_mr", alt)


def draw_grids(
    comparison: Comparison, cases: Sequence[Case], figures: Path
) -> dict[Direction, list[GridPictures]]:
    """Draw the same slices by every method, in each direction that two or more methods have."""
    groups = [cases[start : start + CASES_PER_GRID] for start in range(0, len(cases), CASES_PER_GRID)]
    drawn: dict[Direction, list[GridPictures]] = {}
    for direction, windows in GRID_WINDOWS.items():
        methods = comparison.having(direction)
        if not cases or len(methods) < 2:
            continue
        drawn[direction] = []
        box, names = _common_box(cases), ", ".join(method_name(result.method) for result in methods)
        for window in windows:
            alt = f"{DIRECTIONS[direction]}, {window.name} window: {names}, each with its difference"
            shown = [
                _write(
                    grid_of(group, methods, direction, window, box),
                    figures,
                    f"methods_{direction}_{window.name}_{place}",
                    alt,
                )
                for place, group in enumerate(groups, start=1)
            ]
            drawn[direction].append(GridPictures(window.name, shown))
    return drawn


def grid_of(
    cases: Sequence[Case],
    methods: Sequence[MethodResults],
    direction: Direction,
    window: theme.DisplayWindow,
    box: Box,
) -> Figure:
    """Draw the grid of one display window; the note above each difference is the error of that slice."""
    to_ct = direction == Direction.MR_TO_CT
    images = {}
    for case in cases:
        mr, ct = case.mr[box], case.ct[box]
        images[f"{case.patient}, slice {case.k}"] = (mr, ct) if to_ct else (ct, mr)
    names = {result.method: method_name(result.method) for result in methods}
    return methods_grid(
        images,
        {name: [case.synthetic[method, direction][box] for case in cases] for method, name in names.items()},
        {names[r.method]: [slice_error(r.slices, direction, case) for case in cases] for r in methods},
        window=window,
        titles=("MR", "real CT") if to_ct else ("CT", "real MR"),
        input_window=None if to_ct else theme.BRAIN,
    )


def slice_error(slices: pd.DataFrame, direction: str, case: Case) -> str:
    """Format the error of the case's slice in slices.csv, as `MAE 71.2 HU`; empty if there is none."""
    here = (slices["direction"] == direction) & (slices["patient"] == case.patient) & (slices["k"] == case.k)
    for column in LEADING_METRICS:
        if column in slices and len(values := slices.loc[here, column].dropna()):
            label = metric(column, {})
            return f"MAE {number(float(values.iloc[0]), label.digits)} {label.unit}"
    return ""


def draw_dots(comparison: Comparison, figures: Path) -> dict[Direction, Picture]:
    """Draw one dot per test patient and method, in each direction."""
    drawn = {}
    colors = theme.method_colors([result.method for result in comparison.results])
    for direction in comparison.directions:
        names = {result.method: method_name(result.method) for result in comparison.having(direction)}
        if panels := dot_panels(comparison, direction):
            figure = patient_dots(panels, names, colors)
            alt = f"{DIRECTIONS[direction]}: one dot per test patient for {', '.join(names.values())}"
            drawn[direction] = _write(figure, figures, f"patients_{direction}", alt)
    return drawn


def dot_panels(comparison: Comparison, direction: Direction) -> list[DotPanel]:
    """Make one panel per metric that compares the methods."""
    shown = comparison.having(direction)
    panels = []
    for column in comparison.compared_columns(direction):
        label = comparison.label(column)
        values = {result.method: result.values(direction, column) for result in shown}
        patients = sorted({patient for series in values.values() for patient in series.index})
        better = BETTER[label.higher_is_better]
        panels.append(
            DotPanel(
                title=label.name + (f" ({label.unit})" if label.unit else ""),
                better=f"{label.region}; {better}" if label.region else better,
                values={
                    method: series.reindex(patients).to_numpy()
                    for method, series in values.items()
                    if len(series)
                },
                intervals={result.method: result.interval(direction, column) for result in shown},
            )
        )
    return panels


def draw_curves(results: Sequence[MethodResults], figures: Path) -> list[CurvePicture]:
    """Draw the training curves of every method that has epochs."""
    drawn = []
    for result in results:
        if result.history is not None:
            name, epochs = method_name(result.method), len(result.history)
            alt = f"loss terms and validation errors of {name} over {epochs} epochs"
            picture = _write(
                training_curves(result.history, result.best_epochs), figures, f"training_{result.method}", alt
            )
            kept = [
                f"{DIRECTIONS[direction]} epoch {epoch}" for direction, epoch in result.best_epochs.items()
            ]
            drawn.append(CurvePicture(name, epochs, kept, picture))
    return drawn


def _common_box(cases: Sequence[Case]) -> Box:
    return head_box(np.logical_or.reduce([case.head for case in cases]))


def _score(value: float, label: Metric) -> str:
    return f"{label.name} {number(value, label.digits)} {label.unit}".rstrip()


def _write(figure: Figure, figures: Path, name: str, alt: str) -> Picture:
    """Write the figure as PNG and embed it; figures of slices are dark and have fewer dots per inch."""
    path = figures / f"{name}.png"
    dark = figure.get_facecolor() != (1.0, 1.0, 1.0, 1.0)
    theme.save_png(figure, path, theme.PANEL_DPI if dark else theme.CHART_DPI)
    return Picture(theme.data_uri(path), alt)
