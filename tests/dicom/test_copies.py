"""Copies of one image count once; whose header an archive has rewritten gives way to the common one."""

from pathlib import Path

from helpers.series_factory import write_series
from mrct.dicom.copies import without_copies
from mrct.dicom.series import Instance, read_instances


def instances(root: Path) -> list[Instance]:
    return [one for path in sorted(root.rglob("*.dcm")) for one in read_instances(path)]


def test_the_copies_with_the_common_description_are_kept_wherever_they_lie(tmp_path: Path) -> None:
    write_series(tmp_path / "b", SeriesDescription="HEAD")
    for path in write_series(tmp_path / "a", SeriesDescription="HEAD rewritten")[3:]:
        path.unlink()
    found = without_copies(instances(tmp_path))
    assert (len(found.instances), found.n_copies, found.n_contradictory) == (6, 3, 0)
    assert {one.path.parent.name for one in found.instances} == {"b"}


def test_of_equal_copies_the_first_is_kept(tmp_path: Path) -> None:
    for name in "ab":
        write_series(tmp_path / name)
    assert {one.path.parent.name for one in without_copies(instances(tmp_path)).instances} == {"a"}


def test_images_of_one_uid_with_other_pixels_are_all_left_out(tmp_path: Path) -> None:
    write_series(tmp_path / "a", "CT")
    write_series(tmp_path / "b", "MR")
    assert without_copies(instances(tmp_path)) == ([], 0, 12)
