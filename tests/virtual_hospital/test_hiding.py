"""Hiding places: the table is valid, images keep their pixels, and the default cohort has all places."""

import copy
import csv
import io
import re
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.datadict import tag_for_keyword

from virtual_hospital.elements import save
from virtual_hospital.geometry import stack
from virtual_hospital.headers import Acquisition
from virtual_hospital.hiding import place as places
from virtual_hospital.hiding.other_files import OTHER_FILES
from virtual_hospital.hiding.registry import EVERY_HEADER, IN_TURN, files_of_patient, place_of_image
from virtual_hospital.hiding.spellings import DECLARED, UNDECLARED, in_script
from virtual_hospital.images import make_images
from virtual_hospital.persona import draw_persona
from virtual_hospital.scanners import GE_CT, PHILIPS_MR, SIEMENS_CT
from virtual_hospital.series import Series

PATIENTS = 18  # params.yaml


def _acquisition(scanner, size=16):
    grid = stack(np.eye(3), np.zeros(3), (1, size, size), 8.0, 5.0, 5.0)
    values = np.random.default_rng(5).uniform(0, 1000, (1, size, size))
    image_type = ("ORIGINAL", "PRIMARY", "AXIAL")
    series = Series("clean", scanner.modality, "AX T2", "T2", (values,), (grid,), image_type)
    return Acquisition(series, draw_persona(1, np.random.default_rng(1)), scanner, 7, 1, 1)


def test_every_row_of_the_table_names_attributes_that_exist_or_a_tag():
    with Path(places.__file__).with_name("attributes.csv").open(encoding="ascii") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        assert row["images"] in ("all", "some")
        for part in row["where"].split(">"):
            assert tag_for_keyword(part) or re.fullmatch("[0-9A-F]{8}", part), row["kind"]
        assert row["vr"] or tag_for_keyword(row["where"].split(">")[-1]), row["kind"]
        assert "{" in row["value"], f"{row['kind']} hides nothing"


def test_no_two_kinds_share_a_name():
    kinds = [item.kind for item in (*EVERY_HEADER, *IN_TURN, *OTHER_FILES)]
    assert len(kinds) == len(set(kinds)) > 300


@pytest.mark.parametrize(
    "scanner", [SIEMENS_CT, GE_CT, PHILIPS_MR], ids=["siemens_ct", "ge_ct", "philips_mr"]
)
def test_a_hiding_place_changes_neither_the_pixels_nor_other_images_of_the_series(scanner, tmp_path):
    acquisition = _acquisition(scanner)
    for index, item in enumerate(IN_TURN):
        image = next(iter(make_images(acquisition)))
        before = copy.deepcopy(image)
        stored = np.frombuffer(image.PixelData, "<i2" if scanner.signed else "<u2")
        sequences = {e.tag: e.value for e in image if e.VR == "SQ"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            item.put(image, acquisition.phi)
            save(image, tmp_path / str(index))
            read = pydicom.dcmread(tmp_path / str(index)).pixel_array
        assert (read.ravel() == stored).all(), item.kind
        for tag, value in sequences.items():
            assert value == before[tag].value, f"{item.kind} writes into a sequence that images share"


def test_every_kind_is_in_a_wanted_image_of_the_default_cohort():
    """The fewest slices that a wanted CT and MR have: 24 and 20; two patients lack one of them."""
    wanted = dict.fromkeys(range(PATIENTS), 44) | {5: 24, 7: 20}
    reached = {place_of_image(n, index).kind for n, count in wanted.items() for index in range(count)}
    assert {item.kind for item in IN_TURN} - reached == set()
    files = {item.kind for n in range(PATIENTS) for item in files_of_patient(n)}
    assert files == {item.kind for item in OTHER_FILES}


@pytest.mark.parametrize("row", [*DECLARED, *UNDECLARED], ids=lambda row: row.kind)
def test_a_script_has_26_letters_that_its_codec_knows(row):
    assert len(set(row.letters)) == 26
    word = in_script("quickzebra", row.letters)
    assert word.encode(row.codec).decode(row.codec) == word
    assert not word.isascii()


def test_an_item_of_a_path_keeps_what_it_held():
    image = next(iter(make_images(_acquisition(PHILIPS_MR))))
    request = image.RequestAttributesSequence[0]
    assert {"RequestedProcedureID", "ScheduledProtocolCodeSequence"} <= set(request.dir())


def test_a_file_beside_the_images_has_the_same_bytes_on_any_day():
    phi = _acquisition(SIEMENS_CT).phi
    for file in OTHER_FILES:
        assert file.content(phi) == file.content(phi), file.kind
    report = next(file for file in OTHER_FILES if file.kind == "text_report").content(phi)
    assert phi.family in str(pydicom.dcmread(io.BytesIO(report)).ContentSequence[0].TextValue)
