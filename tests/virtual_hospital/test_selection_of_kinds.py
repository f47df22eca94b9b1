"""Each unwanted kind under the default rules: it is rejected alone, and not used together with the clean series.

The rules see the headers of one patient per MR vendor, with text cleaned as de-identification does.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mrct.core.params import load
from mrct.dicom.grouping import group
from mrct.dicom.series import Instance, instances_of
from mrct.dicom.uids import IMAGE_CLASSES
from mrct.leaks.vocabulary import clean
from mrct.selection.choose import Choice, choose
from stages import select
from virtual_hospital.contamination.kinds import MAKERS
from virtual_hospital.examination import examine
from virtual_hospital.headers import Acquisition
from virtual_hospital.images import make_images
from virtual_hospital.persona import draw_persona
from virtual_hospital.scanners import SIEMENS_PET, ct_scanner, mr_scanner
from virtual_hospital.selection_score import score_selection
from virtual_hospital.series import Session

SIZE = 32
RULES = load(select.Params, "select").rules()
PATIENTS = {"siemens": 6, "philips": 0, "ge": 19}


class Patient:
    """A patient without unwanted series, and the data that the stage has of the patient's series."""

    def __init__(self, template, n: int) -> None:
        self.n, self.persona = n, draw_persona(n, np.random.default_rng(1))
        examination = examine(template, 7, n, 1, SIZE, False)
        self.clean = {modality: examination.clean(modality) for modality in ("CT", "MR")}
        vendors = mr_scanner(n).vendor, ct_scanner(n).vendor
        rng = np.random.default_rng(3)
        self.session = Session(examination.head, examination.poses, self.clean["CT"], SIZE, *vendors, rng)

    def headers(self, series, number: int) -> list[Instance]:
        """Return the headers of the images that de-identification keeps."""
        scanner = {"CT": ct_scanner(self.n), "MR": mr_scanner(self.n), "PT": SIEMENS_PET}[series.modality]
        found = []
        for index, image in enumerate(
            make_images(Acquisition(series, self.persona, scanner, 7, self.n, number))
        ):
            if image.SOPClassUID in IMAGE_CLASSES:
                found += [_cleaned(one) for one in instances_of(image, Path(f"{number}/{index}"))]
        return found

    def choose(self, *series) -> Choice:
        """Choose from series named 0, 1, ... in this order."""
        items = [one for number, item in enumerate(series) for one in self.headers(item, number)]
        return choose("P", group(items, lambda one: ("P", one.path.parts[0])), RULES)


def _cleaned(one: Instance) -> Instance:
    descriptors = {name: clean(getattr(one, name), "descriptor") for name in ("description", "protocol")}
    return replace(
        one, sequence_name=clean(one.sequence_name, "code"), model=clean(one.model, "device"), **descriptors
    )


@pytest.fixture(scope="module")
def patients(template):
    return {vendor: Patient(template, n) for vendor, n in PATIENTS.items()}


# Each kind has the headers of one vendor, in turn; tests/selection/vendor_headers.csv holds the names of all vendors
@pytest.mark.parametrize(
    ("kind", "vendor"), [(kind, sorted(PATIENTS)[turn % len(PATIENTS)]) for turn, kind in enumerate(MAKERS)]
)
def test_a_kind_alone_is_used_if_its_truth_says_so_and_beside_the_clean_series_never(patients, kind, vendor):
    patient = patients[vendor]
    made = MAKERS[kind](patient.session)
    other = patient.clean["MR" if made.modality == "CT" else "CT"]
    alone = patient.choose(made, other)
    # A contrast agent does not harm a T2 image, but the default rules reject it
    usable = made.wanted == "acceptable" and kind != "t2_contrast"
    assert (alone.status == "paired") == usable, [one.verdict for one in alone.decisions]
    both = patient.choose(made, patient.clean["CT"], patient.clean["MR"])
    assert (both.status, both.ct.name, both.mr.name) == ("paired", "1", "2")
    assert all(one.verdict.reason for one in both.decisions if not one.kept)


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        ("tof", "angiography"),
        ("stir", "fat_suppressed"),
        ("swi_phase", "phase"),
        ("ct_bolus_tracking", "timing"),
        ("aborted", "coverage"),
        ("two_slabs", "uneven"),
        ("oblique_35", "oblique"),
        ("ct_bone", "sharp_kernel"),
        ("ct_sinus", "body_part"),
        ("ct_two_thicknesses", "spacing"),
        ("spgr_axial", "t1"),
        ("dwi_b1000", "dwi"),
    ],
)
def test_the_rule_is_the_one_a_radiographer_would_name(patients, kind, rule):
    patient = patients["philips"]
    assert patient.choose(MAKERS[kind](patient.session)).decisions[0].verdict.rule == rule


def _truth(*rows):
    return pd.DataFrame(rows, columns=["patient_id", "series_uid", "modality", "kind", "wanted", "te_ms"])


def _selected(*rows):
    table = pd.DataFrame(rows, columns=["patient", "series", "decision", "rule", "te_ms"])
    return table.assign(reason="")


def _score(truth, series, status="paired"):
    patients = pd.DataFrame({"patient": ["Pa"], "status": [status]})
    return score_selection(
        truth, series, patients, lambda one: f"P{one}", lambda uid: uid.replace("uid", "s")
    )


def test_the_score_finds_what_was_kept_and_what_was_lost():
    truth = _truth(
        ("a", "uid1", "CT", "clean", "yes", None),
        ("a", "uid2", "MR", "clean", "yes", None),
        ("a", "uid3", "MR", "tse", "no", None),
        ("a", "uid4", "CT", "screenshot", "no", None),
    )
    good = _selected(
        ("Pa", "s1", "kept", "", None), ("Pa", "s2", "kept", "", 95.0), ("Pa", "s3", "rejected", "tse", 98.0)
    )
    assert _score(truth, good).summary() == "2 of 2 unwanted series removed, 0 of 2 clean ones lost"
    bad = good.assign(decision=["kept", "rejected", "kept"])
    found = _score(truth, bad)
    assert found.summary() == "1 of 2 unwanted series removed, 1 of 2 clean ones lost"
    assert (found.kept_unwanted["kind"].item(), found.lost_clean["modality"].item()) == ("tse", "MR")
    assert _score(truth, bad, "left_out").kept_unwanted.empty


def test_the_score_wants_the_echo_that_the_truth_names():
    truth = _truth(("a", "uid1", "MR", "dual_echo", "acceptable", 90.0))
    right = _selected(("Pa", "s1-e1", "rejected", "pd", 20.0), ("Pa", "s1-e2", "kept", "", 90.0))
    wrong = right.assign(decision=["kept", "rejected"])
    assert _score(truth, right).kept_unwanted.empty
    assert _score(truth, wrong).kept_unwanted["series"].tolist() == ["s1-e1"]
