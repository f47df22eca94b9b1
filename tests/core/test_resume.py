"""Tests that a killed run is completed to the bytes of an uninterrupted one, and that changed jobs are run again."""

import importlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from mrct.core import fingerprints, resume
from mrct.core.files import output_folder, read_json, write_json
from mrct.core.parallel import running
from mrct.core.params import Section

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PATIENTS = ("P1", "P2", "P3", "P4")
KILLED = """
import sys
from pathlib import Path
from mrct.core import resume
import test_resume
resume.code_fingerprint = test_resume.fingerprint_of_the_test
test_resume.run(Path(sys.argv[1]))
"""


def fingerprint_of_the_test(stage):
    """Replace the code fingerprint, since the stage `shout` is not in dvc.yaml."""
    return f"code of {stage}"


@pytest.fixture(autouse=True)
def functions(monkeypatch):
    """Provide a module that worker processes can import, because they inherit sys.path."""
    monkeypatch.syspath_prepend(str(ROOT / "tests"))
    monkeypatch.setenv("MRCT_WORKERS", "1")
    monkeypatch.setattr(resume, "code_fingerprint", fingerprint_of_the_test)
    return importlib.import_module("helpers.worker_functions")


@pytest.fixture
def folder(tmp_path):
    """Make four patients of one file each, and a folder for the marks of started jobs."""
    (tmp_path / "marks").mkdir()
    for patient in PATIENTS:
        (tmp_path / "in" / patient).mkdir(parents=True)
        (tmp_path / "in" / patient / "text.txt").write_text(f"{patient} is well")
    return tmp_path


def run(folder, out="out", **changes):
    """Run as a stage does: every patient's job, then a table of the results."""
    worker = importlib.import_module("helpers.worker_functions")
    with resume.work_folder(folder / out) as work, output_folder(folder / out) as partial:
        jobs = [
            replace(
                worker.Shout(folder / "in" / patient, partial / patient, 3, str(folder / "marks")), **changes
            )
            for patient in PATIENTS
        ]
        results = resume.map_resumable(worker.shout, jobs, "shout", work)
        write_json(partial / "results.json", results)


def kill_at(folder, patient, **environment):
    """Run, and kill the run with SIGKILL in the middle of the patient."""
    command = [sys.executable, "-c", KILLED, str(folder)]
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tests", HERE)))
    changes = {"MRCT_TEST_KILL": patient, "PYTHONPATH": path, **environment}
    return subprocess.run(command, env=os.environ | changes, check=False, capture_output=True).returncode


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def times_at_work(folder):
    return [len((folder / "marks" / patient).read_text()) for patient in PATIENTS]


def test_a_killed_run_goes_on_with_what_is_missing_and_ends_in_the_same_bytes(folder, capfd):
    assert kill_at(folder, "P3") == -signal.SIGKILL
    assert not (folder / "out").exists()
    run(folder)
    assert times_at_work(folder) == [1, 1, 2, 1]
    assert "shout: 2 of 4 are kept" in capfd.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == ["in", "marks", "out"]
    run(folder, "again")
    assert times_at_work(folder) == [2, 2, 3, 2]
    assert capfd.readouterr().err == ""
    assert tree(folder / "out") == tree(folder / "again")
    assert tree(folder / "out")["P4/deeper/all.txt"] == b"P4 IS WELL" * 3
    assert read_json(folder / "out/results.json") == [{"share": 1.0}] * 4


def test_a_killed_worker_leaves_the_finished_work_of_the_others(folder):
    assert kill_at(folder, "P4", MRCT_WORKERS="2") == 1
    run(folder)
    assert times_at_work(folder)[3] == 2
    assert sum(times_at_work(folder)) <= 6  # one more may have been in progress in the other worker
    assert tree(folder / "out")["P4/deeper/all.txt"] == b"P4 IS WELL" * 3


def test_a_run_that_is_killed_while_it_collects_goes_on_too(folder, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(resume, "read_json", lambda path: interrupt())
        with pytest.raises(KeyboardInterrupt):
            run(folder)
    run(folder)
    assert times_at_work(folder) == [1, 1, 1, 1]
    assert tree(folder / "out")["P1/deeper/all.txt"] == b"P1 IS WELL" * 3


def interrupt():
    raise KeyboardInterrupt


def test_a_changed_input_is_done_again_alone(folder):
    kill_at(folder, "P3")
    place = folder / "in/P1/text.txt"
    before = place.stat()
    place.write_text("P1 is ill.")
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
    run(folder)
    assert times_at_work(folder) == [2, 1, 2, 1]
    assert tree(folder / "out")["P1/deeper/all.txt"] == b"P1 IS ILL." * 3


def test_other_parameters_never_take_up_what_stands(folder):
    kill_at(folder, "P3")
    run(folder, times=2)
    assert times_at_work(folder) == [2, 2, 2, 1]
    assert tree(folder / "out")["P1/deeper/all.txt"] == b"P1 IS WELL" * 2


def test_another_function_never_takes_up_what_stands(folder, functions, monkeypatch):
    kill_at(folder, "P3")
    monkeypatch.setattr(functions, "shout", functions.whisper)
    run(folder)
    assert tree(folder / "out")["P1/first.txt"] == b"psst"


class Settings(Section):
    """Parameters as a stage holds them."""

    width: float


@dataclass(frozen=True)
class Job:
    """Job with one field of every kind."""

    source: Path
    out: Path
    settings: Settings
    names: tuple[str, ...] = ()
    extra: object = None


@pytest.mark.parametrize(
    "changed",
    [
        {"settings": Settings(width=1.0000000000000002)},
        {"names": ("a", "c")},
        {"names": ("b", "a")},
        {"extra": 0},
        {"source": "Q"},
    ],
    ids=["a parameter by one bit", "a name", "their order", "None is not 0", "another patient's equal file"],
)
def test_every_field_is_part_of_the_name(tmp_path, changed):
    for patient in "PQ":
        (tmp_path / patient).mkdir()
        (tmp_path / patient / "ct").write_text("x")
    job = Job(tmp_path / "P", tmp_path / "out", Settings(width=1.0), ("a", "b"))
    if "source" in changed:
        changed = {"source": tmp_path / changed["source"]}
    assert resume.job_hash(replace(job, out=tmp_path / "elsewhere"), "code") == resume.job_hash(job, "code")
    assert resume.job_hash(replace(job, **changed), "code") != resume.job_hash(job, "code")
    assert resume.job_hash(job, "other code") != resume.job_hash(job, "code")


def test_a_file_that_moves_or_grows_is_another_input(tmp_path):
    (tmp_path / "P").mkdir()
    job, names = Job(tmp_path / "P", tmp_path, Settings(width=1.0)), set()
    for name, text in (("a", "x"), ("b", "x"), ("b", "xx")):
        for old in (tmp_path / "P").iterdir():
            old.unlink()
        (tmp_path / "P" / name).write_text(text)
        names.add(resume.job_hash(job, "code"))
    assert len(names) == 3


def test_a_field_that_json_cannot_tell_wholly_is_refused(tmp_path):
    job = Job(tmp_path, tmp_path, Settings(width=1.0), extra=np.zeros(5000))
    with pytest.raises(TypeError, match="ndarray; expected plain values"):
        resume.job_hash(job, "code")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Make a project of one stage, whose code is a module and a package."""
    (tmp_path / "dvc.yaml").write_text(
        "stages: {shout: {deps: [data/in, stages/shout.py, mrct/masks]}, whisper: {deps: [data/in]}}"
    )
    for file in ("stages/shout.py", "mrct/masks/fill.py", "mrct/masks/deeper/words.txt", "mrct/other.py"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("one")
    monkeypatch.setattr(fingerprints, "_ROOT", tmp_path)
    return tmp_path


def test_code_tables_and_libraries_are_part_of_the_fingerprint(project, monkeypatch):
    found = [fingerprints.code_fingerprint("shout")]
    for file in ("stages/shout.py", "mrct/masks/fill.py", "mrct/masks/deeper/words.txt"):
        (project / file).write_text("two")
        found.append(fingerprints.code_fingerprint("shout"))
    monkeypatch.setattr(fingerprints, "_libraries", lambda: ("torch 2.13.0",))
    found.append(fingerprints.code_fingerprint("shout"))
    assert len(set(found)) == len(found)
    (project / "mrct/other.py").write_text("two")
    assert fingerprints.code_fingerprint("shout") == found[-1]


def test_compiled_code_is_no_part_of_the_fingerprint(project):
    """Python may write it, under temporary names, while another process reads the folder."""
    before = fingerprints.code_fingerprint("shout")
    (project / "mrct/masks/__pycache__").mkdir()
    (project / "mrct/masks/__pycache__/masks.cpython-311.pyc.4711").write_bytes(b"half")
    assert fingerprints.code_fingerprint("shout") == before


def test_a_result_that_lost_bytes_is_made_again(folder):
    kill_at(folder, "P3")
    (finished,) = (
        path for path in (folder / ".out.work").glob("*/files/first.txt") if "P1" in path.read_text()
    )
    finished.write_text("")
    run(folder)
    assert times_at_work(folder) == [2, 1, 2, 1]
    assert tree(folder / "out")["P1/first.txt"] == b"P1 IS"


@pytest.mark.parametrize(("error", "kept"), [(OSError, True), (ZeroDivisionError, False)])
def test_after_an_error_that_spoils_the_work_nothing_of_it_is_left(tmp_path, error, kept):
    def fail():
        with resume.work_folder(tmp_path / "out", discard_after=(ZeroDivisionError,)) as work:
            (work / "finished").touch()
            raise error

    with pytest.raises(error):
        fail()
    assert (tmp_path / ".out.work" / "finished").exists() == kept


def by_length(job, code):
    """Name a job by the length of its input only."""
    return f"{code.split()[-1]}-{(job.source / 'text.txt').stat().st_size}"


def test_jobs_may_have_names_of_another_kind_and_share_a_folder(folder, functions):
    (folder / "in/P1/text.txt").write_text("P1 is very well")
    work = folder / "work"
    work.mkdir()
    for out in ("once", "twice"):
        jobs = [functions.Shout(folder / "in" / patient, folder / out, 1, "") for patient in ("P1", "P2")]
        resume.map_resumable(functions.mumble, jobs, "shout", work, by_length)
        (folder / "in/P2/text.txt").write_text("P2 is dead")
    assert sorted(path.name for path in work.iterdir()) == ["shout-10", "shout-15"]
    assert tree(folder / "twice") == {"P1.txt": b"P1 is very well", "P2.txt": b"P2 is well"}


def test_two_jobs_never_write_the_same_file(folder, functions):
    jobs = [
        functions.Shout(folder / "in" / patient, folder / "out", 1, str(folder / "marks"))
        for patient in PATIENTS
    ]
    (folder / "work").mkdir()
    with pytest.raises(OSError, match="File exists"):
        resume.map_resumable(functions.shout, jobs, "shout", folder / "work")


def test_a_second_run_at_the_same_time_is_refused_and_disturbs_nothing(folder):
    kill_at(folder, "P3")
    before = tree(folder / ".out.work")
    with FileLock(folder / ".out.work" / "lock"), pytest.raises(RuntimeError, match="another run is at work"):
        run(folder)
    assert tree(folder / ".out.work") == before
    run(folder)


def test_a_worker_that_outlived_its_run_may_be_first(folder, functions, monkeypatch):
    """It ends between the start and the end of ours: one of the two results is kept, whole."""
    job = functions.Shout(folder / "in/P1", folder / "unused", 3, str(folder / "marks"))
    (folder / "work").mkdir()

    def slow(mine):
        result = functions.shout(mine)
        resume._do(functions.shout, resume.job_hash, folder / "work", "code", job)
        return result

    done = resume._do(slow, resume.job_hash, folder / "work", "code", job)
    assert not done.found
    assert [path.name for path in (folder / "work").iterdir()] == [done.name]
    assert (folder / "work" / done.name / "files/deeper/all.txt").read_text() == "P1 IS WELL" * 3


def test_without_links_the_files_are_copied(folder, monkeypatch):
    def refuse(source, target):
        raise OSError(18, "Invalid cross-device link")

    run(folder)
    monkeypatch.setattr(os, "link", refuse)
    run(folder, "again")
    assert tree(folder / "out") == tree(folder / "again")


def test_on_a_cluster_it_goes_on_too(folder):
    distributed = pytest.importorskip("distributed")
    kill_at(folder, "P3")
    quiet = {"dashboard_address": None, "silence_logs": 50}
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, **quiet) as local,
        running("dask", local.scheduler_address),
    ):
        run(folder)
    assert times_at_work(folder) == [1, 1, 2, 1]
    run(folder, "again")
    assert tree(folder / "out") == tree(folder / "again")
