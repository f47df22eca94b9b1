from pathlib import Path

import pytest

from mrct.core.files import is_volume_file, volume_stem, volume_suffix


@pytest.mark.parametrize(
    ("name", "stem", "suffix"),
    [
        ("ct.nii.gz", "ct", ".nii.gz"),
        ("CT.NII.GZ", "CT", ".nii.gz"),
        ("Ct.Nii", "Ct", ".nii"),
        ("a.b.mha", "a.b", ".mha"),
        ("mr.MHD", "mr", ".mhd"),
        ("ct.nii.gz.part", "", ""),
        ("ct.gz", "", ""),
        ("ctnii", "", ""),
        (".nii.gz", "", ".nii"),
    ],
)
def test_the_suffix_of_a_volume_is_known_in_any_case(name, stem, suffix):
    path = Path("folder.nii") / name
    if name == ".nii.gz":
        assert not is_volume_file(path)
        return
    assert (volume_stem(path), volume_suffix(path), is_volume_file(path)) == (stem, suffix, bool(suffix))
