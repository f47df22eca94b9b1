"""Test patients and slices are chosen by rule, and read in the units of the page."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrct.core.files import save_array
from mrct.reporting.pictures import head_box, load_case, spread, typical_slice


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=30), st.integers(0, 40))
def test_spread_holds_best_and_worst_without_repeats(values: list[float], n: int) -> None:
    scores = pd.Series(values, index=[f"P{i:02d}" for i in range(len(values))])
    chosen = spread(scores, n)
    assert len(chosen) == len(set(chosen)) == min(n, len(values))
    if len(chosen) > 1:
        assert scores[chosen[0]] == min(values)
        assert scores[chosen[-1]] == max(values)


def test_spread_puts_an_undefined_score_last() -> None:
    assert spread(pd.Series({"Pa": np.nan, "Pb": 2.0, "Pc": 1.0}), 3) == ["Pc", "Pb", "Pa"]


def test_typical_slice_is_the_median_one() -> None:
    table = pd.DataFrame(
        {"direction": "mr_to_ct", "patient": "Pa", "k": [4, 5, 6, 7], "mae_hu": [90.0, 10.0, 50.0, 30.0]}
    )
    assert typical_slice(table, "Pa", ["mae_hu"]) == 7
    assert typical_slice(table, "Pa", ["absent"]) == 5
    with pytest.raises(ValueError, match="no slice of the test patient Pb"):
        typical_slice(table, "Pb", ["mae_hu"])


def test_case_is_the_asked_slice_in_the_pages_units(tmp_path: Path) -> None:
    volume = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    for name, array in {
        "ct_hu": volume,
        "mr": volume / 11.5 - 1,
        "mask": (volume > 12).astype(np.uint8),
    }.items():
        save_array(tmp_path / f"Pa/{name}.npy", array)
    save_array(tmp_path / "m/Pa_mr_to_ct.npy", volume + 1)
    case = load_case(tmp_path, {("m", "mr_to_ct"): tmp_path / "m"}, "Pa", 1)
    np.testing.assert_array_equal(case.ct, volume[1])
    np.testing.assert_allclose(case.mr, volume[1] / 23, atol=1e-6)
    np.testing.assert_array_equal(case.synthetic["m", "mr_to_ct"], volume[1] + 1)
    assert case.head.sum() == 11
    with pytest.raises(FileNotFoundError, match="run the stage evaluate again for n"):
        load_case(tmp_path, {("n", "mr_to_ct"): tmp_path / "n"}, "Pa", 1)
    with pytest.raises(ValueError, match="slice 2 of Pa"):
        load_case(tmp_path, {}, "Pa", 2)


def test_head_box() -> None:
    mask = np.zeros((30, 40), bool)
    mask[10:20, 5:15] = True
    assert head_box(mask, margin=2) == (slice(8, 22), slice(3, 17))
    assert head_box(mask, margin=50) == (slice(0, 30), slice(0, 40))
    assert head_box(np.zeros((3, 4), bool)) == (slice(0, 3), slice(0, 4))
