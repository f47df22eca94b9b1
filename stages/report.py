"""report: the HTML page with all results.  data/*, models, reports/metrics -> reports/index.html, reports/figures

The page compares all methods with the reference method, which comes first in tables and pictures. It embeds its
pictures and works offline; the same figures are PNG files in reports/figures. Only pseudonyms appear: no source file is
read, and the name of the source folder is not printed.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pydantic import Field

from mrct.core import params as parameters
from mrct.core.files import atomic_file, output_folder
from mrct.core.params import ParamsError, Section
from mrct.core.runner import run_stage
from mrct.reporting import page, pictures
from mrct.reporting.inputs import Folders, read_inputs
from mrct.reporting.results import Comparison
from mrct.tracking import attempt, record

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
    """The section `report` of params.yaml: the number of test patients that are shown, and the reference method."""

    patients: int = Field(ge=0)
    reference: str


class Intervals(Section):
    """The keys of `evaluate` that the report also uses, so that both have the same intervals and windows."""

    bootstrap_samples: int = Field(gt=0)
    seed: int
    windows_8bit_hu: dict[str, tuple[float, float]]


class Run(Section):
    """The top-level keys that the report reads."""

    source: str
    methods: tuple[str, ...]


def run(
    params: Params, intervals: Intervals, folders: Folders, methods: Sequence[str], virtual: bool, out: Path
) -> Path:
    """Write out/figures and out/index.html.

    Args:
        params: The section `report` of params.yaml.
        intervals: The parameters shared with `evaluate`.
        folders: The outputs of the other stages.
        methods: The methods of the run, in any order.
        virtual: Whether the patients are those of the virtual hospital.
        out: The output folder.

    Returns:
        The path of the page.

    Raises:
        ParamsError: The reference is none of the methods.
        NotFoundError: An output of another stage is missing.
        DataError: Outputs of other stages contradict each other.
    """
    inputs = read_inputs(folders, reference_first(params.reference, methods))
    comparison = Comparison(
        inputs.results, intervals.windows_8bit_hu, intervals.bootstrap_samples, intervals.seed
    )
    cases = pictures.read_cases(comparison, folders.normalized, folders.metrics, params.patients)
    with output_folder(out / "figures") as figures:
        drawn = pictures.draw_all(comparison, cases, figures)
    content = page.content_of(inputs, comparison, drawn, folders.selected / "thumbnails", virtual)
    with atomic_file(out / "index.html") as partial:
        partial.write_text(page.render(content), encoding="utf-8")
    return out / "index.html"


def reference_first(reference: str, methods: Sequence[str]) -> list[str]:
    """Return the methods in their order, with the reference first.

    Raises:
        ParamsError: The reference is none of the methods.
    """
    if reference not in methods:
        known = parameters.nearest(reference, methods)
        raise ParamsError(f"report.reference: {reference!r} is none of this run's methods{known}")
    return [reference, *(method for method in methods if method != reference)]


def main() -> None:
    """Read params.yaml, write the page under reports/ and give its figures to MLflow."""
    shared = parameters.read()["evaluate"]
    intervals = parameters.parse(
        Intervals,
        {key: shared[key] for key in Intervals.model_fields if key in shared},
        "params.yaml: evaluate",
    )
    top, params = parameters.load(Run), parameters.load(Params, "report")
    virtual = Path(top.source).resolve() == VIRTUAL_COHORT.resolve()
    run(params, intervals, FOLDERS, top.methods, virtual, Path("reports"))
    figures = sorted(Path("reports/figures").glob("*.png"))
    model, metrics = FOLDERS.models / params.reference, FOLDERS.metrics / params.reference
    attempt(partial(record, model, metrics, [Path("params.yaml"), *figures]))


if __name__ == "__main__":
    run_stage("stages.report")
