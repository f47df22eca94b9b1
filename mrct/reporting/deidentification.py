"""The page that a hospital signs: the audit of de-identification in words and counts, never a value."""

import re
from typing import Any

import pandas as pd

from mrct.reporting.dataflow import as_text, count, step
from mrct.reporting.inputs import Audit

#: audit/files.csv: what became of a file of the export.
VERDICTS = {
    "kept": "de-identified and written",
    "rejected": "readable, but not to be used",
    "quarantined": "damaged, or it may show text",
    "duplicate": "second copy of an image",
    "skipped": "not of the expected kind",
}
#: audit/attributes.csv: what was done with an attribute's value.
ACTIONS = {"kept": "kept", "changed": "replaced", "emptied": "emptied", "dropped": "dropped"}
#: PS3.15 table E.1-1a in our words, strictest first. Z allows a dummy as well.
DEMANDS = {
    "X": ("remove",),
    "Z": ("empty", "replace"),
    "D": ("replace",),
    "U": ("replace the UID",),
    "C": ("clean",),
    "K": ("keep",),
}
UNNAMED = "not named by the profile"
LUMPED = {"private": "private attributes", "unknown": "attributes unknown to the standard"}
REASONS_ON_PAPER = 2


def section(audit: Audit, registered: pd.DataFrame, virtual: bool) -> dict[str, Any]:
    """Everything the section prints; `registered` tells whether the aligned images were defaced."""
    summary = audit.summary
    return {
        "dicom": audit.attributes is not None,
        "virtual": virtual,
        "summary": summary,
        "size": data_size(summary["sweep"]["bytes"]),
        "defaced": defaced(registered),
        "bar": step("anonymize", "files", count(audit.files["action"], tuple(VERDICTS))),
        "verdicts": verdict_rows(audit.files),
        "checksums": audit.checksums,
        **({} if audit.attributes is None else attribute_content(audit.attributes)),
    }


def data_size(n_bytes: int) -> str:
    """`42.4 MB`, `53.0 GB`: decimal units."""
    power = next((power for power in (3, 2) if n_bytes >= 1000**power), 1)
    return f"{n_bytes / 1000**power:,.1f} {['kB', 'MB', 'GB'][power - 1]}"


def defaced(registered: pd.DataFrame) -> int:
    """How many patients' aligned images lost the face (register.deface); 0 where it was not asked for."""
    if "removed_face_percent" not in registered:
        return 0
    return int(registered["removed_face_percent"].notna().sum())


def verdict_rows(files: pd.DataFrame) -> list[dict[str, Any]]:
    """A row a verdict that occurs: its meaning, and all reasons with their counts, commonest first."""
    rows = []
    for name, n in count(files["action"], tuple(VERDICTS)).items():
        given = as_text(files.loc[files["action"] == name, "reason"]).map(_general)
        reasons = [] if name == "kept" else list(count(given).items())
        rows.append({"name": name, "n": n, "meaning": VERDICTS.get(name, ""), "reasons": reasons,
                     "on_paper": REASONS_ON_PAPER})  # fmt: skip
    return rows


def _general(reason: str) -> str:
    """`the same image as file 12` -> `the same image as another file`: one reason, whichever the file."""
    return re.sub(r"\bfile \d+", "another file", reason)


def attribute_content(attributes: pd.DataFrame) -> dict[str, Any]:
    """The table by demand and action, the keywords behind it, and what only an option allows to stay.

    An option is needed where the profile names an attribute and its value stays, or is cleaned instead of
    removed; both are listed, because a reader should see them first.
    """
    table = attributes.assign(name=_names(attributes), profile=as_text(attributes["profile"]))
    unnamed = table["profile"] == ""
    kept = (table["action"] == "kept") & ~unnamed & (table["profile"] != "K")
    cleaned = (table["action"] == "changed") & (table["profile"] == "X")
    return {
        "actions": list(ACTIONS.values()),
        "demands": demand_rows(table),
        "kept_by_option": _keywords(table[kept]),
        "cleaned_by_option": _keywords(table[cleaned]),
        "unnamed_dropped": _tally(table[unnamed & (table["action"] == "dropped")]),
        "lists": [
            {"name": words, "keywords": _keywords(table[table["action"] == action])}
            for action, words in ACTIONS.items()
        ],
    }


def demand_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A row a demand, strictest first: its codes, and for each action (attributes, occurrences) or None."""
    codes = sorted(set(table["profile"]), key=lambda code: (not code, _strictness(code), code))
    rows: dict[str, list[str]] = {}
    for code in codes:
        rows.setdefault(demand(code), []).append(code)
    return [
        {
            "words": words,
            "codes": [code for code in group if code],
            "cells": [
                _tally(table[table["profile"].isin(group) & (table["action"] == action)])
                for action in ACTIONS
            ],
        }
        for words, group in rows.items()
    ]


def demand(code: str) -> str:
    """`X/Z` -> `remove, empty or replace`: which of them depends on what kind of object it is."""
    if not code:
        return UNNAMED
    words = list(dict.fromkeys(word for part in _parts(code) for word in DEMANDS.get(part, (part,))))
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


def _parts(code: str) -> list[str]:
    """`X/Z/U*` -> X, Z, U; the star only says that a sequence holds the UIDs."""
    return code.rstrip("*").split("/")


def _strictness(code: str) -> list[int]:
    order = list(DEMANDS)
    return [order.index(part) if part in order else len(order) for part in _parts(code)]


def _tally(rows: pd.DataFrame) -> tuple[int, int] | None:
    """(attributes, occurrences), None where there is nothing."""
    return (int(rows["name"].nunique()), int(rows["count"].sum())) if len(rows) else None


def _keywords(rows: pd.DataFrame) -> list[str]:
    return sorted(set(rows["name"]), key=str.lower)


def _names(attributes: pd.DataFrame) -> pd.Series:
    """The keyword, else the words for what the audit lumps together, else the tag."""
    tags, keywords = as_text(attributes["tag"]), as_text(attributes["keyword"])
    return keywords.where(keywords != "", tags.replace(LUMPED))
