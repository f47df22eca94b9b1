"""Tests of the section to sign: its counts are complete, and a contradictory audit is refused."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.audit_factory import write_audit
from mrct.reporting import provenance
from mrct.reporting.inputs import AUDIT_KEYS, DICOM_AUDIT_KEYS, SCAN_KEYS, read_audit

NOT_DEFACED = pd.DataFrame({"patient": ["Pa"], "removed_face_percent": [float("nan")]})
# every code of the column "Basic Profile" of PS3.15 table E.1-1
CODES = ["X", "Z", "D", "U", "X/Z", "X/D", "Z/D", "X/Z/D", "X/Z/U*", ""]
COLUMNS = ["tag", "keyword", "profile", "action", "count"]


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    write_audit(tmp_path)
    return tmp_path


def edit_summary(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((folder / "audit/summary.json").read_text())
    change(content)
    (folder / "audit/summary.json").write_text(json.dumps(content))


def attributes_of(anonymized: Path) -> provenance.Attributes:
    section = provenance.deidentification(read_audit(anonymized, dicom=True), NOT_DEFACED, virtual=False)
    assert section.attributes is not None
    return section.attributes


def edit_table(path: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    change(pd.read_csv(path)).to_csv(path, index=False)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(list(provenance.VERDICTS)),
            st.sampled_from(["", "not DICOM", "the same image as file 3", "the same image as file 44"]),
        ),
        min_size=1,
    )
)
def test_every_file_is_in_one_verdict_and_every_reason_is_counted(files: list[tuple[str, str]]) -> None:
    rows = provenance.verdict_rows(pd.DataFrame(files, columns=["action", "reason"]))
    assert sum(row.n for row in rows) == len(files)
    for row in rows:
        if row.name != "kept":
            assert sum(n for _, n in row.reasons) == row.n


def test_copies_of_different_files_are_one_reason() -> None:
    files = pd.DataFrame({"action": "duplicate", "reason": [f"the same image as file {n}" for n in (3, 12)]})
    (row,) = provenance.verdict_rows(files)
    assert row.reasons == [("the same image as another file", 2)]


attribute_lists = st.lists(
    st.tuples(
        st.sampled_from(["(0008,0018)", "(0010,0010)", "(0018,0050)"]),
        st.sampled_from(CODES),
        st.sampled_from(list(provenance.ACTIONS)),
        st.integers(1, 10**6),
    ),
    min_size=1,
)


@given(attribute_lists)
def test_no_occurrence_of_an_attribute_is_lost_in_the_table(rows: list[tuple[str, str, str, int]]) -> None:
    table = pd.DataFrame([(tag, "", code, action, n) for tag, code, action, n in rows], columns=COLUMNS)
    demands = provenance.attribute_content(table).demands
    cells = [cell for row in demands for cell in row.cells if cell]
    assert sum(occurrences for _, occurrences in cells) == sum(n for *_, n in rows)
    codes = [code for row in demands for code in row.codes]
    assert sorted(codes) == sorted({code for _, code, *_ in rows} - {""})


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("X", "remove"),
        ("Z", "empty or replace"),
        ("D", "replace"),
        ("U", "replace the UID"),
        ("X/Z", "remove, empty or replace"),
        ("X/D", "remove or replace"),
        ("Z/D", "empty or replace"),
        ("X/Z/D", "remove, empty or replace"),
        ("X/Z/U*", "remove, empty, replace or replace the UID"),
        ("C", "clean"),
        ("", "not named by the profile"),
        ("Q", "Q"),
    ],
)
def test_the_profiles_codes_in_words(code: str, words: str) -> None:
    assert provenance.demand(code) == words


def test_demands_stand_strictest_first_and_the_unnamed_last() -> None:
    table = pd.DataFrame([("t", "k", code, "dropped", 1) for code in reversed(CODES)], columns=COLUMNS)
    words = [row.words for row in provenance.attribute_content(table).demands]
    assert words[0] == "remove"
    assert words[-1] == provenance.UNNAMED


def test_what_only_an_option_allows_is_named(audit: Path) -> None:
    attributes = attributes_of(audit)
    assert attributes.kept_by_option == ["SeriesDescription"]
    assert attributes.cleaned_by_option == ["StudyDescription"]
    assert attributes.unnamed_dropped == (2, 95)


def test_what_the_audit_lumps_together_has_words(audit: Path) -> None:
    dropped = dict(attributes_of(audit).lists)["dropped"]
    assert "private attributes" in dropped
    assert "attributes unknown to the standard" in dropped


def test_checksums_are_those_of_the_files(audit: Path) -> None:
    files = (audit / "audit").iterdir()
    wanted = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    assert read_audit(audit, dicom=True).checksums == wanted


def test_faces_count_as_removed_only_where_the_stage_register_says_so() -> None:
    assert provenance.defaced(NOT_DEFACED) == 0
    assert provenance.defaced(pd.DataFrame({"removed_face_percent": [12.5, None, 0.0]})) == 2


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [(0, "0.0 kB"), (999_999, "1,000.0 kB"), (42_420_000, "42.4 MB"), (53 * 10**12, "53,000.0 GB")],
)
def test_sizes_have_decimal_units(n_bytes: int, text: str) -> None:
    assert provenance.data_size(n_bytes) == text


@pytest.mark.parametrize("key", [*AUDIT_KEYS, *DICOM_AUDIT_KEYS])
def test_a_missing_key_of_the_audit_is_named_with_its_stage(audit: Path, key: str) -> None:
    edit_summary(audit, lambda content: content.pop(key))
    with pytest.raises(ValueError, match=f"summary.json: no key {key};.*run the stage anonymize again"):
        read_audit(audit, dicom=True)


@pytest.mark.parametrize("key", SCAN_KEYS)
def test_a_missing_key_of_the_sweep_is_named_with_its_stage(audit: Path, key: str) -> None:
    edit_summary(audit, lambda content: content["sweep"].pop(key))
    with pytest.raises(ValueError, match=f"no key {key};.*run the stage anonymize again"):
        read_audit(audit, dicom=True)


def test_an_audit_of_volumes_needs_no_attributes_but_a_sweep(tmp_path: Path) -> None:
    write_audit(tmp_path, dicom=False)
    assert read_audit(tmp_path, dicom=False).attributes is None
    edit_summary(tmp_path, lambda content: content.pop("sweep"))
    with pytest.raises(ValueError, match="no key sweep"):
        read_audit(tmp_path, dicom=False)


def test_an_audit_without_the_profiles_codes_is_an_older_one(audit: Path) -> None:
    edit_table(audit / "audit/attributes.csv", lambda table: table.drop(columns="profile"))
    with pytest.raises(ValueError, match=r"column profile: Field required.*run the stage anonymize again"):
        read_audit(audit, dicom=True)


@pytest.mark.parametrize("change", [{"hits": 1}, {"files": 89}, {"files": 0}])
def test_no_page_says_0_hits_of_a_sweep_that_found_or_missed_something(
    audit: Path, change: dict[str, int]
) -> None:
    edit_summary(audit, lambda content: content["sweep"].update(change))
    with pytest.raises(
        ValueError, match=r"expected 0 hits in at least 90 files.*run the stage anonymize again"
    ):
        read_audit(audit, dicom=True)


def test_a_file_without_verdict_is_noticed(audit: Path) -> None:
    edit_table(audit / "audit/files.csv", lambda table: table.drop(index=5))
    with pytest.raises(
        ValueError, match=r"source_index is not 0, 1, 2, \.\.\.; run the stage anonymize again"
    ):
        read_audit(audit, dicom=True)


def test_two_counts_that_differ_are_noticed(audit: Path) -> None:
    edit_summary(audit, lambda content: content["files"].update(kept=91))
    with pytest.raises(
        ValueError, match=r"files.csv counts .*'kept': 90.*'kept': 91.*run the stage anonymize again"
    ):
        read_audit(audit, dicom=True)


def test_an_option_that_was_not_used_is_not_declared(audit: Path) -> None:
    edit_summary(audit, lambda content: content["method_codes"].update({"113108": "Retain ..."}))
    with pytest.raises(
        ValueError, match=r"retain_age_and_sex is False, but .*113108.*run the stage anonymize again"
    ):
        read_audit(audit, dicom=True)
    edit_summary(audit, lambda content: content.update(retain_age_and_sex=True))
    assert read_audit(audit, dicom=True).summary["retain_age_and_sex"]
