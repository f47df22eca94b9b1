"""Provenance of the data: counts of each stage with their reasons, and the account of the de-identification."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from mrct.core.contracts import (
    AttributeAction,
    FileAction,
    RegistrationStatus,
    SelectionStatus,
    SeriesVerdict,
    Split,
    general_reason,
)
from mrct.reporting.inputs import Audit, Inputs

#: Shown for an empty rule or reason.
UNEXPLAINED = "no reason given"
#: Colors of a bar's parts (report.css); all other parts were left out and are grey.
TONES: dict[str, str] = {
    FileAction.KEPT: "kept", SelectionStatus.PAIRED: "kept", RegistrationStatus.REGISTERED: "kept",
    "pairs": "kept", **{split: split.value for split in Split},
}  # fmt: skip
#: Names of rules on the page, where they are not the rule's name without underscores.
RULES = {
    "tse": "TSE", "flair": "FLAIR", "t1": "T1-weighted", "t2": "T2-weighted", "pd": "PD-weighted",
    "dwi": "DWI", "contrast": "contrast agent", "swi": "SWI", "epi": "EPI", "fieldmap": "field map",
    "tube_voltage": "tube voltage", "cone_beam": "cone-beam CT", "low_dose": "low-dose CT",
    "fat_suppressed": "fat suppressed", "timing": "bolus timing",
    "sharp_kernel": "sharp kernel", "perfusion": "perfusion or time series", "multiframe": "multi-frame",
}  # fmt: skip
#: The verdicts of audit/files.csv, in the order of the page.
VERDICTS = {
    FileAction.KEPT: "de-identified and written",
    FileAction.REJECTED: "readable, but not usable here",
    FileAction.QUARANTINED: "damaged, or may show text in the image",
    FileAction.DUPLICATE: "second copy of an image",
    FileAction.SKIPPED: "not of the expected kind",
}
#: The actions of audit/attributes.csv, in the order of the page.
ACTIONS = {
    AttributeAction.KEPT: "kept",
    AttributeAction.CHANGED: "replaced",
    AttributeAction.EMPTIED: "emptied",
    AttributeAction.DROPPED: "dropped",
}
#: The codes of the Basic Profile (DICOM PS3.15 table E.1-1a), strictest first. Z also allows a dummy value.
DEMANDS = {
    "X": ("remove",),
    "Z": ("empty", "replace"),
    "D": ("replace",),
    "U": ("replace the UID",),
    "C": ("clean",),
    "K": ("keep",),
}
UNNAMED = "not named by the profile"
#: What the audit counts as one attribute each.
LUMPED = {"private": "private attributes", "unknown": "attributes unknown to the standard"}
#: How many reasons per verdict are printed on paper.
REASONS_ON_PAPER = 2
#: How many reasons per rule the page shows.
REASONS_PER_RULE = 3


@dataclass(frozen=True)
class Part:
    """Part of a step's bar; `tone` is the name of its color in report.css."""

    name: str
    count: int
    tone: str
    percent: float


@dataclass(frozen=True)
class Step:
    """Step of the data: the `total` items (files, series, patients, slices) that entered a stage, with outcomes."""

    stage: str
    unit: str
    total: int
    parts: list[Part]


@dataclass(frozen=True)
class RuleRow:
    """Rule that rejected `n` items: its most frequent reasons, and how many `more` there are."""

    name: str
    n: int
    reasons: list[str]
    more: int


@dataclass(frozen=True)
class SeriesGroup:
    """Series that were kept, or that one rule rejected; rows of the table SELECTED_SERIES."""

    name: str
    kept: bool
    rows: list[dict[str, str]]


@dataclass(frozen=True)
class SplitRow:
    """Number of patients and slice pairs of a split."""

    name: str
    patients: int
    pairs: int


def step(stage: str, unit: str, counts: dict[str, int]) -> Step:
    """Make a step from counts, in the given order and without empty parts."""
    total = sum(counts.values())
    parts = [Part(rule_name(n), c, TONES.get(n, "left"), 100.0 * c / total) for n, c in counts.items() if c]
    return Step(stage, unit, total, parts)


def rule_name(name: str) -> str:
    """Name a rule for the page: `tse` as `TSE`, `beyond_quota` as `beyond quota`."""
    return RULES.get(name, name.replace("_", " "))


def count(values: pd.Series, first: Sequence[str] = ()) -> dict[str, int]:
    """Count each text: those of `first` in their order, then the others, most frequent first."""
    counts = values.replace("", UNEXPLAINED).value_counts()
    names = sorted(counts.index, key=lambda n: (first.index(n) if n in first else len(first), -counts[n], n))
    return {name: int(counts[name]) for name in names}


def funnel(inputs: Inputs) -> list[Step]:
    """List the steps: files, series, patients, registered patients, slices and splits, as the stages counted them."""
    decided = inputs.series["rule"].where(inputs.series["decision"] != SeriesVerdict.KEPT, SeriesVerdict.KEPT)
    slices = {"pairs": len(inputs.pairs)} | count(inputs.rejected_slices["rule"])
    steps = [
        step("anonymize", "files", count(inputs.audit.files["action"], [FileAction.KEPT])),
        step("select", "series", count(decided, [SeriesVerdict.KEPT])),
        step("select", "patients", count(inputs.patients["status"], [SelectionStatus.PAIRED])),
        step("register", "patients", count(inputs.registered["status"], [RegistrationStatus.REGISTERED])),
        step("pair", "slices", slices),
        step("split", "pairs", count(inputs.pairs["split"], list(Split))),
    ]
    return [s for s in steps if s.total]


def rule_rows(rejected: pd.DataFrame) -> list[RuleRow]:
    """Count the columns `rule` and `reason` of rejected items: one row per rule, most frequent first."""
    rows = []
    for name, n in count(rejected["rule"]).items():
        group = rejected[rejected["rule"].replace("", UNEXPLAINED) == name]
        reasons = [text for text in count(group["reason"]) if text != UNEXPLAINED]
        shown, more = reasons[:REASONS_PER_RULE], reasons[REASONS_PER_RULE:]
        rows.append(RuleRow(rule_name(name), n, shown, len(more)))
    return rows


def series_groups(series: pd.DataFrame) -> list[SeriesGroup]:
    """Group all series: those that were kept, then those that each rule rejected."""
    ordered = series.sort_values(["patient", "modality", "series"])
    kept = ordered["decision"] == SeriesVerdict.KEPT
    groups = [SeriesGroup("kept", True, _records(ordered[kept]))]
    for rule in count(ordered.loc[~kept, "rule"]):
        chosen = ordered[~kept & (ordered["rule"].replace("", UNEXPLAINED) == rule)]
        groups.append(SeriesGroup(rule_name(rule), False, _records(chosen)))
    return [group for group in groups if group.rows]


def _records(series: pd.DataFrame) -> list[dict[str, str]]:
    columns = ["patient", "series", "modality", "description", "reason"]
    return series[columns].to_dict("records")  # type: ignore[return-value]


def split_rows(splits: pd.DataFrame) -> list[SplitRow]:
    """Count patients and slice pairs of each split, and their sum."""
    chosen = {split: splits.loc[splits["split"] == split, "n_pairs"] for split in Split}
    rows = [SplitRow(split, len(pairs), int(pairs.sum())) for split, pairs in chosen.items()]
    return [*rows, SplitRow("all", sum(row.patients for row in rows), sum(row.pairs for row in rows))]


class Tally(NamedTuple):
    """Number of different attributes, and of their occurrences in all files together."""

    attributes: int
    occurrences: int


@dataclass(frozen=True)
class VerdictRow:
    """Verdict on `n` files: its meaning, and every reason with its count, most frequent first."""

    name: str
    n: int
    meaning: str
    reasons: list[tuple[str, int]]
    on_paper: int


@dataclass(frozen=True)
class DemandRow:
    """Demand of the Basic Profile: its codes, and one tally per action of ACTIONS, None if there is none."""

    words: str
    codes: list[str]
    cells: list[Tally | None]


@dataclass(frozen=True)
class Attributes:
    """Attributes of the files written, by demand and action, with the keywords behind the counts.

    `kept_by_option` and `cleaned_by_option` name attributes that the Basic Profile would remove or replace, and that
    only one of its options allows to keep.
    """

    actions: list[str]
    demands: list[DemandRow]
    kept_by_option: list[str]
    cleaned_by_option: list[str]
    unnamed_dropped: Tally | None
    lists: list[tuple[str, list[str]]]


@dataclass(frozen=True)
class Deidentification:
    """Content of the section that a hospital signs; `attributes` is None for image volumes."""

    virtual: bool
    audit: Audit
    attributes: Attributes | None
    size: str
    defaced: int
    bar: Step
    verdicts: list[VerdictRow]


def deidentification(audit: Audit, registered: pd.DataFrame, virtual: bool) -> Deidentification:
    """Make the account of the de-identification; `registered` shows whether the aligned images were defaced."""
    return Deidentification(
        virtual=virtual,
        audit=audit,
        attributes=None if audit.attributes is None else attribute_content(audit.attributes),
        size=data_size(audit.summary["sweep"]["bytes"]),
        defaced=defaced(registered),
        bar=step("anonymize", "files", count(audit.files["action"], list(VERDICTS))),
        verdicts=verdict_rows(audit.files),
    )


def data_size(n_bytes: int) -> str:
    """Format a size in decimal units, as in `42.4 MB` and `53.0 GB`."""
    power = next((power for power in (3, 2) if n_bytes >= 1000**power), 1)
    return f"{n_bytes / 1000**power:,.1f} {['kB', 'MB', 'GB'][power - 1]}"


def defaced(registered: pd.DataFrame) -> int:
    """Count the patients whose aligned images were defaced (register.deface)."""
    return int(registered["removed_face_percent"].notna().sum())


def verdict_rows(files: pd.DataFrame) -> list[VerdictRow]:
    """Make one row per verdict that occurs; only kept files have no reasons."""
    rows = []
    for name, n in count(files["action"], list(VERDICTS)).items():
        given = files.loc[files["action"] == name, "reason"].map(general_reason)
        reasons = [] if name == FileAction.KEPT else list(count(given).items())
        rows.append(VerdictRow(name, n, VERDICTS[FileAction(name)], reasons, REASONS_ON_PAPER))
    return rows


def attribute_content(attributes: pd.DataFrame) -> Attributes:
    """Count the audited attributes by demand and action.

    An attribute needs an option of the profile where the profile names it and its value stays, or where the profile
    removes it and its value is cleaned. Both are listed on the page, so that a reader finds them first.
    """
    table = attributes.assign(name=_names(attributes))
    unnamed = table["profile"] == ""
    kept = (table["action"] == AttributeAction.KEPT) & ~unnamed & (table["profile"] != "K")
    cleaned = (table["action"] == AttributeAction.CHANGED) & (table["profile"] == "X")
    return Attributes(
        actions=list(ACTIONS.values()),
        demands=demand_rows(table),
        kept_by_option=_keywords(table[kept]),
        cleaned_by_option=_keywords(table[cleaned]),
        unnamed_dropped=_tally(table[unnamed & (table["action"] == AttributeAction.DROPPED)]),
        lists=[(words, _keywords(table[table["action"] == action])) for action, words in ACTIONS.items()],
    )


def demand_rows(table: pd.DataFrame) -> list[DemandRow]:
    """Make one row per demand, strictest first; attributes that the profile does not name come last."""
    codes = sorted(set(table["profile"]), key=lambda code: (not code, _strictness(code), code))
    rows: dict[str, list[str]] = {}
    for code in codes:
        rows.setdefault(demand(code), []).append(code)
    return [
        DemandRow(
            words,
            [code for code in group if code],
            [_tally(table[table["profile"].isin(group) & (table["action"] == action)]) for action in ACTIONS],
        )
        for words, group in rows.items()
    ]


def demand(code: str) -> str:
    """Name a demand, `X/Z` as `remove, empty or replace`; which one applies depends on the kind of object (IOD)."""
    if not code:
        return UNNAMED
    words = list(dict.fromkeys(word for part in _parts(code) for word in DEMANDS.get(part, (part,))))
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


def _parts(code: str) -> list[str]:
    """Split a code: `X/Z/U*` into X, Z, U; the star only says that the UIDs are in a sequence."""
    return code.rstrip("*").split("/")


def _strictness(code: str) -> list[int]:
    order = list(DEMANDS)
    return [order.index(part) if part in order else len(order) for part in _parts(code)]


def _tally(rows: pd.DataFrame) -> Tally | None:
    return Tally(int(rows["name"].nunique()), int(rows["count"].sum())) if len(rows) else None


def _keywords(rows: pd.DataFrame) -> list[str]:
    return sorted(set(rows["name"]), key=str.lower)


def _names(attributes: pd.DataFrame) -> pd.Series:
    """Return the keyword; without one, the words of LUMPED or the tag."""
    tags, keywords = attributes["tag"], attributes["keyword"]
    return keywords.where(keywords != "", tags.replace(LUMPED))
