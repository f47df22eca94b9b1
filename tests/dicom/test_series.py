"""Headers are parsed tolerantly, images are grouped into series, and echoes are separated."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from helpers import series_factory
from mrct.dicom.errors import Unreadable
from mrct.dicom.header import vendor_name
from mrct.dicom.series import (
    Instance,
    Series,
    group,
    instance_of,
    read_instances,
    split_echoes,
    split_types,
)


def raw(dataset: Dataset, tag: int, vr: str, value: bytes) -> None:
    """Set an element as a file holds it: unparsed bytes, valid or not."""
    dataset._dict[Tag(tag)] = RawDataElement(Tag(tag), vr, len(value), value, 0, False, True)


def test_header_values_arrive() -> None:
    dataset = series_factory.make_dataset(
        "MR", np.zeros((4, 6), np.int16), (1, 2, 3), ScanningSequence=["SE", "IR"]
    )
    instance = instance_of(dataset, Path("x"))
    assert instance.position == (1, 2, 3)
    assert (instance.rows, instance.columns, instance.te_ms, instance.vendor) == (4, 6, 100.0, "Siemens")
    assert instance.scanning_sequence == ("SE", "IR")
    assert instance.acquired == date(2020, 1, 1)


@pytest.mark.filterwarnings("ignore")
def test_damaged_values_are_absent_not_fatal() -> None:
    dataset = Dataset()
    raw(dataset, 0x00180081, "DS", b"abc ")  # EchoTime
    raw(dataset, 0x00180080, "DS", b"inf ")  # RepetitionTime
    raw(dataset, 0x00200013, "IS", b"1.5 ")  # InstanceNumber
    raw(dataset, 0x00200032, "DS", rb"1\2")  # ImagePositionPatient
    raw(dataset, 0x00080020, "DA", b"20209999")  # StudyDate
    instance = instance_of(dataset, Path("x"))
    assert (instance.te_ms, instance.tr_ms, instance.position, instance.acquired) == (None,) * 4
    assert instance.modality == ""
    assert instance.has_rescale is False


def test_unknown_vr_is_unreadable_not_a_crash(tmp_path: Path) -> None:
    path = series_factory.write_series(tmp_path, "MR")[0]
    content = path.read_bytes()
    at = content.index(b"\x18\x00\x81\x00DS")
    path.write_bytes(content[: at + 4] + b"ZZ" + content[at + 6 :])
    with pytest.raises(Unreadable, match="damaged"):
        read_instances(path)


@pytest.mark.parametrize(
    ("manufacturer", "vendor"),
    [
        ("SIEMENS HEALTHINEERS", "Siemens"),
        ("Philips Medical Systems", "Philips"),
        ("GE MEDICAL SYSTEMS", "GE"),
        ("TOSHIBA_MEC", "Canon"),
        ("General Hospital of Jane Doe", "other"),
        ("", "other"),
    ],
)
def test_vendor_is_a_known_name_or_other(manufacturer: str, vendor: str) -> None:
    assert vendor_name(manufacturer) == vendor


@pytest.mark.parametrize(
    ("agent", "expected"), [("Gadovist", True), ("NONE", False), ("no", False), ("", False)]
)
def test_contrast_agent_tag(agent: str, expected: bool) -> None:
    dataset = Dataset()
    dataset.ContrastBolusAgent = agent
    assert instance_of(dataset, Path("x")).contrast_agent is expected


def test_group_is_independent_of_input_order() -> None:
    instances = [
        Instance(Path(f"{uid}{n}"), series_uid=uid, instance_number=n) for uid in "ba" for n in (3, 1, 2)
    ]
    forward = group(instances, lambda item: ("P", item.series_uid))
    assert forward == group(reversed(instances), lambda item: ("P", item.series_uid))
    assert [item.name for item in forward] == ["a", "b"]
    assert [item.instance_number for item in forward[0].instances] == [1, 2, 3]


def test_dual_echo_is_split_by_echo_time() -> None:
    items = tuple(
        Instance(Path(f"{k}{te}"), modality="MR", te_ms=te, position=(0.0, 0.0, float(k)))
        for k in range(4)
        for te in (98.3, 20.1)
    )
    parts = split_echoes(Series("P", "S", items))
    assert [(part.name, part.first.te_ms, len(part.instances)) for part in parts] == [
        ("S-e1", 20.1, 4),
        ("S-e2", 98.3, 4),
    ]


def test_image_types_part_a_series_only_where_they_share_positions() -> None:
    def item(k: int, component: str) -> Instance:
        return Instance(
            Path(f"{k}{component}"), image_type=("ORIGINAL", "PRIMARY", component), position=(0, 0, k)
        )

    both = Series("P", "S", tuple(item(k, component) for k in range(4) for component in "MP"))
    assert [(part.name, len(part.instances)) for part in split_types(both)] == [("S-i1", 4), ("S-i2", 4)]
    apart = Series("P", "S", tuple(item(k, "MP"[k % 2]) for k in range(4)))
    assert split_types(apart) == [apart]
    placeless = Series("P", "S", tuple(replace(one, position=None) for one in both.instances))
    assert split_types(placeless) == [placeless]


def test_one_repeated_slice_does_not_part_a_series_by_what_varies_slice_by_slice() -> None:
    items = [
        Instance(Path(str(k)), modality="MR", te_ms=98.0 + k, position=(0.0, 0.0, float(k))) for k in range(9)
    ]
    again = replace(items[3], path=Path("again"), te_ms=200.0)
    series = Series("P", "S", (*items, again))
    assert split_echoes(series) == [series]


def test_two_kernels_in_one_series_are_parted() -> None:
    items = [
        Instance(Path(f"{k}{kernel}"), kernel=kernel, position=(0.0, 0.0, float(k)))
        for k in range(4)
        for kernel in ("H31S", "H70H")
    ]
    parts = group(items, lambda _: ("P", "S"))
    assert [(part.name, part.first.kernel) for part in parts] == [("S-k1", "H31S"), ("S-k2", "H70H")]


def test_echo_times_that_vary_from_slice_to_slice_stay_together() -> None:
    items = tuple(
        Instance(Path(str(k)), modality="MR", te_ms=98.0 + k, position=(0.0, 0.0, float(k))) for k in range(4)
    )
    assert split_echoes(Series("P", "S", items)) == [Series("P", "S", items)]
