"""One CT and one MR slice are missing: through select, register and pair, everything else is a pair of true values."""

from pathlib import Path

import numpy as np
import pytest

from helpers.place_phantom import axial_positions, head_hu, head_signal, points_of, write_phantom
from helpers.stage_inputs import register_params
from mrct.core import contracts, files, params
from mrct.imaging.volumes import read_volume, to_array
from stages import pair, register, select

PATIENT = "P0000000001"
CT_LOST, MR_LOST = 13, 8
LEVELS_MM = [-60.0 + 6.0 * k for k in range(21)]
CT_OFFSET_MM = 1.5


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the stages on one patient whose CT lies 1.5 mm above the MR, slice by slice, in one frame of reference."""
    root = tmp_path_factory.mktemp("missing")
    source = root / "anonymized"
    manifest = {"layout": "dicom", "registered": True, "mr_weighting": "unknown"}
    files.write_json(source / "manifest.json", manifest)
    for modality, function, lost, offset in (
        ("CT", head_hu, CT_LOST, CT_OFFSET_MM),
        ("MR", head_signal, MR_LOST, 0.0),
    ):
        levels = [z + offset for k, z in enumerate(LEVELS_MM) if k != lost]
        places = axial_positions(levels, size=52, pixel_mm=4.0)
        folder = source / "images" / PATIENT / "T" / modality
        write_phantom(
            folder,
            modality,
            places,
            function,
            size=52,
            SeriesInstanceUID=f"1.{len(modality + str(lost))}",
            FrameOfReferenceUID="1.9",
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MRCT_WORKERS", "1")
        select.run(params.parse(select.Params, params.read()["select"], "select"), source, root / "selected")
        register.run(register_params(), root / "selected", root / "registered")
        pair.run(
            params.parse(pair.Params, params.read()["pair"], "pair"), root / "registered", root / "pairs"
        )
    return root


def test_select_writes_which_slices_are_filled_and_says_so(root: Path) -> None:
    for name, lost in (("ct", CT_LOST), ("mr", MR_LOST)):
        image = read_volume(root / "selected" / PATIENT / f"{name}.nii.gz")
        mask = to_array(read_volume(root / "selected" / PATIENT / f"{name}_filled.nii.gz")) > 0
        assert image.GetSize()[2] == len(LEVELS_MM)
        assert np.flatnonzero(mask.any(axis=(1, 2))).tolist() == [lost]
        truth = (head_hu if name == "ct" else head_signal)(points_of(image))
        assert np.abs(to_array(image) - truth)[~mask].max() <= 0.5 + 1e-3
    table = contracts.SELECTED_SERIES.read(root / "selected")
    assert table["decision"].tolist() == ["kept", "kept"]
    assert table["reason"].str.contains("1 missing slice interpolated, never used as a pair").all()


def test_coverage_is_zero_wherever_a_filled_slice_contributes(root: Path) -> None:
    coverage = to_array(read_volume(root / "registered" / PATIENT / "coverage.nii.gz")) > 0
    none = np.flatnonzero(~coverage.any(axis=(1, 2))).tolist()
    # an MR slice lies between two CT slices: the missing one contributes to two of them
    assert none == [MR_LOST, CT_LOST, CT_LOST + 1]
    assert coverage[[k for k in range(1, len(LEVELS_MM)) if k not in none]].all()
    for name, lost in (("ct", [CT_LOST, CT_LOST + 1]), ("mr", [MR_LOST])):
        filled = to_array(read_volume(root / "registered" / PATIENT / f"{name}_filled.nii.gz")) > 0
        assert np.flatnonzero(filled.any(axis=(1, 2))).tolist() == lost


def test_every_slice_with_data_is_a_pair_and_no_other(root: Path) -> None:
    pairs = contracts.PAIRS.read(root / "pairs")
    rejected = contracts.REJECTED_SLICES.read(root / "pairs").set_index("k")
    lost = {MR_LOST, CT_LOST, CT_LOST + 1}
    assert not lost & set(pairs["k"])
    assert set(pairs["k"]) >= set(range(2, len(LEVELS_MM))) - lost
    reasons = {k: f"the {name} has no slice here: one is missing in the series" for k, name in
               ((MR_LOST, "MR"), (CT_LOST, "CT"), (CT_LOST + 1, "CT"))}  # fmt: skip
    assert {k: rejected.loc[k, "reason"] for k in sorted(lost)} == reasons
    assert (rejected.loc[sorted(lost), "rule"] == "incomplete").all()


def test_no_value_of_a_pair_comes_from_a_filled_slice(root: Path) -> None:
    """MR as acquired; CT linear between the true CT slices below and above."""
    pairs = contracts.PAIRS.read(root / "pairs")
    mr, ct = (read_volume(root / "registered" / PATIENT / f"{name}.nii.gz") for name in ("mr", "ct"))
    points = points_of(mr)
    below, above = points.copy(), points.copy()
    below[..., 2] += CT_OFFSET_MM - 6.0
    above[..., 2] += CT_OFFSET_MM
    between = (1 - 4.5 / 6.0) * head_hu(below) + 4.5 / 6.0 * head_hu(above)
    assert len(pairs) > 15
    for k in pairs["k"]:
        assert np.abs(to_array(mr)[k] - head_signal(points)[k]).max() <= 0.5 + 1e-3
        if k:  # the lowest MR slice lies below the first CT slice, within its thickness
            assert np.abs(to_array(ct)[k] - between[k]).max() <= 0.5 + 1e-2
