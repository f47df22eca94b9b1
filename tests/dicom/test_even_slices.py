"""Even slices from levels alone: rounding, missing images, strays, and averages, against the levels' closed forms."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mrct.dicom.even_slices import EvenSlices, even_slices

SPACINGS_MM = st.sampled_from([0.4, 0.5, 0.625, 0.7, 1.0, 1.25, 2.5, 3.3, 4.8, 5.5, 7.15])


def made(levels: object, thicknesses: object = None, *, ct: bool = False) -> EvenSlices:
    levels = np.asarray(levels, float)
    found = even_slices(levels, thicknesses or [None] * len(levels), may_average=ct)  # type: ignore[arg-type]
    assert found is not None
    return found


def slice_levels(even: EvenSlices) -> np.ndarray:
    depth = len(even.members) if even.weights is None else len(even.weights)
    return even.first_level_mm + even.spacing_mm * np.arange(depth)


@settings(max_examples=150, deadline=None)
@given(SPACINGS_MM, st.floats(-300, 300), st.integers(4, 250), st.sampled_from([1, 2, 3]))
def test_rounded_positions_lose_no_image_and_move_none_by_more_than_the_rounding(
    spacing_mm: float, first_mm: float, count: int, decimals: int
) -> None:
    true = first_mm + spacing_mm * np.arange(count)
    even = made(np.round(true, decimals))
    assert even.members == tuple(range(count))
    assert (even.weights, even.filled, even.notes) == (None, (), ())
    assert np.abs(slice_levels(even) - true).max() <= 0.5 * 10.0**-decimals + 1e-9


@settings(max_examples=150, deadline=None)
@given(SPACINGS_MM, st.integers(6, 60), st.sampled_from([1, 3]), st.data())
def test_images_that_are_missing_here_and_there_cost_no_other_image(
    spacing_mm: float, count: int, decimals: int, data: st.DataObject
) -> None:
    lost = data.draw(st.sets(st.integers(1, count - 2), max_size=count // 3))
    real = [k for k in range(count) if k not in lost]
    # three images in a row tell the spacing, and an end must not be shorter than the gap beside it
    steps = np.diff(real)
    assume(any(a == b == 1 for a, b in pairwise(steps)))
    parts = np.split(np.array(real), np.flatnonzero(steps > 1) + 1)
    assume(all(len(part) >= 3 for part in (parts[0], parts[-1])))
    true = 12.3 + spacing_mm * np.arange(count)
    even = made(np.round(true[real], decimals))
    assert even.members == tuple(range(len(real)))
    assert even.filled == tuple(sorted(lost))
    np.testing.assert_allclose(slice_levels(even), true, atol=0.5 * 10.0**-decimals + 1e-9)
    if not lost:
        return
    assert even.weights is not None
    np.testing.assert_allclose(even.weights.sum(axis=1), 1.0)
    np.testing.assert_allclose(even.weights @ true[real], true, atol=0.11)
    np.testing.assert_array_equal(even.weights[real], np.eye(len(real)))
    assert any("interpolated, never used as a pair" in note for note in even.notes)


def test_a_gap_is_interpolated_between_its_neighbors() -> None:
    even = made([0, 5, 10, 25, 30, 35])
    assert even.filled == (3, 4)
    assert even.weights is not None
    np.testing.assert_allclose(even.weights[3], [0, 0, 2 / 3, 1 / 3, 0, 0])
    assert even.notes == (
        "slices are missing: 1 gap of up to 15.0 mm",
        "2 missing slices interpolated, never used as a pair",
    )


@pytest.mark.parametrize(
    ("levels", "members", "filled"),
    [
        ([*range(0, 115, 5), 150], range(23), ()),  # one image 40 mm above: 8 spacings, on the grid
        ([-100, -50, *range(0, 115, 5)], range(2, 25), ()),
        ([*range(0, 110, 5), 115], range(23), (22,)),  # one image after one gap is no stray
        ([*range(0, 40, 5), *range(90, 120, 5)], range(14), range(8, 18)),  # a hole between two parts
        ([*range(0, 40, 5), *range(200, 230, 5)], range(8), ()),  # more missing than there is
        ([*range(0, 110, 5), 111.4], range(22), ()),  # the last at 6.4 mm
        ([0, 5, 10, 15, 22, 25, 30, 35], [0, 1, 2, 3, 5, 6, 7], (4,)),  # one position is wrong
        ([0, 5, 10, 10.2, 15, 20, 25], [0, 1, 2, 4, 5, 6], ()),  # one level twice, and not quite
        ([0, 10, 15, 25, 30, 40, 45, 55], range(8), (1, 4, 7, 10)),  # every third is missing
        ([0, 5, 10, 20, 30, 35, 40, 45], range(8), (3, 5)),
    ],
    ids=[
        "stray",
        "strays below",
        "end",
        "hole",
        "far part",
        "Philips",
        "typed",
        "twice",
        "third",
        "alternate",
    ],
)
def test_each_image_is_at_its_own_level_or_left_out(levels: list, members: object, filled: object) -> None:
    even = made(levels)
    assert even.members == tuple(members)  # type: ignore[arg-type]
    assert even.filled == tuple(filled)  # type: ignore[arg-type]
    at = slice_levels(even)
    real = np.delete(at, list(even.filled))
    np.testing.assert_allclose(np.asarray(levels, float)[list(even.members)], real, atol=0.1)
    left_out = len(levels) - len(even.members)
    kept = f"kept {len(even.members)} of {len(levels)} slices, the largest even stack"
    assert (kept in even.notes) == bool(left_out)


@pytest.mark.parametrize(
    "levels",
    [
        np.cumsum([0, *[2.5] * 20, *[2.75] * 20]),
        np.cumsum([0, *[5.0] * 10, *[5.1] * 10]),
        np.cumsum(np.linspace(5.0, 5.2, 21)),
        np.cumsum([0, *[1.0] * 12, 1.3, *[1.0] * 12]),
    ],
    ids=["2.5 then 2.75", "5 then 5.1", "drift", "one step"],
)
def test_distances_that_truly_change_are_told(levels: np.ndarray) -> None:
    even = made(levels)
    assert len(even.members) < len(levels)
    assert any(note.startswith("uneven") for note in even.notes)
    real = np.delete(slice_levels(even), list(even.filled))
    np.testing.assert_allclose(levels[list(even.members)], real, atol=0.1 + 1e-6)


@pytest.mark.parametrize("upside_down", [False, True])
def test_thin_images_are_not_averaged_over_a_gap_among_them(upside_down: bool) -> None:
    """3 mm below 6 mm; one thin image is missing, so that one thick slice has no data."""
    thin = [3.0 * k for k in range(8) if k != 3]
    levels = np.array(thin + [25.5 + 6.0 * k for k in range(6)])
    thicknesses = [3.0] * 7 + [6.0] * 6
    if upside_down:
        levels, thicknesses = -levels[::-1], thicknesses[::-1]
    even = made(levels, thicknesses, ct=True)
    at = slice_levels(even)
    assert even.spacing_mm == pytest.approx(6.0)
    assert np.abs(at[list(even.filled)]) == pytest.approx([7.5])
    assert even.weights is not None
    used = levels[list(even.members)]
    np.testing.assert_allclose(even.weights @ used, at, atol=1e-9)
    averaged = np.delete(even.weights, list(even.filled), axis=0)
    reach = [
        np.abs(used[row > 0] - level).max()
        for row, level in zip(averaged, np.delete(at, even.filled), strict=True)
    ]
    assert max(reach) <= 1.5 + 1e-9


def test_a_gap_among_thick_images_keeps_them_and_the_averages() -> None:
    levels = [3.0 * k for k in range(8)] + [25.5 + 6.0 * k for k in range(7) if k != 2]
    even = made(levels, [3.0] * 8 + [6.0] * 6, ct=True)
    assert even.members == tuple(range(14))
    assert slice_levels(even)[list(even.filled)] == pytest.approx([37.5])


@pytest.mark.parametrize("thickness", [5.0, None])
def test_an_image_without_a_thickness_belongs_to_its_neighbors(thickness: float | None) -> None:
    levels = [5.0 * k for k in range(9)]
    thicknesses = [5.0, 5.0, 5.0, 5.0, None, *[thickness] * 4]
    assert made(levels, thicknesses).members == tuple(range(9))


def test_images_of_two_thicknesses_share_no_stack_of_an_mr() -> None:
    levels = [5.0 * k for k in range(12)]
    even = made(levels, [5.0] * 7 + [3.0] * 5)
    assert even.members == tuple(range(7))


@settings(max_examples=80, deadline=None)
@given(st.lists(st.floats(-500, 500, width=32), min_size=2, max_size=60, unique=True), st.booleans())
def test_whatever_the_levels_an_image_is_never_far_from_its_slice(levels: list[float], ct: bool) -> None:
    at = np.sort(np.array(levels))
    assume((np.diff(at) > 0.01).all())
    even = even_slices(at, [None] * len(at), may_average=ct)
    if even is None:
        return
    own = slice_levels(even)
    if even.weights is None:
        np.testing.assert_allclose(at[list(even.members)], own, atol=0.1 + 1e-5)
        return
    np.testing.assert_allclose(even.weights.sum(axis=1), 1.0)
    assert 2 * len(even.filled) <= len(own)
    assert not {0, len(own) - 1} & set(even.filled)
    single = np.isclose(even.weights.max(axis=1), 1.0)
    np.testing.assert_allclose((even.weights @ at[list(even.members)])[single], own[single], atol=0.1 + 1e-5)


def test_a_position_a_kilometer_away_costs_neither_memory_nor_the_stack() -> None:
    even = made([*(5.0 * k for k in range(20)), 1_000_000.0])
    assert even.members == tuple(range(20))
