"""Numbers of the page: each method's metrics, its difference from the reference method, and the paper's goals."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd

from mrct.core.contracts import Direction
from mrct.core.errors import DataError
from mrct.metrics.statistics import MIN_PATIENTS, paired_interval
from mrct.reporting.inputs import MethodResults
from mrct.reporting.labels import (
    DIRECTIONS,
    Metric,
    Windows,
    interval,
    is_shown,
    method_name,
    metric,
    metric_order,
    number,
)

#: Leading metric of the page: the first of these that the reference method has.
LEADING_METRICS = ("mae_hu", "mae_8bit")
#: Metrics that compare the methods, at most MAX_COMPARED per direction; the charts show the same ones.
COMPARED_METRICS = {
    Direction.MR_TO_CT: ("mae_hu", "ssim", "ssim_2d", "psnr_db", "iou_bone_300hu"),
    Direction.CT_TO_MR: ("mae_8bit", "ssim_8bit", "psnr_8bit_db", "iou_otsu"),
}
MAX_COMPARED = 4


class Verdict(StrEnum):
    """Verdict on a method from the interval of its difference."""

    BETTER = "better"
    WORSE = "worse"
    UNDECIDED = "undecided"
    TOO_FEW = "too few patients"
    #: The interval excludes zero, but whether a higher value is better is unknown.
    UNKNOWN = ""


@dataclass(frozen=True)
class Difference:
    """Method minus reference over the `n` patients that both have; mean and interval as text."""

    mean: str
    interval: str
    verdict: Verdict
    n: int


@dataclass(frozen=True)
class Cell:
    """One metric of one method: mean and 95 % interval as text, and the difference from the reference.

    `interval` is empty where there is none. `difference` is None for the reference itself, and where the two methods
    have no patient in common.
    """

    mean: str
    interval: str
    difference: Difference | None


@dataclass(frozen=True)
class MethodRow:
    """One method, with one cell per metric of its table."""

    name: str
    is_reference: bool
    cells: list[Cell]


@dataclass(frozen=True)
class ResultTable:
    """Methods and metrics of one direction; `without` names the methods that lack the direction."""

    direction: Direction
    name: str
    labels: list[Metric]
    rows: list[MethodRow]
    without: list[str]
    reference_has_it: bool

    @property
    def others(self) -> list[MethodRow]:
        """Return the rows of all methods except the reference."""
        return [row for row in self.rows if not row.is_reference]

    @property
    def compared(self) -> list[int]:
        """List the indices of the metrics in which any method differs from the reference by a known number."""
        columns = range(len(self.labels))
        return [column for column in columns if any(row.cells[column].difference for row in self.rows)]


@dataclass(frozen=True)
class PaperGoal:
    """Goal of Jeong 2024 for all columns that match `pattern`, with what the paper reports per direction."""

    pattern: str
    threshold: float
    at_least: bool
    reported: Mapping[Direction, float]

    @property
    def text(self) -> str:
        """Format the goal, as in `≥ 0.5`."""
        sign = "\N{GREATER-THAN OR EQUAL TO}" if self.at_least else "\N{LESS-THAN OR EQUAL TO}"
        return f"{sign} {self.threshold:g}"

    def is_met(self, mean: float) -> bool:
        """Check whether the mean reaches the threshold; False for NaN."""
        return mean >= self.threshold if self.at_least else mean <= self.threshold


#: Jeong 2024 states the goals for SSIM and MAE. Those for PSNR and IoU are inferred from its text.
PAPER_GOALS = (
    PaperGoal(r"ssim_8bit(_.+)?", 0.5, True, {Direction.MR_TO_CT: 0.6224, Direction.CT_TO_MR: 0.9003}),
    PaperGoal(r"mae_8bit(_.+)?", 20.0, False, {Direction.MR_TO_CT: 16.4027, Direction.CT_TO_MR: 15.9243}),
    PaperGoal(r"psnr_8bit(_.+)?_db", 30.0, True, {Direction.MR_TO_CT: 35.774, Direction.CT_TO_MR: 26.6315}),
    PaperGoal(r"iou_(?!head).+", 0.5, True, {Direction.MR_TO_CT: 0.482, Direction.CT_TO_MR: 0.6089}),
)


@dataclass(frozen=True)
class GoalRow:
    """Goal of the paper in one metric: the reference's value, whether it meets the goal, and which others do."""

    label: Metric
    goal: str
    cell: Cell
    met: bool
    paper: str
    n_others: int
    also_met_by: list[str]


@dataclass(frozen=True)
class GoalTable:
    """Goals of the paper in one direction."""

    name: str
    rows: list[GoalRow]


@dataclass(frozen=True)
class SizeRow:
    """Size of a method: directions, number of weights, number of epochs, and (direction, epoch kept).

    `n_parameters` and `epochs` are None for a method that is fitted in one pass.
    """

    name: str
    directions: list[str]
    n_parameters: int | None
    epochs: int | None
    best: list[tuple[str, int]]


@dataclass(frozen=True)
class Comparison:
    """Comparison of all methods on the same test patients with the first one, the reference.

    `windows` are the HU windows of the 8-bit metrics. `samples` and `seed` are those of the bootstrap.
    """

    results: Sequence[MethodResults]
    windows: Windows
    samples: int
    seed: int

    @property
    def reference(self) -> MethodResults:
        """Return the method with which the others are compared."""
        return self.results[0]

    @property
    def directions(self) -> list[Direction]:
        """List the directions that any method has."""
        return [direction for direction in DIRECTIONS if self.having(direction)]

    def having(self, direction: str) -> list[MethodResults]:
        """List the methods that have this direction."""
        return [result for result in self.results if result.has(direction)]

    def label(self, column: str) -> Metric:
        """Return the label of a metric column."""
        return metric(column, self.windows)

    def columns(self, direction: str) -> list[str]:
        """List the metrics that any method has in this direction, in the order of the page."""
        return self._columns_of(self.results, direction)

    def compared_columns(self, direction: Direction) -> list[str]:
        """List the metrics that compare the methods: those of COMPARED_METRICS that exist, else any."""
        shown = self.columns(direction)
        return ([column for column in COMPARED_METRICS[direction] if column in shown] or shown)[:MAX_COMPARED]

    def leading_column(self) -> str:
        """Return the leading metric of the page, which also chooses the patients and slices of the pictures.

        Raises:
            DataError: The reference method was not evaluated from MR to CT.
        """
        shown = self._columns_of([self.reference], Direction.MR_TO_CT)
        if not shown:
            raise DataError(
                f"{self.reference.method}: got no mr_to_ct metric in its summary.json, and the reference needs "
                "one; name another method in report.reference, or run the stage evaluate again"
            )
        return next((column for column in LEADING_METRICS if column in shown), shown[0])

    def table(self, direction: Direction, columns: Sequence[str]) -> ResultTable:
        """Make the table of the methods of one direction in the given metrics."""
        labels = [self.label(column) for column in columns]
        return ResultTable(
            direction,
            DIRECTIONS[direction],
            labels,
            [
                MethodRow(
                    method_name(result.method),
                    result.method == self.reference.method,
                    [self._cell(result, direction, label) for label in labels],
                )
                for result in self.having(direction)
            ],
            [method_name(result.method) for result in self.results if not result.has(direction)],
            self.reference.has(direction),
        )

    def difference(self, other: MethodResults, direction: str, label: Metric) -> Difference | None:
        """Compute `other` minus the reference, patient by patient.

        It is None for the reference itself, and if the two have no patient in common in this metric.
        """
        if other.method == self.reference.method:
            return None
        values = [result.values(direction, label.column) for result in (other, self.reference)]
        pair = pd.concat(values, axis=1, join="inner").replace([np.inf, -np.inf], np.nan).dropna()
        if pair.empty:
            return None
        mean, low, high = paired_interval(
            pair.iloc[:, 0].to_numpy(), pair.iloc[:, 1].to_numpy(), self.samples, self.seed
        )
        return Difference(
            number(mean, label.digits, sign=True),
            interval(low, high, label.digits, sign=True),
            verdict(low, high, label.higher_is_better),
            len(pair),
        )

    def goal_tables(self) -> list[GoalTable]:
        """List the paper's goals in each direction of the reference, without directions that have none."""
        tables = [
            GoalTable(name, self.goal_rows(direction))
            for direction, name in DIRECTIONS.items()
            if self.reference.has(direction)
        ]
        return [table for table in tables if table.rows]

    def goal_rows(self, direction: Direction) -> list[GoalRow]:
        """Compare the means of the reference with the paper's goals, one row per goal and matching metric."""
        others = [result for result in self.having(direction) if result.method != self.reference.method]
        rows = []
        for goal in PAPER_GOALS:
            for column in self._columns_of([self.reference], direction):
                if re.fullmatch(goal.pattern, column):
                    rows.append(
                        GoalRow(
                            label=self.label(column),
                            goal=goal.text,
                            cell=self._cell(self.reference, direction, self.label(column)),
                            met=goal.is_met(self.reference.interval(direction, column).mean),
                            paper=f"{goal.reported[direction]:g}",
                            n_others=len(others),
                            also_met_by=[
                                method_name(other.method)
                                for other in others
                                if goal.is_met(other.interval(direction, column).mean)
                            ],
                        )
                    )
        return rows

    def size_rows(self) -> list[SizeRow]:
        """Make one row per method: its directions, its size, its epochs, and which of them was kept."""
        return [
            SizeRow(
                name=method_name(result.method),
                directions=[name for direction, name in DIRECTIONS.items() if result.has(direction)],
                n_parameters=result.n_parameters,
                epochs=None if result.history is None else len(result.history),
                best=[(DIRECTIONS[direction], epoch) for direction, epoch in result.best_epochs.items()],
            )
            for result in self.results
        ]

    def _columns_of(self, results: Sequence[MethodResults], direction: str) -> list[str]:
        found = {column for result in results for column in result.metrics(direction) if is_shown(column)}
        return sorted(found, key=lambda column: metric_order(column, self.windows))

    def _cell(self, result: MethodResults, direction: str, label: Metric) -> Cell:
        mean, low, high = result.interval(direction, label.column)
        return Cell(
            number(mean, label.digits),
            interval(low, high, label.digits),
            self.difference(result, direction, label),
        )


def verdict(low: float | None, high: float | None, higher_is_better: bool | None) -> Verdict:
    """Return `better` or `worse` only if the interval of the difference excludes zero."""
    if low is None or high is None:
        return Verdict.TOO_FEW
    if low <= 0.0 <= high:
        return Verdict.UNDECIDED
    if higher_is_better is None:
        return Verdict.UNKNOWN
    return Verdict.BETTER if (low > 0.0) == higher_is_better else Verdict.WORSE


def enough_patients(n: int) -> bool:
    """Return whether n patients are enough for an interval."""
    return n >= MIN_PATIENTS
