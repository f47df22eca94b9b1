"""Where the data went: what each step kept and left out, and why.  Tables in, rows for the page out."""

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

#: What a count means for the reader: kept, left out, or one of the splits.
TONES = {
    "kept": "kept", "paired": "kept", "registered": "kept", "pairs": "kept",
    "train": "train", "validation": "validation", "test": "test",
}  # fmt: skip
UNEXPLAINED = "no reason given"
RULES = {
    "tse": "TSE", "flair": "FLAIR", "t1": "T1-weighted", "t2": "T2-weighted", "pd": "PD-weighted",
    "dwi": "DWI", "contrast": "contrast agent", "swi": "SWI", "epi": "EPI", "fieldmap": "field map",
    "tube_voltage": "tube voltage", "cone_beam": "cone-beam CT", "low_dose": "low-dose CT",
    "fat_suppressed": "fat suppressed", "timing": "bolus timing",
    "sharp_kernel": "sharp kernel", "perfusion": "perfusion or time series", "multiframe": "multi-frame",
}  # fmt: skip


@dataclass(frozen=True)
class Part:
    """A share of a step's bar."""

    name: str
    count: int
    tone: str
    percent: float


@dataclass(frozen=True)
class Step:
    """One step of the funnel: `total` things came in, the parts say what became of them."""

    stage: str
    unit: str
    total: int
    parts: list[Part] = field(default_factory=list)


def step(stage: str, unit: str, counts: dict[str, int]) -> Step:
    """Parts in the given order, empty ones left out."""
    total = sum(counts.values())
    parts = [Part(rule_name(n), c, TONES.get(n, "left"), 100.0 * c / total) for n, c in counts.items() if c]
    return Step(stage, unit, total, parts)


def rule_name(name: str) -> str:
    """`tse` -> `TSE`, `beyond_quota` -> `beyond quota`."""
    return RULES.get(name, name.replace("_", " "))


def count(values: pd.Series, first: tuple[str, ...] = ()) -> dict[str, int]:
    """How often each value occurs: those of `first` in their order, then the others, most frequent first."""
    counts = as_text(values).replace("", UNEXPLAINED).value_counts()
    names = sorted(counts.index, key=lambda n: (first.index(n) if n in first else len(first), -counts[n], n))
    return {name: int(counts[name]) for name in names}


def funnel(
    files: pd.DataFrame,
    series: pd.DataFrame,
    patients: pd.DataFrame,
    registered: pd.DataFrame,
    pairs: pd.DataFrame,
    rejected_slices: pd.DataFrame,
) -> list[Step]:
    """Files, series, patients, registered patients, slices and splits, as the stages counted them."""
    decided = series["rule"].where(series["decision"] != "kept", "kept")
    slices = {"pairs": len(pairs)} | count(rejected_slices["rule"])
    steps = [
        step("anonymize", "files", count(files["action"], ("kept",))),
        step("select", "series", count(decided, ("kept",))),
        step("select", "patients", count(patients["status"], ("paired",))),
        step("register", "patients", count(registered["status"], ("registered",))),
        step("pair", "slices", slices),
        step("split", "pairs", count(pairs["split"], ("train", "validation", "test"))),
    ]
    return [s for s in steps if s.total]


def reasons(table: pd.DataFrame, key: str, limit: int = 3) -> list[dict[str, Any]]:
    """Rows grouped by `key` (a rule, an action), most frequent first: how many, and the commonest reasons."""
    rows = []
    for name, n in count(table[key]).items():
        group = table[as_text(table[key]).replace("", UNEXPLAINED) == name]
        common = [text for text in count(group["reason"]) if text != UNEXPLAINED]
        rows.append({"name": rule_name(name), "n": n, "reasons": common[:limit], "more": len(common[limit:])})
    return rows


def series_groups(series: pd.DataFrame) -> list[dict[str, Any]]:
    """Every series, for the gallery: the kept ones, then the rejected ones rule by rule."""
    text = series.apply(as_text).sort_values(["patient", "modality", "series"])
    kept = text["decision"] == "kept"
    groups = [{"name": "kept", "kept": True, "rows": text[kept].to_dict("records")}]
    for rule in count(text.loc[~kept, "rule"]):
        chosen = text[~kept & (text["rule"].replace("", UNEXPLAINED) == rule)]
        groups.append({"name": rule_name(rule), "kept": False, "rows": chosen.to_dict("records")})
    return [group for group in groups if group["rows"]]


def split_rows(splits: pd.DataFrame) -> list[dict[str, Any]]:
    """Patients and slice pairs of each split, and their sum."""
    rows = []
    for name in ("train", "validation", "test"):
        chosen = splits[splits["split"] == name]
        rows.append({"name": name, "patients": len(chosen), "pairs": int(chosen["n_pairs"].sum())})
    total = {key: sum(int(row[key]) for row in rows) for key in ("patients", "pairs")}
    return [*rows, {"name": "all", **total}]


def as_text(values: pd.Series) -> pd.Series:
    """Any column as text, empty cells as empty text (an all-empty column is read as numbers)."""
    return values.astype(object).where(values.notna(), "").astype(str)
