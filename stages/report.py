"""report: the page people look at.  data/*, models, reports/metrics -> reports/index.html, reports/figures

Reads what every stage before wrote and changes none of it. The figures are PNG files in reports/figures; the
page embeds them, so that it is one file that opens offline. Only pseudonyms appear: nothing here reads a
source folder, and the name of the source folder is not printed.
"""

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from mrct.core import params as parameters
from mrct.core.files import atomic_file, output_folder
from mrct.core.params import ParamsError, Section
from mrct.core.runner import run_stage
from mrct.reporting import content, page, pictures
from mrct.reporting.inputs import Folders, read_inputs
from mrct.reporting.tables import Reference
from mrct.tracking import record

MAIN_METHOD = "sc_cyclegan"
VIRTUAL_COHORT = Path("data/cohort")
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
    """How many test patients are shown as pictures, and the method that the others are compared with."""

    patients: int = Field(ge=0)
    reference: str


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
    if params.reference not in methods:
        known = parameters.nearest(params.reference, methods)
        raise ParamsError(f"report.reference: {params.reference!r} is none of this run's methods{known}")
    inputs = read_inputs(folders, methods)
    reference = Reference(
        inputs.results[methods.index(params.reference)], intervals.bootstrap_samples, intervals.seed
    )
    text = content.text_of(inputs, reference, intervals.windows_8bit_hu, virtual)
    cases = pictures.read_cases(inputs, folders, params.patients)
    with output_folder(out / "figures") as figures:
        text["cases"] = pictures.draw_cases(inputs, cases, figures)
        text["grids"] = pictures.draw_methods(inputs, cases, figures)
        text["dots"] = pictures.draw_dots(inputs, intervals.windows_8bit_hu, figures)
        text["curves"] = pictures.draw_curves(inputs, figures)
    text["gallery"] = content.gallery(inputs, folders.selected / "thumbnails")
    text["sheets"], text["more_sheets"] = content.contact_sheets(inputs.contact_sheets)
    with atomic_file(out / "index.html") as partial:
        partial.write_text(page.render(text), encoding="utf-8")
    return out / "index.html"


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
