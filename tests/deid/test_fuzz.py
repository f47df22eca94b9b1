"""A thousand damaged files through the whole stage: each gets a verdict, no secret remains, memory is bounded."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from helpers import fuzz_factory, phi_factory
from helpers.enhanced_factory import enhanced_dataset
from mrct.deid.deidentify import Options, deidentify
from mrct.deid.pseudonyms import demonstration
from mrct.dicom.write import save_dataset
from mrct.leaks.phi_values import PhiValues

# pydicom warns about bad values, which are written here on purpose
pytestmark = pytest.mark.filterwarnings("ignore")
HERE = Path(__file__).parent

COUNT, SEED = 1000, 3
MOST_MEMORY_BYTES = 3 << 30
STAGE = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
from mrct.dicom import decoding
from mrct.deid.pseudonyms import demonstration
from mrct.dicom.write import save_dataset
from stages.anonymize import Params, Source, run
decoding.FRAME_SECONDS = 0.5
root = Path(sys.argv[2])
params = Params(key_file="unused", max_shift_days=365, retain_age_and_sex=False)
run(params, Source(source=str(root / "raw"), source_layout="dicom"), root / "out", root / "work", demonstration())
status = Path("/proc/self/status").read_text()
own = int(status.split("VmHWM:")[1].split()[0])  # ru_maxrss of a child begins at its parent's
(root / "peak_kib").write_text(str(max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)))
"""


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    """Run the stage in a process with limited memory; return the folder of raw, out and work, and the process."""
    root = tmp_path_factory.mktemp("fuzz")
    for number, (_, content) in enumerate(fuzz_factory.mutants(SEED, COUNT)):
        path = root / "raw" / f"{number:04d}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    phi_factory.save(phi_factory.person_dataset(PatientID="MRN-774411", size=32), root / "raw" / "whole")
    run = subprocess.run(
        [sys.executable, "-c", STAGE, str(MOST_MEMORY_BYTES), str(root)],
        capture_output=True,
        env=os.environ | {"MRCT_WORKERS": "1", "PYTHONPATH": str(HERE.parents[1])},
        check=False,
    )
    return root, run


def test_the_run_ends_well_and_every_file_has_one_verdict_with_a_reason(fuzzed):
    root, run = fuzzed
    assert run.returncode == 0, run.stderr.decode()[-2000:]
    table = pd.read_csv(root / "out" / "audit" / "files.csv", keep_default_na=False)
    assert table.source_index.tolist() == list(range(COUNT + 1))
    assert set(table.action) == {"kept", "rejected", "quarantined", "skipped"}
    assert table.iloc[-1].action == "kept"
    assert (table.reason.ne("") | table.action.eq("kept")).all()
    # otherwise the mutations are too mild or too severe to test both cases
    assert 100 < table.action.eq("kept").sum() < 900


def test_no_secret_is_in_an_output_a_reason_or_a_message(fuzzed):
    root, run = fuzzed
    for path in (root / "out").rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert phi_factory.secrets_in(path.name.encode() + b"\n" + content) == [], path
    assert phi_factory.secrets_in(run.stdout + run.stderr) == []


def test_neither_the_stage_nor_its_decoder_takes_more_than_a_gigabyte(fuzzed):
    assert int((fuzzed[0] / "peak_kib").read_text()) < 1 << 20


def test_the_same_seed_makes_the_same_files_and_all_kinds_of_damage():
    first, second = (list(fuzz_factory.mutants(SEED, 60)) for _ in range(2))
    assert first == second
    assert len({name for name, _ in first}) > len(fuzz_factory.MUTATIONS) / 2


def test_text_that_a_damaged_length_swallowed_does_not_come_out_as_tags_or_numbers(tmp_path):
    enhanced = enhanced_dataset("MR")
    item, text = Dataset(), b"Quenneville^Zebulon "
    for keyword, vr in (
        ("DimensionIndexPointer", "AT"),
        ("EffectiveEchoTime", "FD"),
        ("TemporalPositionIndex", "UL"),
    ):
        item.add(RawDataElement(Tag(keyword), vr, len(text), text + b"\0" * 4, 0, False, True))
    enhanced.DimensionIndexSequence = Sequence([item])
    save_dataset(deidentify(enhanced, demonstration(), Options()).dataset, tmp_path / "x")
    assert phi_factory.secrets_in((tmp_path / "x").read_bytes()) == []


def test_a_damaged_representation_makes_no_name_of_a_number_and_no_number_of_a_name():
    image, phi_values = phi_factory.person_dataset(), PhiValues()
    image.add(RawDataElement(Tag("SliceThickness"), "PN", 4, b"2.5 ", 0, False, True))
    image.add(RawDataElement(Tag("PatientName"), "CS", 20, b"Quenneville^Zebulon ", 0, False, True))
    image.add(
        RawDataElement(Tag("StudyInstanceUID"), "UI", 24, b"1.2.3\x00\x08 of Wolkenstein", 0, False, True)
    )
    phi_values.add_dataset(image)
    found = phi_values.texts | phi_values.numbers | phi_values.short
    assert {"quenneville", "zebulon", "wolkenstein"} <= set(found)
    assert not {"2.5", "of"} & set(found)
