"""report: the page people look at.  data/*, models, reports/metrics -> reports/index.html, reports/figures

Reads what every stage before wrote and changes none of it. The figures are PNG files in reports/figures; the
page embeds them, so that it is one file that opens offline. Only pseudonyms appear: nothing here reads a
source folder, and the name of the source folder is not printed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from pydantic import Field

from mrct import params as parameters
from mrct.files import atomic_file, output_folder
from mrct.params import Section
from mrct.reporting import content, page, theme
from mrct.reporting.cases import Case, common_head_box, load_case, spread, typical_slice
from mrct.reporting.charts import patient_dots, training_curves
from mrct.reporting.figures import methods_side_by_side, triptych
from mrct.reporting.inputs import Folders, Inputs, read_inputs
from mrct.reporting.labels import DIRECTIONS, method_name, metric, number
from mrct.runner import run_stage
from mrct.tracking import record

MAIN_METHOD = "sc_cyclegan"
VIRTUAL_COHORT = Path("data/cohort")
METHODS_PER_PICTURE = 5
FOLDERS = Folders(
    anonymized=Path("data/anonymized"),
    selected=Path("data/selected"),
    registered=Path("data/registered"),
    pairs=Path("data/pairs"),
    normalized=Path("data/normalized"),
    models=Path("models"),
    metrics=Path("reports/metrics"),
)


class Params(Section):
    """How many test patients are shown as pictures."""

    patients: int = Field(ge=0)


class Intervals(Section):
    """What the report shares with evaluate, so that both speak of the same intervals and windows."""

    bootstrap_samples: int = Field(gt=0)
    seed: int
    windows_8bit_hu: dict[str, tuple[float, float]]


class Run(Section):
    """The top-level keys that the report reads."""

    source: str
    baselines: tuple[str, ...]


def run(
    params: Params, intervals: Intervals, folders: Folders, methods: Sequence[str], virtual: bool, out: Path
) -> Path:
    """Writes out/figures and out/index.html; `methods` begins with the main one. Returns the page's path."""
    inputs = read_inputs(folders, methods)
    text = content.text_of(
        inputs, intervals.windows_8bit_hu, intervals.bootstrap_samples, intervals.seed, virtual
    )
    with output_folder(out / "figures") as figures:
        text["cases"] = draw_cases(params, inputs, folders, figures)
        text["dots"] = draw_dots(inputs, intervals, figures)
        text["curves"] = draw_curves(inputs, figures)
    text["gallery"] = content.gallery(inputs, folders.selected / "thumbnails")
    text["sheets"], text["more_sheets"] = content.contact_sheets(inputs.contact_sheets)
    with atomic_file(out / "index.html") as partial:
        partial.write_text(page.render(text), encoding="utf-8")
    return out / "index.html"


def draw_cases(params: Params, inputs: Inputs, folders: Folders, figures: Path) -> list[dict[str, Any]]:
    """Pictures of test patients from best to worst, each at the slice with its median error."""
    main = inputs.results[0]
    column = content.key_column(inputs)
    scores = main.values("mr_to_ct", column)
    chosen = spread(scores, params.patients)
    slices = inputs.slices[main.method]
    errors = [column, *(str(c) for c in slices if str(c).startswith("mae_"))]
    predictions = {
        (result.method, direction): folders.metrics / result.method / "predictions"
        for result in inputs.results
        for direction in DIRECTIONS
        if direction in result.summary
    }
    cases = [load_case(folders.normalized, predictions, p, typical_slice(slices, p, errors)) for p in chosen]
    label = metric(column, {})
    rows = []
    for case in cases:
        pictures = draw_case(case, [r.method for r in inputs.results], common_head_box(cases), figures)
        score = f"{label.name} {number(scores[case.patient], label.digits)} {label.unit}".rstrip()
        rows.append({"patient": case.patient, "k": case.k, "score": score, "pictures": pictures})
    return rows


def draw_case(
    case: Case, methods: list[str], box: tuple[slice, slice], figures: Path
) -> list[dict[str, str]]:
    """MR to CT at the brain and the bone window, CT to MR where there is one, the methods side by side."""
    main, where = methods[0], f"test patient {case.patient}, slice {case.k}"
    mr, ct = case.mr[box], case.ct[box]
    synthetic = {key: image[box] for key, image in case.synthetic.items()}
    rows = []
    for window in (theme.BRAIN, theme.BONE):
        figure = triptych(mr, synthetic[main, "mr_to_ct"], ct, window=window)
        alt = f"MR, synthetic CT, real CT and their difference, {window.name} window, {where}"
        rows.append(_draw(figure, figures, f"{case.patient}_mr_to_ct_{window.name}", alt))
    if (main, "ct_to_mr") in synthetic:
        figure = triptych(
            ct, synthetic[main, "ct_to_mr"], mr, window=theme.MR,
            titles=("CT", "synthetic MR", "real MR"), input_window=theme.BRAIN,
        )  # fmt: skip
        alt = f"CT, synthetic MR, real MR and their difference, {where}"
        rows.append(_draw(figure, figures, f"{case.patient}_ct_to_mr", alt))
    shown = [m for m in methods if (m, "mr_to_ct") in synthetic] if len(methods) > 1 else []
    for page_number, group in enumerate(_groups(shown, METHODS_PER_PICTURE), start=1):
        side_by_side = {method_name(m): synthetic[m, "mr_to_ct"] for m in group}
        figure = methods_side_by_side(mr, ct, side_by_side, window=theme.BONE)
        alt = f"real CT beside the synthetic CT of {', '.join(side_by_side)} and the differences, {where}"
        rows.append(_draw(figure, figures, f"{case.patient}_methods_{page_number}", alt))
    return rows


def draw_dots(inputs: Inputs, intervals: Intervals, figures: Path) -> dict[str, dict[str, str]]:
    """By direction: one dot a test patient and method."""
    drawn = {}
    colors = theme.method_colors([r.method for r in inputs.results])
    for direction in DIRECTIONS:
        panels = content.dot_panels(inputs, direction, intervals.windows_8bit_hu)
        names = {r.method: method_name(r.method) for r in inputs.results if direction in r.summary}
        if panels and names:
            alt = f"{DIRECTIONS[direction]}: one dot a test patient for {', '.join(names.values())}"
            drawn[direction] = _draw(
                patient_dots(panels, names, colors), figures, f"patients_{direction}", alt
            )
    return drawn


def draw_curves(inputs: Inputs, figures: Path) -> list[dict[str, Any]]:
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


def _groups(items: list[str], size: int) -> list[list[str]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _draw(figure: Figure, figures: Path, name: str, alt: str) -> dict[str, str]:
    path = figures / f"{name}.png"
    theme.save_png(
        figure, path, theme.PANEL_DPI if figure.get_facecolor() != (1.0, 1.0, 1.0, 1.0) else theme.CHART_DPI
    )
    return {"picture": page.embed(path), "alt": alt, "file": f"figures/{name}.png"}


def main() -> None:
    """Reads params.yaml and writes the page under reports/."""
    shared = parameters.read()["evaluate"]
    intervals = parameters.parse(
        Intervals,
        {key: shared[key] for key in Intervals.model_fields if key in shared},
        "params.yaml: evaluate",
    )
    top = parameters.load(Run)
    methods = [MAIN_METHOD, *top.baselines]
    virtual = Path(top.source).resolve() == VIRTUAL_COHORT.resolve()
    run(parameters.load(Params, "report"), intervals, FOLDERS, methods, virtual, Path("reports"))
    figures = sorted(Path("reports/figures").glob("*.png"))
    record(FOLDERS.models / MAIN_METHOD, FOLDERS.metrics / MAIN_METHOD, [Path("params.yaml"), *figures])


if __name__ == "__main__":
    run_stage("stages.report")
