"""The counts of the stages add up, and no group loses an item."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.report_factory import METHODS, write_inputs
from mrct.reporting import provenance
from mrct.reporting.inputs import read_inputs

SERIES = pd.DataFrame(
    {
        "patient": ["Pa", "Pa", "Pb", "Pb"],
        "series": ["S1", "S2", "S1", "S2"],
        "modality": ["MR", "MR", "CT", "MR"],
        "decision": ["kept", "rejected", "kept", "rejected"],
        "rule": ["", "coronal", "", ""],
        "description": "",
        "reason": ["", "88°", "", ""],
    }
)


@given(st.lists(st.sampled_from(["kept", "rejected", "skipped", ""]), min_size=1))
def test_parts_of_a_step_add_up_to_everything(actions: list[str]) -> None:
    step = provenance.step(
        "anonymize", "files", provenance.count(pd.Series(actions, dtype=object), ("kept",))
    )
    assert sum(part.count for part in step.parts) == step.total == len(actions)
    assert sum(part.percent for part in step.parts) == pytest.approx(100.0)


def test_kept_comes_first_then_the_most_frequent() -> None:
    values = pd.Series(["b", "b", "c", "kept", ""])
    assert list(provenance.count(values, ("kept",))) == ["kept", "b", "c", provenance.UNEXPLAINED]


def test_every_series_is_in_exactly_one_group_and_kept_ones_first() -> None:
    groups = provenance.series_groups(SERIES)
    assert [group.name for group in groups] == ["kept", "coronal", provenance.UNEXPLAINED]
    assert sum(len(group.rows) for group in groups) == len(SERIES)
    assert [row["patient"] for row in groups[0].rows] == ["Pa", "Pb"]


def test_reasons_list_the_commonest_and_count_the_rest() -> None:
    table = pd.DataFrame({"rule": ["empty"] * 6, "reason": ["x", "x", "y", "z", "w", ""]})
    (row,) = provenance.rule_rows(table)
    assert (row.name, row.n, row.reasons, row.more) == ("empty", 6, ["x", "w", "y"], 1)


def test_every_step_of_the_funnel_holds_all_that_entered_it(tmp_path: Path) -> None:
    inputs = read_inputs(write_inputs(tmp_path, n_test=1), METHODS)
    steps = provenance.funnel(inputs)
    assert [step.stage for step in steps] == ["anonymize", "select", "select", "register", "pair", "split"]
    assert [step.total for step in steps] == [100, 24, 7, 6, 19, 18]
    without_rejected = replace(inputs, rejected_slices=inputs.rejected_slices.iloc[:0])
    assert [step.total for step in provenance.funnel(without_rejected)][4:] == [18, 18]


def test_splits_sum() -> None:
    splits = pd.DataFrame(
        {"patient": ["Pa", "Pb", "Pc"], "split": ["train", "train", "test"], "n_pairs": [3, 4, 5]}
    )
    assert provenance.split_rows(splits)[-1] == provenance.SplitRow("all", patients=3, pairs=12)
