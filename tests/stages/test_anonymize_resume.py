"""A stopped run continues where it was and gives the same bytes; it repeats the work that it cannot trust."""

import os
import signal
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest
from filelock import FileLock

from helpers.phi_factory import person_dataset, save, secrets_in
from mrct.core.files import read_json
from mrct.deid import survey, writing
from mrct.deid.deidentify import Options
from mrct.deid.pseudonyms import Pseudonyms, SamePersons, demonstration
from mrct.deid.survey import Entry
from mrct.deid.writing import Chunk, chunk_name
from mrct.leaks.phi_values import PhiValues
from stages.anonymize import Params, Source, run

ROOT = Path(__file__).parents[2]

PARAMS = Params(key_file="unused", max_shift_days=365, retain_age_and_sex=False)
KEYS = demonstration()
N_FILES = 8

KILLED = """
import os, signal, sys
from pathlib import Path
from mrct.deid import survey, writing
from mrct.deid.pseudonyms import demonstration
from stages.anonymize import Params, Source, run

honest, calls = writing._write_image, []

def killing(*arguments):
    path = honest(*arguments)
    calls.append(path)
    if len(calls) == int(sys.argv[2]):
        path.with_name("." + path.name + ".partial").write_bytes(b"torn")
        os.kill(os.getpid(), signal.SIGKILL)
    return path

writing._write_image, survey.chunk_size = killing, lambda n: 2
folder = Path(sys.argv[1])
run(Params(key_file="unused", max_shift_days=365, retain_age_and_sex=False),
    Source(source=str(folder / "raw"), source_layout="dicom"), folder / "out", folder / "work", demonstration())
"""


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setenv("MRCT_WORKERS", "1")
    monkeypatch.setattr(survey, "chunk_size", lambda n: 2)


@pytest.fixture
def export(tmp_path):
    for instance in range(1, N_FILES + 1):
        save(person_dataset("CT", instance), tmp_path / "raw" / f"Quenneville{instance}")
    return tmp_path / "raw"


@pytest.fixture
def rewritten(monkeypatch):
    """Count the images that are written in this process."""
    honest, calls = writing._write_image, []
    monkeypatch.setattr(writing, "_write_image", lambda *rest: calls.append(1) or honest(*rest))
    return calls


def anonymize(folder, params=PARAMS, mapping=KEYS, out="out"):
    source = Source(source=str(folder / "raw"), source_layout="dicom")
    run(params, source, folder / out, folder / "work", mapping)
    return tree(folder / out)


def kill_at(folder, image):
    """Run the stage and send it SIGKILL after so many written images."""
    process = subprocess.run([sys.executable, "-c", KILLED, str(folder), str(image)], cwd=ROOT, check=False)
    assert process.returncode == -signal.SIGKILL


def work_of(folder):
    """Return the folder in which a stopped run has left its chunks."""
    return folder / ".out.work"


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_killed_run_goes_on_and_ends_in_the_bytes_of_an_uninterrupted_one(
    export, tmp_path, rewritten, capfd
):
    kill_at(tmp_path, 5)
    assert not (tmp_path / "out").exists()
    resumed = anonymize(tmp_path)
    assert len(rewritten) == N_FILES - 4
    assert "2 of 4 are kept" in capfd.readouterr().err
    assert not work_of(tmp_path).exists()
    assert resumed == anonymize(tmp_path, out="again")
    assert len(rewritten) == N_FILES - 4 + N_FILES


def test_what_a_killed_run_leaves_tells_nobody_who_it_is_about(export, tmp_path):
    kill_at(tmp_path, 5)
    left = tree(tmp_path / "work") | tree(work_of(tmp_path))
    assert any(name.endswith(".json") for name in left)
    for name, content in left.items():
        assert secrets_in(name.encode() + b"\n" + content) == [], name


def test_a_changed_file_is_done_again_with_its_chunk_alone(export, tmp_path, rewritten):
    kill_at(tmp_path, 7)
    os.utime(export / "Quenneville1", ns=(1, 1))
    anonymize(tmp_path)
    assert len(rewritten) == 2 + 2  # of four chunks three were done, and of these one is changed


def test_what_a_killed_run_wrote_of_a_vanished_file_is_not_published(export, tmp_path):
    kill_at(tmp_path, 7)
    (export / "Quenneville1").unlink()
    resumed = anonymize(tmp_path)
    assert len([name for name in resumed if name.endswith(".dcm")]) == N_FILES - 1
    assert not [name for name in resumed if "partial" in name]
    assert resumed == anonymize(tmp_path, out="again")


def test_an_image_that_vanished_from_the_work_folder_is_written_again(export, tmp_path, rewritten):
    kill_at(tmp_path, 5)
    chunk = sorted(path for path in work_of(tmp_path).iterdir() if (path / "result.json").exists())[0]
    verdicts = read_json(chunk / "result.json")["result"]["verdicts"]
    (chunk / "files" / verdicts[0][-1]).write_bytes(b"")
    assert anonymize(tmp_path) == anonymize(tmp_path, out="again")
    assert len(rewritten) == N_FILES - 2 + N_FILES


def test_a_new_value_to_search_for_makes_a_chunk_be_swept_again(export, tmp_path, rewritten):
    kill_at(tmp_path, 5)
    image = person_dataset("CT", 99, InstitutionName="Dom Sebaldus")
    save(image, export / "Quenneville_last")
    anonymize(tmp_path)
    assert len(rewritten) == N_FILES + 1


def test_a_run_that_ends_well_takes_away_what_runs_of_other_options_left(export, tmp_path, rewritten):
    kill_at(tmp_path, 5)
    anonymize(tmp_path, PARAMS.model_copy(update={"max_shift_days": 30}))
    assert len(rewritten) == N_FILES
    assert not work_of(tmp_path).exists()


def test_other_options_keys_joins_sources_values_and_code_have_other_names(tmp_path):
    (tmp_path / "file").touch()
    chunk = Chunk(
        source=tmp_path,
        out=tmp_path / "out",
        entries=(Entry(0, tmp_path / "file"),),
        pseudonyms=KEYS,
        options=Options(365, False),
        phi_values=PhiValues(texts={"quenneville": "PatientName"}),
    )
    changed = [
        replace(chunk, options=Options(30, False)),
        replace(chunk, options=Options(365, True)),
        replace(chunk, pseudonyms=Pseudonyms(b"k" * 32)),
        replace(chunk, pseudonyms=replace(KEYS, same_persons=SamePersons({"a": "b"}))),
        replace(chunk, source=tmp_path / "other"),
        replace(chunk, entries=(Entry(1, tmp_path / "file"),)),
        *(replace(chunk, phi_values=PhiValues(**{kind.name: {"19571103": "PatientBirthDate"}}))
          for kind in fields(PhiValues)),
    ]  # fmt: skip
    names = {chunk_name(one, "code") for one in (chunk, *changed)} | {chunk_name(chunk, "other code")}
    assert len(names) == len(changed) + 2
    assert chunk_name(replace(chunk, out=tmp_path / "elsewhere"), "code") == chunk_name(chunk, "code")


def test_a_second_run_at_the_same_time_is_refused_and_disturbs_nothing(export, tmp_path):
    kill_at(tmp_path, 5)
    before = tree(work_of(tmp_path))
    with FileLock(work_of(tmp_path) / "lock"), pytest.raises(RuntimeError, match="another run is at work"):
        anonymize(tmp_path)
    assert tree(work_of(tmp_path)) == before
    assert anonymize(tmp_path)


def test_the_size_of_the_chunks_changes_no_byte(export, tmp_path, monkeypatch):
    small = anonymize(tmp_path)
    monkeypatch.setattr(survey, "chunk_size", lambda n: 256)
    assert anonymize(tmp_path, out="large") == small


def test_a_value_of_one_file_is_searched_for_in_the_images_of_all_others(export, tmp_path, monkeypatch):
    """The value is in a file of one chunk, the leak in a file of another."""
    image = person_dataset("CT", 99, ReferringPhysicianName="Sebaldus^Ottokar")
    save(image, export / "Quenneville_last")
    honest = writing.deidentify

    def leaky(dataset, *rest):
        result = honest(dataset, *rest)
        result.dataset.ImageComments = "ask sebaldus" if dataset.InstanceNumber == 1 else "clean"
        return result

    monkeypatch.setattr(writing, "deidentify", leaky)
    with pytest.raises(ValueError, match="would hold the patient's ReferringPhysicianName"):
        anonymize(tmp_path)
