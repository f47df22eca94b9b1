"""An empty cohort explained: which rule costs most, how many series of which vendor, which key relaxes it."""

from collections import Counter
from collections.abc import Sequence

from mrct.selection.choose import Choice, Decision
from mrct.selection.classify import REJECTABLE, Rules

_ADVICE = {
    "tse": "routine T2w is usually TSE",
    "body_part": "BodyPartExamined is often the protocol's, not the patient's",
    "oblique": "select.max_angle_deg admits more tilt",
}
# rules that ask the stack, and the key whose 0 lifts each
_LIMITS = {"coverage": "min_coverage_mm", "field_of_view": "min_field_mm", "spacing": "max_spacing_mm"}


def explain_empty(choices: Sequence[Choice], rules: Rules) -> str:
    """Why no patient has both: the rule that costs most, its count per vendor, the key that relaxes it."""
    wanted = "MR" if rules.weighting == "any" else f"{rules.weighting.upper()} MR"
    head = f"select: no patient has both a CT and a {wanted}."
    decisions = [decision for choice in choices for decision in choice.decisions]
    far = [choice for choice in choices if choice.status == "left_out"]
    if far and len(far) >= sum(
        any(_is_missed(one, choice) for one in choice.decisions) for choice in choices
    ):
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
    modality, rule = _costliest_rule(choices)
    if not rule:
        return (
            f"{head} The {len(choices)} patients have CT or MR, none has both; if one person's CT and MR "
            "carry two PatientIDs, give them one before the export (ids are never joined by guessing)."
        )
    removed = [d for d in decisions if d.verdict.rule == rule and d.series.modality == modality]
    vendors = Counter(decision.series.first.vendor for decision in removed)
    counts = ", ".join(f"{vendor} {count}" for vendor, count in sorted(vendors.items()))
    relax = _relax(rule, rules, removed)
    return f"{head} Rule '{rule}' removed {len(removed)} {modality} series ({counts}); {relax}"


def _relax(rule: str, rules: Rules, removed: Sequence[Decision]) -> str:
    if rule in REJECTABLE:
        others = ",".join(name for name in rules.reject if name != rule)
        advice = f"{_ADVICE[rule]}: " if rule in _ADVICE else ""
        return f"{advice}keep them with -S 'select.reject=[{others}]'."
    if rule in _LIMITS:
        return f"admit them with -S select.{_LIMITS[rule]}=0."
    if rule == "weighting":
        kinds = ", ".join(sorted({decision.verdict.reason.split(" ")[0] for decision in removed}))
        return f"they are: {kinds}; accept others with -S select.weighting=any (or t1, t2)."
    return f"reason: {removed[0].verdict.reason}."


def _costliest_rule(choices: Sequence[Choice]) -> tuple[str, str]:
    """(modality, rule) that alone keeps most series from a patient who lacks that modality, then by count."""
    alone: Counter[tuple[str, str]] = Counter()
    all_removed: Counter[tuple[str, str]] = Counter()
    for choice in choices:
        for decision in choice.decisions:
            modality, verdict = decision.series.modality, decision.verdict
            if not _is_missed(decision, choice):
                continue
            all_removed[modality, verdict.rule] += 1
            alone[modality, verdict.rule] += len(verdict.matches) == 1
    ranked = sorted(all_removed, key=lambda key: (-alone[key], -all_removed[key], key))
    return ranked[0] if ranked else ("", "")


def _is_missed(decision: Decision, choice: Choice) -> bool:
    """Whether the patient has no series of this one's modality."""
    return {"CT": choice.ct, "MR": choice.mr}.get(decision.series.modality, decision) is None
