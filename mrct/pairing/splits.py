"""Patients to train, validation and test: by patient, stratified by their number of pairs, from a seed."""

import hashlib
from collections.abc import Mapping

import pandas as pd

from mrct.core.errors import DataError

SPLITS = ("train", "validation", "test")
# one patient each; with fewer, nothing could be both learnt and checked on other people
MIN_PATIENTS = 3
# neighbors in the order of pair counts among which chance decides
STRATUM_SIZE = 6


def split_sizes(n_patients: int, validation_fraction: float, test_fraction: float) -> dict[str, int]:
    """Patients per split: the rounded fractions, at least one each; under three patients all are train."""
    if n_patients < MIN_PATIENTS:
        return {"train": n_patients, "validation": 0, "test": 0}
    test = min(max(1, round(n_patients * test_fraction)), n_patients - 2)
    validation = min(max(1, round(n_patients * validation_fraction)), n_patients - 1 - test)
    return {"train": n_patients - validation - test, "validation": validation, "test": test}


def split_patients(
    n_pairs: Mapping[str, int], seed: int, validation_fraction: float, test_fraction: float
) -> dict[str, str]:
    """patient -> split, so that few- and many-slice patients spread over all splits alike.

    Patients are ordered by pair count, and the labels dealt out along that order in their proportion;
    inside each stratum of neighbors a hash of seed and patient decides who gets which label. A hash, not
    a random generator: the same patients and seed give the same split with any library version.
    """
    return _stratified(n_pairs, seed, split_sizes(len(n_pairs), validation_fraction, test_fraction))


def split_fold(
    n_pairs: Mapping[str, int], seed: int, validation_fraction: float, folds: int, fold: int
) -> dict[str, str]:
    """patient -> split of one fold, 0 <= fold < folds: over all folds each patient is tested exactly once.

    Folds are stratified by pair count as `split_patients`; of the other patients `validation_fraction` (of
    all) is for validation. ValueError when there are fewer patients than folds plus two.
    """
    if len(n_pairs) < folds + 2:
        raise DataError(f"pair.folds = {folds}: got {patient_count(len(n_pairs))}, needs {folds + 2} or more")
    share, more = divmod(len(n_pairs), folds)
    dealt = _stratified(n_pairs, seed, {str(n): share + (n < more) for n in range(folds)})
    rest = {patient: n for patient, n in n_pairs.items() if dealt[patient] != str(fold)}
    validation = min(max(1, round(len(n_pairs) * validation_fraction)), len(rest) - 1)
    sizes = {"train": len(rest) - validation, "validation": validation}
    split = _stratified(rest, seed, sizes) | dict.fromkeys(set(n_pairs) - set(rest), "test")
    return {patient: split[patient] for patient in sorted(split)}


def _stratified(n_pairs: Mapping[str, int], seed: int, sizes: Mapping[str, int]) -> dict[str, str]:
    """patient -> label, in the given numbers; see `split_patients`."""
    order = sorted(n_pairs, key=lambda patient: (n_pairs[patient], _chance(seed, patient)))
    labels = _dealt(sizes)
    chosen: dict[str, str] = {}
    for start in range(0, len(order), STRATUM_SIZE):
        stratum = sorted(order[start : start + STRATUM_SIZE], key=lambda p: _chance(seed, f"label {p}"))
        chosen.update(zip(stratum, labels[start : start + STRATUM_SIZE], strict=True))
    return {patient: chosen[patient] for patient in sorted(chosen)}


def require_no_leakage(pairs: pd.DataFrame) -> None:
    """ValueError if any patient's rows (columns patient, split) lie in two splits."""
    splits = pairs.groupby("patient")["split"].unique()
    for patient, found in splits.items():
        if len(found) > 1:
            raise DataError(
                f"patient {patient} is in the splits {', '.join(sorted(found))}; expected one, "
                "or the test would be on people the network has seen; rerun pair"
            )


def too_few(found: int) -> str:
    """Why nothing can be trained on so few patients."""
    return (
        f"{patient_count(found)} with pairs, and training needs at least {MIN_PATIENTS}: "
        "one each to train on, to choose the model by, and to test on people it has never seen"
    )


def patient_count(n: int) -> str:
    """The number with its noun."""
    return f"{n} patient{'' if n == 1 else 's'}"


def _dealt(sizes: Mapping[str, int]) -> list[str]:
    """Labels in their proportion all along the list: the next one is the split furthest behind its share."""
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
