"""pair: same-level slice pairs, split by patient.  data/registered -> data/pairs

Each slice of a registered patient is a pair or is listed with the rule that rejects it: incomplete (one of the scans
does not cover the head there), empty (hardly any head, or an image without content), poor_match (CT and MR have little
mutual information), near_duplicate or beyond_quota. Patients, never slices, are split into train, validation and test.
Contact sheets show every pair, the worst match first, and every rejected slice. With fewer than three patients
everything is written, as split "train", and summary.json says that nothing can be trained on it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TypedDict

import pandas as pd
from pydantic import Field, model_validator

from mrct.core import contracts, resume
from mrct.core import params as parameters
from mrct.core.contracts import PairRule, RegistrationStatus, Split
from mrct.core.errors import DataError
from mrct.core.files import output_folder, write_json
from mrct.core.parallel import map_processes
from mrct.core.params import Section
from mrct.core.runner import run_stage
from mrct.pairing.contact_sheets import draw_page, pages
from mrct.pairing.slices import KEYS, PairCriteria, RegisteredVolumes, assess_slices, surplus_pairs
from mrct.pairing.splits import (
    MIN_PATIENTS,
    patient_count,
    require_no_leakage,
    split_fold,
    split_patients,
    too_few,
)

SOURCE = Path("data/registered")
OUT = Path("data/pairs")


class Params(Section):
    """The section `pair` of params.yaml: the criteria of a pair, and how patients are split."""

    seed: int
    min_coverage: float = Field(ge=0, le=1)
    min_head_area_cm2: float = Field(ge=0)
    min_quality: float = Field(ge=0, le=1)
    min_distance_mm: float = Field(ge=0)
    max_per_patient: int = Field(ge=0)
    validation_fraction: float = Field(gt=0, lt=1)
    test_fraction: float = Field(gt=0, lt=1)
    exact_pairs: tuple[int, ...]
    folds: int = Field(ge=0)
    fold: int = Field(ge=0)

    @model_validator(mode="after")
    def _fit_together(self) -> "Params":
        if self.exact_pairs and (len(self.exact_pairs) != len(Split) or min(self.exact_pairs) < 1):
            raise DataError(f"exact_pairs: expected counts of {', '.join(Split)}, each at least 1, or []")
        if self.folds == 1 or self.fold >= max(self.folds, 1):
            raise DataError("folds: expected 0 (none) or at least 2, and 0 <= fold < folds")
        return self

    def criteria(self) -> PairCriteria:
        """Return the criteria of a pair."""
        return PairCriteria(
            self.min_coverage,
            self.min_head_area_cm2,
            self.max_per_patient,
            self.min_quality,
            self.min_distance_mm,
        )


class SplitCounts(TypedDict):
    """The content of a split."""

    patients: int
    pairs: int


class Summary(TypedDict):
    """The content of summary.json; `reason` says why nothing can be trained, and is empty otherwise."""

    trainable: bool
    reason: str
    slices: int
    pairs: int
    patients: int
    patients_without_pairs: list[str]
    splits: dict[str, SplitCounts]
    rejected: dict[str, int]


@dataclass(frozen=True)
class Job:
    """One patient: the registered folder and the criteria of a pair; nothing is written to `out`."""

    source: Path
    out: Path
    criteria: PairCriteria


def run(params: Params, source: Path, out: Path) -> Summary:
    """Assess every slice, split the patients and draw the contact sheets.

    Returns:
        The content of summary.json.

    Raises:
        DataError: No patient is registered, no slice is a pair, or there are too few pairs or patients for
        `exact_pairs`
            or `folds`.
    """
    patients = registered_patients(source)
    with resume.work_folder(out) as work, output_folder(out) as folder:
        jobs = [Job(source / patient, folder, params.criteria()) for patient in patients]
        found = resume.map_resumable(assess_patient, jobs, "pair", work)
        slices = pd.DataFrame([row for rows in found for row in rows])
        require_pairs(slices, params)
        slices["split"] = slices["patient"].map(split(slices[slices["rule"].isna()], params))
        if params.exact_pairs:
            slices = without_surplus(slices, dict(zip(Split, params.exact_pairs, strict=True)))
        pairs, rejected = slices[slices["rule"].isna()], slices[slices["rule"].notna()]
        require_no_leakage(pairs)
        summary = summarize(patients, pairs, rejected)
        contracts.PAIRS.write(folder, pairs[list(contracts.Pair.model_fields)])
        contracts.REJECTED_SLICES.write(folder, rejected[list(contracts.RejectedSlice.model_fields)])
        splits = pairs.groupby(["patient", "split"]).size().reset_index(name="n_pairs")
        contracts.PATIENT_SPLITS.write(folder, splits)
        write_json(folder / "summary.json", summary)
        sheets = folder / "contact_sheets"
        map_processes(partial(draw_page, source, sheets), pages(pairs, rejected), "contact sheets")
    return summary


def split(pairs: pd.DataFrame, params: Params) -> dict[str, Split]:
    """Split the patients that have pairs by fractions, or as one fold of several."""
    counts = {str(patient): int(n) for patient, n in pairs.groupby("patient").size().items()}
    if params.folds:
        return split_fold(counts, params.seed, params.validation_fraction, params.folds, params.fold)
    return split_patients(counts, params.seed, params.validation_fraction, params.test_fraction)


def without_surplus(slices: pd.DataFrame, wanted: dict[Split, int]) -> pd.DataFrame:
    """Keep exactly the wanted pairs of each split; the others become beyond_quota."""
    surplus = surplus_pairs(slices[slices["rule"].isna()], wanted)
    result = slices.copy()
    result.loc[surplus, "rule"] = PairRule.BEYOND_QUOTA
    result.loc[surplus, "reason"] = "a good pair, beyond the number that pair.exact_pairs asks for"
    return result


def registered_patients(source: Path) -> list[str]:
    """Return the registered patients, sorted.

    Raises:
        DataError: There is none.
    """
    table = contracts.REGISTERED_PATIENTS.read(source)
    patients = sorted(table.loc[table["status"] == RegistrationStatus.REGISTERED, "patient"])
    if not patients:
        raise DataError(
            f"{source}/patients.csv: none of {len(table)} patients is registered; its column reason says "
            "why; the keys are register.min_overlap and register.min_similarity"
        )
    return patients


def assess_patient(job: Job) -> list[dict[str, str | int | float | None]]:
    """Return the fields of `AssessedSlice` and the patient, for each of the patient's slices."""
    found = assess_slices(RegisteredVolumes.read(job.source), job.criteria)
    return [{"patient": job.source.name, **asdict(here)} for here in found]


def require_pairs(slices: pd.DataFrame, params: Params) -> None:
    """Check that a slice is a pair.

    Raises:
        DataError: No slice is one. The text counts the rules and names the key of the rule that rejected most.
    """
    if slices["rule"].isna().any():
        return
    counts = slices["rule"].value_counts()
    worst = PairRule(counts.index[0])
    example = slices.loc[slices["rule"] == worst].iloc[0]
    raise DataError(
        f"no pair is left of {len(slices)} slices of {patient_count(slices['patient'].nunique())}: "
        + ", ".join(f"{n} {rule}" for rule, n in counts.items())
        + f". The rule {worst.value!r} removed most (e.g. {example['patient']}, slice {example['k']}: "
        f"{example['reason']}); pair.{KEYS[worst]} relaxes it, now {params.model_dump()[KEYS[worst]]}"
    )


def summarize(patients: Sequence[str], pairs: pd.DataFrame, rejected: pd.DataFrame) -> Summary:
    """Count pairs per split and slices per rule, and state whether there is enough to train on."""
    found = pairs["patient"].nunique()
    trainable = bool(found >= MIN_PATIENTS)
    by_split = {split.value: pairs[pairs["split"] == split] for split in Split}
    return {
        "trainable": trainable,
        "reason": "" if trainable else too_few(found),
        "slices": len(pairs) + len(rejected),
        "pairs": len(pairs),
        "patients": found,
        "patients_without_pairs": sorted(set(patients) - set(pairs["patient"])),
        "splits": {
            name: {"patients": rows["patient"].nunique(), "pairs": len(rows)}
            for name, rows in by_split.items()
        },
        "rejected": {rule.value: int((rejected["rule"] == rule).sum()) for rule in PairRule},
    }


def main() -> None:
    """Run on the project's folders and print the counts."""
    summary = run(parameters.load(Params, "pair"), SOURCE, OUT)
    splits = summary["splits"].items()
    counts = ", ".join(
        f"{split['pairs']} {name} ({patient_count(split['patients'])})" for name, split in splits
    )
    removed = ", ".join(f"{n} {rule}" for rule, n in summary["rejected"].items())
    print(f"pairs: {counts}; removed: {removed}")
    if not summary["trainable"]:
        print(f"NOTE: nothing can be trained on this: {summary['reason']}.")
        print(f"      {OUT} and its contact sheets are complete, but the next stage, normalize, will fail.")


if __name__ == "__main__":
    run_stage("stages.pair")
