"""A head CT sent as base and vertex is used as one stack; what might be two scans is never joined."""

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.series_factory import stack_positions, write_series
from mrct.dicom.grouping import group
from mrct.dicom.series import Instance, Series, read_instances
from mrct.dicom.volume import build_volume
from mrct.selection.choose import Choice, Measured, choose
from mrct.selection.classify import PIXELS, rejected
from mrct.selection.parameters import Rules

CT = Instance(
    Path(),
    modality="CT",
    study_uid="1.2",
    frame_of_reference="1.9",
    acquired=date(2020, 1, 1),
    image_type=("ORIGINAL", "PRIMARY", "AXIAL"),
    orientation=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    pixel_spacing_mm=(1.0, 1.0),
    rows=240,
    columns=180,
    kernel="H31S",
    tube_kv=120.0,
    thickness_mm=5.0,
    has_rescale=True,
)


def block(name: str, first_mm: float, count: int, step_mm: float = 5.0, **changes: Any) -> Series:
    """Make a CT series of `count` slices."""
    like = replace(CT, **{"series_number": ord(name[0]), "thickness_mm": step_mm, **changes})
    images = [
        replace(
            like, path=Path(f"{name}{k}"), instance_number=k + 1, position=(0.0, 0.0, first_mm + step_mm * k)
        )
        for k in range(count)
    ]
    return Series("P", name, tuple(images))


def levels_of(choice: Choice) -> list[float]:
    assert choice.ct is not None
    return [image.position[2] for image in choice.ct.instances if image.position]


BASE = block("base", 0.0, 14)
JOINED = "joined from the series base and vertex, which continue each other"


@pytest.mark.parametrize(
    ("first_mm", "count"), [(70.0, 14), (65.0, 15)], ids=["next slice", "one slice twice"]
)
@pytest.mark.parametrize(
    "rules", [Rules(), Rules(min_coverage_mm=100.0)], ids=["any height", "a head's height"]
)
def test_base_and_vertex_are_one_stack_and_both_are_listed_as_kept(
    first_mm: float, count: int, rules: Rules
) -> None:
    vertex = block("vertex", first_mm, count)
    choice = choose("P", [vertex, BASE], rules)
    assert levels_of(choice) == [5.0 * k for k in range(14)] + [
        z for z in (first_mm + 5.0 * k for k in range(count)) if z > 67.5
    ]
    assert [(one.series.name, one.outcome, len(one.series.instances)) for one in choice.decisions] == [
        ("vertex", "kept", count),
        ("base", "kept", 14),
    ]
    assert all(one.reason.startswith(JOINED) for one in choice.decisions)
    assert all(("1 of their slices overlap" in one.reason) == (first_mm == 65.0) for one in choice.decisions)


def test_thin_base_and_thick_vertex_are_joined() -> None:
    choice = choose("P", [block("base", 0.0, 16, 2.5), block("vertex", 41.25, 20)], Rules())
    assert choice.ct is not None
    assert (choice.ct.name, len(choice.ct.instances)) == ("base+vertex", 36)


def test_three_parts_of_a_head_are_joined() -> None:
    parts = [block(name, first_mm, 9) for name, first_mm in (("c", 90.0), ("a", 0.0), ("b", 45.0))]
    choice = choose("P", parts, Rules())
    assert levels_of(choice) == [5.0 * k for k in range(27)]
    assert all(one.kept for one in choice.decisions)


APART = {
    "a gap of two slices": {"first_mm": 80.1},
    "an overlap of three slices": {"first_mm": 55.0},
    "the same places": {"first_mm": 0.0},
    "the places between": {"first_mm": 2.5},
    "another study": {"study_uid": "1.3"},
    "another frame of reference": {"frame_of_reference": "1.8"},
    "another day": {"acquired": date(2020, 1, 2)},
    "another kernel": {"kernel": "H20S"},
    "another voltage": {"tube_kv": 140.0},
    "another image type": {"image_type": ("ORIGINAL", "PRIMARY", "HELICAL")},
    "another matrix": {"rows": 250},
    "other pixels": {"pixel_spacing_mm": (0.9, 0.9)},
    "another tilt": {"orientation": (1.0, 0.0, 0.0, 0.0, 0.995, 0.0998)},
    "another device": {"model": "X"},
}


@pytest.mark.parametrize("changes", APART.values(), ids=APART)
def test_what_may_be_another_scan_is_not_joined(changes: dict[str, Any]) -> None:
    vertex = block("vertex", **({"first_mm": 70.0, "count": 14} | changes))
    choice = choose("P", [BASE, vertex], Rules())
    assert choice.ct in (BASE, vertex)
    assert sorted(one.outcome for one in choice.decisions) == ["kept", "rejected"]


def test_a_series_without_frame_of_reference_is_not_joined() -> None:
    base, vertex = (
        block("base", 0.0, 14, frame_of_reference=""),
        block("vertex", 70.0, 14, frame_of_reference=""),
    )
    assert choose("P", [base, vertex], Rules()).ct in (base, vertex)


def test_a_series_that_covers_the_head_is_left_as_it_is() -> None:
    head, neck = block("head", 0.0, 30), block("neck", -70.0, 14)
    choice = choose("P", [neck, head], Rules())
    assert choice.ct == head
    assert [one.verdict.rule for one in choice.decisions] == ["not_chosen", ""]


def test_another_part_of_the_body_is_not_joined() -> None:
    spine = block("spine", -70.0, 14, description="Spine")
    choice = choose("P", [spine, BASE], Rules())
    assert choice.ct == BASE
    assert choice.decisions[0].verdict.rule == "body_part"


def test_of_two_vertices_one_is_joined_and_the_other_says_why_not() -> None:
    again = block("zertex", 70.0, 14)
    choice = choose("P", [BASE, block("vertex", 70.0, 14), again], Rules())
    assert choice.ct is not None
    assert choice.ct.name == "base+vertex"
    assert [one.outcome for one in choice.decisions] == ["kept", "kept", "rejected"]
    assert "series base+vertex of this patient was chosen" in choice.decisions[2].reason


def test_if_the_joined_pixels_are_unusable_the_parts_are_candidates_again() -> None:
    vertex = block("vertex", 70.0, 20)
    damaged = Measured(rejected(PIXELS, "slice 3 of 34: damaged"))
    choice = choose("P", [BASE, vertex], Rules(), {"base+vertex": damaged, "base": damaged})
    assert choice.ct == vertex


def test_the_joined_volume_holds_each_slice_at_its_level(tmp_path: Path) -> None:
    """The stored value of a slice is its level in mm above -40, times 10."""
    places = stack_positions(12)
    values = np.stack([np.full((24, 20), 10 * (z + 40), np.int16) for _, _, z in places])
    shared = {"FrameOfReferenceUID": "1.9", "ConvolutionKernel": "H31s"}
    write_series(tmp_path / "b", values=values[:7], positions=places[:7], SeriesInstanceUID="1.1", **shared)
    write_series(tmp_path / "a", values=values[7:], positions=places[7:], SeriesInstanceUID="1.2", **shared)
    images = [one for path in sorted(tmp_path.rglob("*.dcm")) for one in read_instances(path)]
    choice = choose("P", group(images, lambda one: ("P", one.path.parent.name)), Rules())
    assert choice.ct is not None
    volume, notes, _ = build_volume(choice.ct)
    assert notes == ("joined from the series b and a, which continue each other",)
    assert (volume.GetOrigin()[2], volume.GetSpacing()[2]) == (-40.0, 5.0)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(volume), values - 1024.0)
