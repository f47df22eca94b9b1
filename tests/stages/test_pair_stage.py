"""The stage pair on small registered folders: its outputs, and its messages when few pairs are left."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from mrct.core import contracts
from mrct.core.contracts import PairRule, RegisteredPatient, RegistrationStatus
from mrct.core.params import ParamsError, parse
from mrct.pairing.contact_sheets import pages
from stages import pair

PARAMS = pair.Params(
    seed=11,
    min_coverage=0.95,
    min_head_area_cm2=40.0,
    min_quality=0.0,
    min_distance_mm=0.0,
    max_per_patient=0,
    validation_fraction=0.2,
    test_fraction=0.3,
    exact_pairs=(),
    folds=0,
    fold=0,
)


@pytest.fixture(autouse=True)
def _one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MRCT_WORKERS", "1")


def write_patient(folder: Path, seed: int, depth: int, missing: int = 0) -> None:
    """Write a head of 4 mm pixels, 64 cm2, on `depth` slices; the CT does not cover the last `missing` ones."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((depth, 30, 34), np.uint8)
    mask[:, 4:24, 8:28] = 1
    coverage = np.ones_like(mask)
    coverage[depth - missing :] = 0
    arrays: dict[str, np.ndarray] = {
        "mr": mask * rng.uniform(100, 900, mask.shape).astype(np.float32),
        "ct": np.where(coverage & mask, rng.uniform(0, 900, mask.shape), -1024).astype(np.float32),
        "mask": mask,
        "coverage": coverage,
    }
    folder.mkdir(parents=True)
    for name, array in arrays.items():
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((4.0, 4.0, 5.0))
        sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))


def write_cohort(source: Path, depths: list[int], missing: int = 0, failed: int = 0) -> None:
    source.mkdir()
    names = [f"P{number:010x}" for number in range(len(depths))]
    for seed, (name, depth) in enumerate(zip(names, depths, strict=True)):
        write_patient(source / name, seed, depth, missing)
    rows = [RegisteredPatient(patient=n, status=RegistrationStatus.REGISTERED, reason="") for n in names]
    lost = [f"Pf{i:09x}" for i in range(failed)]
    rows += [RegisteredPatient(patient=n, status=RegistrationStatus.FAILED, reason="why") for n in lost]
    contracts.REGISTERED_PATIENTS.write(source, rows)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_tables_follow_the_contract(tmp_path: Path) -> None:
    write_cohort(tmp_path / "registered", [4, 5, 6, 5], missing=1, failed=1)
    summary = pair.run(PARAMS, tmp_path / "registered", tmp_path / "pairs")
    tables = (contracts.PAIRS, contracts.REJECTED_SLICES, contracts.PATIENT_SPLITS)
    pairs, rejected, splits = (table.read(tmp_path / "pairs") for table in tables)
    assert len(pairs) == 3 + 4 + 5 + 4
    assert rejected["rule"].tolist() == ["incomplete"] * 4
    assert splits["n_pairs"].tolist() == [3, 4, 5, 4]
    assert set(splits["split"]) == {"train", "validation", "test"}
    joined = pairs.merge(splits, on="patient")
    assert (joined["split_x"] == joined["split_y"]).all()
    assert summary == json.loads((tmp_path / "pairs" / "summary.json").read_text())
    assert summary["trainable"] is True
    assert summary["rejected"] == dict.fromkeys(PairRule, 0) | {"incomplete": 4}
    assert sum(split["pairs"] for split in summary["splits"].values()) == summary["pairs"] == 16
    sheets = sorted(p.name for p in (tmp_path / "pairs" / "contact_sheets").iterdir())
    assert sheets == ["rejected_001.png", "test_001.png", "train_001.png", "validation_001.png"]


def test_same_bytes_again_and_with_two_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cohort(tmp_path / "registered", [2, 1, 3])
    pair.run(PARAMS, tmp_path / "registered", tmp_path / "one")
    monkeypatch.setenv("MRCT_WORKERS", "2")
    pair.run(PARAMS, tmp_path / "registered", tmp_path / "two")
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_one_patient_is_complete_but_not_trainable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    write_cohort(tmp_path / "data" / "registered", [21])
    section = "pair: " + json.dumps(PARAMS.model_dump())
    (tmp_path / "params.yaml").write_text(section)
    monkeypatch.chdir(tmp_path)
    pair.main()
    said = capsys.readouterr().out
    assert "NOTE: nothing can be trained on this: 1 patient with pairs, and training needs at least 3" in said
    assert set(contracts.PAIRS.read(Path("data/pairs"))["split"]) == {"train"}
    summary = json.loads(Path("data/pairs/summary.json").read_text())
    assert summary["trainable"] is False
    assert "at least 3" in summary["reason"]
    sheets = sorted(p.name for p in Path("data/pairs/contact_sheets").iterdir())
    assert sheets == ["train_001.png", "train_002.png"]  # 18 pairs per page


def test_no_pair_names_rule_and_key_and_leaves_no_folder(tmp_path: Path) -> None:
    write_cohort(tmp_path / "registered", [4, 4, 4], missing=1)
    strict = PARAMS.model_copy(update={"min_head_area_cm2": 65.0})
    with pytest.raises(ValueError, match="no pair is left of 12 slices of 3 patients") as error:
        pair.run(strict, tmp_path / "registered", tmp_path / "pairs")
    assert "9 empty, 3 incomplete" in str(error.value)
    assert "pair.min_head_area_cm2 relaxes it, now 65.0" in str(error.value)
    assert not (tmp_path / "pairs").exists()


def test_patient_without_pairs_is_named_and_has_no_split(tmp_path: Path) -> None:
    write_cohort(tmp_path / "registered", [2, 3, 3, 1], missing=1)
    summary = pair.run(PARAMS, tmp_path / "registered", tmp_path / "pairs")
    assert summary["patients_without_pairs"] == ["P0000000003"]
    assert "P0000000003" not in set(contracts.PATIENT_SPLITS.read(tmp_path / "pairs")["patient"])


def test_a_patient_whose_mr_is_blank_is_listed_and_the_run_goes_on(tmp_path: Path) -> None:
    write_cohort(tmp_path / "registered", [2, 2, 2, 2])
    path = str(tmp_path / "registered" / "P0000000002" / "mr.nii.gz")
    sitk.WriteImage(sitk.ReadImage(path) * 0, path)
    summary = pair.run(PARAMS, tmp_path / "registered", tmp_path / "pairs")
    assert summary["patients_without_pairs"] == ["P0000000002"]
    assert summary["rejected"]["empty"] == 2
    reason = contracts.REJECTED_SLICES.read(tmp_path / "pairs")["reason"][0]
    assert reason.startswith("the MR shows nothing here")


def test_nobody_registered_is_an_error(tmp_path: Path) -> None:
    write_cohort(tmp_path / "registered", [], failed=2)
    with pytest.raises(ValueError, match="none of 2 patients is registered"):
        pair.run(PARAMS, tmp_path / "registered", tmp_path / "pairs")


def test_images_on_different_grids_are_an_error_naming_the_patient(tmp_path: Path) -> None:
    write_cohort(tmp_path / "registered", [2, 2, 2])
    path = str(tmp_path / "registered" / "P0000000001" / "ct.nii.gz")
    shifted = sitk.ReadImage(path)
    shifted.SetOrigin((0.0, 0.0, 2.5))
    sitk.WriteImage(shifted, path)
    with pytest.raises(ValueError, match=r"P0000000001: ct .* rerun register"):
        pair.run(PARAMS, tmp_path / "registered", tmp_path / "pairs")


@pytest.mark.parametrize(
    "change",
    [
        {"min_coverage": 1.2},
        {"test_fraction": 0.0},
        {"max_per_patient": -1},
        {"max_per_pateint": 3},
        {"exact_pairs": [5, 5]},
        {"exact_pairs": [5, 5, 0]},
        {"folds": 1},
        {"folds": 3, "fold": 3},
        {"fold": 1},
    ],
)
def test_bad_params_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ParamsError, match=next(iter(change))):
        parse(pair.Params, PARAMS.model_dump() | change, "params.yaml: pair")


def test_exact_counts_are_kept_and_the_surplus_is_listed(tmp_path: Path) -> None:
    write_cohort(tmp_path / "registered", [9, 8, 9, 8, 9, 8])
    exact = PARAMS.model_copy(update={"exact_pairs": (12, 5, 3)})
    summary = pair.run(exact, tmp_path / "registered", tmp_path / "pairs")
    assert [split["pairs"] for split in summary["splits"].values()] == [12, 5, 3]
    assert summary["rejected"] == dict.fromkeys(PairRule, 0) | {"beyond_quota": 51 - 20}
    reason = contracts.REJECTED_SLICES.read(tmp_path / "pairs")["reason"].unique().tolist()
    assert reason == ["a good pair, beyond the number that pair.exact_pairs asks for"]
    # spread over the split's patients, not taken from the first
    pairs = contracts.PAIRS.read(tmp_path / "pairs")
    assert pairs[pairs["split"] == "train"].groupby("patient").size().tolist() == [4, 4, 4]


def test_impossible_counts_say_what_there_is(tmp_path: Path) -> None:
    write_cohort(tmp_path / "registered", [4, 4, 4])
    exact = PARAMS.model_copy(update={"exact_pairs": (364, 27, 8)})
    with pytest.raises(ValueError, match="there are 4 train, 4 validation, 4 test; change pair"):
        pair.run(exact, tmp_path / "registered", tmp_path / "pairs")


def test_over_all_folds_each_patient_is_tested_once(tmp_path: Path) -> None:
    write_cohort(tmp_path / "registered", [2, 3, 2, 3, 2, 3, 2])
    tested = []
    for fold in range(3):
        folds = PARAMS.model_copy(update={"folds": 3, "fold": fold})
        pair.run(folds, tmp_path / "registered", tmp_path / "pairs")
        splits = contracts.PATIENT_SPLITS.read(tmp_path / "pairs")
        assert set(splits["split"]) == {"train", "validation", "test"}
        tested += splits.loc[splits["split"] == "test", "patient"].tolist()
    assert sorted(tested) == [f"P{number:010x}" for number in range(7)]


def test_the_poorest_match_comes_first_on_the_sheets(tmp_path: Path) -> None:
    write_cohort(tmp_path / "registered", [12, 12])
    pair.run(PARAMS, tmp_path / "registered", tmp_path / "pairs")
    table = contracts.PAIRS.read(tmp_path / "pairs")
    rows = [
        row
        for page in pages(table.assign(reason=""), table.iloc[:0].assign(reason=""))
        for row in page.slices
    ]
    assert [row.quality for row in rows] == sorted(table["quality"])
    assert len(rows) == 24
