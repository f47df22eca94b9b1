"""Names and numbers of the page: units, regions, order, rounding."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrct.reporting.labels import (
    counted,
    curve_name,
    interval,
    is_shown,
    listed,
    method_name,
    metric,
    metric_order,
    number,
)

WINDOWS = {"full": (-1024.0, 3000.0), "brain": (-60.0, 140.0)}


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


def test_numbers_have_a_minus_sign_a_dash_and_no_negative_zero() -> None:
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
def test_curves_have_readable_names(column: str, wanted: str) -> None:
    assert curve_name(column) == wanted


def test_unknown_method_is_readable() -> None:
    assert method_name("mean_ct") == "mean CT"
    assert method_name("my_new_net") == "my new net"


def test_names_and_counts_are_written_as_text() -> None:
    assert [listed(["a", "b", "c"][:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]
    assert [counted(n, "epoch") for n in (0, 1, 1200)] == ["0 epochs", "1 epoch", "1,200 epochs"]
