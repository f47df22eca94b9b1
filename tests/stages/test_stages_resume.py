"""Stages that work per patient, stopped at the last patient: the next run does only that one and gives equal bytes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.stage_inputs import (
    PARAMS_FILE,
    add_series,
    head_pair,
    register_params,
    run_normalize,
    select_params,
    write_cohort,
    write_selected,
)
from mrct.core import files, params
from stages import normalize, pair, register, select


def prepare_select(root: Path) -> Callable[[str], object]:
    for patient in ("P0000000001", "P0000000002"):
        add_series(root / "anonymized", patient, "S1", "CT")
        add_series(root / "anonymized", patient, "S2", "MR")
    content = {"layout": "dicom", "registered": False, "mr_weighting": "unknown"}
    files.write_json(root / "anonymized" / "manifest.json", content)
    return lambda out: select.run(select_params(), root / "anonymized", root / out)


def prepare_register(root: Path) -> Callable[[str], object]:
    pairs = {"P01": head_pair(), "P02": head_pair(bottom_mm=3.0)}
    source = write_selected(root / "selected", pairs)
    return lambda out: register.run(register_params(), source, root / out)


def prepare_normalize(root: Path) -> Callable[[str], object]:
    write_cohort(root)
    return lambda out: run_normalize(root, out=out)


def prepare_pair(root: Path) -> Callable[[str], object]:
    source = write_selected(root / "selected", {f"P0{n}": head_pair() for n in (1, 2, 3)})
    register.run(register_params(), source, root / "registered")
    settings = params.load(pair.Params, "pair", PARAMS_FILE)
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
