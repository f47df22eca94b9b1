"""Split into training, validation and test: by patient, stratified by number of pairs, from a seed."""

import hashlib
from collections.abc import Mapping
from typing import TypeVar

import pandas as pd

from mrct.core.contracts import Split
from mrct.core.errors import DataError

#: One patient each for training, validation and test: a model must be tested on patients that it has not seen.
MIN_PATIENTS = 3
# patients of similar pair counts among which chance decides
STRATUM_SIZE = 6

Label = TypeVar("Label", Split, int)


def split_sizes(n_patients: int, validation_fraction: float, test_fraction: float) -> dict[Split, int]:
    """Count the patients per split: the rounded fractions, at least one each; fewer than three are all for training."""
    if n_patients < MIN_PATIENTS:
        return {Split.TRAIN: n_patients, Split.VALIDATION: 0, Split.TEST: 0}
    test = min(max(1, round(n_patients * test_fraction)), n_patients - 2)
    validation = min(max(1, round(n_patients * validation_fraction)), n_patients - 1 - test)
    return {Split.TRAIN: n_patients - validation - test, Split.VALIDATION: validation, Split.TEST: test}


def split_patients(
    n_pairs: Mapping[str, int], seed: int, validation_fraction: float, test_fraction: float
) -> dict[str, Split]:
    """Split patients so that those with few and with many pairs spread alike over the splits.

    Patients are ordered by pair count, and the labels are dealt out along that order in their proportion. Within each
    stratum of similar counts, a hash of seed and patient decides which patient gets which label. A hash, unlike a
    random generator, gives the same split for the same patients and seed with any version of a library.

    Args:
        n_pairs: Number of pairs of each patient.
        seed: Chooses among the splits.
        validation_fraction: Share of the patients for validation.
        test_fraction: Share of the patients for test.

    Returns:
        patient -> split, sorted by patient.
    """
    return _stratified(n_pairs, seed, split_sizes(len(n_pairs), validation_fraction, test_fraction))


def split_fold(
    n_pairs: Mapping[str, int], seed: int, validation_fraction: float, folds: int, fold: int
) -> dict[str, Split]:
    """Split patients for one fold of a cross-validation: over all folds each patient is tested exactly once.

    Folds are stratified by pair count as in `split_patients`.

    Args:
        n_pairs: Number of pairs of each patient.
        seed: Chooses among the splits.
        validation_fraction: Share of all patients for validation, taken from those that are not for test.
        folds: Number of folds.
        fold: 0 <= fold < folds.

    Returns:
        patient -> split, sorted by patient.

    Raises:
        DataError: There are fewer patients than folds plus two.
    """
    if len(n_pairs) < folds + 2:
        raise DataError(f"pair.folds = {folds}: got {patient_count(len(n_pairs))}, needs {folds + 2} or more")
    share, more = divmod(len(n_pairs), folds)
    dealt = _stratified(n_pairs, seed, {n: share + (n < more) for n in range(folds)})
    rest = {patient: n for patient, n in n_pairs.items() if dealt[patient] != fold}
    validation = min(max(1, round(len(n_pairs) * validation_fraction)), len(rest) - 1)
    sizes = {Split.TRAIN: len(rest) - validation, Split.VALIDATION: validation}
    split = _stratified(rest, seed, sizes) | dict.fromkeys(set(n_pairs) - set(rest), Split.TEST)
    return {patient: split[patient] for patient in sorted(split)}


def _stratified(n_pairs: Mapping[str, int], seed: int, sizes: Mapping[Label, int]) -> dict[str, Label]:
    """Deal labels out in the given numbers, as `split_patients` says."""
    order = sorted(n_pairs, key=lambda patient: (n_pairs[patient], _chance(seed, patient)))
    labels = _dealt(sizes)
    chosen: dict[str, Label] = {}
    for start in range(0, len(order), STRATUM_SIZE):
        stratum = sorted(order[start : start + STRATUM_SIZE], key=lambda p: _chance(seed, f"label {p}"))
        chosen.update(zip(stratum, labels[start : start + STRATUM_SIZE], strict=True))
    return {patient: chosen[patient] for patient in sorted(chosen)}


def require_no_leakage(pairs: pd.DataFrame) -> None:
    """Check that no patient's rows (columns patient, split) lie in two splits.

    Raises:
        DataError: A patient is in two splits.
    """
    splits = pairs.groupby("patient")["split"].unique()
    for patient, found in splits.items():
        if len(found) > 1:
            raise DataError(
                f"patient {patient} is in the splits {', '.join(sorted(found))}; expected one, "
                "because a test patient must not be used in training; rerun pair"
            )


def too_few(found: int) -> str:
    """Return the reason why nothing can be trained on so few patients."""
    return (
        f"{patient_count(found)} with pairs, and training needs at least {MIN_PATIENTS}: "
        "one each for training, for the choice of the model and for the test"
    )


def patient_count(n: int) -> str:
    """Return the number of patients as text, as in `1 patient`."""
    return f"{n} patient{'' if n == 1 else 's'}"


def _dealt(sizes: Mapping[Label, int]) -> list[Label]:
    """Return labels in their proportion all along the list: the next label is the one furthest behind its share."""
    total = sum(sizes.values())
    given = dict.fromkeys(sizes, 0)
    labels = []
    for position in range(1, total + 1):
        behind = {name: sizes[name] * position / total - given[name] for name in sizes}
        label = max(behind, key=lambda name: behind[name])
        given[label] += 1
        labels.append(label)
    return labels


def _chance(seed: int, text: str) -> str:
    return hashlib.sha256(f"{seed} {text}".encode()).hexdigest()
