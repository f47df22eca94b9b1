"""AUROC against counting every pair."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrct.experiments.auroc import auroc

SCORES = st.lists(st.integers(0, 6), min_size=1, max_size=30)


def counted(positives, negatives) -> float:
    won = sum((p > n) + 0.5 * (p == n) for p in positives for n in negatives)
    return won / (len(positives) * len(negatives))


@given(SCORES, SCORES)
def test_equals_the_count_of_pairs_also_with_ties(positives, negatives):
    found = auroc(np.array(positives, dtype=float), np.array(negatives, dtype=float))
    assert found == pytest.approx(counted(positives, negatives), abs=1e-12)
    mirrored = auroc(np.array(negatives, dtype=float), np.array(positives, dtype=float))
    assert found + mirrored == pytest.approx(1, abs=1e-12)


def test_known_cases():
    low, high = np.array([0.0, 0.1]), np.array([0.2, 0.3, 0.4])
    assert auroc(high, low) == 1
    assert auroc(low, high) == 0
    assert auroc(np.ones(5), np.ones(3)) == 0.5
    assert np.isnan(auroc(low, np.array([])))
    assert np.isnan(auroc(np.array([]), low))
