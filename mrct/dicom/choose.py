"""One CT and one MR a patient: a deterministic choice among the series that the rules leave, each loser listed.

The stage `select` and the dry run share it, so that what `check` announces is what happens.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mrct.dicom.classify import REJECTABLE, Rules, Verdict, classify
from mrct.dicom.series import Series
from mrct.dicom.stack import GeometryError, Stack, stack
from mrct.dicom.weighting import kernel_class

_KERNEL_RANK = {"soft": 0, "unknown": 1, "sharp": 2}
_ADVICE = {
    "tse": "routine T2w is usually TSE",
    "oblique": "select.max_angle_deg admits more tilt",
}


@dataclass(frozen=True)
class Decision:
    """A series with its verdict; an empty rule means that it is the patient's chosen CT or MR."""

    series: Series
    verdict: Verdict
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
    mrs = sorted((item for item in usable if item.modality == "MR"), key=lambda item: _mr_key(item, stacks))
    mr = mrs[0] if mrs else None
    cts = sorted((item for item in usable if item.modality == "CT"), key=lambda item: _ct_key(item, stacks, mr))
    ct = cts[0] if cts else None
    for winner, losers in ((mr, mrs[1:]), (ct, cts[1:])):
        for loser in losers:
            verdicts[loser.name] = _not_chosen(loser, winner, stacks)
    decisions = tuple(Decision(item, verdicts[item.name], _notes(item, stacks)) for item in series)
    days = days_between(ct, mr)
    status, reason = _status(ct, mr, days, rules)
    return Choice(patient, decisions, ct, mr, status, days, reason)


def days_between(ct: Series | None, mr: Series | None) -> int | None:
    """Whole days between the two acquisitions; None without both dates."""
    if ct is None or mr is None or ct.first.acquired is None or mr.first.acquired is None:
        return None
    return abs((ct.first.acquired - mr.first.acquired).days)


def explain_empty(choices: Sequence[Choice], rules: Rules) -> str:
    """Why no patient has both: the rule that costs most, its count per vendor, and the key that relaxes it."""
    wanted = "MR" if rules.weighting == "any" else f"{rules.weighting.upper()} MR"
    head = f"select: no patient has both a CT and a {wanted}."
    decisions = [decision for choice in choices for decision in choice.decisions]
    far = [choice for choice in choices if choice.status == "left_out"]
    if far:
        return (
            f"{head} {len(far)} patients were left out by select.max_days_between = {rules.max_days_between} "
            f"({far[0].reason}); relax it with -S select.max_days_between=0 (0 means any)."
        )
    missing = [name for name in ("CT", "MR") if not any(d.series.modality == name for d in decisions)]
    if missing:
        return (
            f"{head} Among {len(decisions)} series of {len(choices)} patients there is no {' and no '.join(missing)}; "
            "add the missing export to the folder named by `source`."
        )
    modality, rule = _costliest_rule(choices)
    if not rule:
        return (
            f"{head} The {len(choices)} patients have CT or MR, none has both; if one person's CT and MR carry "
            "two PatientIDs, give them one before the export (ids are never joined by guessing)."
        )
    removed = [d for d in decisions if d.verdict.rule == rule and d.series.modality == modality]
    vendors = Counter(decision.series.first.vendor for decision in removed)
    counts = ", ".join(f"{vendor} {count}" for vendor, count in sorted(vendors.items()))
    return f"{head} Rule '{rule}' removed {len(removed)} {modality} series ({counts}); {_relax(rule, rules, removed)}"


def _relax(rule: str, rules: Rules, removed: Sequence[Decision]) -> str:
    if rule in REJECTABLE:
        others = ",".join(name for name in rules.reject if name != rule)
        advice = f"{_ADVICE[rule]}: " if rule in _ADVICE else ""
        return f"{advice}keep them with -S 'select.reject=[{others}]'."
    if rule == "weighting":
        kinds = ", ".join(sorted({decision.verdict.reason.split(" ")[0] for decision in removed}))
        return f"they are: {kinds}; accept others with -S select.weighting=any (or t1, t2)."
    return f"reason: {removed[0].verdict.reason}."


def _costliest_rule(choices: Sequence[Choice]) -> tuple[str, str]:
    """(modality, rule) that alone stands between most series and a patient without that modality, then by count."""
    alone: Counter[tuple[str, str]] = Counter()
    all_removed: Counter[tuple[str, str]] = Counter()
    for choice in choices:
        for decision in choice.decisions:
            modality, verdict = decision.series.modality, decision.verdict
            lacking = (choice.ct is None and modality == "CT") or (choice.mr is None and modality == "MR")
            if not lacking or decision.kept:
                continue
            all_removed[modality, verdict.rule] += 1
            alone[modality, verdict.rule] += len(verdict.matches) == 1
    ranked = sorted(all_removed, key=lambda key: (-alone[key], -all_removed[key], key))
    return ranked[0] if ranked else ("", "")


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


def _notes(item: Series, stacks: Mapping[str, Stack]) -> tuple[str, ...]:
    return stacks[item.name].notes if item.name in stacks else ()


def _size_key(item: Series, stacks: Mapping[str, Stack]) -> tuple:
    """More slices first, then finer pixels, then the earlier series; the name settles what is left."""
    layout = stacks[item.name]
    pixel_mm = max(layout.instances[0].pixel_spacing_mm or (0.0,))
    return -len(layout.instances), pixel_mm, item.first.series_number, item.name


def _mr_key(item: Series, stacks: Mapping[str, Stack]) -> tuple:
    return _size_key(item, stacks)


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
