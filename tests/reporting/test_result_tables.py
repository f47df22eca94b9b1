"""Rows of numbers: true labels, verdicts only where they may be given, goals as the paper has them."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrct.reporting.labels import curve_name, interval, is_shown, method_name, metric, metric_order, number
from mrct.reporting.tables import (
    Reference,
    Results,
    columns_of,
    difference_rows,
    goal_rows,
    metric_rows,
    verdict,
)

WINDOWS = {"full": (-1024.0, 3000.0), "brain": (-60.0, 140.0)}


def results(method: str, column: str, values: list[float], direction: str = "mr_to_ct") -> Results:
    names = [f"P{n:010x}" for n in range(len(values))]
    patients = pd.DataFrame({"direction": direction, "patient": names, column: values})
    summary = {direction: {column: {"mean": float(np.mean(values)), "low": None, "high": None}}}
    return Results(method, summary, patients)


@pytest.mark.parametrize(
    ("column", "name", "unit", "higher"),
    [
        ("mae_hu", "MAE", "HU", False),
        ("psnr_db", "PSNR", "dB", True),
        ("ssim_2d", "SSIM, 2D", "", True),
        ("iou_bone_300hu", "IoU of bone", "", True),
        ("mae_8bit_brain", "MAE, 8-bit", "grey levels", False),
        ("psnr_8bit_db", "PSNR, 8-bit", "dB", True),
        ("ssim_8bit", "SSIM, 8-bit", "", True),
        ("dice_vessel", "dice vessel", "", None),
    ],
)
def test_known_columns_have_unit_and_good_direction(
    column: str, name: str, unit: str, higher: bool | None
) -> None:
    label = metric(column, WINDOWS)
    assert (label.name, label.unit, label.higher_is_better) == (name, unit, higher)


def test_grey_metrics_state_window_and_region() -> None:
    assert metric("psnr_8bit_full_db", WINDOWS).region == "whole slice, full window −1024 to 3000 HU"
    assert metric("psnr_8bit_db", WINDOWS).region == "whole slice"
    assert metric("mae_8bit_lung", WINDOWS).region == "whole slice, lung window"


def test_bound_and_identity_columns_are_no_results() -> None:
    assert not any(
        is_shown(c) for c in ("patient", "k", "direction", "psnr_bound_db", "psnr_8bit_full_bound_db")
    )
    assert is_shown("psnr_db")


def test_metrics_stand_in_the_pages_order_whatever_the_tables_have() -> None:
    columns = [
        "zeta",
        "ssim_8bit",
        "mae_8bit",
        "ssim_8bit_brain",
        "mae_8bit_full",
        "iou_head",
        "iou_bone_700hu",
        "iou_bone_1000hu",
        "mae_hu",
    ]
    wanted = [
        "mae_hu",
        "mae_8bit",
        "ssim_8bit",
        "iou_bone_700hu",
        "iou_bone_1000hu",
        "iou_head",
        "mae_8bit_full",
        "ssim_8bit_brain",
        "zeta",
    ]
    assert sorted(columns, key=lambda c: metric_order(c, WINDOWS)) == wanted


def test_numbers_for_people() -> None:
    assert number(-131.26, 1) == "−131.3"
    assert number(2.0, 2, sign=True) == "+2.00"
    assert number(-0.0001, 2, sign=True) == "0.00"
    assert [number(v, 1) for v in (None, float("nan"), float("inf"), -float("inf"))] == ["–", "–", "∞", "−∞"]
    assert interval(-2.0, 3.0, 1, sign=True) == "−2.0 to +3.0"
    assert interval(None, None, 1) == ""


@given(st.floats(-1e6, 1e6))
def test_number_reads_back_within_its_rounding(value: float) -> None:
    assert float(number(value, 2, sign=True).replace("−", "-")) == pytest.approx(value, abs=0.0051)


@pytest.mark.parametrize(
    ("column", "wanted"),
    [
        ("validation_mr_to_ct", "validation MR → CT (MAE, HU)"),
        ("validation_ct_to_mr", "validation CT → MR (MAE, grey)"),
        ("gdl_ct", "gradient difference loss, CT"),
        ("mae_mr", "absolute error loss, MR"),
        ("ssim_ct", "SSIM loss, CT"),
        ("my_term", "my term"),
    ],
)
def test_curves_have_names_for_people(column: str, wanted: str) -> None:
    assert curve_name(column) == wanted


def test_unknown_method_is_readable() -> None:
    assert method_name("mean_ct") == "mean CT"
    assert method_name("my_new_net") == "my new net"


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
    shuffled = Results("b", other.summary, other.patients.sample(frac=1, random_state=1))
    rows = difference_rows([reference, shuffled], Reference(reference, 100, 0), "mr_to_ct", WINDOWS)
    assert rows[0]["cells"][0]["interval"] == "−7.0 to −7.0"
    assert rows[0]["cells"][0]["verdict"] == "better"


def test_any_method_can_be_the_reference_and_is_no_column_of_its_own() -> None:
    three = [results(name, "mae_hu", [value] * 6) for name, value in (("a", 1.0), ("b", 2.0), ("c", 3.0))]
    (row,) = difference_rows(three, Reference(three[1], 100, 0), "mr_to_ct", WINDOWS)
    assert [(cell["mean"], cell["verdict"]) for cell in row["cells"]] == [
        ("−1.0", "better"),
        ("+1.0", "worse"),
    ]


def test_difference_uses_the_patients_that_both_have_and_says_how_many() -> None:
    main, other = results("a", "mae_hu", [1.0] * 6), results("b", "mae_hu", [2.0] * 8)
    broken = Results("a", main.summary, main.patients.assign(mae_hu=[1.0, np.nan, np.inf, 1.0, 1.0, 1.0]))
    (row,) = difference_rows([broken, other], Reference(broken, 100, 0), "mr_to_ct", WINDOWS)
    assert row["cells"][0]["n"] == 4
    assert row["cells"][0]["verdict"] == "too few patients"


def test_no_difference_where_the_other_method_lacks_the_direction() -> None:
    main = results("a", "mae_8bit", [1.0] * 6, direction="ct_to_mr")
    both = [main, results("b", "mae_hu", [1.0] * 6)]
    assert difference_rows(both, Reference(main, 100, 0), "ct_to_mr", WINDOWS) == []


def test_metric_rows_leave_a_dash_where_a_method_has_no_number() -> None:
    (row,) = metric_rows([results("a", "ssim", [0.5]), results("b", "mae_hu", [1.0])], "mr_to_ct", WINDOWS)[
        1:
    ]
    assert [cell["mean"] for cell in row["cells"]] == ["0.500", "–"]


def test_columns_come_from_any_method() -> None:
    both = [results("a", "ssim", [0.5]), results("b", "mae_hu", [1.0])]
    assert columns_of(both, "mr_to_ct", WINDOWS) == ["mae_hu", "ssim"]


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
    (row,) = goal_rows([results("a", column, [value])], "mr_to_ct", WINDOWS)
    assert row["met"] is met


def test_goal_names_the_reference_method_that_meets_it_too() -> None:
    both = [results("sc_cyclegan", "mae_8bit_full", [5.0]), results("mean_ct", "mae_8bit_full", [16.0])]
    (row,) = goal_rows(both, "mr_to_ct", WINDOWS)
    assert row["also_met_by"] == ["mean CT"]
    assert row["paper"] == "16.4027"


def test_head_iou_and_hu_metrics_are_no_goals() -> None:
    for column in ("iou_head", "mae_hu", "psnr_db"):
        assert goal_rows([results("a", column, [1.0])], "mr_to_ct", WINDOWS) == []
