"""Headers as five vendors write them, and the rule that must apply to each: a table (vendor_headers.csv)."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from mrct.dicom.series import Instance, Series
from mrct.selection.acquisition import named, named_contrast
from mrct.selection.classify import classify
from mrct.selection.parameters import Rules

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
with Path(__file__).with_name("vendor_headers.csv").open(newline="", encoding="utf-8") as stream:
    CASES = list(csv.DictReader(stream))


def number(text: str) -> float | None:
    return float(text) if text else None


def series_of(case: dict[str, str]) -> Series:
    """Make twenty axial slices with the header of a row; text is in capitals, as the reader returns it."""
    many = {name: tuple(value.upper().split("/")) if value else () for name, value in case.items()}
    modality = "CT" if case["vendor"].endswith("CT") else "MR"
    first = Instance(
        Path("x"),
        modality=modality,
        vendor=case["vendor"].removesuffix(" CT"),
        description=case["description"],
        protocol=case["protocol"].upper(),
        sequence_name=case["sequence"].upper(),
        image_type=many["image_type"],
        scanning_sequence=many["scanning"],
        sequence_variant=many["variant"],
        scan_options=many["options"],
        te_ms=number(case["te"]),
        tr_ms=number(case["tr"]),
        ti_ms=number(case["ti"]),
        echo_train_length=int(case["train"]) if case["train"] else None,
        diffusion_b_value=number(case["b"]),
        body_part=case["body"],
        kernel=case["kernel"].upper(),
        has_rescale=modality == "CT",
        orientation=AXIAL,
        pixel_spacing_mm=(1.0, 1.0),
        rows=8,
        columns=8,
    )
    slices = tuple(replace(first, path=Path(str(k)), position=(0.0, 0.0, 5.0 * k)) for k in range(20))
    return Series("P", "S", slices)


@pytest.mark.parametrize("case", CASES, ids=[f"{case['vendor']}: {case['description']}" for case in CASES])
def test_the_rule_that_meets_a_vendors_header(case: dict[str, str]) -> None:
    verdict = classify(series_of(case), Rules())
    assert (verdict.rule or "usable") == case["expected"], verdict


def test_the_table_is_large_and_holds_usable_series_of_every_large_vendor() -> None:
    usable = {case["vendor"] for case in CASES if case["expected"] == "usable"}
    assert len(CASES) >= 60
    assert usable >= {"Siemens", "Philips", "GE", "Canon", "Siemens CT", "GE CT", "Philips CT", "Canon CT"}


@pytest.mark.parametrize("kind", ["angiography", "perfusion", "dwi", "localizer", "flair"])
def test_a_reason_quotes_the_table_and_nothing_else_of_a_name(kind: str) -> None:
    words = {
        "angiography": "ANGIO",
        "perfusion": "PERF",
        "dwi": "DIFFUSION",
        "localizer": "TOPOGRAM",
        "flair": "FLAIR",
    }
    first = Instance(Path("x"), modality="MR", description=f"quill {words[kind]}feather 1970 Quillfeather")
    assert named(first, kind) == f"the word {words[kind]} in the series description"


@pytest.mark.parametrize(
    "text", ["FALSE T2", "NITSET", "T2 ADCOCK", "SURVEYOR", "BLOC", "CALVIN", "CEDAR", "EPIC", "MIPLE"]
)
def test_a_word_inside_another_is_no_word(text: str) -> None:
    first = Instance(Path("x"), modality="MR", description=text)
    assert [
        kind for kind in ("tse", "dwi", "localizer", "calibration", "epi", "derived") if named(first, kind)
    ] == []
    assert named_contrast(first) == ""
