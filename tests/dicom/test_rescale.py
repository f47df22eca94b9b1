"""Stored values become HU or signal exactly where the header says how, and are refused with the reason where not."""

from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from helpers.series_factory import items, make_dataset
from mrct.dicom.errors import Unreadable
from mrct.dicom.rescale import Rescale, has_undefined_unit, padding, read_rescale, rescale_fault


def header(modality: str = "CT", **attributes: Any) -> Dataset:
    return make_dataset(modality, np.zeros((4, 4), np.int16), (0, 0, 0), **attributes)


def emptied(*keywords: str, modality: str = "CT") -> Dataset:
    dataset = header(modality)
    for keyword in keywords:
        dataset.add_new(keyword, "DS", None)
    return dataset


BOTH = ("RescaleSlope", "RescaleIntercept")


@pytest.mark.parametrize("kind", ["HU", "US", "HU_MOD", "", None])
def test_the_types_that_mean_hu_are_taken(kind: str | None) -> None:
    assert read_rescale(header(RescaleType=kind), "CT") == Rescale(1.0, -1024.0)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("EDW", "electron"),
        ("Z_EFF", "atomic"),
        ("MGML", "contrast"),
        ("PCT", "percent"),
    ],
)
def test_another_unit_is_no_hu(kind: str, words: str) -> None:
    dataset = header(RescaleType=kind)
    assert words in rescale_fault(dataset, "CT")
    with pytest.raises(Unreadable, match="not HU"):
        read_rescale(dataset, "CT")
    assert rescale_fault(dataset, "MR") == ""


@pytest.mark.parametrize(
    ("kind", "undefined"), [("OTHER", True), ("mg/cc", True), ("HU", False), ("EDW", False), ("", False)]
)
def test_a_unit_that_the_standard_does_not_define_is_told_apart(kind: str, undefined: bool) -> None:
    assert has_undefined_unit(header(RescaleType=kind)) == undefined


@pytest.mark.parametrize(
    "dataset", [emptied(*BOTH), emptied(BOTH[0]), emptied(BOTH[1]), header(RescaleSlope=None)]
)
def test_a_ct_needs_slope_and_intercept(dataset: Dataset) -> None:
    assert "no rescale slope and intercept" in rescale_fault(dataset, "CT")


def test_an_mr_without_slope_is_its_stored_values() -> None:
    assert read_rescale(emptied(*BOTH, modality="MR"), "MR") == Rescale()
    assert read_rescale(header("MR", RescaleIntercept="0"), "MR") == Rescale()
    assert (
        read_rescale(header("MR", RescaleSlope="1.02609e-08", RescaleIntercept="0"), "MR").slope
        == 1.02609e-08
    )


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"RescaleSlope": "0"}, "slope is 0"),
        ({"RescaleSlope": ["1", "1"]}, "slope is not one finite number"),
        ({"RescaleSlope": "nan"}, "slope is not one finite number"),
        ({"RescaleIntercept": "inf"}, "intercept is not one finite number"),
        ({"ModalityLUTSequence": items(ModalityLUTType="HU")}, "modality LUT"),
    ],
)
def test_what_cannot_be_applied_is_refused(modality: str, attributes: dict[str, Any], words: str) -> None:
    dataset = header(modality, **({"RescaleSlope": "1", "RescaleIntercept": "0"} | attributes))
    assert words in rescale_fault(dataset, modality)


def test_the_line_is_applied_exactly() -> None:
    stored = np.array([0, 24, 1064, 65535], np.uint16)
    np.testing.assert_array_equal(Rescale(1.0, -1024.0).apply(stored), [-1024.0, -1000.0, 40.0, 64511.0])
    np.testing.assert_array_equal(Rescale(-0.5, 3.0).apply(np.array([-8], np.int16)), [7.0])


@pytest.mark.parametrize("limit", ["absent", "empty", "many"])
def test_a_padding_limit_that_says_nothing_leaves_the_padding_value(limit: str) -> None:
    dataset = header()
    dataset.add_new("PixelPaddingValue", "SS", -2000)
    if limit != "absent":
        dataset.add_new("PixelPaddingRangeLimit", "SS", None if limit == "empty" else [1, 2])
    stored = np.array([[-2000, -1999], [40, -2000]], np.int16)
    np.testing.assert_array_equal(padding(stored, dataset), [[True, False], [False, True]])


def test_an_empty_padding_value_pads_nothing() -> None:
    dataset = header()
    dataset.add_new("PixelPaddingValue", "SS", None)
    assert not padding(np.full((2, 2), -2000, np.int16), dataset).any()
