"""Slice rules on volumes whose area, coverage and content are known exactly."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from mrct.pairing.pairing import Rules, evenly_spaced, judge_slices, slice_positions_mm

RULES = Rules(min_coverage=0.95, min_head_area_cm2=40.0, max_per_patient=0)
SHAPE = (6, 50, 50)
SPACING = (2.0, 2.0, 4.0)  # a pixel is 0.04 cm2; the 40 x 40 head 64 cm2


def arrays() -> dict[str, np.ndarray]:
    """Six good slices: a square head of 64 cm2, noise in MR and CT, covered everywhere."""
    rng = np.random.default_rng(0)
    mask = np.zeros(SHAPE, np.uint8)
    mask[:, 5:45, 5:45] = 1
    return {
        "mr": rng.uniform(0, 900, SHAPE).astype(np.float32),
        "ct": rng.uniform(-1000, 1500, SHAPE).astype(np.float32),
        "mask": mask,
        "coverage": np.ones(SHAPE, np.uint8),
    }


def image(array: np.ndarray) -> sitk.Image:
    result = sitk.GetImageFromArray(array)
    result.SetSpacing(SPACING)
    result.SetOrigin((0.0, 0.0, -30.0))
    return result


def judge(volumes: dict[str, np.ndarray], rules: Rules = RULES) -> pd.DataFrame:
    mr, ct, mask, coverage = (image(volumes[name]) for name in ("mr", "ct", "mask", "coverage"))
    return judge_slices(mr, ct, mask, coverage, rules)


def rules_of(
    change: Callable[[dict[str, np.ndarray]], None] = lambda _: None, rules: Rules = RULES
) -> list[str]:
    volumes = arrays()
    change(volumes)
    return judge(volumes, rules)["rule"].tolist()


def test_good_slices_are_pairs_with_their_numbers() -> None:
    table = judge(arrays())
    assert table["rule"].tolist() == [""] * 6
    assert table["reason"].tolist() == [""] * 6
    assert table["k"].tolist() == list(range(6))
    assert table["position_mm"].tolist() == [-30, -26, -22, -18, -14, -10]
    assert table["head_area_cm2"].tolist() == [64.0] * 6
    assert table["coverage"].tolist() == [1.0] * 6


@pytest.mark.parametrize(("rows", "rule"), [(2, ""), (3, "incomplete")])
def test_coverage_is_a_share_of_the_head(rows: int, rule: str) -> None:
    """2 of the head's 40 rows are 5 %; what is not covered outside the head does not count."""

    def uncover(volumes: dict[str, np.ndarray]) -> None:
        volumes["coverage"][4, : 5 + rows] = 0
        volumes["coverage"][4, 45:] = 0

    assert rules_of(uncover) == ["", "", "", "", rule, ""]


def test_reason_is_in_plain_words() -> None:
    volumes = arrays()
    volumes["coverage"][0, :25] = 0
    volumes["coverage"][1:3] = 0
    volumes["ct"][1], volumes["mr"][2] = -1024, 0
    table = judge(volumes)
    assert table["reason"][1] == "the CT does not reach this level"
    assert table["reason"][2] == "the MR does not reach this level"
    assert table["reason"][0] == "both scans show only 50 % of the head here, wanted at least 95 %"


@pytest.mark.parametrize("mask", [0, 1])
def test_a_level_that_one_scan_does_not_reach_is_incomplete_with_and_without_head(mask: int) -> None:
    def cut(volumes: dict[str, np.ndarray]) -> None:
        volumes["coverage"][5] = 0
        volumes["mask"][5] *= mask
        volumes["ct"][5] = -1024

    assert rules_of(cut)[5] == "incomplete"


@pytest.mark.parametrize(("columns", "rule"), [(25, ""), (24, "empty")])
def test_small_sections_are_empty(columns: int, rule: str) -> None:
    """25 columns of 40 pixels are exactly 40 cm2."""

    def shrink(volumes: dict[str, np.ndarray]) -> None:
        volumes["mask"][0, :, 5 + columns :] = 0

    assert rules_of(shrink)[0] == rule


def test_slice_without_head_is_empty_not_incomplete() -> None:
    def beyond_the_vertex(volumes: dict[str, np.ndarray]) -> None:
        volumes["mask"][5] = 0
        volumes["coverage"][5, :10] = 0

    assert rules_of(beyond_the_vertex)[5] == "empty"


@pytest.mark.parametrize("name", ["mr", "ct"])
@pytest.mark.parametrize("value", [0.0, -1024.0, np.nan])
def test_constant_or_nan_content_is_empty(name: str, value: float) -> None:
    def blank(volumes: dict[str, np.ndarray]) -> None:
        volumes[name][2] = value

    assert rules_of(blank) == ["", "", "empty", "", "", ""]


def test_content_outside_the_head_does_not_save_a_slice() -> None:
    def only_table(volumes: dict[str, np.ndarray]) -> None:
        volumes["ct"][2, 5:45, 5:45] = -1000.0

    assert rules_of(only_table)[2] == "empty"


def test_quota_keeps_evenly_spaced_pairs_and_lists_the_rest() -> None:
    kept = rules_of(rules=Rules(0.95, 40.0, 2))
    assert kept == ["beyond_quota", "", "beyond_quota", "beyond_quota", "", "beyond_quota"]


def test_quota_counts_pairs_only() -> None:
    def lose_the_ends(volumes: dict[str, np.ndarray]) -> None:
        volumes["mask"][[0, 5]] = 0

    kept = rules_of(lose_the_ends, Rules(0.95, 40.0, 1))
    assert kept == ["empty", "beyond_quota", "beyond_quota", "", "beyond_quota", "empty"]


@given(st.integers(1, 200), st.integers(1, 200))
def test_evenly_spaced_is_distinct_sorted_and_symmetric_in_gaps(n: int, wanted: int) -> None:
    chosen = evenly_spaced(n, wanted)
    assert len(chosen) == min(n, wanted)
    assert chosen == sorted(set(chosen))
    assert 0 <= chosen[0] <= chosen[-1] < n
    gaps = np.diff(chosen)
    assert gaps.size == 0 or gaps.max() - gaps.min() <= 1


def test_one_is_the_most_central() -> None:
    assert evenly_spaced(9, 1) == [4]
    assert evenly_spaced(9, 3) == [1, 4, 7]


def test_positions_of_a_tilted_stack_are_along_its_normal() -> None:
    tilted = image(arrays()["mr"])
    angle = np.radians(20)
    tilted.SetDirection((1, 0, 0, 0, np.cos(angle), -np.sin(angle), 0, np.sin(angle), np.cos(angle)))
    np.testing.assert_allclose(np.diff(slice_positions_mm(tilted)), 4.0)
    assert slice_positions_mm(tilted)[0] == pytest.approx(-30 * np.cos(angle))


def test_a_pair_that_shows_nothing_in_common_is_listed() -> None:
    """Independent noise shares no information; the same picture in both shares all of it."""
    volumes = arrays()
    volumes["ct"][:3] = volumes["mr"][:3] - 100
    table = judge(volumes, Rules(0.95, 40.0, 0, min_quality=0.5))
    assert table["rule"].tolist() == [""] * 3 + ["poor_match"] * 3
    assert table["quality"][:3].min() > 0.9
    assert table["quality"][3:].max() < 0.3
    assert "another level, or the registration is off here" in table["reason"][5]


@pytest.mark.parametrize(
    ("distance_mm", "kept"), [(0, [0, 1, 2, 3, 4, 5]), (4, [0, 1, 2, 3, 4, 5]), (5, [0, 2, 4]), (9, [0, 3])]
)
def test_near_duplicates_are_avoided(distance_mm: float, kept: list[int]) -> None:
    """Slices are 4 mm apart."""
    table = judge(arrays(), Rules(0.95, 40.0, 0, min_distance_mm=distance_mm))
    assert table.loc[table["rule"] == "", "k"].tolist() == kept
    assert set(table["rule"]) <= {"", "near_duplicate"}


def test_the_quota_counts_what_is_left() -> None:
    table = judge(arrays(), Rules(0.95, 40.0, 1, min_distance_mm=5))
    assert table["rule"].tolist() == [
        "beyond_quota",
        "near_duplicate",
        "",
        "near_duplicate",
        "beyond_quota",
        "near_duplicate",
    ]
