"""Tests that results and their order are the same in this process, in a pool of processes and on a dask cluster."""

import importlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mrct.core.parallel import map_processes, running
from mrct.deid.pseudonyms import demonstration
from stages.anonymize import Params, Source, run

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def functions():
    """Provide a module that worker processes can import, because they inherit sys.path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tests"))
        yield importlib.import_module("helpers.worker_functions")


@pytest.fixture(scope="module")
def cluster(functions):
    distributed = pytest.importorskip("distributed")
    quiet = {"dashboard_address": None, "silence_logs": 50}
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, **quiet) as local:
        yield local.scheduler_address


@pytest.fixture(params=["here", "processes", "dask"])
def chosen(request, monkeypatch):
    """Provide each kind of executor, as arguments of `running`."""
    monkeypatch.setenv("MRCT_WORKERS", "1" if request.param == "here" else "2")
    if request.param == "dask":
        return "dask", request.getfixturevalue("cluster")
    return "processes", ""


def test_results_come_in_the_order_of_the_items_from_one_thread_each(functions, chosen):
    with running(*chosen):
        assert map_processes(functions.work, range(12), "x") == [(n**2, "1") for n in range(12)]
        assert map_processes(functions.work, [5], "x") == [(25, "1")]
        assert map_processes(functions.work, [], "x") == []


def test_the_exception_of_an_item_is_raised_as_it_was(functions, chosen):
    with running(*chosen), pytest.raises(ValueError, match=r"^13 is unlucky$"):
        map_processes(functions.work, [1, 13, 2], "x")


def test_nothing_is_at_work_any_more_when_an_exception_arrives(functions, chosen, tmp_path):
    items = [tmp_path / "absent" / "x", *(tmp_path / str(n) for n in range(6))]
    with running(*chosen), pytest.raises(ValueError, match="no folder"):
        map_processes(functions.leave_a_mark, items, "x")
    marks = set(tmp_path.iterdir())
    time.sleep(0.5)
    assert set(tmp_path.iterdir()) == marks
    assert len(marks) < 6


def test_one_pool_serves_all_maps_of_a_block_and_none_is_left_behind(functions, monkeypatch):
    monkeypatch.setenv("MRCT_WORKERS", "2")
    with running("processes"):
        first, second = (set(map_processes(functions.process_id, range(8), "x")) for _ in range(2))
        assert len(first | second) <= 2
    assert os.getpid() not in first | second
    for pid in first | second:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_killed_worker_is_explained(functions, monkeypatch):
    monkeypatch.setenv("MRCT_WORKERS", "2")
    with pytest.raises(RuntimeError, match="MRCT_WORKERS, now 2"):
        map_processes(functions.work, [1, 99, 2, 3], "x")


def test_workers_of_a_killed_run_end_too(tmp_path):
    script = (
        "import sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path\n"
        "from mrct.core.parallel import map_processes; from helpers.worker_functions import tell_and_wait\n"
        "map_processes(tell_and_wait, [Path(sys.argv[1])] * 2, 'x')\n"
    )
    environment = os.environ | {"MRCT_WORKERS": "2", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script, str(tmp_path), str(ROOT / "tests")]
    with subprocess.Popen(command, env=environment) as parent:
        wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
        parent.kill()
    workers = [int(path.name) for path in tmp_path.iterdir()]
    wait_until(lambda: not any(is_running(pid) for pid in workers))


def wait_until(condition):
    """Wait until the condition holds; fail after a minute."""
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("waited for a minute")


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/status")
    return not (status.exists() and "State:\tZ" in status.read_text())


def test_dask_without_an_address_or_an_answer_says_what_to_set(functions, monkeypatch):
    with pytest.raises(ValueError, match="set the key `scheduler`"), running("dask", ""):
        pass
    pytest.importorskip("distributed")
    monkeypatch.setattr("mrct.core.parallel._SECONDS_TO_CONNECT", 0.5)
    with (
        running("dask", "tcp://127.0.0.1:9"),
        pytest.raises(ValueError, match=r"no dask scheduler answers at tcp://127.0.0.1:9"),
    ):
        map_processes(functions.work, [1], "x")


def test_a_missing_package_names_the_extra(functions, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with running("dask", "tcp://127.0.0.1:9"), pytest.raises(ValueError, match="cluster"):
        map_processes(functions.work, [1], "x")


def test_a_cluster_anonymizes_to_the_same_bytes(cluster, tmp_path, monkeypatch):
    from helpers import phi_factory

    for patient in ("MRN-774411", "b"):
        for instance in (1, 2):
            uid = f"1.2.3.774411.{patient == 'b':d}.{instance}"
            image = phi_factory.person_dataset("CT", instance, PatientID=patient, SOPInstanceUID=uid)
            phi_factory.save(image, tmp_path / "raw" / f"{patient}{instance}")
    monkeypatch.setenv("MRCT_WORKERS", "1")
    params = Params(key_file="unused", max_shift_days=365, retain_age_and_sex=False)
    source = Source(source=str(tmp_path / "raw"), source_layout="dicom")
    trees = []
    for name, chosen in (("one", ("processes", "")), ("other", ("dask", cluster))):
        with running(*chosen):
            run(params, source, tmp_path / name, tmp_path / "work", demonstration())
        files = [path for path in sorted((tmp_path / name).rglob("*")) if path.is_file()]
        trees.append({path.relative_to(tmp_path / name): path.read_bytes() for path in files})
    assert trees[0] == trees[1]
    assert len(trees[0]) == 8
