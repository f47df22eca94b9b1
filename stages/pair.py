"""pair: same-level slice pairs, split by patient.  data/registered -> data/pairs

Each slice of a registered patient is a pair or is listed with the rule that removed it: incomplete (one
scan does not show the head there), empty (hardly any head, or an image without content), poor_match (CT and
MR hardly tell of one another), near_duplicate or beyond_quota. Patients, never slices, go to train, validation
and test. Contact sheets show every pair, the poorest match first, and every slice that was removed. With fewer
than three patients everything is written, as split "train", and summary.json says that nothing can be
trained on it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import Field, model_validator

from mrct.core import params as parameters
from mrct.core import resume
from mrct.core.errors import DataError
from mrct.core.files import output_folder, read_table, write_json, write_table
from mrct.core.parallel import map_processes
from mrct.core.params import Section
from mrct.core.runner import run_stage
from mrct.pairing.pair_sheets import draw_page, pages, read_patient
from mrct.pairing.pairing import BEYOND_QUOTA, KEYS, Rules, judge_slices, keep_exactly
from mrct.pairing.splits import (
    MIN_PATIENTS,
    SPLITS,
    patient_count,
    require_no_leakage,
    split_fold,
    split_patients,
    too_few,
)

SOURCE = Path("data/registered")
OUT = Path("data/pairs")
PAIR_COLUMNS = [
    "patient", "k", "split", "position_mm", "head_area_cm2", "coverage", "quality", "mask_overlap",
    "edge_agreement",
]  # fmt: skip


class Params(Section):
    """What makes a pair, and how patients are split."""

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
        if self.exact_pairs and (len(self.exact_pairs) != len(SPLITS) or min(self.exact_pairs) < 1):
            raise DataError(f"exact_pairs: expected counts of {', '.join(SPLITS)}, each at least 1, or []")
        if self.folds == 1 or self.fold >= max(self.folds, 1):
            raise DataError("folds: expected 0 (none) or at least 2, and 0 <= fold < folds")
        return self

    def rules(self) -> Rules:
        """As the room of images knows them."""
        return Rules(
            self.min_coverage,
            self.min_head_area_cm2,
            self.max_per_patient,
            self.min_quality,
            self.min_distance_mm,
        )


@dataclass(frozen=True)
class Job:
    """One patient: his registered folder and what makes a pair; he writes nothing to `out`."""

    source: Path
    out: Path
    rules: Rules


def run(params: Params, source: Path, out: Path) -> dict[str, Any]:
    """Judge every slice, split the patients, draw the sheets; returns the content of summary.json."""
    patients = registered_patients(source)
    with resume.work_folder(out) as work, output_folder(out) as folder:
        jobs = [Job(source / patient, folder, params.rules()) for patient in patients]
        tables = map(pd.DataFrame, resume.map_resumable(judge_patient, jobs, "pair", work))
        slices = pd.concat(tables, ignore_index=True)
        require_pairs(slices, params)
        slices["split"] = slices["patient"].map(split(slices[slices["rule"] == ""], params))
        if params.exact_pairs:
            slices = without_surplus(slices, dict(zip(SPLITS, params.exact_pairs, strict=True)))
        pairs, rejected = slices[slices["rule"] == ""], slices[slices["rule"] != ""]
        require_no_leakage(pairs)
        summary = summarize(patients, pairs, rejected)
        write_table(folder / "pairs.csv", pairs[PAIR_COLUMNS])
        write_table(folder / "rejected.csv", rejected[["patient", "k", "rule", "reason"]])
        splits = pairs.groupby(["patient", "split"]).size().reset_index(name="n_pairs")
        write_table(folder / "splits.csv", splits)
        write_json(folder / "summary.json", summary)
        sheets = folder / "contact_sheets"
        map_processes(partial(draw_page, source, sheets), pages(pairs, rejected), "contact sheets")
    return summary


def split(pairs: pd.DataFrame, params: Params) -> dict[str, str]:
    """patient -> train, validation or test, by fractions or as one fold of several."""
    counts = {str(patient): int(n) for patient, n in pairs.groupby("patient").size().items()}
    if params.folds:
        return split_fold(counts, params.seed, params.validation_fraction, params.folds, params.fold)
    return split_patients(counts, params.seed, params.validation_fraction, params.test_fraction)


def without_surplus(slices: pd.DataFrame, wanted: dict[str, int]) -> pd.DataFrame:
    """Exactly the wanted pairs of each split; the others become beyond_quota."""
    kept = keep_exactly(slices[slices["rule"] == ""], wanted)
    surplus = kept.index[kept["surplus"]]
    result = slices.copy()
    result.loc[surplus, "rule"] = BEYOND_QUOTA
    result.loc[surplus, "reason"] = "a good pair, beyond the number that pair.exact_pairs asks for"
    return result


def registered_patients(source: Path) -> list[str]:
    """Sorted patients with status registered; ValueError when there is none."""
    table = read_table(source / "patients.csv")
    patients = sorted(table.loc[table["status"] == "registered", "patient"])
    if not patients:
        raise DataError(
            f"{source}/patients.csv: none of {len(table)} patients is registered; its column reason says "
            "why; the keys are register.min_overlap and register.min_similarity"
        )
    return patients


def judge_patient(job: Job) -> dict[Any, list[Any]]:
    """The columns of the table that `judge_slices` gives of the patient's slices, and the column patient."""
    mr, ct, mask, coverage = read_patient(job.source.parent, job.source.name)
    table = judge_slices(mr, ct, mask, coverage, job.rules)
    return table.assign(patient=job.source.name).to_dict("list")


def require_pairs(slices: pd.DataFrame, params: Params) -> None:
    """ValueError if no slice is a pair: counts per rule, and the key of the rule that removed most."""
    if (slices["rule"] == "").any():
        return
    counts = slices["rule"].value_counts()
    worst = str(counts.index[0])
    example = slices.loc[slices["rule"] == worst].iloc[0]
    raise DataError(
        f"no pair is left of {len(slices)} slices of {patient_count(slices['patient'].nunique())}: "
        + ", ".join(f"{n} {rule}" for rule, n in counts.items())
        + f". The rule {worst!r} removed most (e.g. {example['patient']}, slice {example['k']}: "
        f"{example['reason']}); pair.{KEYS[worst]} relaxes it, now {getattr(params, KEYS[worst])}"
    )


def summarize(patients: Sequence[str], pairs: pd.DataFrame, rejected: pd.DataFrame) -> dict[str, Any]:
    """Counts per split and rule, patients without a pair, and whether there is enough to train."""
    found = pairs["patient"].nunique()
    trainable = bool(found >= MIN_PATIENTS)
    by_split = {name: pairs[pairs["split"] == name] for name in SPLITS}
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
        "rejected": {rule: int((rejected["rule"] == rule).sum()) for rule in KEYS},
    }


def main() -> None:
    """Run with params.yaml on the pipeline's folders."""
    summary = run(parameters.load(Params, "pair"), SOURCE, OUT)
    splits = summary["splits"].items()
    counts = ", ".join(
        f"{split['pairs']} {name} ({patient_count(split['patients'])})" for name, split in splits
    )
    removed = ", ".join(f"{n} {rule}" for rule, n in summary["rejected"].items())
    print(f"pairs: {counts}; removed: {removed}")
    if not summary["trainable"]:
        print(f"NOTE: nothing can be trained on this: {summary['reason']}.")
        print(f"      {OUT} is complete, contact sheets too; the next stage, normalize, will refuse.")


if __name__ == "__main__":
    run_stage("stages.pair")
