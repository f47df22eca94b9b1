"""A CT in HU passes whatever its field, padding and clipping; every known change of HU is refused and named."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from mrct.imaging.plausibility import examine, is_same_image
from mrct.imaging.volumes import read_volume, to_array

Change = Callable[[np.ndarray], np.ndarray]
REAL = Path(__file__).parents[2] / "data/sample/rire_001"
SHARED = Path(__file__).parents[3] / "shared/data"


def head(slices: int = 8, size: int = 96, pixel_mm: float = 2.5, noise_hu: float = 8.0) -> np.ndarray:
    """Make a head in HU by its definition: air -1000, skin 20, skull 900, brain 35, CSF 8; (D, H, W)."""
    k, j, i = np.indices((slices, size, size), float)
    y, x = (j - size / 2) * pixel_mm / 95, (i - size / 2) * pixel_mm / 75
    radius = np.hypot(x, y) + 0.02 * np.abs(k - slices / 2)
    hu = np.full(radius.shape, -1000.0)
    for outer, value in ((1.0, 20.0), (0.94, 900.0), (0.85, 35.0), (0.2, 8.0)):
        hu[radius < outer] = value
    return hu + np.random.default_rng(3).normal(0, noise_hu, hu.shape)


def circle(hu: np.ndarray) -> np.ndarray:
    """Return the corners of each slice, outside the circle of reconstruction."""
    _, height, width = hu.shape
    j, i = np.mgrid[:height, :width]
    return np.broadcast_to(np.hypot(j - height / 2, i - width / 2) > height / 2, hu.shape)


def tooth(hu: np.ndarray) -> np.ndarray:
    """Return a block of a few voxels in the head."""
    block = np.zeros(hu.shape, bool)
    block[:2, 30:34, 46:50] = True
    return block


def mr() -> np.ndarray:
    """Make the MR of the same head: air 10, skull 60, brain 600."""
    hu = head()
    return np.abs(np.select([hu < -300, hu > 400], [10.0, 60.0], 600.0) + hu % 50)


USABLE: dict[str, Change] = {
    "plain": lambda hu: hu,
    "a single slice": lambda hu: hu[4:5],
    "padded with -1024": lambda hu: np.where(circle(hu), -1024, hu),
    "padded with -2000": lambda hu: np.where(circle(hu), -2000, hu),
    "padded with -3024": lambda hu: np.where(circle(hu), -3024, hu),
    "padded with -8192": lambda hu: np.where(circle(hu), -8192, hu),
    "masked with air": lambda hu: np.where(hu < -300, -1000, hu),
    "cut at the sides": lambda hu: hu[:, :, 24:-24],
    "cut but for the corners": lambda hu: hu[:, 16:-16, 20:-20],
    "metal": lambda hu: np.where(tooth(hu), 3071, hu),
    "metal on an extended scale": lambda hu: np.where(tooth(hu), 30710, hu),
    "8 bits": lambda hu: np.rint(np.clip((hu + 1024) / 10, 0, 255)) * 10 - 1024,
    "table below": lambda hu: np.concatenate([hu, np.full((8, 8, 96), -200.0), hu[:, :4]], axis=1),
    "integers": lambda hu: np.rint(hu).astype(np.int16),
}


@pytest.mark.parametrize("name", USABLE)
def test_a_ct_in_hu_passes_without_a_doubt(name: str) -> None:
    finding = examine(USABLE[name](head()), "CT")
    assert (finding.fault, finding.doubt) == ("", "")


@pytest.mark.parametrize("noise_hu", [0.0, 3.0, 30.0, 60.0])
def test_noise_does_not_decide(noise_hu: float) -> None:
    assert examine(head(noise_hu=noise_hu), "CT").fault == ""


def test_missing_bone_is_a_doubt_and_not_a_fault() -> None:
    clipped = examine(np.minimum(head(), 80.0), "CT")
    assert clipped.fault == ""
    assert clipped.doubt == "bone is clipped: all values end at 80 HU"
    soft = np.where(head() > 300, 40.0, head())
    assert examine(soft, "CT").doubt.startswith("hardly any bone")


def wrapped(hu: np.ndarray, bits: int, offset: int = 0) -> np.ndarray:
    return np.rint(hu).astype(np.int64) % 2**bits + offset


# what is done to HU, and a part of the reason that names it and tells the way back
REVERSIBLE: dict[str, tuple[Change, str]] = {
    "+1024": (lambda hu: hu + 1024, "offset of 1024.*subtract 1024"),
    "+1000": (lambda hu: hu + 1000, "offset of 1000.*subtract 1000"),
    "+1024, cut at 0": (lambda hu: np.maximum(hu + 1024, 0), "subtract 1024"),
    "+1024 in a circle of -2000": (lambda hu: np.where(circle(hu), -2000, hu + 1024), "subtract 1024"),
    "the intercept's sign": (lambda hu: hu + 2048, "subtract 2048"),
    "intercept -8192 forgotten": (lambda hu: hu + 8192, "subtract 8192"),
    "intercept twice": (lambda hu: hu - 1024, "add 1024"),
    "12 bits": (
        lambda hu: wrapped(hu, 12),
        "12 unsigned bits.*subtract 4096 from all values of 2048 and more",
    ),
    "16 bits": (lambda hu: wrapped(hu, 16), "16 unsigned bits.*subtract 65536 from all values of 32768"),
    "12 bits and -1024": (lambda hu: wrapped(hu, 12, -1024), "12 unsigned bits.*then add 1024"),
    "16 bits and -1024": (lambda hu: wrapped(hu, 16, -1024), "16 unsigned bits.*then add 1024"),
    "tenths": (lambda hu: 10 * hu, "divide by 10$"),
    "thousands": (lambda hu: hu / 1000, "divide by 0.001"),
}


@pytest.mark.parametrize("name", REVERSIBLE)
def test_a_change_that_can_be_undone_is_named_with_the_way_back(name: str) -> None:
    change, reason = REVERSIBLE[name]
    assert not (finding := examine(change(head()), "CT")).doubt
    assert re.search(reason, finding.fault), finding.fault


def test_the_reason_says_where_air_and_tissue_lie() -> None:
    hu = head(noise_hu=0.0)
    assert "its air lies at 24, soft tissue at 1059" in examine(hu + 1024, "CT").fault
    assert "its air lies at 3096, soft tissue at 35" in examine(wrapped(hu, 12), "CT").fault


LOST: dict[str, tuple[Change, str]] = {
    "0..1": (lambda hu: np.clip((hu + 1000) / 2000, 0, 1), "scaled to 0..1"),
    "-1..1": (lambda hu: np.clip(hu / 1000, -1, 1) * 0.5, "scaled"),
    "per mm": (lambda hu: np.maximum(hu + 1000, 0) * 2e-5, "attenuation per mm"),
    "per cm": (lambda hu: np.maximum(hu + 1000, 0) * 2e-4, "attenuation per cm"),
    "8 bits of a window": (lambda hu: np.clip((hu + 160) / 400 * 255, 0, 255), "8 bits"),
    "a window": (lambda hu: np.clip(hu, -160, 240), "no air"),
    "masked with 0": (lambda hu: np.where(hu < -300, 0, hu), "no air around a head in HU"),
    "air cut at 0": (lambda hu: np.maximum(hu, 0), "no air around a head in HU"),
    "air cut at 0 in a padded circle": (
        lambda hu: np.where(circle(hu), -2000, np.maximum(hu, 0)),
        "no air around a head in HU",
    ),
    "one slice with an offset": (
        lambda hu: hu + 1024 * (np.arange(len(hu)) == 3)[:, None, None],
        "1 of 8 slices hold no air",
    ),
    "slope 0": (lambda hu: np.full(hu.shape, -1024.0), "constant"),
    "one voxel of air": (lambda hu: np.where(tooth(hu) & (hu < 20), -1000, np.maximum(hu, 7)), "no air"),
    "an MR": (lambda hu: mr(), "no air near -1000"),
    "an MR below 0": (lambda hu: mr() - 1024, "no soft tissue"),
    "more than 16 bits": (lambda hu: np.where(hu > 800, 1e6, hu), "beyond the 16 bits"),
}  # fmt: skip


@pytest.mark.parametrize("name", LOST)
def test_what_is_no_hu_is_refused_with_its_reason(name: str) -> None:
    change, reason = LOST[name]
    fault = examine(change(head()), "CT").fault
    assert reason in fault


def test_air_that_wrapped_around_here_and_there_is_refused() -> None:
    hu = head(noise_hu=12.0)
    below = hu < -1024
    assert "subtract 4096" in examine(np.where(below, hu + 4096, hu), "CT").fault


@given(st.floats(1.5, 1e6), st.integers(-200, 400))
@settings(max_examples=25, deadline=None)
def test_an_mr_in_any_unit_passes_as_mr_and_never_as_ct(scale: float, shift: int) -> None:
    signal = mr() * scale + shift
    assert examine(signal, "MR").fault == ""
    assert examine(signal, "CT").fault != ""


@pytest.mark.parametrize("scale", [1e-8, 1.0])
def test_a_small_rescale_slope_leaves_an_mr_its_contrast(scale: float) -> None:
    assert examine(mr() * scale, "MR").fault == ""


@pytest.mark.parametrize("factor", [2.0, 1.3])
def test_no_advice_moves_air_that_lies_at_its_place(factor: float) -> None:
    """Values that were stretched about -1000 are refused, and neither an offset nor a wrap explains them."""
    fault = examine((head() + 1000) * factor - 1000, "CT").fault
    assert fault
    assert "subtract" not in fault


@pytest.mark.parametrize(
    "change", [lambda hu: hu + 1024, lambda hu: np.rint((hu + 1000) / 8), lambda hu: -hu / 3000]
)
def test_a_ct_in_other_units_is_the_same_image_and_an_mr_is_not(change: Change) -> None:
    hu = head(noise_hu=5.0)
    assert is_same_image(hu, change(hu))
    assert not is_same_image(hu, mr())
    assert not is_same_image(hu, change(hu)[1:])
    assert not is_same_image(hu, np.zeros_like(hu))


def test_a_ct_or_one_value_is_no_mr() -> None:
    assert "not an MR" in examine(head(), "MR").fault
    assert "constant" in examine(np.zeros((3, 8, 8)), "MR").fault
    assert "not finite" in examine(np.where(head() > 800, np.nan, head()), "MR").fault


def test_real_ct_and_mr_pass_and_are_told_apart() -> None:
    ct, signal = (to_array(read_volume(REAL / f"{name}.nii.gz")) for name in ("ct", "mr_t1"))
    assert (examine(ct, "CT").fault, examine(signal, "MR").fault) == ("", "")
    assert examine(signal, "CT").fault
    assert examine(ct, "MR").fault


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real data beside the project")
def test_all_slices_of_synthrad_pass() -> None:
    refused = [
        f"{path.parent.name} {modality}"
        for modality in ("CT", "MR")
        for path in sorted(SHARED.glob(f"synthrad2023_midslices/*/{modality.lower()}.nii.gz"))
        if examine(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), modality).fault  # type: ignore[arg-type]
    ]
    assert refused == []
