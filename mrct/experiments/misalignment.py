"""Does P_pix, the critic's opinion as weight of the pixel loss, turn away from pixels with a misaligned target?

Trainings that differ in three things: how far the CT of half of the training patients is warped, whether P_pix
weighs the pixel loss, whether the structure loss takes part. The validation patients, who are never warped and
choose nothing here, judge the networks of the last epoch; the known warps judge P_pix itself.
"""

from pathlib import Path
from typing import Any

import torch

from mrct.experiments import misalignment_tables as tables
from mrct.experiments.misaligned import training_patients
from mrct.experiments.misalignment_run import (
    EXAMPLE,
    PIXEL_WEIGHTINGS,
    STRUCTURE_LOSSES,
    WARPS_MM,
    Job,
    Params,
    Run,
    carry_out,
    runs_of,
)
from mrct.experiments.misalignment_view import Example, draw
from mrct.files import folder_hash, open_array, output_folder, write_json, write_table
from mrct.parallel import map_processes
from mrct.reporting.theme import CHART_DPI, save_png
from mrct.resume import ROOMS, code_hash, locked_folder
from mrct.training.dataset import NormalizedData, open_normalized
from mrct.training.fingerprint import fingerprint

NAME = "misalignment"
MIN_TRAINING_PATIENTS = 4
#: What makes a run's result, beside parameters and data; tables and figure may change without a new training.
CODE = (
    *(
        ROOMS / "experiments" / f"{name}.py"
        for name in ("auroc", "judging", "misaligned", "misalignment_run", "warps")
    ),
    *(ROOMS / name for name in ("losses", "methods", "metrics", "networks", "training")),
)


def investigate(params: Params, source: Path, out: Path, work_root: Path) -> dict[str, Any]:
    """All runs on the folder `source` of normalize, then tables, figure and summary.json in `out`; the summary.

    A finished run stays in work_root/misalignment-<fingerprint>-<code>, an unfinished one goes on from its last epoch.
    Errors, before any work: see `require_answerable`; `out` holds something else.
    """
    data = open_normalized(source)
    require_answerable(params, data)
    if out.exists() and not (out / "auroc.csv").is_file():
        raise ValueError(f"{out}: exists and is no result of this experiment; name another folder in --out")
    identity = folder_hash(source)
    key = fingerprint(NAME, params.shared(), identity)
    runs = runs_of(params)
    code = code_hash(CODE, [f"torch {torch.__version__}"])[:16]
    with locked_folder(work_root / f"{NAME}-{key}-{code}") as work:
        jobs = [Job(run, params, source, work / run.name) for run in runs]
        results = map_processes(carry_out, jobs, NAME)
        example = _example(params, work, data)
    summary = _summary(params, data) | {"fingerprint": key, "data_sha256": identity}
    _write(out, params, dict(zip(runs, results, strict=True)), example, summary)
    return summary


def require_answerable(params: Params, data: NormalizedData) -> None:
    """ValueError where no answer can come out: too few patients, or a loss in question that has no weight."""
    n_training = len(training_patients(data))
    if n_training < MIN_TRAINING_PATIENTS:
        raise ValueError(
            f"{NAME}: got {n_training} training patients with pairs, wanted {MIN_TRAINING_PATIENTS} or more, half "
            "of whom are warped; add patients or lower pair.test_fraction"
        )
    if not data.split_pairs("validation"):
        raise ValueError(
            f"{NAME}: got no validation pair, and validation patients are the judges; raise pair.validation_fraction"
        )
    if len(set(params.seeds)) < len(params.seeds):
        raise ValueError(f"{NAME}: got seeds {params.seeds}, wanted each once")
    for weight in ("lambda_pix", "lambda_str"):
        if not getattr(params.method, weight):
            raise ValueError(f"{NAME}: {weight} is 0, so that its loss cannot be judged; set it above 0")


def _summary(params: Params, data: NormalizedData) -> dict[str, Any]:
    n_training = len(training_patients(data))
    return {
        "params": params.shared(),
        "warps_mm": list(WARPS_MM),
        "seeds": list(params.seeds),
        "bootstrap": {"samples": params.bootstrap_samples, "seed": params.bootstrap_seed},
        "n_training_patients": n_training,
        "n_warped_patients": n_training // 2,
        "n_validation_patients": len({name for name, _ in data.split_pairs("validation")}),
        "n_pairs": data.pair_counts,
    }


def _example(params: Params, work: Path, data: NormalizedData) -> Example:
    """Of the first seed's run with both losses and the largest warp."""
    run = Run(params.seeds[0], max(WARPS_MM), PIXEL_WEIGHTINGS[0], STRUCTURE_LOSSES[0])
    low_hu, high_hu = data.manifest["hu_window"]
    return Example(run.warp_mm, (low_hu, high_hu), *open_array(work / run.name / EXAMPLE))


def _write(
    out: Path, params: Params, results: tables.Results, example: Example, summary: dict[str, Any]
) -> None:
    patients = tables.rows_of(results, "validation")
    auroc = tables.rows_of(results, "detection")
    runs = tables.run_means(patients)
    with output_folder(out) as folder:
        write_table(folder / "patients.csv", patients)
        write_table(folder / "runs.csv", runs)
        write_table(folder / "auroc.csv", auroc)
        differences = tables.differences(patients, params.bootstrap_samples, params.bootstrap_seed)
        write_table(folder / "differences.csv", differences)
        save_png(draw(runs, auroc, example), folder / "misalignment.png", CHART_DPI)
        write_json(folder / "summary.json", summary)
