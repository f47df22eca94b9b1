"""Counts that add up, groups that lose nothing, and cases that are not picked by looks."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrct.core.files import save_array
from mrct.reporting import dataflow
from mrct.reporting.cases import load_case, spread, typical_slice

SERIES = pd.DataFrame(
    {
        "patient": ["Pa", "Pa", "Pb", "Pb"],
        "series": ["S1", "S2", "S1", "S2"],
        "modality": ["MR", "MR", "CT", "MR"],
        "decision": ["kept", "rejected", "kept", "rejected"],
        "rule": ["", "coronal", np.nan, ""],
        "reason": ["", "88°", np.nan, np.nan],
    }
)


@given(st.lists(st.sampled_from(["kept", "rejected", "skipped", "", None]), min_size=1))
def test_parts_of_a_step_add_up_to_everything(actions: list[str | None]) -> None:
    step = dataflow.step("anonymize", "files", dataflow.count(pd.Series(actions, dtype=object), ("kept",)))
    assert sum(part.count for part in step.parts) == step.total == len(actions)
    assert sum(part.percent for part in step.parts) == pytest.approx(100.0)


def test_kept_comes_first_then_the_most_frequent() -> None:
    values = pd.Series(["b", "b", "c", "kept", np.nan])
    assert list(dataflow.count(values, ("kept",))) == ["kept", "b", "c", dataflow.UNEXPLAINED]


def test_every_series_is_in_exactly_one_group_and_kept_ones_first() -> None:
    groups = dataflow.series_groups(SERIES)
    assert [group["name"] for group in groups] == ["kept", "coronal", dataflow.UNEXPLAINED]
    assert sum(len(group["rows"]) for group in groups) == len(SERIES)
    assert [row["patient"] for row in groups[0]["rows"]] == ["Pa", "Pb"]


def test_reasons_list_the_commonest_and_count_the_rest() -> None:
    table = pd.DataFrame({"rule": ["empty"] * 6, "reason": ["x", "x", "y", "z", "w", None]})
    (row,) = dataflow.reasons(table, "rule", limit=2)
    assert (row["name"], row["n"], row["reasons"][0], len(row["reasons"]), row["more"]) == (
        "empty",
        6,
        "x",
        2,
        2,
    )


def test_funnel_without_rejections() -> None:
    files = pd.DataFrame({"action": ["kept", "skipped"], "reason": ["", "not DICOM"]})
    patients = pd.DataFrame({"patient": ["Pa"], "status": ["paired"]})
    registered = pd.DataFrame({"patient": ["Pa"], "status": ["registered"]})
    pairs = pd.DataFrame({"patient": ["Pa"], "k": [0], "split": ["train"]})
    steps = dataflow.funnel(files, SERIES, patients, registered, pairs, pd.DataFrame({"rule": []}))
    assert [step.stage for step in steps] == ["anonymize", "select", "select", "register", "pair", "split"]
    assert [step.total for step in steps] == [2, 4, 1, 1, 1, 1]


def test_splits_sum() -> None:
    splits = pd.DataFrame(
        {"patient": ["Pa", "Pb", "Pc"], "split": ["train", "train", "test"], "n_pairs": [3, 4, 5]}
    )
    assert dataflow.split_rows(splits)[-1] == {"name": "all", "patients": 3, "pairs": 12}


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
    with pytest.raises(ValueError, match="no slice of test patient Pb"):
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
    with pytest.raises(FileNotFoundError, match="rerun evaluate for n"):
        load_case(tmp_path, {("n", "mr_to_ct"): tmp_path / "n"}, "Pa", 1)
    with pytest.raises(ValueError, match="slice 2 of Pa"):
        load_case(tmp_path, {}, "Pa", 2)
