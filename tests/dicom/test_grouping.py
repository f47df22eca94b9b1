"""A series holds images of one kind, each place once; what is not told apart is refused; file names do not matter."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from helpers.series_factory import smooth, stack_positions, write_series
from mrct.dicom.errors import GeometryError
from mrct.dicom.grouping import group
from mrct.dicom.series import Instance, Series, read_instances
from mrct.dicom.stack import stack
from mrct.dicom.volume import build_volume

MR = Instance(
    Path(),
    study_uid="1.2",
    series_uid="1.2.3",
    modality="MR",
    image_type=("ORIGINAL", "PRIMARY", "M", "SE"),
    description="t2 se tra",
    series_number=3,
    acquired=date(2020, 1, 1),
    orientation=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    pixel_spacing_mm=(1.0, 1.0),
    rows=8,
    columns=8,
    thickness_mm=5.0,
    te_ms=100.0,
    tr_ms=4000.0,
    flip_angle_deg=90.0,
    scanning_sequence=("SE",),
    sequence_variant=("SK",),
)
CT = replace(
    MR,
    modality="CT",
    image_type=("ORIGINAL", "PRIMARY", "AXIAL"),
    te_ms=None,
    tr_ms=None,
    flip_angle_deg=None,
    scanning_sequence=(),
    sequence_variant=(),
    kernel="H31S",
    tube_kv=120.0,
)


def scan(
    levels_mm: Sequence[float], like: Instance = MR, start: int = 1, each: Any = lambda k: {}, **changes: Any
) -> list[Instance]:
    """Make one image per level, numbered from `start`; each has its own SOP Instance UID."""
    return [
        replace(like, **{"position": (0.0, 0.0, z), "instance_number": start + k, **changes, **each(k)})
        for k, z in enumerate(levels_mm)
    ]


def levels(count: int = 8, first_mm: float = 0.0, step_mm: float = 5.0) -> list[float]:
    return [first_mm + step_mm * k for k in range(count)]


def grouped(images: Sequence[Instance], seed: int = 0) -> list[Series]:
    """Group the images, shuffled, in files with random names."""
    rng = np.random.default_rng(seed)
    names = rng.permutation(len(images))
    files = [
        replace(image, path=Path(f"{name:03d}.dcm"), sop_instance_uid=str(n))
        for n, (image, name) in enumerate(zip(images, names, strict=True))
    ]
    return group([files[n] for n in rng.permutation(len(files))], lambda _: ("P", "S"))


def contents(found: Sequence[Series]) -> list[tuple[str, ...]]:
    """Return the images of each series by SOP Instance UID."""
    return [tuple(image.sop_instance_uid for image in one.instances) for one in found]


KINDS = {
    "study": (MR, {"study_uid": "1.3"}, "v"),
    "modality": (MR, {"modality": "CT"}, "m"),
    "series number": (MR, {"series_number": 4}, "n"),
    "description": (MR, {"description": "t2 se tra km"}, "d"),
    "contrast agent": (CT, {"contrast_agent": True}, "c"),
    "T1 and T2": (MR, {"te_ms": 12.0, "tr_ms": 500.0}, "e"),
    "echo time": (MR, {"te_ms": 80.0}, "e"),
    "repetition time": (MR, {"tr_ms": 3000.0}, "a"),
    "inversion time": (MR, {"ti_ms": 2500.0}, "a"),
    "two inversion times": (replace(MR, ti_ms=700.0), {"ti_ms": 2500.0}, "a"),
    "flip angle": (MR, {"flip_angle_deg": 20.0}, "a"),
    "gradient echo": (MR, {"scanning_sequence": ("GR",)}, "a"),
    "sequence variant": (MR, {"sequence_variant": ("SK", "MTC")}, "a"),
    "fat saturation": (MR, {"scan_options": ("FS",)}, "a"),
    "b-value": (replace(MR, diffusion_b_value=0.0), {"diffusion_b_value": 1000.0}, "a"),
    "phase": (MR, {"image_type": ("ORIGINAL", "PRIMARY", "P", "SE")}, "i"),
    "image type": (CT, {"image_type": ("ORIGINAL", "PRIMARY", "MPR")}, "i"),
    "kernel": (CT, {"kernel": "H70H"}, "k"),
}
PLACES = {
    "the same places": levels(),
    "places between": levels(first_mm=2.5),
    "the next places": levels(first_mm=40.0),
    "every other place": levels(step_mm=10.0),
}


@pytest.mark.parametrize("second", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize(("like", "change", "letter"), KINDS.values(), ids=KINDS)
def test_images_of_two_kinds_are_never_in_one_series(
    like: Instance, change: dict[str, Any], letter: str, second: list[float]
) -> None:
    images = scan(levels(), like) + scan(second, like, **change)
    found = grouped(images)
    assert {frozenset(part) for part in contents(found)} == {
        frozenset(map(str, range(8))),
        frozenset(map(str, range(8, 16))),
    }
    assert [one.name for one in found] == [f"S-{letter}1", f"S-{letter}2"]


WHOLE = {
    "the same header everywhere": scan(levels()),
    "GE counts the rotations of the gantry": scan(levels(), CT, each=lambda k: {"acquisition_number": k + 1}),
    "an irradiation event per rotation": scan(levels(), CT, each=lambda k: {"acquisition_uid": f"1.{k}"}),
    "interleaved slices in two passes": scan(levels(), each=lambda k: {"acquisition_number": 1 + k % 2}),
    "rounded echo times": scan(levels(), each=lambda k: {"te_ms": 100.0 + 0.4 * (k % 2)}),
    "times adapted slice by slice": scan(levels(), each=lambda k: {"te_ms": 90.0 + 4 * k, "tr_ms": 4000.0 + 300 * k}),
    "a kernel that one slice lacks": scan(levels(), CT, each=lambda k: {"kernel": "" if k == 0 else "H31S"}),
    "a time that one slice lacks": scan(levels(), each=lambda k: {"te_ms": None if k == 3 else 100.0}),
    "thin at the base, thick above": [
        *scan(levels(10, step_mm=2.5), CT, thickness_mm=2.5, tube_kv=140.0, acquisition_number=1),
        *scan(
            levels(8, 27.5),
            CT,
            start=11,
            thickness_mm=5.0,
            acquisition_number=2,
            image_type=("ORIGINAL", "PRIMARY", "AXIAL", "ADD"),
        ),
    ],
    "a word more in one description": scan(
        levels(), each=lambda k: {"description": "t2 se tra" + " c" * (k == 5)}
    ),
    "a word more in one image type": scan(
        levels(), each=lambda k: {"image_type": (*MR.image_type, "P", "OTHER")} if k == 2 else {}
    ),
    "a derived image": scan(
        levels(), CT, each=lambda k: {"image_type": ("DERIVED", "PRIMARY", "AXIAL")} if k == 2 else {}
    ),
    "words of one image that are no sequence variant": scan(
        levels(), each=lambda k: {"sequence_variant": ("SK", "X") if k == 2 else ("SK",)}
    ),
}  # fmt: skip


@pytest.mark.parametrize("images", WHOLE.values(), ids=WHOLE)
def test_what_varies_within_a_scan_does_not_part_it(images: list[Instance]) -> None:
    [item] = grouped(images)
    assert (item.name, len(item.instances), item.notes) == ("S", len(images), ())


VARIANTS = {
    "rounded echo times": (MR, {"te_ms": 104.0}),
    "near flip angles": (MR, {"flip_angle_deg": 88.0}),
    "voltages of one scan": (CT, {"tube_kv": 80.0}),
    "thicknesses": (CT, {"thickness_mm": 2.0}),
    "original and derived": (CT, {"image_type": ("DERIVED", "PRIMARY", "AXIAL")}),
}


@pytest.mark.parametrize(("like", "change"), VARIANTS.values(), ids=VARIANTS)
def test_what_may_vary_along_the_head_parts_images_at_the_same_places(
    like: Instance, change: dict[str, Any]
) -> None:
    found = grouped(scan(levels(), like) + scan(levels(), like, **change))
    assert sorted(map(len, contents(found))) == [8, 8]
    assert all(int(uid) // 8 == int(part[0]) // 8 for part in contents(found) for uid in part)


def test_thin_and_thick_images_of_one_scan_are_two_series() -> None:
    """The thick ones lie at every fifth place of the thin ones."""
    thin = scan(levels(60, step_mm=1.0), CT, thickness_mm=1.0)
    thick = scan(levels(12), CT, start=61, thickness_mm=5.0)
    assert sorted(map(len, contents(grouped(thin + thick)))) == [12, 60]


SCANS = {
    "acquisition number": ({"acquisition_number": 1}, {"acquisition_number": 2}),
    "a missing number": ({}, {"acquisition_number": 2}),
    "date": ({}, {"acquired": date(2020, 1, 9)}),
    "irradiation event": ({"acquisition_uid": "1.1"}, {"acquisition_uid": "1.2"}),
    "temporal position": ({"temporal_position": 1}, {"temporal_position": 2}),
}


@pytest.mark.parametrize(("one", "other"), SCANS.values(), ids=SCANS)
def test_repeated_scans_whose_instance_numbers_start_again_are_told_apart(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    found = grouped(scan(levels(), **one) + scan(levels(), **other))
    assert {frozenset(part) for part in contents(found)} == {
        frozenset(map(str, range(8))),
        frozenset(map(str, range(8, 16))),
    }
    assert [one.name for one in found] == ["S-s1", "S-s2"]


def test_acquisition_numbers_part_scans_of_unlike_height() -> None:
    """A whole head, then its lower half again."""
    found = grouped(scan(levels(12), acquisition_number=3) + scan(levels(6), acquisition_number=7))
    assert list(map(len, contents(found))) == [12, 6]


def test_scans_that_gantry_rotations_number_follow_each_other() -> None:
    """Rotations 1 to 8 at base and vertex, then 9 to 16 again."""
    found = grouped(
        scan(
            levels(16),
            CT,
            each=lambda k: {"position": (0.0, 0.0, 5.0 * (k % 8)), "acquisition_number": k + 1},
        )
    )
    assert contents(found) == [tuple(map(str, range(8))), tuple(map(str, range(8, 16)))]  # fmt: skip


@pytest.mark.parametrize("second", [levels(), levels()[::-1]], ids=["upwards", "downwards"])
def test_scans_that_follow_each_other_are_told_apart_by_instance_number(second: list[float]) -> None:
    found = grouped(scan(levels()) + scan(second, start=9))
    assert contents(found) == [tuple(map(str, range(8))), tuple(map(str, range(8, 16)))]


def mixed_numbers() -> list[int]:
    return np.random.default_rng(1).permutation(16).tolist()


UNCLEAR = {
    "instance numbers start again": scan(levels()) + scan(levels()),
    "instance numbers start again from the top": scan(levels()) + scan(levels()[::-1]),
    "no instance numbers": scan(levels(), instance_number=0) * 2,
    "instance numbers in no order": scan(levels() * 2, each=lambda k: {"instance_number": mixed_numbers()[k]}),
    "a lower half, then the whole": scan(levels(4)) + scan(levels(), start=5),
    "the upper half again": scan(levels()) + scan(levels(4, 20.0), start=9),
}  # fmt: skip


@pytest.mark.parametrize("images", UNCLEAR.values(), ids=UNCLEAR)
def test_scans_that_no_number_tells_apart_are_refused(images: list[Instance]) -> None:
    [item] = grouped(images)
    assert len(item.instances) == len(images)
    with pytest.raises(GeometryError, match="several scans in one series, which no header value tells apart"):
        stack(item)


def test_a_single_slice_sent_again_is_left_to_its_number() -> None:
    [item] = grouped([*scan(levels()), *scan([15.0], start=9)])
    assert item.notes == ()
    layout = stack(item)
    assert [image.instance_number for image in layout.instances] == list(range(1, 9))
    assert layout.notes == ("1 slice at a repeated position left out",)


def test_two_single_images_of_one_place_that_no_number_tells_apart_are_both_left_out() -> None:
    [item] = grouped([*scan(levels()), *scan([15.0], start=4)])
    assert {image.position for image in item.instances} == {(0.0, 0.0, z) for z in levels() if z != 15.0}
    assert item.notes == ("2 images left out: no number tells those at one place apart",)


def test_an_image_without_kernel_joins_the_kernel_that_lacks_its_place() -> None:
    soft, sharp = scan(levels(), CT), scan(levels(), CT, kernel="H70H")
    soft[3] = replace(soft[3], kernel="")
    assert {frozenset(part) for part in contents(grouped(soft + sharp))} == {
        frozenset(map(str, range(8))),
        frozenset(map(str, range(8, 16))),
    }


def test_an_image_without_kernel_stays_alone_where_two_kernels_lack_its_place() -> None:
    images = scan(levels(), CT) + scan(levels(first_mm=40.0), CT, kernel="H70H") + scan([90.0], CT, kernel="")
    assert list(map(len, contents(grouped(images)))) == [8, 8, 1]


def test_copies_of_a_file_count_once() -> None:
    images = [replace(one, sop_instance_uid=str(n)) for n, one in enumerate(scan(levels()))]
    copies = [replace(one, path=Path(f"copy/{n}")) for n, one in enumerate(images)]
    [item] = group(images + copies, lambda _: ("P", "S"))
    assert contents([item]) == [tuple(map(str, range(8)))]


def test_images_beside_diffusion_images_of_the_same_times_are_those_of_b_0() -> None:
    images = scan(levels()) + scan(levels(), start=9, diffusion_b_value=1000.0)
    assert [{one.diffusion_b_value for one in item.instances} for item in grouped(images)] == [
        {0.0},
        {1000.0},
    ]
    t2 = scan(levels(), te_ms=60.0)
    assert grouped(images + t2)[0].first.diffusion_b_value is None


@given(seed=st.integers(0, 10_000), case=st.sampled_from([*WHOLE, *UNCLEAR, *KINDS]))
def test_file_names_and_their_order_decide_nothing(seed: int, case: str) -> None:
    if case in KINDS:
        like, change, _ = KINDS[case]
        images = scan(levels(), like) + scan(levels(), like, **change)
    else:
        images = (WHOLE | UNCLEAR)[case]
    one, other = grouped(images), grouped(images, seed)
    assert [item.name for item in one] == [item.name for item in other]
    assert list(map(sorted, contents(one))) == list(map(sorted, contents(other)))


def test_the_most_common_header_is_shown_not_the_first() -> None:
    [item] = grouped(scan(levels(), CT, each=lambda k: {"kernel": "" if k == 0 else "H31S"}))
    assert item.first.kernel == "H31S"


def test_two_interleaved_scans_give_two_volumes_with_their_own_values(tmp_path: Path) -> None:
    """T1 and T2 in one series, T1 2.5 mm above T2, under one row of instance numbers and with mixed file names."""
    t2, t1 = smooth(6), smooth(6) + 7
    order = np.random.default_rng(5).permutation(12)
    values = np.concatenate([t2, t1])[order]
    places = [*stack_positions(6), *stack_positions(6, origin=(-20.0, -15.0, -37.5))]
    write_series(
        tmp_path,
        "MR",
        values=values,
        positions=[places[n] for n in order],
        each=lambda k: {"InstanceNumber": 1} | ({"EchoTime": 12.0, "RepetitionTime": 500.0} if order[k] >= 6 else {}),
    )  # fmt: skip
    images = [one for path in tmp_path.glob("*.dcm") for one in read_instances(path)]
    found = group(images, lambda _: ("P", "S"))
    for item, expected, first_mm in zip(found, (t1, t2), (-37.5, -40.0), strict=True):
        volume, notes, _ = build_volume(item)
        assert notes == ()
        assert volume.GetOrigin()[2] == first_mm
        np.testing.assert_array_equal(sitk.GetArrayFromImage(volume), expected)


def between(**changes: Any) -> list[Instance]:
    """Make two scans, the second half a step above the first, each numbered from 1."""
    return scan(levels()) + scan(levels(first_mm=2.5), **changes)


@pytest.mark.parametrize("changes", [{"acquired": date(2020, 2, 6)}, {"acquisition_uid": "1.2.9"}])
def test_a_scan_between_the_places_of_another_is_told_apart(changes: dict[str, Any]) -> None:
    found = grouped(between(**changes))
    assert [len(one.instances) for one in found] == [8, 8]
    assert [stack(one).slice_spacing_mm for one in found] == [pytest.approx(5.0)] * 2


def test_a_scan_between_the_places_of_another_that_nothing_tells_apart_is_refused() -> None:
    """Both together look like one scan with slices of half the distance."""
    [one] = grouped(between())
    with pytest.raises(GeometryError, match="instance numbers start again"):
        stack(one)


@pytest.mark.parametrize("number", [0, 7])
def test_numbers_that_are_absent_or_one_for_all_part_nothing(number: int) -> None:
    [one] = grouped(scan(levels(16, step_mm=2.5), each=lambda k: {"instance_number": number}))
    assert stack(one).n_slices == 16
