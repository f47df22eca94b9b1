"""Headers are parsed tolerantly, images are grouped into series."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from helpers import series_factory
from mrct.dicom.errors import Unreadable
from mrct.dicom.grouping import group
from mrct.dicom.header import vendor_name
from mrct.dicom.series import Instance, instance_of, read_instances


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
