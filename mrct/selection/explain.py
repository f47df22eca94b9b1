"""Explain why no patient has both images: the costliest rule, the series that it rejects, the parameter to change."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from mrct.core.contracts import SelectionStatus
from mrct.selection.choose import Choice, Decision
from mrct.selection.classify import BY_NAME
from mrct.selection.parameters import REJECTABLE, Rules

_ADVICE = {
    "tse": "routine T2w is usually TSE",
    "body_part": "BodyPartExamined is often the protocol's, not the patient's",
    "oblique": "select.max_angle_deg admits more tilt",
}


class _Cost(NamedTuple):
    """The effect of a rule on the series of a modality."""

    modality: str
    rule: str


def explain_empty(choices: Sequence[Choice], rules: Rules) -> str:
    """Explain why no patient has both a CT and a wanted MR.

    Args:
        choices: One for each patient; none of them is paired.
        rules: The parameters of the selection.

    Returns:
        A message with the costliest rule, the number of series of each vendor that it rejected, and the parameter that
        relaxes it, in the syntax of DVC's option -S.
    """
    wanted = "an MR" if rules.weighting == "any" else f"a {rules.weighting.upper()} MR"
    head = f"select: no patient has both a CT and {wanted}."
    decisions = [decision for choice in choices for decision in choice.decisions]
    far = [choice for choice in choices if choice.status == SelectionStatus.LEFT_OUT]
    lacking = [choice for choice in choices if any(_is_missed(one, choice) for one in choice.decisions)]
    if far and len(far) >= len(lacking):
        return (
            f"{head} {len(far)} patients were left out by select.max_days_between = {rules.max_days_between} "
            f"({far[0].reason}); relax it with -S select.max_days_between=0 (0 means any)."
        )
    missing = [name for name in ("CT", "MR") if not any(d.series.modality == name for d in decisions)]
    if missing:
        return (
            f"{head} Among {len(decisions)} series of {len(choices)} patients there is no "
            f"{' and no '.join(missing)}; add the missing export to the folder named by `source`."
        )
    costliest = _costliest_rule(choices)
    if costliest is None:
        return (
            f"{head} The {len(choices)} patients have CT or MR, none has both; if one person's CT and MR "
            "carry two PatientIDs, give them one before the export (ids are never joined by guessing)."
        )
    modality, rule = costliest
    removed = [d for d in decisions if d.verdict.rule == rule and d.series.modality == modality]
    vendors = Counter(decision.series.first.vendor for decision in removed)
    counts = ", ".join(f"{vendor} {count}" for vendor, count in sorted(vendors.items()))
    relax = _relax(rule, rules, removed)
    return f"{head} Rule '{rule}' removed {len(removed)} {modality} series ({counts}); {relax}"


def _relax(rule: str, rules: Rules, removed: Sequence[Decision]) -> str:
    if rule in REJECTABLE:
        advice = f"{_ADVICE[rule]}: " if rule in _ADVICE else ""
        matches = _fewest_matches(removed)
        lifted = ",".join((*rules.accept, *(name for name in matches if name in REJECTABLE)))
        weighting = " -S select.weighting=any" if "weighting" in matches else ""
        return f"{advice}keep them with -S 'select.accept=[{lifted}]'{weighting}."
    if BY_NAME[rule].limit:
        return f"admit them with -S select.{BY_NAME[rule].limit}=0."
    if rule == "weighting":
        kinds = ", ".join(sorted({decision.verdict.reason.split(" ")[0] for decision in removed}))
        return f"they are: {kinds}; accept others with -S select.weighting=any (or t1, t2)."
    return f"reason: {removed[0].verdict.reason}."


def _fewest_matches(removed: Sequence[Decision]) -> tuple[str, ...]:
    """Return the shortest list of rules that reject a series, all of which must be lifted to keep it."""
    counts = Counter(decision.verdict.matches for decision in removed)
    return min(counts, key=lambda matches: (len(matches), -counts[matches], matches))


def _costliest_rule(choices: Sequence[Choice]) -> _Cost | None:
    """Find the rule that alone rejects most series of a missing modality; otherwise the one that rejects most."""
    alone: Counter[_Cost] = Counter()
    all_removed: Counter[_Cost] = Counter()
    for choice in choices:
        for decision in choice.decisions:
            if not _is_missed(decision, choice):
                continue
            cost = _Cost(decision.series.modality, decision.verdict.rule)
            all_removed[cost] += 1
            alone[cost] += len(decision.verdict.matches) == 1
    ranked = sorted(all_removed, key=lambda cost: (-alone[cost], -all_removed[cost], cost))
    return ranked[0] if ranked else None


def _is_missed(decision: Decision, choice: Choice) -> bool:
    """Return whether the patient lacks a chosen series of the same modality."""
    return {"CT": choice.ct, "MR": choice.mr}.get(decision.series.modality, decision) is None
