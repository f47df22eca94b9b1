"""Match scores against closed forms and an independent library, and what they do with a shifted image."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from skimage.metrics import normalized_mutual_information as studholme

from mrct.pairing.match import dice, edge_agreement, match_slices, normalized_mutual_information

SIZE = 96


def head() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """CT in HU, MR and mask of a disk with a bright rim in the CT and dark lakes inside."""
    y, x = np.mgrid[:SIZE, :SIZE] - SIZE / 2
    radius = np.hypot(x, y)
    mask = radius < 40
    lakes = np.hypot(x - 10, y + 6) < 9
    ct = np.where(mask, np.where(radius > 34, 1000.0, np.where(lakes, 5.0, 35.0)), -1000.0)
    mr = np.where(mask, np.where(radius > 34, 60.0, np.where(lakes, 900.0, 400.0)), 0.0)
    rng = np.random.default_rng(1)
    noise = (ndimage.gaussian_filter(rng.normal(0, 30, mask.shape), 1.0) for _ in range(2))
    return ct + next(noise), mr + next(noise), mask


def test_dice_of_a_half_and_of_nothing() -> None:
    square, half = np.ones((4, 4), bool), np.zeros((4, 4), bool)
    half[:2] = True
    assert dice(square, half) == pytest.approx(2 / 3)
    assert np.isnan(dice(~square, ~square))


def test_edges_agree_with_their_own_inverse_and_not_across() -> None:
    """The angle counts, not the sign; without noise parameters crossing gradients agree nowhere."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(float)
    inside = np.ones((SIZE, SIZE), bool)
    inside[:8], inside[-8:], inside[:, :8], inside[:, -8:] = False, False, False, False
    # each gradient equals the floor: a quarter of the squared cosine is left
    assert edge_agreement(x, -x, inside, 1.0) == pytest.approx(0.25, abs=1e-6)
    assert edge_agreement(x, y, inside, 1.0) == pytest.approx(0.0, abs=1e-6)
    assert np.isnan(edge_agreement(np.ones_like(x), x, inside, 1.0))


def test_a_shift_lowers_every_score() -> None:
    ct, mr, mask = head()
    seen = np.ones_like(mask)
    here, shifted = (
        match_slices(ct, np.roll(mr, n, 1), (mask, np.roll(mask, n, 1)), seen, 1.0) for n in (0, 6)
    )
    assert here.mask_overlap == 1
    assert shifted.quality < here.quality - 0.1
    assert shifted.mask_overlap < here.mask_overlap
    assert shifted.edge_agreement < here.edge_agreement - 0.1


def test_scores_do_not_depend_on_the_unit_of_the_mr() -> None:
    ct, mr, mask = head()
    one, other = (match_slices(ct, scale * mr, (mask, mask), np.ones_like(mask), 1.0) for scale in (1, 250))
    assert one.quality == pytest.approx(other.quality, abs=1e-6)
    assert one.edge_agreement == pytest.approx(other.edge_agreement, abs=1e-6)


def test_nothing_to_compare_is_nan() -> None:
    ct, mr, mask = head()
    empty = np.zeros_like(mask)
    assert np.isnan(match_slices(ct, mr, (mask, mask), empty, 1.0).quality)
