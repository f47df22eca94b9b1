"""Limits on the extent of a stack, and the choice among the others: closed forms of coverage, field and spacing."""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from mrct.dicom.series import Instance, Series
from mrct.selection.choose import choose
from mrct.selection.explain import explain_empty
from mrct.selection.parameters import Rules

LIMITS = Rules(min_coverage_mm=60.0, min_field_mm=150.0, max_spacing_mm=8.0)
FIRST = Instance(
    Path("x"),
    modality="MR",
    image_type=("ORIGINAL", "PRIMARY", "M"),
    orientation=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    pixel_spacing_mm=(1.0, 1.0),
    rows=240,
    columns=180,
    te_ms=100.0,
    tr_ms=4000.0,
    echo_train_length=1,
    scanning_sequence=("SE",),
)


def series(levels_mm: list[float], name: str = "S", **changes: object) -> Series:
    first = replace(FIRST, **changes)  # type: ignore[arg-type]
    slices = [
        replace(first, path=Path(str(k)), instance_number=k, position=(0.0, 0.0, z))
        for k, z in enumerate(levels_mm)
    ]
    return Series("P", name, tuple(slices))


def levels(count: int, spacing_mm: float) -> list[float]:
    return [spacing_mm * k for k in range(count)]


def rule_of(item: Series, rules: Rules = LIMITS) -> str:
    return choose("P", [item], rules).decisions[0].verdict.rule


@pytest.mark.parametrize(
    ("item", "rule"),
    [
        (series(levels(12, 5.0)), ""),  # 60 mm by 240 mm
        (series(levels(11, 5.0)), "coverage"),
        (series(levels(12, 5.0), pixel_spacing_mm=(0.6, 0.6)), "field_of_view"),  # 144 mm
        (series(levels(12, 5.0), rows=100, columns=150), ""),  # the longer side counts
        (series(levels(10, 8.0)), ""),
        (series(levels(10, 8.1)), "spacing"),
    ],
    ids=["60 mm", "55 mm", "144 mm wide", "150 mm wide", "8 mm apart", "8.1 mm apart"],
)
def test_each_limit_and_its_other_side(item: Series, rule: str) -> None:
    assert rule_of(item) == rule
    assert rule_of(item, Rules()) == ""


@pytest.mark.parametrize(
    "missing", [(), (29,), (1,), (26,), (20,), (9, 10, 15), tuple(range(8, 18))], ids=str
)
def test_missing_slices_cost_a_series_only_their_own_height(missing: tuple) -> None:
    item = series([z for k, z in enumerate(levels(30, 5.0)) if k not in missing])
    [decision] = choose("P", [item], LIMITS).decisions
    assert decision.kept
    lost = [k for k in missing if k < 29]
    assert any(note.startswith(f"{len(lost)} missing") for note in decision.notes) == bool(lost)
    seen_mm = 5.0 * (30 - len(missing))
    assert rule_of(item, replace(LIMITS, min_coverage_mm=seen_mm)) == ""
    assert rule_of(item, replace(LIMITS, min_coverage_mm=seen_mm + 1)) == "coverage"


def test_a_series_of_which_too_little_is_even_is_uneven_and_tells_what_is_left() -> None:
    """One half lies off the levels of the other."""
    item = series([*levels(14, 5.0), *(167.4 + 5.0 * k for k in range(13))])
    [decision] = choose("P", [item], LIMITS).decisions
    assert decision.verdict.rule == "uneven"
    assert decision.verdict.reason == "only 14 of 27 slices form an even stack"
    assert "slices are missing: 1 gap of up to 102.4 mm" in decision.notes
    assert rule_of(item, replace(LIMITS, reject=("tse",))) == ""


def test_a_clearly_smaller_tilt_goes_before_height_and_a_small_difference_does_not() -> None:
    def tilted(degrees: float, name: str, count: int) -> Series:
        angle = np.radians(degrees)
        cosines = (1.0, 0.0, 0.0, 0.0, float(np.cos(angle)), float(np.sin(angle)))
        normal = np.array([0.0, -np.sin(angle), np.cos(angle)])
        item = series(levels(count, 5.0), name, orientation=cosines)
        moved = [replace(one, position=tuple(5.0 * k * normal)) for k, one in enumerate(item.instances)]
        return replace(item, instances=tuple(moved))

    high, low, near = tilted(25.0, "high", 24), tilted(2.0, "low", 20), tilted(15.0, "near", 24)
    for rivals, winner in (([high, low], "low"), ([low, near], "near")):
        choice = choose("P", rivals, LIMITS)
        assert choice.mr is not None
        assert choice.mr.name == winner
    [reason] = [one.verdict.reason for one in choose("P", [high, low], LIMITS).decisions if not one.kept]
    assert reason.endswith("this one is 25° from axial, a better one 2° (by less_tilt)")


def test_of_two_equal_series_the_one_without_a_gap_is_chosen() -> None:
    whole = series(levels(24, 5.0), "whole", series_number=9)
    gap = series([z for z in levels(24, 5.0) if z != 50.0], "gap", series_number=1)
    for order in ([whole, gap], [gap, whole]):
        choice = choose("P", order, LIMITS)
        assert choice.mr is not None
        assert choice.mr.name == "whole"
        [reason] = [one.verdict.reason for one in choice.decisions if one.series is gap]
        assert reason.endswith("this one lacks slices (1), a better one fewer (0) (by fewer_gaps)")


@pytest.mark.parametrize(
    ("item", "key"),
    [
        (series(levels(5, 5.0)), "select.min_coverage_mm=0"),
        (series(levels(20, 5.0), rows=90, columns=90), "select.min_field_mm=0"),
        (series(levels(20, 10.0)), "select.max_spacing_mm=0"),
    ],
    ids=["coverage", "field", "spacing"],
)
def test_an_empty_cohort_names_the_limit_to_lift(item: Series, key: str) -> None:
    ct = series(levels(30, 5.0), name="ct", modality="CT", has_rescale=True)
    choice = choose("P", [item, ct], LIMITS)
    assert f"admit them with -S {key}." in explain_empty([choice], LIMITS)


@pytest.mark.parametrize(
    ("rival", "winner"),
    [
        (series(levels(22, 5.5), "rival", pixel_spacing_mm=(2.0, 2.0)), "rival"),  # 121 mm: 21 mm more
        (series(levels(22, 5.0), "rival", pixel_spacing_mm=(2.0, 2.0)), "fine"),  # 10 mm more do not decide
        # similar pixels, thinner slices
        (series(levels(40, 2.5), "rival", pixel_spacing_mm=(1.05, 1.05)), "rival"),
        (series(levels(40, 2.5), "rival", pixel_spacing_mm=(1.2, 1.2)), "fine"),
        (series(levels(21, 5.0), "rival", series_number=9), "fine"),  # one slice more does not decide
    ],
    ids=["coverage", "two slices", "thinner", "coarser pixels", "one slice"],
)
def test_only_a_difference_that_means_something_decides(rival: Series, winner: str) -> None:
    fine = series(levels(20, 5.0), "fine")
    for order in ([fine, rival], [rival, fine]):
        choice = choose("P", order, LIMITS)
        assert choice.mr is not None
        assert choice.mr.name == winner


def test_tolerances_do_not_add_up_over_a_chain_of_rivals() -> None:
    """Each covers 8 mm more than the one before: only the two longest differ by less than 10 mm."""
    chain = [
        series(levels(count, 4.0), name, pixel_spacing_mm=(pixel, pixel))
        for name, count, pixel in (("a", 20, 0.7), ("b", 22, 0.8), ("c", 24, 1.0))
    ]
    choice = choose("P", chain, LIMITS)
    assert choice.mr is not None
    assert choice.mr.name == "b"


def test_the_mr_nearest_to_the_ct_is_chosen_and_a_follow_up_alone_is_left_out() -> None:
    day = date(2020, 1, 1)
    ct = series(levels(30, 5.0), "ct", modality="CT", has_rescale=True, acquired=day)
    early = series(levels(16, 5.0), "early", acquired=day + timedelta(9))
    late = series(levels(30, 5.0), "late", acquired=day + timedelta(200))
    choice = choose("P", [late, ct, early], LIMITS)
    assert choice.mr == early
    [reason] = [one.verdict.reason for one in choice.decisions if one.series is late]
    assert reason.endswith("this one is 200 days from the CT, a better one 9 days (by nearest_date)")
    alone = choose("P", [late, ct], replace(LIMITS, max_days_between=90))
    assert (alone.status, alone.reason) == ("left_out", "CT and MR are 200 days apart, more than 90")


def test_an_empty_cohort_is_explained_by_what_costs_most_patients() -> None:
    def patient(name: str, days: int, train: int) -> list[Series]:
        day = date(2020, 1, 1)
        ct = series(levels(30, 5.0), f"{name} ct", modality="CT", has_rescale=True, acquired=day)
        mr = series(levels(30, 5.0), f"{name} mr", acquired=day + timedelta(days), echo_train_length=train)
        return [ct, mr]

    rules = replace(LIMITS, max_days_between=90)
    far, turbo = (
        choose(name, patient(name, days, train), rules) for name, days, train in (("f", 99, 1), ("t", 0, 9))
    )
    assert "Rule 'tse' removed 2 MR series" in explain_empty([far, turbo, turbo], rules)
    assert "2 patients were left out by select.max_days_between" in explain_empty([far, far, turbo], rules)


def test_a_thick_slice_that_comes_first_makes_no_projection_of_a_series_of_two_thicknesses() -> None:
    """Projections are slabs much thicker than their distance; here the thickness of each slice equals its distance."""
    thin = [(2.5 * k, 2.5) for k in range(16)]
    thick = [(43.75 + 10.0 * k, 10.0) for k in range(9)]
    slices = [
        replace(
            FIRST, modality="CT", has_rescale=True, instance_number=n, position=(0.0, 0.0, z), thickness_mm=mm
        )
        for n, (z, mm) in enumerate([thick[-1], *thin, *thick[:-1]])
    ]
    assert rule_of(Series("P", "S", tuple(slices)), Rules()) == ""
    slabs = [replace(one, thickness_mm=30.0) for one in slices]
    assert rule_of(Series("P", "S", tuple(slabs))) == "derived"
