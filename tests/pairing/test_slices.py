"""Slice rules on volumes whose area, coverage and content are known exactly, and match scores against closed forms."""

from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from mrct.core.contracts import PairRule
from mrct.pairing.slices import (
    PairCriteria,
    RegisteredVolumes,
    assess_slices,
    dice,
    edge_agreement,
    evenly_spaced,
    match_slices,
    slice_positions_mm,
)

CRITERIA = PairCriteria(min_coverage=0.95, min_head_area_cm2=40.0, max_per_patient=0)
QUOTA, NEAR = PairRule.BEYOND_QUOTA, PairRule.NEAR_DUPLICATE
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


def assess(volumes: dict[str, np.ndarray], criteria: PairCriteria = CRITERIA) -> pd.DataFrame:
    images = RegisteredVolumes(**{name: image(array) for name, array in volumes.items()})
    found = assess_slices(images, criteria)
    rules = pd.Series([here.rule for here in found], dtype=object)
    return pd.DataFrame(map(asdict, found)).assign(rule=rules)


def rules_of(
    change: Callable[[dict[str, np.ndarray]], None] = lambda _: None, criteria: PairCriteria = CRITERIA
) -> list[str]:
    volumes = arrays()
    change(volumes)
    return assess(volumes, criteria)["rule"].tolist()


def test_good_slices_are_pairs_with_their_numbers() -> None:
    table = assess(arrays())
    assert table["rule"].tolist() == [None] * 6
    assert table["reason"].tolist() == [""] * 6
    assert table["k"].tolist() == list(range(6))
    assert table["position_mm"].tolist() == [-30, -26, -22, -18, -14, -10]
    assert table["head_area_cm2"].tolist() == [64.0] * 6
    assert table["coverage"].tolist() == [1.0] * 6


@pytest.mark.parametrize(("rows", "rule"), [(2, None), (3, PairRule.INCOMPLETE)])
def test_coverage_is_a_share_of_the_head(rows: int, rule: PairRule | None) -> None:
    """2 of the head's 40 rows are 5 %; what is not covered outside the head does not count."""

    def uncover(volumes: dict[str, np.ndarray]) -> None:
        volumes["coverage"][4, : 5 + rows] = 0
        volumes["coverage"][4, 45:] = 0

    assert rules_of(uncover) == [None, None, None, None, rule, None]


def test_reason_is_in_plain_words() -> None:
    volumes = arrays()
    volumes["coverage"][0, :25] = 0
    volumes["coverage"][1:3] = 0
    volumes["ct"][1], volumes["mr"][2] = -1024, 0
    table = assess(volumes)
    assert table["reason"][1] == "the CT does not reach this level"
    assert table["reason"][2] == "the MR does not reach this level"
    assert table["reason"][0] == "both scans show only 50 % of the head here, wanted at least 95 %"


def test_a_missing_slice_is_named_and_is_no_pair_even_if_no_coverage_is_asked_for() -> None:
    volumes = arrays()
    for name, rows in (("ct_filled", slice(2, 3)), ("mr_filled", slice(2, 5))):
        volumes[name] = np.zeros(SHAPE, np.uint8)
        volumes[name][rows] = 1
    volumes["mr_filled"][4, 8:] = 0  # oblique: the gap crosses this slice
    volumes["coverage"][(volumes["ct_filled"] | volumes["mr_filled"]) > 0] = 0
    table = assess(volumes, replace(CRITERIA, min_coverage=0.0))
    assert table["rule"].tolist() == [None, None, PairRule.INCOMPLETE, PairRule.INCOMPLETE, None, None]
    assert table["reason"][2] == "the CT and the MR have no slice here: one is missing in the series"
    assert table["reason"][3] == "the MR has no slice here: one is missing in the series"
    assert assess(volumes)["reason"][4] == (
        "both scans show only 92 % of the head here, wanted at least 95 %: in the rest the MR has no slice here: "
        "one is missing in the series"
    )


@pytest.mark.parametrize("mask", [0, 1])
def test_a_level_that_one_scan_does_not_reach_is_incomplete_with_and_without_head(mask: int) -> None:
    def cut(volumes: dict[str, np.ndarray]) -> None:
        volumes["coverage"][5] = 0
        volumes["mask"][5] *= mask
        volumes["ct"][5] = -1024

    assert rules_of(cut)[5] == PairRule.INCOMPLETE


@pytest.mark.parametrize(("columns", "rule"), [(25, None), (24, PairRule.EMPTY)])
def test_small_sections_are_empty(columns: int, rule: PairRule | None) -> None:
    """25 columns of 40 pixels are exactly 40 cm2."""

    def shrink(volumes: dict[str, np.ndarray]) -> None:
        volumes["mask"][0, :, 5 + columns :] = 0

    assert rules_of(shrink)[0] == rule


def test_slice_without_head_is_empty_not_incomplete() -> None:
    def beyond_the_vertex(volumes: dict[str, np.ndarray]) -> None:
        volumes["mask"][5] = 0
        volumes["coverage"][5, :10] = 0

    assert rules_of(beyond_the_vertex)[5] == PairRule.EMPTY


@pytest.mark.parametrize("name", ["mr", "ct"])
@pytest.mark.parametrize("value", [0.0, -1024.0, np.nan])
def test_constant_or_nan_content_is_empty(name: str, value: float) -> None:
    def blank(volumes: dict[str, np.ndarray]) -> None:
        volumes[name][2] = value

    assert rules_of(blank) == [None, None, PairRule.EMPTY, None, None, None]


def test_content_outside_the_head_does_not_save_a_slice() -> None:
    def only_table(volumes: dict[str, np.ndarray]) -> None:
        volumes["ct"][2, 5:45, 5:45] = -1000.0

    assert rules_of(only_table)[2] == PairRule.EMPTY


def test_quota_keeps_evenly_spaced_pairs_and_lists_the_rest() -> None:
    kept = rules_of(criteria=PairCriteria(0.95, 40.0, 2))
    assert kept == [QUOTA, None, QUOTA, QUOTA, None, QUOTA]


def test_quota_counts_pairs_only() -> None:
    def lose_the_ends(volumes: dict[str, np.ndarray]) -> None:
        volumes["mask"][[0, 5]] = 0

    kept = rules_of(lose_the_ends, PairCriteria(0.95, 40.0, 1))
    assert kept == [PairRule.EMPTY, QUOTA, QUOTA, None, QUOTA, PairRule.EMPTY]


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
    table = assess(volumes, PairCriteria(0.95, 40.0, 0, min_quality=0.5))
    assert table["rule"].tolist() == [None] * 3 + [PairRule.POOR_MATCH] * 3
    assert table["quality"][:3].min() > 0.9
    assert table["quality"][3:].max() < 0.3
    assert "another level, or the registration is off here" in table["reason"][5]


@pytest.mark.parametrize(
    ("distance_mm", "kept"), [(0, [0, 1, 2, 3, 4, 5]), (4, [0, 1, 2, 3, 4, 5]), (5, [0, 2, 4]), (9, [0, 3])]
)
def test_near_duplicates_are_avoided(distance_mm: float, kept: list[int]) -> None:
    """Slices are 4 mm apart."""
    table = assess(arrays(), PairCriteria(0.95, 40.0, 0, min_distance_mm=distance_mm))
    assert table.loc[table["rule"].isna(), "k"].tolist() == kept
    assert set(table["rule"]) <= {None, PairRule.NEAR_DUPLICATE}


def test_the_quota_counts_what_is_left() -> None:
    table = assess(arrays(), PairCriteria(0.95, 40.0, 1, min_distance_mm=5))
    assert table["rule"].tolist() == [QUOTA, NEAR, None, NEAR, QUOTA, NEAR]


SIZE = 96


def phantom() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """CT in HU, MR and mask of a disk with a bright rim in the CT and dark lakes inside."""
    y, x = np.mgrid[:SIZE, :SIZE] - SIZE / 2
    radius = np.hypot(x, y)
    mask = radius < 40
    lakes = np.hypot(x - 10, y + 6) < 9
    ct = np.where(mask, np.where(radius > 34, 1000.0, np.where(lakes, 5.0, 35.0)), -1000.0)
    mr = np.where(mask, np.where(radius > 34, 60.0, np.where(lakes, 900.0, 400.0)), 0.0)
    rng = np.random.default_rng(1)
    noise = (ndimage.gaussian_filter(rng.normal(0, 30, mask.shape), 1.0) for _ in range(2))
    return ct + next(noise), mr + next(noise), mask


def test_dice_of_a_half_and_of_nothing() -> None:
    square, half = np.ones((4, 4), bool), np.zeros((4, 4), bool)
    half[:2] = True
    assert dice(square, half) == pytest.approx(2 / 3)
    assert np.isnan(dice(~square, ~square))


def test_edges_agree_with_their_own_inverse_and_not_across() -> None:
    """The angle counts, not the sign; without noise parameters crossing gradients agree nowhere."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(float)
    inside = np.ones((SIZE, SIZE), bool)
    inside[:8], inside[-8:], inside[:, :8], inside[:, -8:] = False, False, False, False
    # each gradient equals the floor: a quarter of the squared cosine is left
    assert edge_agreement(x, -x, inside, 1.0) == pytest.approx(0.25, abs=1e-6)
    assert edge_agreement(x, y, inside, 1.0) == pytest.approx(0.0, abs=1e-6)
    assert np.isnan(edge_agreement(np.ones_like(x), x, inside, 1.0))


def test_a_shift_lowers_every_score() -> None:
    ct, mr, mask = phantom()
    seen = np.ones_like(mask)
    here, shifted = (
        match_slices(ct, np.roll(mr, n, 1), (mask, np.roll(mask, n, 1)), seen, 1.0) for n in (0, 6)
    )
    assert here.mask_overlap == 1
    assert shifted.quality < here.quality - 0.1
    assert shifted.mask_overlap < here.mask_overlap
    assert shifted.edge_agreement < here.edge_agreement - 0.1


def test_scores_do_not_depend_on_the_unit_of_the_mr() -> None:
    ct, mr, mask = phantom()
    one, other = (match_slices(ct, scale * mr, (mask, mask), np.ones_like(mask), 1.0) for scale in (1, 250))
    assert one.quality == pytest.approx(other.quality, abs=1e-6)
    assert one.edge_agreement == pytest.approx(other.edge_agreement, abs=1e-6)


def test_nothing_to_compare_is_nan() -> None:
    ct, mr, mask = phantom()
    empty = np.zeros_like(mask)
    assert np.isnan(match_slices(ct, mr, (mask, mask), empty, 1.0).quality)
