"""HTML page: its content, and the rendering of the templates with all pictures embedded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mrct.core.contracts import Direction, RegistrationStatus, SelectionStatus, SeriesVerdict
from mrct.metrics.hu import SYNTHRAD_RANGE_HU
from mrct.normalization.normalization import Normalization
from mrct.reporting import labels, provenance, theme
from mrct.reporting.inputs import Inputs
from mrct.reporting.pictures import Pictures
from mrct.reporting.provenance import Deidentification, RuleRow, SplitRow, Step
from mrct.reporting.results import Comparison, GoalTable, ResultTable, SizeRow, enough_patients

TEMPLATES = Path(__file__).parent
THUMBNAIL_WIDTH, SHEET_WIDTH = 160, 1400
#: Tables with more rows are closed when the page is opened.
LONG_TABLE = 20
#: The order of the contact sheets.
SHEETS = ("train", "validation", "test", "rejected")
#: Columns of the table REGISTERED_PATIENTS, with name on the page and number of decimals.
REGISTRATION = {
    "similarity": ("mutual information, nats", 2),
    "overlap": ("shared head", 2),
    "residual_edge_mm": ("skin CT to MR, mm", 1),
    "spread_mm": ("distance of other starts and halves, mm", 1),
    "rotation_deg": ("rotation, °", 1),
    "translation_mm": ("translation, mm", 1),
}


@dataclass(frozen=True)
class RegistrationRow:
    """Measure of the registration over all registered patients."""

    column: str
    name: str
    digits: int
    low: float
    median: float
    high: float


@dataclass(frozen=True)
class Thumbnail:
    """Series in the gallery; `picture` is None if the series has no thumbnail."""

    patient: str
    modality: str
    description: str
    reason: str
    picture: str | None


@dataclass(frozen=True)
class Gallery:
    """Thumbnails of the series that were kept, or that one rule rejected."""

    name: str
    kept: bool
    rows: list[Thumbnail]


@dataclass(frozen=True)
class Sheet:
    """First contact sheet of a split."""

    split: str
    picture: str


@dataclass(frozen=True)
class Content:
    """Content of the templates; `methods` begins with the reference method."""

    virtual: bool
    source: Mapping[str, Any]
    normalization: Normalization
    methods: list[str]
    reference: str
    n_test: int
    intervals: bool
    leading: ResultTable
    goals: list[GoalTable]
    comparisons: list[ResultTable]
    numbers: list[ResultTable]
    sizes: list[SizeRow]
    model: list[tuple[str, str]]
    pictures: Pictures
    splits: list[SplitRow]
    steps: list[Step]
    series_rules: list[RuleRow]
    gallery: list[Gallery]
    left_out: list[dict[str, Any]]
    registered: list[dict[str, Any]]
    registration: list[RegistrationRow]
    slice_rules: list[RuleRow]
    sheets: list[Sheet]
    more_sheets: int
    deidentification: Deidentification
    long_table: int = LONG_TABLE


def content_of(
    inputs: Inputs, comparison: Comparison, pictures: Pictures, thumbnails: Path, virtual: bool
) -> Content:
    """Gather the content of the page.

    Args:
        inputs: The outputs of the stages.
        comparison: The methods.
        pictures: The figures.
        thumbnails: The folder with one picture per series.
        virtual: Whether the patients are those of the virtual hospital.
    """
    n_test = int(comparison.reference.summary["n_patients"])
    registered, rejected = inputs.registered.sort_values("patient"), inputs.series["decision"]
    sheets, more_sheets = first_sheets(inputs.contact_sheets)
    return Content(
        virtual=virtual,
        source=inputs.source,
        normalization=inputs.normalization,
        methods=[labels.method_name(result.method) for result in comparison.results],
        reference=labels.method_name(comparison.reference.method),
        n_test=n_test,
        intervals=enough_patients(n_test),
        leading=comparison.table(Direction.MR_TO_CT, [comparison.leading_column()]),
        goals=comparison.goal_tables(),
        comparisons=[comparison.table(d, comparison.compared_columns(d)) for d in comparison.directions],
        numbers=[comparison.table(d, comparison.columns(d)) for d in comparison.directions],
        sizes=comparison.size_rows(),
        model=scalars(comparison.reference.model),
        pictures=pictures,
        splits=provenance.split_rows(inputs.splits),
        steps=provenance.funnel(inputs),
        series_rules=provenance.rule_rows(inputs.series[rejected != SeriesVerdict.KEPT]),
        gallery=gallery(inputs.series, thumbnails),
        left_out=_records(
            inputs.patients[inputs.patients["status"] != SelectionStatus.PAIRED].sort_values("patient")
        ),
        registered=_records(registered),
        registration=registration_rows(registered),
        slice_rules=provenance.rule_rows(inputs.rejected_slices),
        sheets=sheets,
        more_sheets=more_sheets,
        deidentification=provenance.deidentification(inputs.audit, inputs.registered, virtual),
    )


def render(content: Content) -> str:
    """Render the page as HTML; every value is escaped, and an undefined name in a template is an error."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (labels.number, labels.thousands, labels.hu_range, labels.counted, labels.listed)
    environment.filters |= {function.__name__: function for function in filters}
    css = (TEMPLATES / "report.css").read_text()
    values = {entry.name: getattr(content, entry.name) for entry in fields(content)}
    return environment.get_template("report.html").render(css=css, clipped=SYNTHRAD_RANGE_HU, **values)


def gallery(series: pd.DataFrame, thumbnails: Path) -> list[Gallery]:
    """Group all series with their thumbnails: those that were kept, then those that each rule rejected."""
    return [
        Gallery(group.name, group.kept, [_thumbnail(row, thumbnails) for row in group.rows])
        for group in provenance.series_groups(series)
    ]


def _thumbnail(row: Mapping[str, str], thumbnails: Path) -> Thumbnail:
    path = thumbnails / f"{row['patient']}_{row['series']}.png"
    picture = theme.data_uri(path, THUMBNAIL_WIDTH) if path.is_file() else None
    return Thumbnail(row["patient"], row["modality"], row["description"], row["reason"], picture)


def first_sheets(paths: Sequence[Path]) -> tuple[list[Sheet], int]:
    """Return the first contact sheet of each split, and the number of sheets that are not shown."""
    first: dict[str, Path] = {}
    for path in sorted(paths, key=lambda p: (*(not p.stem.startswith(name) for name in SHEETS), p.name)):
        first.setdefault(path.stem.rsplit("_", 1)[0], path)
    sheets = [Sheet(split, theme.data_uri(path, SHEET_WIDTH)) for split, path in first.items()]
    return sheets, len(paths) - len(first)


def registration_rows(registered: pd.DataFrame) -> list[RegistrationRow]:
    """Compute the lowest, median and highest value of each measure of the registration that any patient has."""
    done = registered[registered["status"] == RegistrationStatus.REGISTERED]
    return [
        RegistrationRow(column, name, digits, values.min(), values.median(), values.max())
        for column, (name, digits) in REGISTRATION.items()
        if (values := done[column].astype(float)).notna().any()
    ]


def scalars(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """List names and values of a JSON object as text: nested objects are flattened, lists are left out."""
    rows: list[tuple[str, str]] = []
    for key, value in content.items():
        name = str(key).replace("_", " ")
        if isinstance(value, Mapping):
            rows += [(f"{name}: {inner}", text) for inner, text in scalars(value)]
        elif isinstance(value, bool):
            rows.append((name, "yes" if value else "no"))
        elif isinstance(value, int | float | str):
            rows.append((name, value if isinstance(value, str) else f"{value:,.6g}"))
    return rows


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in record.items()} for record in table.to_dict("records")]
