"""Stages that work per patient, stopped at the last patient: the next run does only that one and gives equal bytes."""

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

from mrct.core import params
from stages import normalize, pair, register, select

HERE = Path(__file__).parent


def prepare_select(root: Path) -> Callable[[str], object]:
    factory = runpy.run_path(str(HERE / "test_select_stage.py"))
    for patient in ("P0000000001", "P0000000002"):
        factory["add"](root / "anonymized", patient, "S1", "CT")
        factory["add"](root / "anonymized", patient, "S2", "MR")
    content = {"layout": "dicom", "registered": False, "mr_weighting": "unknown"}
    factory["files"].write_json(root / "anonymized" / "manifest.json", content)
    return lambda out: select.run(factory["settings"](), root / "anonymized", root / out)


def prepare_register(root: Path) -> Callable[[str], object]:
    factory = runpy.run_path(str(HERE / "test_register_stage.py"))
    pairs = {"P01": factory["head_pair"](), "P02": factory["head_pair"](bottom_mm=3.0)}
    source = factory["select"](root / "selected", pairs)
    return lambda out: register.run(factory["settings"](), source, root / out)


def prepare_normalize(root: Path) -> Callable[[str], object]:
    factory = runpy.run_path(str(HERE / "test_normalize_stage.py"))
    factory["write_cohort"](root)
    return lambda out: factory["run"](root, out=out)


def prepare_pair(root: Path) -> Callable[[str], object]:
    factory = runpy.run_path(str(HERE / "test_register_stage.py"))
    source = factory["select"](root / "selected", {f"P0{n}": factory["head_pair"]() for n in (1, 2, 3)})
    register.run(factory["settings"](), source, root / "registered")
    settings = params.load(pair.Params, "pair", HERE.parents[1] / "params.yaml")
    return lambda out: pair.run(settings, root / "registered", root / out)


@pytest.mark.parametrize(
    ("prepare", "module", "function", "last"),
    [
        (prepare_select, select, "select_dicom", "P0000000002"),
        (prepare_register, register, "register_patient", "P02"),
        (prepare_pair, pair, "assess_patient", "P03"),
        (prepare_normalize, normalize, "normalize_patient", "P0000000003"),
    ],
    ids=["select", "register", "pair", "normalize"],
)
def test_a_stopped_stage_goes_on_to_the_same_bytes(tmp_path, monkeypatch, prepare, module, function, last):
    monkeypatch.setenv("MRCT_WORKERS", "1")
    run, honest, done = prepare(tmp_path), getattr(module, function), []

    def stopping(job):
        if job.source.name == last and not done.count(last):
            done.append(last)
            raise KeyboardInterrupt
        done.append(job.source.name)
        return honest(job)

    stopping.__module__ = honest.__module__
    monkeypatch.setattr(module, function, stopping)
    with pytest.raises(KeyboardInterrupt):
        run("out")
    assert not (tmp_path / "out").exists()
    run("out")
    assert done.count(last) == 2
    assert len(done) == len(set(done)) + 1
    run("again")
    assert tree(tmp_path / "out") == tree(tmp_path / "again")


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
