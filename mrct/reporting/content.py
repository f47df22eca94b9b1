"""What the page says: the inputs turned into the words and rows that the template prints."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from mrct.core.errors import DataError
from mrct.reporting import comparison, dataflow, deidentification, page, tables
from mrct.reporting.charts import DotPanel
from mrct.reporting.inputs import Inputs
from mrct.reporting.labels import DIRECTIONS, Windows, method_name, metric
from mrct.reporting.tables import Reference

#: The result that the summary leads with: the first that the evaluation holds.
KEY_METRICS = ("mae_hu", "mae_8bit")
LONG_TABLE = 20


def text_of(inputs: Inputs, reference: Reference, windows: Windows, virtual: bool) -> dict[str, Any]:
    """All of the page but its pictures."""
    results = inputs.results
    directions = [d for d in DIRECTIONS if comparison.with_direction(results, d)]
    n_test = int(results[0].summary["n_patients"])
    return {
        "virtual": virtual,
        "source": inputs.source,
        "normalized": inputs.normalized,
        "methods": [method_name(r.method) for r in results],
        "reference": method_name(reference.results.method),
        "n_test": n_test,
        "intervals": tables.enough_patients(n_test),
        "splits": dataflow.split_rows(inputs.splits),
        "key": key_result(inputs, reference, windows),
        "goals": [
            {
                "name": DIRECTIONS[d],
                "rows": tables.goal_rows(comparison.with_direction(results, d), d, windows),
            }
            for d in directions
            if results[0].has(d)
        ],
        "comparisons": [comparison.block(results, reference, d, windows) for d in directions],
        "sizes": comparison.size_rows(results, inputs.models, inputs.histories),
        "numbers": [numbers_of(inputs, reference, d, windows) for d in directions],
        "model": scalars(inputs.models.get(results[0].method, {})),
        "deidentification": deidentification.section(inputs.audit, inputs.registered, virtual),
        **flow_of(inputs),
    }


def numbers_of(inputs: Inputs, reference: Reference, direction: str, windows: Windows) -> dict[str, Any]:
    """Every metric of one direction, and every paired difference."""
    shown = comparison.with_direction(inputs.results, direction)
    return {
        "name": DIRECTIONS[direction],
        "methods": [method_name(r.method) for r in shown],
        "rows": tables.metric_rows(shown, direction, windows),
        "others": [method_name(r.method) for r in shown if r.method != reference.results.method],
        "differences": tables.difference_rows(shown, reference, direction, windows),
    }


def key_result(inputs: Inputs, reference: Reference, windows: Windows) -> dict[str, Any]:
    """The leading metric of MR to CT: a tile a method, with its paired difference from the reference."""
    direction = "mr_to_ct"
    label = metric(key_column(inputs), windows)
    shown = comparison.with_direction(inputs.results, direction)
    rows = tables.metric_rows(shown, direction, windows)
    cells = next(row["cells"] for row in rows if row["label"].column == label.column)
    tiles = [
        {
            "name": method_name(result.method),
            "main": result.method == inputs.results[0].method,
            "reference": result.method == reference.results.method,
            "difference": reference.difference(result, direction, label),
            **cell,
        }
        for result, cell in zip(shown, cells, strict=True)
    ]
    return {"label": label, "tiles": tiles}


def key_column(inputs: Inputs) -> str:
    """The metric that the page leads with, and by which the shown patients and slices are chosen."""
    shown = tables.columns_of(inputs.results[:1], "mr_to_ct", {})
    if not shown:
        raise DataError(f"{inputs.results[0].method}: summary.json has no mr_to_ct metric; rerun evaluate")
    return next((c for c in KEY_METRICS if c in shown), shown[0])


def flow_of(inputs: Inputs) -> dict[str, Any]:
    """The section on where the data went, without its pictures."""
    registered = inputs.registered.sort_values("patient")
    return {
        "steps": dataflow.funnel(
            inputs.audit.files,
            inputs.series,
            inputs.patients,
            inputs.registered,
            inputs.pairs,
            inputs.rejected_slices,
        ),
        "series_reasons": dataflow.reasons(inputs.series[inputs.series["decision"] != "kept"], "rule")
        if "reason" in inputs.series
        else [],
        "left_out": _rows(inputs.patients[inputs.patients["status"] != "paired"].sort_values("patient")),
        "registered": _rows(registered),
        "registration_summary": _spread_of(registered),
        "slice_reasons": dataflow.reasons(inputs.rejected_slices, "rule"),
        "long_table": LONG_TABLE,
    }


def dot_panels(inputs: Inputs, direction: str, windows: Windows) -> list[DotPanel]:
    """The metrics of the comparison, drawn with one dot a patient."""
    shown = comparison.with_direction(inputs.results, direction)
    panels = []
    for column in comparison.key_columns(shown, direction, windows):
        label = metric(column, windows)
        values = {r.method: r.values(direction, column) for r in shown}
        patients = sorted({patient for series in values.values() for patient in series.index})
        better = {True: "higher is better", False: "lower is better", None: ""}[label.higher_is_better]
        panels.append(
            DotPanel(
                title=label.name + (f" ({label.unit})" if label.unit else ""),
                better=f"{label.region}; {better}" if label.region else better,
                values={
                    m: series.reindex(patients).to_numpy() for m, series in values.items() if len(series)
                },
                intervals={r.method: r.interval(direction, column) for r in shown},
            )
        )
    return panels


def gallery(inputs: Inputs, thumbnails: Path) -> list[dict[str, Any]]:
    """Every series with its thumbnail (None where there is none), kept first, then rule by rule."""
    groups = dataflow.series_groups(inputs.series)
    for group in groups:
        for row in group["rows"]:
            path = thumbnails / f"{row['patient']}_{row['series']}.png"
            row["picture"] = page.embed(path, page.THUMBNAIL_WIDTH) if path.is_file() else None
            row.setdefault("description", "")
            row.setdefault("reason", "")
    return groups


def contact_sheets(paths: list[Path]) -> tuple[list[dict[str, str]], int]:
    """The first sheet of each split, scaled down, and how many sheets are left on disk."""
    first: dict[str, Path] = {}
    order = ("train", "validation", "test", "rejected")
    for path in sorted(paths, key=lambda p: (*(not p.stem.startswith(name) for name in order), p.name)):
        first.setdefault(path.stem.rsplit("_", 1)[0], path)
    sheets = [
        {"split": split, "picture": page.embed(path, page.SHEET_WIDTH)} for split, path in first.items()
    ]
    return sheets, len(paths) - len(first)


def scalars(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Numbers, yes or no and texts of a JSON object, nested objects flattened, lists left out."""
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


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    records = table.astype(object).where(table.notna(), None).to_dict("records")
    return [{str(key): value for key, value in record.items()} for record in records]


def _spread_of(registered: pd.DataFrame) -> list[dict[str, Any]]:
    """Median and extremes of each registration number."""
    names = {"similarity": ("mutual information, nats", 2), "overlap": ("shared head", 2),
             "residual_edge_mm": ("skin CT to MR, mm", 1),
             "rotation_deg": ("rotation, °", 1), "translation_mm": ("translation, mm", 1)}  # fmt: skip
    done = registered[registered["status"] == "registered"]
    rows = []
    for column, (name, digits) in names.items():
        if column in done and done[column].notna().any():
            values = done[column].astype(float)
            rows.append({"column": column, "name": name, "digits": digits,
                         "low": values.min(), "median": values.median(), "high": values.max()})  # fmt: skip
    return rows
