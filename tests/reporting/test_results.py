"""Numbers of the page: verdicts only where they are allowed, differences by patient, goals as the paper has them."""

import numpy as np
import pandas as pd
import pytest

from mrct.reporting.inputs import MethodResults
from mrct.reporting.results import Comparison, Difference, verdict

WINDOWS = {"full": (-1024.0, 3000.0), "brain": (-60.0, 140.0)}


def results(method: str, column: str, values: list[float], direction: str = "mr_to_ct") -> MethodResults:
    names = [f"P{n:010x}" for n in range(len(values))]
    patients = pd.DataFrame({"direction": direction, "patient": names, column: values})
    summary = {direction: {column: {"mean": float(np.mean(values)), "low": None, "high": None}}}
    return MethodResults(method, summary, patients)


def comparison(*methods: MethodResults) -> Comparison:
    """The methods, of which the first is the reference."""
    return Comparison(methods, WINDOWS, samples=100, seed=0)


def differences(*methods: MethodResults, direction: str = "mr_to_ct") -> list[Difference | None]:
    """The difference of each method in the first metric of the direction."""
    compared = comparison(*methods)
    return [row.cells[0].difference for row in compared.table(direction, compared.columns(direction)).rows]


@pytest.mark.parametrize(
    ("low", "high", "higher", "wanted"),
    [
        (-20.0, -5.0, False, "better"),
        (-20.0, -5.0, True, "worse"),
        (0.1, 0.2, True, "better"),
        (0.1, 0.2, False, "worse"),
        (-1.0, 0.0, False, "undecided"),
        (0.0, 0.0, True, "undecided"),
        (None, None, True, "too few patients"),
        (1.0, 2.0, None, ""),
    ],
)
def test_verdict(low: float | None, high: float | None, higher: bool | None, wanted: str) -> None:
    assert verdict(low, high, higher) == wanted


def test_difference_is_the_method_minus_the_reference_paired_by_patient_not_by_row() -> None:
    base = [100.0, 200.0, 300.0, 400.0, 500.0, 600.0]
    reference, other = results("a", "mae_hu", base), results("b", "mae_hu", [v - 7 for v in base])
    shuffled = MethodResults("b", other.summary, other.patients.sample(frac=1, random_state=1))
    _, difference = differences(reference, shuffled)
    assert difference == Difference("−7.0", "−7.0 to −7.0", "better", n=6)


def test_the_first_method_is_the_reference_and_has_no_difference() -> None:
    values = {"b": 2.0, "a": 1.0, "c": 3.0}
    found = differences(*(results(name, "mae_hu", [value] * 6) for name, value in values.items()))
    assert [(d.mean, d.verdict) if d else None for d in found] == [
        None,
        ("−1.0", "better"),
        ("+1.0", "worse"),
    ]


def test_difference_uses_the_patients_that_both_have_and_says_how_many() -> None:
    main, other = results("a", "mae_hu", [1.0] * 6), results("b", "mae_hu", [2.0] * 8)
    values = [1.0, np.nan, np.inf, 1.0, 1.0, 1.0]
    broken = MethodResults("a", main.summary, main.patients.assign(mae_hu=values))
    _, difference = differences(broken, other)
    assert difference is not None
    assert (difference.n, difference.verdict) == (4, "too few patients")


def test_no_difference_where_the_other_method_lacks_the_direction() -> None:
    main = results("a", "mae_8bit", [1.0] * 6, direction="ct_to_mr")
    other = results("b", "mae_hu", [1.0] * 6)
    table = comparison(main, other).table("ct_to_mr", ["mae_8bit"])
    assert (table.compared, table.others, table.without) == ([], [], ["b"])


def test_a_metric_that_only_another_method_has_is_shown_with_a_dash_and_not_compared() -> None:
    compared = comparison(results("a", "ssim", [0.5]), results("b", "mae_hu", [1.0]))
    assert compared.columns("mr_to_ct") == ["mae_hu", "ssim"]
    table = compared.table("mr_to_ct", ["mae_hu", "ssim"])
    assert [[cell.mean for cell in row.cells] for row in table.rows] == [["–", "0.500"], ["1.0", "–"]]
    assert table.compared == []


def test_a_reference_without_mr_to_ct_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"a: got no mr_to_ct metric.*name another method in report\.reference"
    ):
        comparison(results("a", "mae_8bit", [1.0], direction="ct_to_mr")).leading_column()


@pytest.mark.parametrize(
    ("column", "value", "met"),
    [
        ("mae_8bit_full", 20.0, True),
        ("mae_8bit_full", 20.1, False),
        ("psnr_8bit_brain_db", 30.0, True),
        ("psnr_8bit_brain_db", 29.9, False),
        ("ssim_8bit_full", 0.5, True),
        ("iou_bone_300hu", 0.482, False),
    ],
)
def test_goals_are_the_papers(column: str, value: float, met: bool) -> None:
    (row,) = comparison(results("a", column, [value])).goal_rows("mr_to_ct")
    assert row.met is met


def test_goal_names_the_other_methods_that_meet_it_too() -> None:
    both = [results("sc_cyclegan", "mae_8bit_full", [5.0]), results("mean_ct", "mae_8bit_full", [16.0])]
    (row,) = comparison(*both).goal_rows("mr_to_ct")
    assert row.also_met_by == ["mean CT"]
    assert row.paper == "16.4027"


def test_head_iou_and_hu_metrics_are_no_goals() -> None:
    for column in ("iou_head", "mae_hu", "psnr_db"):
        assert comparison(results("a", column, [1.0])).goal_rows("mr_to_ct") == []
