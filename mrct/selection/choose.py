"""One CT and one MR a patient: a deterministic choice among what the rules leave, each loser listed.

The stage `select` and the dry run share it, so that what `check` announces is what happens.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mrct.dicom.series import Series
from mrct.dicom.stack import GeometryError, Stack, stack
from mrct.selection.classify import Rules, Verdict, classify
from mrct.selection.extent import falls_short
from mrct.selection.prefer import Candidate, best


@dataclass(frozen=True)
class Decision:
    """A series with its verdict; an empty rule means that it is the patient's chosen CT or MR."""

    series: Series
    verdict: Verdict
    slice_spacing_mm: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def kept(self) -> bool:
        return not self.verdict.rule


@dataclass(frozen=True)
class Choice:
    """A patient: every series' decision (in the order given), the chosen two, and the patient's status."""

    patient: str
    decisions: tuple[Decision, ...]
    ct: Series | None
    mr: Series | None
    status: str
    days_between: int | None
    reason: str


def choose(
    patient: str, series: Sequence[Series], rules: Rules, broken: Mapping[str, str] | None = None
) -> Choice:
    """Classify all series and choose; `broken` names series whose pixels proved unusable, with the reason."""
    stacks: dict[str, Stack] = {}
    verdicts = {item.name: _verdict(item, rules, broken or {}, stacks) for item in series}
    usable = [item for item in series if not verdicts[item.name].rule]
    chosen: dict[str, Series | None] = {}
    for modality in ("MR", "CT"):
        # the MR nearest to any CT, then the CT nearest to that MR
        others = [chosen["MR"]] if "MR" in chosen else [item for item in usable if item.modality == "CT"]
        candidates = [
            Candidate(item, stacks[item.name], nearest_days(item, others))
            for item in usable
            if item.modality == modality
        ]
        if not candidates:
            chosen[modality] = None
            continue
        winner, why = best(candidates, rules.prefer)
        chosen[modality] = winner.series
        verdicts |= {loser: _not_chosen(reason, winner.series) for loser, reason in why.items()}
    ct, mr = chosen["CT"], chosen["MR"]
    decisions = tuple(_decision(item, verdicts[item.name], stacks.get(item.name)) for item in series)
    days = days_between(ct, mr)
    status, reason = _status(ct, mr, days, rules)
    return Choice(patient, decisions, ct, mr, status, days, reason)


def days_between(one: Series | None, other: Series | None) -> int | None:
    """Whole days between the two acquisitions; None without both dates."""
    if one is None or other is None or one.first.acquired is None or other.first.acquired is None:
        return None
    return abs((one.first.acquired - other.first.acquired).days)


def nearest_days(item: Series, others: Iterable[Series | None]) -> int | None:
    """Whole days to the nearest of the others; None where no date tells."""
    known = [days for other in others if (days := days_between(item, other)) is not None]
    return min(known, default=None)


def _verdict(item: Series, rules: Rules, broken: Mapping[str, str], stacks: dict[str, Stack]) -> Verdict:
    verdict = classify(item, rules)
    if verdict.rule:
        return verdict
    try:
        stacks[item.name] = stack(item)
    except GeometryError as error:
        return Verdict("geometry", str(error), ("geometry",))
    rule, reason = falls_short(item, stacks[item.name], rules)
    if rule:
        return Verdict(rule, reason, (rule,))
    if item.name in broken:
        return Verdict("pixels", broken[item.name], ("pixels",))
    return verdict


def _decision(item: Series, verdict: Verdict, layout: Stack | None) -> Decision:
    if layout is None:
        return Decision(item, verdict)
    return Decision(item, verdict, round(layout.slice_spacing_mm, 4), layout.notes)


def _not_chosen(why: str, winner: Series) -> Verdict:
    reason = f"series {winner.name} of this patient was chosen; this one {why}"
    return Verdict("not_chosen", reason, ("not_chosen",))


def _status(ct: Series | None, mr: Series | None, days: int | None, rules: Rules) -> tuple[str, str]:
    if ct is None or mr is None:
        lacking = " and ".join(name for name, item in (("CT", ct), ("MR", mr)) if item is None)
        return "unpaired", f"no usable {lacking}"
    if rules.max_days_between and days is None:  # de-identified exports often come without dates
        return "paired", "the days between CT and MR are unknown: a date is missing"
    if rules.max_days_between and days is not None and days > rules.max_days_between:
        return "left_out", f"CT and MR are {days} days apart, more than {rules.max_days_between}"
    return "paired", ""
