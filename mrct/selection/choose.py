"""Deterministic choice of one CT and one MR of a patient, among the series that the rules leave.

A criterion of `select.prefer` assigns a cost to each series. Every series within the criterion's tolerance of the best
one goes on to the next criterion, so that small differences do not decide.

A head CT in several series is joined first (mrct/selection/join.py).

The stage `select` and the dry run of `mrct check` share this module, so that the dry run shows what the stage does.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mrct.core.contracts import SelectionStatus, SeriesVerdict
from mrct.dicom.errors import GeometryError
from mrct.dicom.series import Series
from mrct.dicom.stack import Stack, plane, stack
from mrct.selection.acquisition import kernel_class
from mrct.selection.classify import (
    ACCEPTED,
    BY_NAME,
    NOT_CHOSEN,
    Verdict,
    classify,
    classify_stack,
    failed,
    rejected,
)
from mrct.selection.join import COVERAGE_TOLERANCE_MM, WHOLE_HEAD_MM, Block, find_joins
from mrct.selection.parameters import Rules

_KERNEL_RANK = {"soft": 0, "unknown": 1, "sharp": 2}
# rules about the height of a series, which do not concern what is joined to another one
_ABOUT_HEIGHT = ("", "coverage")
# heads lie in the scanner with such differences, and gantries are tilted by them
_TILT_TOLERANCE_DEG = 15.0
# smaller differences of pixels and slices come from rounding the same prescription
_TENTH = float(np.log(1.1))


@dataclass(frozen=True)
class Measured:
    """Verdict on a series that was read, and remarks; the rule of the verdict is empty if the series is usable."""

    verdict: Verdict = ACCEPTED
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Decision:
    """A series with its verdict; a series without a rule is the chosen CT or MR of the patient."""

    series: Series
    verdict: Verdict
    slice_spacing_mm: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def outcome(self) -> SeriesVerdict:
        return SeriesVerdict.REJECTED if self.verdict.rule else SeriesVerdict.KEPT

    @property
    def kept(self) -> bool:
        return self.outcome == SeriesVerdict.KEPT

    @property
    def reason(self) -> str:
        """Why the series is rejected, and what was left out of its stack or corrected in it."""
        return "; ".join(filter(None, [self.verdict.reason, *self.notes]))


@dataclass(frozen=True)
class Choice:
    """The result for a patient: a decision per series (in the order given), the two chosen series, and the status."""

    patient: str
    decisions: tuple[Decision, ...]
    ct: Series | None
    mr: Series | None
    status: SelectionStatus
    days_between: int | None
    reason: str

    @property
    def same_frame(self) -> bool:
        """Return whether both headers name one frame of reference, and so claim that the images are registered."""
        if self.ct is None or self.mr is None:
            return False
        return self.ct.first.frame_of_reference == self.mr.first.frame_of_reference != ""


@dataclass(frozen=True)
class Candidate:
    """A usable series, its stack, and the days to the nearest (or the chosen) series of the other modality."""

    series: Series
    stack: Stack
    days: int | None

    @property
    def n_slices(self) -> int:
        return self.stack.n_slices

    @property
    def angle_deg(self) -> float:
        """Angle between the slices and the axial plane."""
        return plane(self.series)[1] or 0.0

    @property
    def n_missing(self) -> int:
        return len(self.stack.filled)

    @property
    def coverage_mm(self) -> float:
        return self.stack.height_mm

    @property
    def pixel_mm(self) -> float:
        return max(self.stack.instances[0].pixel_spacing_mm or (np.inf,))

    @property
    def kernel(self) -> str:
        return kernel_class(self.series.first) if self.series.modality == "CT" else "unknown"


@dataclass(frozen=True)
class Criterion:
    """The `cost` of a candidate (lower is better), its `tolerance`, and `why`: the reason of (loser, better)."""

    cost: Callable[[Candidate], float]
    tolerance: float
    why: Callable[[Candidate, Candidate], str]


#: The criteria that `select.prefer` may name.
CRITERIA: dict[str, Criterion] = {
    "soft_kernel": Criterion(
        lambda one: _KERNEL_RANK[one.kernel],
        0,
        lambda loser, better: f"has a {loser.kernel} kernel, a better one a {better.kernel} one",
    ),
    "nearest_date": Criterion(
        lambda one: np.inf if one.days is None else one.days,
        0,
        lambda loser, better: f"is {_days(loser)} from the {_other(loser)}, a better one {_days(better)}",
    ),
    "less_tilt": Criterion(
        lambda one: one.angle_deg,
        _TILT_TOLERANCE_DEG,
        lambda loser, better: f"is {loser.angle_deg:.0f}° from axial, a better one {better.angle_deg:.0f}°",
    ),
    "more_coverage": Criterion(
        lambda one: -min(one.coverage_mm, WHOLE_HEAD_MM),
        COVERAGE_TOLERANCE_MM,
        lambda loser, better: f"covers {loser.coverage_mm:.0f} mm, a better one {better.coverage_mm:.0f} mm",
    ),
    "finer_pixels": Criterion(
        lambda one: np.log(one.pixel_mm),
        _TENTH,
        lambda loser, better: (
            f"has pixels of {loser.pixel_mm:.3g} mm, a better one of {better.pixel_mm:.3g} mm"
        ),
    ),
    "more_slices": Criterion(
        lambda one: -np.log(one.n_slices),
        _TENTH,
        lambda loser, better: f"has {loser.n_slices} usable slices, a better one {better.n_slices}",
    ),
    "fewer_gaps": Criterion(
        lambda one: one.n_missing,
        0,
        lambda loser, better: f"lacks slices ({loser.n_missing}), a better one fewer ({better.n_missing})",
    ),
    "first": Criterion(
        lambda one: one.series.first.series_number,
        0,
        lambda loser, better: "is as good, the chosen one comes first",
    ),
    "last": Criterion(
        lambda one: -one.series.first.series_number,
        0,
        lambda loser, better: "is as good, the chosen one comes last",
    ),
}


def choose(
    patient: str, series: Sequence[Series], rules: Rules, measured: Mapping[str, Measured] | None = None
) -> Choice:
    """Classify all series of a patient and choose one CT and one MR.

    The criterion about days prefers the MR nearest in time to any CT, then the CT nearest to that MR.

    Args:
        patient: Name of the patient that may be shown.
        series: All series of the patient.
        rules: The parameters of the selection.
        measured: Series name -> what it turned out to be, for series that were read.
    """
    known = measured or {}
    stacks: dict[str, Stack] = {}
    verdicts = {item.name: _verdict(item, rules, known, stacks) for item in series}
    blocks = [Block(item, stacks[item.name]) for item in series if verdicts[item.name].rule in _ABOUT_HEIGHT]
    joins = {}
    for join in find_joins(blocks):
        verdict = _verdict(join.series, rules, known, stacks)
        if not verdict.rule:
            joins[join.series.name] = join
        elif join.series.name in known:
            verdicts |= {part.name: verdict for part in join.parts if verdicts[part.name].rule}
    joined = {part.name for join in joins.values() for part in join.parts}
    usable = [item for item in series if not verdicts[item.name].rule and item.name not in joined]
    usable += [join.series for join in joins.values()]
    chosen: dict[str, Series | None] = {}
    for modality in ("MR", "CT"):
        others = [chosen["MR"]] if "MR" in chosen else [item for item in usable if item.modality == "CT"]
        candidates = [
            Candidate(item, stacks[item.name], _nearest_days(item, others))
            for item in usable
            if item.modality == modality
        ]
        if not candidates:
            chosen[modality] = None
            continue
        winner, why = best(candidates, rules.prefer)
        chosen[modality] = winner.series
        lost = {part: reason for loser, reason in why.items() for part in _part_names(loser, joins)}
        verdicts |= {loser: _not_chosen(reason, winner.series) for loser, reason in lost.items()}
    ct, mr = chosen["CT"], chosen["MR"]
    whole = {part: item.name for item in (ct, mr) if item for part in _part_names(item.name, joins)}
    verdicts |= dict.fromkeys(whole, ACCEPTED)
    names = [whole.get(item.name, item.name) for item in series]
    decisions = tuple(
        _decision(item, verdicts[item.name], stacks.get(name), known.get(name, Measured()))
        for item, name in zip(series, names, strict=True)
    )
    days = _days_between(ct, mr)
    status, reason = _status(ct, mr, days, rules)
    return Choice(patient, decisions, ct, mr, status, days, reason)


def _part_names(name: str, joins: Mapping[str, Block]) -> tuple[str, ...]:
    """Return the names of the series that a candidate consists of."""
    return tuple(part.name for part in joins[name].parts) if name in joins else (name,)


def best(candidates: Sequence[Candidate], prefer: Sequence[str]) -> tuple[Candidate, dict[str, str]]:
    """Find the best of one or more candidates.

    Each criterion drops the candidates whose cost exceeds the lowest one by more than the tolerance. If several remain
    at the end, the name of the series decides.

    Returns:
        The best candidate, and series name -> why it lost, for each of the others.
    """
    left = sorted(candidates, key=lambda one: one.series.name)
    why: dict[str, str] = {}
    for name in prefer:
        criterion = CRITERIA[name]
        lead = min(left, key=criterion.cost)
        limit = criterion.cost(lead) + criterion.tolerance
        dropped = {one.series.name: one for one in left if criterion.cost(one) > limit}
        why |= {loser: f"{criterion.why(one, lead)} (by {name})" for loser, one in dropped.items()}
        left = [one for one in left if one.series.name not in dropped]
    why |= {one.series.name: "is as good by all of select.prefer; the name decided" for one in left[1:]}
    return left[0], why


def _verdict(
    item: Series, rules: Rules, measured: Mapping[str, Measured], stacks: dict[str, Stack]
) -> Verdict:
    """Apply the rules, then what the series turned out to be; a rule that fails on a header rejects that series."""
    try:
        verdict = classify(item, rules)
        if verdict.rule:
            return verdict
        stacks[item.name] = stack(item)
        verdict = classify_stack(item, stacks[item.name], rules)
    except GeometryError as error:
        return rejected(BY_NAME["geometry"], str(error))
    except Exception as error:
        return failed(error)
    return measured[item.name].verdict if not verdict.rule and item.name in measured else verdict


def _decision(item: Series, verdict: Verdict, layout: Stack | None, measured: Measured) -> Decision:
    if layout is None:
        return Decision(item, verdict, notes=item.notes)
    spacing_mm = round(layout.slice_spacing_mm, 4)
    # the notes of a series that was read hold those of its headers, unless slices turned out to be blank
    return Decision(item, verdict, spacing_mm, measured.notes or layout.notes)


def _not_chosen(why: str, winner: Series) -> Verdict:
    return rejected(NOT_CHOSEN, f"series {winner.name} of this patient was chosen; this one {why}")


def _days_between(one: Series | None, other: Series | None) -> int | None:
    """Return the whole days between the two acquisitions, or None if one is unknown."""
    if one is None or other is None or one.first.acquired is None or other.first.acquired is None:
        return None
    return abs((one.first.acquired - other.first.acquired).days)


def _nearest_days(item: Series, others: Iterable[Series | None]) -> int | None:
    """Return the whole days to the nearest of the others, or None if no dates are known."""
    known = [days for other in others if (days := _days_between(item, other)) is not None]
    return min(known, default=None)


def _status(
    ct: Series | None, mr: Series | None, days: int | None, rules: Rules
) -> tuple[SelectionStatus, str]:
    if ct is None or mr is None:
        lacking = " and ".join(name for name, item in (("CT", ct), ("MR", mr)) if item is None)
        return SelectionStatus.UNPAIRED, f"no usable {lacking}"
    if rules.max_days_between and days is None:  # de-identified exports often come without dates
        return (
            SelectionStatus.PAIRED,
            "the days between CT and MR are unknown: a date is missing or cannot be true",
        )
    if rules.max_days_between and days is not None and days > rules.max_days_between:
        reason = f"CT and MR are {days} days apart, more than {rules.max_days_between}"
        return SelectionStatus.LEFT_OUT, reason
    return SelectionStatus.PAIRED, ""


def _other(one: Candidate) -> str:
    return "CT" if one.series.modality == "MR" else "MR"


def _days(one: Candidate) -> str:
    return "an unknown time" if one.days is None else f"{one.days} days"
