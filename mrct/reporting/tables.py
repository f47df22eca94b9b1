"""Numbers of the page: methods x metrics, paired differences, the paper's goals.  Tables in, text out."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mrct.metrics.statistics import MIN_PATIENTS, Interval, paired_interval
from mrct.reporting.labels import (
    Metric,
    Windows,
    interval,
    is_shown,
    method_name,
    metric,
    metric_order,
    number,
)

#: Jeong 2024: stated (SSIM, MAE) and inferred from its text (PSNR, IoU); `(pattern, threshold, at least?)`.
PAPER_GOALS = (
    (r"ssim_8bit(_.+)?", 0.5, True),
    (r"mae_8bit(_.+)?", 20.0, False),
    (r"psnr_8bit(_.+)?_db", 30.0, True),
    (r"iou_(?!head).+", 0.5, True),
)
#: What the paper reports, in the order of PAPER_GOALS.
PAPER_RESULTS = {
    "mr_to_ct": (0.6224, 16.4027, 35.774, 0.482),
    "ct_to_mr": (0.9003, 15.9243, 26.6315, 0.6089),
}


@dataclass(frozen=True)
class Results:
    """One method's test results: the content of summary.json and patients.csv."""

    method: str
    summary: Mapping[str, Any]
    patients: pd.DataFrame

    def has(self, direction: str) -> bool:
        """Whether the method was evaluated in this direction."""
        return direction in self.summary

    def interval(self, direction: str, column: str) -> Interval:
        """(mean, low, high); NaN and None where the method has no such number."""
        found = self.summary.get(direction, {}).get(column) or {}
        mean = found.get("mean")
        return (float("nan") if mean is None else float(mean), found.get("low"), found.get("high"))

    def values(self, direction: str, column: str) -> pd.Series:
        """One value a test patient, indexed by patient; empty where the method has no such column."""
        if column not in self.patients:
            return pd.Series(dtype=float)
        rows = self.patients[self.patients["direction"] == direction]
        return rows.set_index("patient")[column].astype(float).sort_index()


def columns_of(results: Sequence[Results], direction: str, windows: Windows) -> list[str]:
    """The metrics that any method has in this direction, in the page's order."""
    found = {column for r in results for column in r.summary.get(direction, {}) if is_shown(column)}
    return sorted(found, key=lambda column: metric_order(column, windows))


def metric_rows(results: Sequence[Results], direction: str, windows: Windows) -> list[dict[str, Any]]:
    """A row a metric: its label, and a cell a method with the mean and its 95 % interval."""
    rows = []
    for column in columns_of(results, direction, windows):
        label = metric(column, windows)
        cells = []
        for result in results:
            mean, low, high = result.interval(direction, column)
            cells.append({"mean": number(mean, label.digits), "interval": interval(low, high, label.digits)})
        rows.append({"label": label, "cells": cells})
    return rows


@dataclass(frozen=True)
class Reference:
    """The method that the others are compared with, and the bootstrap of the paired differences."""

    results: Results
    samples: int
    seed: int

    def difference(self, other: Results, direction: str, label: Metric) -> dict[str, Any] | None:
        """`other` minus the reference, paired by patient: mean, interval, verdict on `other`, n of patients.

        None for the reference itself and where the two share no patient in this metric.
        """
        if other.method == self.results.method:
            return None
        values = [result.values(direction, label.column) for result in (other, self.results)]
        pair = pd.concat(values, axis=1, join="inner").replace([np.inf, -np.inf], np.nan).dropna()
        if pair.empty:
            return None
        mean, low, high = paired_interval(
            pair.iloc[:, 0].to_numpy(), pair.iloc[:, 1].to_numpy(), self.samples, self.seed
        )
        return {
            "mean": number(mean, label.digits, sign=True),
            "interval": interval(low, high, label.digits, sign=True),
            "verdict": verdict(low, high, label.higher_is_better),
            "n": len(pair),
        }


def difference_rows(
    results: Sequence[Results], reference: Reference, direction: str, windows: Windows
) -> list[dict[str, Any]]:
    """A row a metric of the reference: each other method minus the reference, a cell a method."""
    others = [result for result in results if result.method != reference.results.method]
    rows = []
    for column in columns_of([reference.results], direction, windows):
        label = metric(column, windows)
        cells = [reference.difference(other, direction, label) for other in others]
        if any(cells):
            rows.append({"label": label, "cells": cells})
    return rows


def verdict(low: float | None, high: float | None, higher_is_better: bool | None) -> str:
    """`better`, `worse` only where the interval excludes zero; else `undecided` or `too few patients`.

    Nothing for a metric whose good direction we do not know.
    """
    if low is None or high is None:
        return "too few patients"
    if low <= 0.0 <= high:
        return "undecided"
    if higher_is_better is None:
        return ""
    return "better" if (low > 0.0) == higher_is_better else "worse"


def goal_rows(results: Sequence[Results], direction: str, windows: Windows) -> list[dict[str, Any]]:
    """The paper's goals against the first method's means: met or not, the paper's result, who else does."""
    rows = []
    for (pattern, threshold, at_least), reported in zip(PAPER_GOALS, PAPER_RESULTS[direction], strict=True):
        for column in columns_of(results[:1], direction, windows):
            if not re.fullmatch(pattern, column):
                continue
            label = metric(column, windows)
            means = {r.method: r.interval(direction, column)[0] for r in results}
            met = {
                method: mean >= threshold if at_least else mean <= threshold for method, mean in means.items()
            }
            sign = "\N{GREATER-THAN OR EQUAL TO}" if at_least else "\N{LESS-THAN OR EQUAL TO}"
            rows.append(
                {
                    "label": label,
                    "goal": f"{sign} {threshold:g}",
                    "mean": number(means[results[0].method], label.digits),
                    "interval": interval(*results[0].interval(direction, column)[1:], label.digits),
                    "met": met[results[0].method],
                    "paper": f"{reported:g}",
                    "n_others": len(results) - 1,
                    "also_met_by": [method_name(r.method) for r in results[1:] if met[r.method]],
                }
            )
    return rows


def enough_patients(n: int) -> bool:
    """Whether an interval over n patients is given at all."""
    return n >= MIN_PATIENTS
