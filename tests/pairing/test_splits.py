"""Splits by patient: sizes, balance, determinism, leakage."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrct.core.contracts import Split
from mrct.pairing.splits import require_no_leakage, split_fold, split_patients, split_sizes

COHORT = {f"P{number:03d}": 1 + number % 30 for number in range(120)}


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (0, (0, 0, 0)),
        (1, (1, 0, 0)),
        (2, (2, 0, 0)),
        (3, (1, 1, 1)),
        (4, (2, 1, 1)),
        (10, (5, 2, 3)),
        (120, (60, 24, 36)),
    ],
)
def test_sizes(n: int, expected: tuple[int, ...]) -> None:
    assert tuple(split_sizes(n, 0.2, 0.3).values()) == expected


@given(st.integers(3, 300), st.floats(0.001, 0.999), st.floats(0.001, 0.999))
def test_every_split_has_a_patient_from_three_on(n: int, validation: float, test: float) -> None:
    sizes = split_sizes(n, validation, test)
    assert sum(sizes.values()) == n
    assert min(sizes.values()) >= 1


@given(st.dictionaries(st.text("PQ0123456789", min_size=1), st.integers(1, 400), min_size=3), st.integers())
def test_each_patient_has_one_split_whatever_the_order(n_pairs: dict[str, int], seed: int) -> None:
    split = split_patients(n_pairs, seed, 0.2, 0.3)
    assert set(split) == set(n_pairs)
    assert set(split.values()) == set(Split)
    shuffled = dict(reversed(n_pairs.items()))
    assert split_patients(shuffled, seed, 0.2, 0.3) == split


def test_published_split_of_a_seed() -> None:
    """The split is pinned: a change would silently mix training and test patients of existing models."""
    split = split_patients(dict.fromkeys("ABCDEFGH", 5), 11, 0.2, 0.3)
    assert "".join(split[name][:2] for name in "ABCDEFGH") == "vatetetrtrtrtrva"
    assert split_patients(dict.fromkeys("ABCDEFGH", 5), 12, 0.2, 0.3) != split


def test_splits_have_alike_slice_counts() -> None:
    """Stratified: over many seeds the mean count of each split stays near the cohort's 15.5."""
    for seed in range(20):
        split = split_patients(COHORT, seed, 0.2, 0.3)
        for name in Split:
            counts = [COHORT[patient] for patient in split if split[patient] == name]
            assert sum(counts) / len(counts) == pytest.approx(15.5, abs=1.0)


def test_chance_decides_within_a_stratum() -> None:
    """No patient is bound to a split by its place in the order: over many seeds each is in all three."""
    seen: dict[str, set[str]] = {patient: set() for patient in COHORT}
    for seed in range(60):
        for patient, name in split_patients(COHORT, seed, 0.2, 0.3).items():
            seen[patient].add(name)
    assert all(len(names) >= 2 for names in seen.values())
    assert sum(len(names) == 3 for names in seen.values()) > 100


def test_leakage_is_found() -> None:
    rows = pd.DataFrame({"patient": ["A", "A", "B", "A"], "split": ["train", "train", "test", "test"]})
    with pytest.raises(ValueError, match="patient A is in the splits test, train"):
        require_no_leakage(rows)
    require_no_leakage(rows.iloc[:3])


@given(st.integers(2, 6), st.integers(8, 60), st.integers(0, 3))
def test_folds_test_each_patient_once_and_differ_by_at_most_one(folds: int, n: int, seed: int) -> None:
    counts = {patient: COHORT[patient] for patient in list(COHORT)[:n]}
    tests = []
    for fold in range(folds):
        split = split_fold(counts, seed, 0.2, folds, fold)
        assert set(split) == set(counts)
        assert set(split.values()) == set(Split)
        tests.append([patient for patient, name in split.items() if name == "test"])
    assert sorted(patient for test in tests for patient in test) == sorted(counts)
    assert max(map(len, tests)) - min(map(len, tests)) <= 1


def test_too_few_patients_for_the_folds_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"pair\.folds = 5: got 6 patients, needs 7 or more"):
        split_fold(dict.fromkeys("ABCDEF", 3), 1, 0.2, 5, 0)
