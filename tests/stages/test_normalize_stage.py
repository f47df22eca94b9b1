"""The stage normalize on a small cohort of known images."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.stage_inputs import (
    NORMALIZE_PARAMS,
    PATIENTS,
    RADIUS,
    pair_row,
    run_normalize,
    write_cohort,
)
from mrct.core.contracts import NORMALIZED_PAIRS, PAIRS, REJECTED_SLICES, Direction
from mrct.core.files import open_array
from mrct.core.params import ParamsError, parse
from mrct.imaging.grid import Grid, from_grid, make_grid
from mrct.imaging.volumes import read_volume, to_array
from mrct.inference.model import Model
from mrct.inference.synthesize import translate_volume
from mrct.networks.whole_volume import VolumeNetwork
from mrct.normalization.intensity import MrScaling
from mrct.normalization.normalization import Normalization
from mrct.training.dataset import open_normalized
from stages import normalize


@pytest.fixture(autouse=True)
def _one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MRCT_WORKERS", "1")


def arrays(root: Path, patient: str, out: str = "out") -> dict[str, np.ndarray]:
    return {
        name: open_array(root / out / patient / f"{name}.npy")
        for name in ("mr", "ct", "ct_hu", "mask", "valid")
    }


def test_arrays_and_manifest_follow_the_contract(tmp_path: Path) -> None:
    write_cohort(tmp_path)
    manifest = run_normalize(tmp_path)
    assert manifest == json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["image_size"], manifest["pixel_spacing_mm"]) == (64, 2.0)
    assert manifest["hu_window"] == [-1024.0, 3000.0]
    assert manifest["mr"] == MrScaling("percentile", (0.5, 99.5)).to_json()
    assert {p: e["split"] for p, e in manifest["patients"].items()} == PATIENTS
    for number, patient in enumerate(PATIENTS):
        entry, got = manifest["patients"][patient], arrays(tmp_path, patient)
        assert entry["depth"] == 1 + 2 * number
        assert entry["slice_spacing_mm"] == pytest.approx(4.0)
        assert entry["cropped_head_fraction"] == 0.0
        dtypes = {"mr": "float32", "ct": "float32", "ct_hu": "float32", "mask": "uint8", "valid": "bool"}
        for name, dtype in dtypes.items():
            assert got[name].dtype == dtype
            assert got[name].shape == ((entry["depth"],) if name == "valid" else (entry["depth"], 64, 64))
        assert np.abs(got["mr"]).max() <= 1
        assert np.abs(got["ct"]).max() <= 1
        assert got["valid"].tolist() == [k != 1 for k in range(entry["depth"])]
    assert list(NORMALIZED_PAIRS.read(tmp_path / "out")) == ["patient", "k", "split"]


def test_padding_is_air_and_the_head_sits_in_the_middle(tmp_path: Path) -> None:
    write_cohort(tmp_path)
    run_normalize(tmp_path)
    for patient in PATIENTS:
        got = arrays(tmp_path, patient)
        for corner in (got["ct"][:, :2], got["mr"][:, :, -2:]):
            assert (corner == -1).all()
        assert (got["ct_hu"][:, 0] == -1024).all()
        rows, columns = np.nonzero(got["mask"][0])
        assert abs(rows.min() + rows.max() - 63) <= 2
        assert abs(columns.min() + columns.max() - 63) <= 2
        assert rows.max() - rows.min() + 1 == pytest.approx(RADIUS, abs=1.1)  # 2 x radius at 2 mm


def test_padding_of_an_mr_with_negative_values_is_its_lowest(tmp_path: Path) -> None:
    """In an MR that is stored with an offset, zero is not air, and padding with zeros would be bright."""
    write_cohort(tmp_path)
    path = str(tmp_path / "registered" / "P0000000001" / "mr.nii.gz")
    sitk.WriteImage(sitk.ReadImage(path) - 300.0, path)
    entry = run_normalize(tmp_path)["patients"]["P0000000001"]
    assert entry["mr_low"] < -200
    assert (arrays(tmp_path, "P0000000001")["mr"][:, :2] == -1).all()


def test_at_the_own_spacing_ct_hu_is_the_ct_unclipped_and_invertible(tmp_path: Path) -> None:
    write_cohort(tmp_path)
    fine = NORMALIZE_PARAMS.model_copy(update={"pixel_spacing_mm": 1.0})
    manifest = run_normalize(tmp_path, fine, 128)
    entry = manifest["patients"]["P0000000002"]
    got = arrays(tmp_path, "P0000000002")
    ct = read_volume(tmp_path / "registered" / "P0000000002" / "ct.nii.gz")
    grid = Grid.from_json(entry | {"image_size": 128})
    back = to_array(from_grid(got["ct_hu"], grid, ct, fill=0.0))
    np.testing.assert_array_equal(back, to_array(ct))
    assert got["ct_hu"].max() == 9000
    assert got["ct_hu"].min() == -3024
    clipped = np.clip(got["ct_hu"], -1024, 3000)
    np.testing.assert_allclose(
        Normalization.from_json(manifest).inverse_transform_ct(got["ct"]), clipped, atol=5e-4
    )


def test_incomplete_slices_between_pairs_reach_training_as_such(tmp_path: Path) -> None:
    write_cohort(tmp_path)
    assert all(
        "incomplete" not in entry for entry in run_normalize(tmp_path, out="none")["patients"].values()
    )
    rows = [(2, 1, "incomplete"), (2, 3, "near_duplicate"), (1, 7, "incomplete"), (1, 1, "incomplete")]
    lost = [{"patient": list(PATIENTS)[n], "k": k, "rule": rule, "reason": "why"} for n, k, rule in rows]
    REJECTED_SLICES.write(tmp_path / "pairs", lost)
    manifest = run_normalize(tmp_path)
    found = {name: entry.get("incomplete") for name, entry in manifest["patients"].items()}
    assert list(found.values()) == [None, [1], [1]]
    data = open_normalized(tmp_path / "out")
    assert [data.patients[name].incomplete for name in PATIENTS] == [(), (1,), (1,)]


def test_inference_can_repeat_grid_and_scale_from_the_mr_alone(tmp_path: Path) -> None:
    write_cohort(tmp_path)
    entry = run_normalize(tmp_path)["patients"]["P0000000003"]
    mr = read_volume(tmp_path / "registered" / "P0000000003" / "mr.nii.gz")
    assert make_grid(mr, 64, 2.0).to_json()["affine"] == entry["affine"]
    scale = MrScaling("percentile", (0.5, 99.5)).fit(to_array(mr))
    assert (scale.low, scale.high) == (entry["mr_low"], entry["mr_high"])


def test_mr_is_not_scaled_by_ct_or_by_pairs(tmp_path: Path) -> None:
    write_cohort(tmp_path)
    before = run_normalize(tmp_path)["patients"]
    for patient in PATIENTS:
        path = str(tmp_path / "registered" / patient / "ct.nii.gz")
        sitk.WriteImage(sitk.ReadImage(path) * 0 - 1024, path)
    assert run_normalize(tmp_path, out="again")["patients"] == before


def test_minmax_uses_the_range(tmp_path: Path) -> None:
    write_cohort(tmp_path)
    entry = run_normalize(tmp_path, NORMALIZE_PARAMS.model_copy(update={"mr": "minmax"}))["patients"][
        "P0000000001"
    ]
    mr = to_array(read_volume(tmp_path / "registered" / "P0000000001" / "mr.nii.gz"))
    assert (entry["mr_low"], entry["mr_high"]) == (mr.min(), mr.max())


def test_a_crop_of_the_head_is_measured_and_warned_about(tmp_path: Path) -> None:
    write_cohort(tmp_path)
    manifest = run_normalize(tmp_path, image_size=32)
    warnings = normalize.crop_warnings(manifest)
    assert len(warnings) == 3
    assert "P0000000001" in warnings[0]
    assert "raise image_size or normalize.pixel_spacing_mm" in warnings[0]
    circle_in_square = 1 - (64 * 64 - 4 * _corner_beyond_circle(32, RADIUS)) / (np.pi * RADIUS**2)
    assert manifest["patients"]["P0000000001"]["cropped_head_fraction"] == pytest.approx(
        circle_in_square, abs=0.01
    )
    assert normalize.crop_warnings(run_normalize(tmp_path, image_size=64, out="whole")) == []


def _corner_beyond_circle(half: float, radius: float) -> float:
    """Return the area of one corner of the square [-half, half]^2 that lies outside the circle."""
    x = np.linspace(0, half, 20001)
    return float(np.trapezoid(np.clip(half - np.sqrt(radius**2 - x**2), 0, None), x))


def test_too_few_patients_is_refused_here(tmp_path: Path) -> None:
    write_cohort(tmp_path, trainable=False)
    with pytest.raises(
        ValueError, match="nothing to train on: 2 patients with pairs, and training needs at least 3"
    ):
        run_normalize(tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_patient_in_two_splits_is_refused(tmp_path: Path) -> None:
    write_cohort(tmp_path)
    rows = PAIRS.read(tmp_path / "pairs").to_dict("records")
    PAIRS.write(tmp_path / "pairs", [*rows, pair_row("P0000000003", 1, "train")])
    with pytest.raises(ValueError, match="P0000000003 is in the splits"):
        run_normalize(tmp_path)


def test_same_bytes_with_two_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cohort(tmp_path)
    run_normalize(tmp_path, out="one")
    monkeypatch.setenv("MRCT_WORKERS", "2")
    run_normalize(tmp_path, out="two")
    for path in sorted((tmp_path / "one").rglob("*.*")):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes(), path


@pytest.mark.parametrize(
    "change",
    [
        {"hu_window": (3000.0, -1024.0)},
        {"mr_percentiles": (0.5, 100.5)},
        {"mr": "histogram"},
        {"pixel_spacing_mm": 0.0},
    ],
)
def test_bad_params_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ParamsError, match=next(iter(change))):
        parse(normalize.Params, NORMALIZE_PARAMS.model_dump() | change, "params.yaml: normalize")


class Recorder(VolumeNetwork):
    """A network that keeps its input volume."""

    def translate_volume(self, volume, slice_spacing_mm, device, others):
        self.seen = volume
        return volume


@pytest.mark.parametrize(
    "change",
    [
        {"mr": "zscore"},
        {"mr": "nyul"},
        {"n4": True},
        {"named": "kaiser"},
        {"named": "karimzadeh"},
        {"mr": "minmax"},
    ],
    ids=lambda change: next(iter(change.values())) if "n4" not in change else "n4",
)
def test_inference_repeats_every_normalization_from_the_manifest_alone(tmp_path: Path, change: dict) -> None:
    write_cohort(tmp_path)
    plain = run_normalize(tmp_path)
    manifest = run_normalize(tmp_path, NORMALIZE_PARAMS.model_copy(update=change), out="changed")
    assert manifest["mr"] != plain["mr"]
    for patient in PATIENTS:
        stored = arrays(tmp_path, patient, "changed")["mr"]
        network = Recorder()
        model = Model("recorder", Direction.MR_TO_CT, network, Normalization.from_json(manifest))
        translate_volume(read_volume(tmp_path / "registered" / patient / "mr.nii.gz"), model)
        np.testing.assert_array_equal(stored, network.seen)
        assert stored.min() == -1


def test_landmarks_and_ct_range_come_from_training_patients_alone(tmp_path: Path) -> None:
    write_cohort(tmp_path)
    nyul, kaiser = (
        NORMALIZE_PARAMS.model_copy(update={"mr": "nyul"}),
        NORMALIZE_PARAMS.model_copy(update={"named": "kaiser"}),
    )
    before = [run_normalize(tmp_path, params) for params in (nyul, kaiser)]
    for name, change in (("mr", lambda x: x**1.5), ("ct", lambda x: x * 3)):
        path = str(tmp_path / "registered" / "P0000000003" / f"{name}.nii.gz")
        changed = sitk.ReadImage(path)
        array = change(np.abs(sitk.GetArrayFromImage(changed)))
        new = sitk.GetImageFromArray(array.astype(np.float32))
        new.CopyInformation(changed)
        sitk.WriteImage(new, path)
    after = [run_normalize(tmp_path, params) for params in (nyul, kaiser)]
    assert after[0]["mr"] == before[0]["mr"]
    assert after[1]["hu_window"] == before[1]["hu_window"] == [-1024.0, 9000.0]


def test_karimzadeh_is_the_published_formula(tmp_path: Path) -> None:
    write_cohort(tmp_path)
    manifest = run_normalize(tmp_path, NORMALIZE_PARAMS.model_copy(update={"named": "karimzadeh"}))
    got = arrays(tmp_path, "P0000000002")
    assert manifest["hu_window"] == [-1024.0, 3000.0]
    clipped = np.clip(got["ct_hu"], -1024, 3000)
    np.testing.assert_allclose(got["ct"], (clipped + 1024) / 4024 * 2 - 1, atol=1e-6)
