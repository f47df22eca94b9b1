"""The output passes an independent validator: dciodvfy of dicom3tools (Clunie) checks files against PS3.3."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from pydicom import Dataset

from helpers.enhanced_factory import enhanced_dataset
from helpers.phi_factory import person_dataset
from mrct.deid.deidentify import Options, deidentify
from mrct.deid.pseudonyms import demonstration
from mrct.dicom.read import read_dataset
from mrct.dicom.write import save_dataset

DCIODVFY = shutil.which("dciodvfy")
pytestmark = pytest.mark.skipif(DCIODVFY is None, reason="dicom3tools is not installed")


def errors(path: Path) -> set[str]:
    """Return the errors of dciodvfy, without the values that they quote."""
    done = subprocess.run(
        [str(DCIODVFY), "-new", str(path)], capture_output=True, text=True, errors="replace"
    )
    lines = (done.stdout + done.stderr).splitlines()
    return {re.sub(r" = <.*", "", line) for line in lines if line.startswith("Error")}


def before_and_after(image: Dataset, folder: Path, **options) -> tuple[set[str], set[str]]:
    image.save_as(folder / "before.dcm", enforce_file_format=True)
    source = read_dataset(folder / "before.dcm", pixels=True)
    save_dataset(deidentify(source, demonstration(), Options(**options)).dataset, folder / "after.dcm")
    return errors(folder / "before.dcm"), errors(folder / "after.dcm")


@pytest.mark.parametrize("retain", [False, True])
@pytest.mark.parametrize("factory", [person_dataset, enhanced_dataset], ids=["classic", "enhanced"])
@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_no_error_is_new_and_those_of_what_went_are_gone(tmp_path, factory, modality, retain):
    before, after = before_and_after(factory(modality), tmp_path, retain_age_and_sex=retain)
    assert after - before == set()
    # otherwise the program reported nothing
    assert any("OriginalAttributesSequence" in error for error in before)
    assert not any("OriginalAttributesSequence" in error for error in after)


@pytest.mark.parametrize(
    "changes",
    [
        {"KVP": "", "AcquisitionNumber": None},
        {"Manufacturer": "Wolkenstein", "ManufacturerModelName": "Hollyoak"},
        {"ImageType": ["DERIVED", "PRIMARY", "QUENNEVILLE"], "BodyPartExamined": "QUENNEVILLE"},
        {"SpecificCharacterSet": ["", "ISO 2022 IR 149"], "PatientName": "Hong^Gildong=洪^吉洞"},
        {"StudyDate": "2020", "ContentDate": "19571"},
    ],
    ids=["empty", "unknown maker", "unknown code", "character set", "partial date"],
)
@pytest.mark.parametrize("factory", [person_dataset, enhanced_dataset], ids=["classic", "enhanced"])
def test_values_that_are_emptied_leave_a_valid_file(tmp_path, factory, changes):
    image = factory("CT")
    for keyword, value in changes.items():
        setattr(image, keyword, value)
    before, after = before_and_after(image, tmp_path)
    assert after - before == set()
