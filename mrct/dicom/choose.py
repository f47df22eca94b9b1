"""One CT and one MR a patient: a deterministic choice among what the rules leave, each loser listed.

The stage `select` and the dry run share it, so that what `check` announces is what happens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mrct.dicom.classify import Rules, Verdict, classify
from mrct.dicom.series import Series
from mrct.dicom.stack import GeometryError, Stack, stack
from mrct.dicom.weighting import kernel_class

_KERNEL_RANK = {"soft": 0, "unknown": 1, "sharp": 2}


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
    mrs = sorted((one for one in usable if one.modality == "MR"), key=lambda one: _size_key(one, stacks))
    mr = mrs[0] if mrs else None
    cts = sorted((one for one in usable if one.modality == "CT"), key=lambda one: _ct_key(one, stacks, mr))
    ct = cts[0] if cts else None
    for winner, losers in ((mr, mrs[1:]), (ct, cts[1:])):
        for loser in losers:
            verdicts[loser.name] = _not_chosen(loser, winner, stacks)
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


def _size_key(item: Series, stacks: Mapping[str, Stack]) -> tuple:
    """More slices first, then finer pixels, then the earlier series; the name settles what is left."""
    layout = stacks[item.name]
    pixel_mm = max(layout.instances[0].pixel_spacing_mm or (0.0,))
    return -len(layout.instances), pixel_mm, item.first.series_number, item.name


def _ct_key(item: Series, stacks: Mapping[str, Stack], mr: Series | None) -> tuple:
    """A soft-tissue kernel first, then the CT nearest in time to the chosen MR, then by size."""
    days = days_between(item, mr)
    kernel = _KERNEL_RANK[kernel_class(item.first)]
    return kernel, np.inf if days is None else days, *_size_key(item, stacks)


def _not_chosen(loser: Series, winner: Series | None, stacks: Mapping[str, Stack]) -> Verdict:
    assert winner is not None
    mine, theirs = stacks[loser.name], stacks[winner.name]
    kernels = kernel_class(loser.first), kernel_class(winner.first)
    if loser.modality == "CT" and _KERNEL_RANK[kernels[0]] != _KERNEL_RANK[kernels[1]]:
        why = f"a {kernels[1]} kernel is preferred to a {kernels[0]} one"
    elif len(mine.instances) != len(theirs.instances):
        why = f"{len(mine.instances)} usable slices, the chosen one has {len(theirs.instances)}"
    else:
        why = "as good as the chosen one, which comes first"
    return Verdict("not_chosen", f"series {winner.name} of this patient was chosen: {why}", ("not_chosen",))


def _status(ct: Series | None, mr: Series | None, days: int | None, rules: Rules) -> tuple[str, str]:
    if ct is None or mr is None:
        lacking = " and ".join(name for name, item in (("CT", ct), ("MR", mr)) if item is None)
        return "unpaired", f"no usable {lacking}"
    if rules.max_days_between and days is None:
        return "left_out", "the days between CT and MR are unknown: a date is missing"
    if rules.max_days_between and days is not None and days > rules.max_days_between:
        return "left_out", f"CT and MR are {days} days apart, more than {rules.max_days_between}"
    return "paired", ""
