"""One CT and one MR a patient: a deterministic choice among what the rules leave, each loser listed.

The stage `select` and the dry run share it, so that what `check` announces is what happens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mrct.dicom.classify import Rules, Verdict, classify
from mrct.dicom.prefer import Candidate, best, why_not
from mrct.dicom.series import Series
from mrct.dicom.stack import GeometryError, Stack, stack


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
    for modality in ("MR", "CT"):  # the MR first: the CT nearest to it in time is wanted
        other = chosen.get("MR")
        candidates = [
            Candidate(item, stacks[item.name], days_between(item, other))
            for item in usable
            if item.modality == modality
        ]
        winner = best(candidates, rules.prefer)
        chosen[modality] = None if winner is None else winner.series
        for one in candidates:
            if winner is not None and one is not winner:
                verdicts[one.series.name] = _not_chosen(one, winner, rules)
    ct, mr = chosen["CT"], chosen["MR"]
    decisions = tuple(_decision(item, verdicts[item.name], stacks.get(item.name)) for item in series)
    days = days_between(ct, mr)
    status, reason = _status(ct, mr, days, rules)
    return Choice(patient, decisions, ct, mr, status, days, reason)


def days_between(ct: Series | None, mr: Series | None) -> int | None:
    """Whole days between the two acquisitions; None without both dates."""
    if ct is None or mr is None or ct.first.acquired is None or mr.first.acquired is None:
        return None
    return abs((ct.first.acquired - mr.first.acquired).days)


def _verdict(item: Series, rules: Rules, broken: Mapping[str, str], stacks: dict[str, Stack]) -> Verdict:
    verdict = classify(item, rules)
    if verdict.rule:
        return verdict
    try:
        stacks[item.name] = stack(item)
    except GeometryError as error:
        return Verdict("geometry", str(error), ("geometry",))
    if item.name in broken:
        return Verdict("pixels", broken[item.name], ("pixels",))
    return verdict


def _decision(item: Series, verdict: Verdict, layout: Stack | None) -> Decision:
    if layout is None:
        return Decision(item, verdict)
    return Decision(item, verdict, round(layout.slice_spacing_mm, 4), layout.notes)


def _not_chosen(loser: Candidate, winner: Candidate, rules: Rules) -> Verdict:
    why = why_not(loser, winner, rules.prefer)
    reason = f"series {winner.series.name} of this patient was chosen {why}"
    return Verdict("not_chosen", reason, ("not_chosen",))


def _status(ct: Series | None, mr: Series | None, days: int | None, rules: Rules) -> tuple[str, str]:
    if ct is None or mr is None:
        lacking = " and ".join(name for name, item in (("CT", ct), ("MR", mr)) if item is None)
        return "unpaired", f"no usable {lacking}"
    if rules.max_days_between and days is None:
        return "left_out", "the days between CT and MR are unknown: a date is missing"
    if rules.max_days_between and days is not None and days > rules.max_days_between:
        return "left_out", f"CT and MR are {days} days apart, more than {rules.max_days_between}"
    return "paired", ""
