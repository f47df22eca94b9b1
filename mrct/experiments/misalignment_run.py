"""One training of the misalignment experiment: its options, its targets, its judgement, resumable at any point."""

import os
import sys
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from mrct.experiments.judging import Judge, Row, Scores, detection_rows, validation_rows
from mrct.experiments.misaligned import Misaligned, misalign, training_patients
from mrct.files import read_json, save_array, write_json
from mrct.methods.sc_cyclegan import Params as MethodParams
from mrct.methods.sc_cyclegan import ScCycleGan
from mrct.params import Section
from mrct.training import checkpoint
from mrct.training.dataset import NormalizedData, open_normalized
from mrct.training.engine import CHECKPOINT, Epoch, choose_device, deterministic, fit
from mrct.training.settings import Settings
from mrct.training.slices import SlicePairs

#: RMS displacement inside the head; zero is the control.
WARPS_MM = (0.0, 2.0, 4.0)
PIXEL_WEIGHTINGS = ("minmax", "none")
STRUCTURE_LOSSES = ("sc_map", "none")
RESULT, EXAMPLE = "result.json", "example.npy"


class Params(Section):
    """What all runs share; weighting, structure loss and seed are the run's, whatever `method` and `settings` say."""

    method: MethodParams
    settings: Settings
    seeds: tuple[int, ...] = Field(min_length=1)
    bootstrap_samples: int
    bootstrap_seed: int

    def shared(self) -> dict[str, Any]:
        """All on which a run's result depends, other than what tells it from the others."""
        values = self.method.model_dump(mode="json") | self.settings.model_dump(mode="json")
        for varied in ("pixel_weighting", "structure_loss", "seed"):
            del values[varied]
        return values


@dataclass(frozen=True)
class Run:
    """RMS displacement of the CT of half of the training patients, the losses, and the seed of it all."""

    seed: int
    warp_mm: float
    pixel_weighting: str
    structure_loss: str

    @property
    def name(self) -> str:
        """Of its folder, and of its lines in the log."""
        return f"seed{self.seed}-{self.warp_mm:g}mm-{self.pixel_weighting}-{self.structure_loss}"


@dataclass(frozen=True)
class Job:
    """A run as a worker process gets it; `folder` is its own."""

    run: Run
    params: Params
    source: Path
    folder: Path


def runs_of(params: Params) -> list[Run]:
    """Every combination, seed by seed."""
    combinations = product(params.seeds, WARPS_MM, PIXEL_WEIGHTINGS, STRUCTURE_LOSSES)
    return [Run(*combination) for combination in combinations]


def carry_out(job: Job) -> dict[str, list[Row]]:
    """The run's rows, `validation` and `detection`; found in its folder, or trained and judged.

    Leaves result.json there, and where something was warped example.npy: MR, CT and target in [-1, 1], P_pix
    and |target - G(x)| in HU, (5, H, W).
    """
    if not (job.folder / RESULT).is_file():
        # the sums of a step depend on the number of threads, and a result must not on that of the workers
        os.environ["MRCT_THREADS"] = "1"
        data = open_normalized(job.source)
        targets = misalign(data, job.run.seed, job.run.warp_mm)
        method = _trained(job, targets.data)
        with deterministic(job.run.seed):
            _judge(job, method, data, targets)
    (job.folder / CHECKPOINT).unlink(missing_ok=True)
    result: dict[str, list[Row]] = read_json(job.folder / RESULT)
    return result


def _trained(job: Job, data: NormalizedData) -> ScCycleGan:
    """The networks after the last epoch, whatever validation says; a moving average in its generator's place."""
    run = job.run
    losses = {"pixel_weighting": run.pixel_weighting, "structure_loss": run.structure_loss}
    params = job.params.method.model_copy(update=losses)
    settings = job.params.settings.model_copy(update={"seed": run.seed})

    def name_the_line(_: Epoch) -> None:  # which the loop prints behind it
        print(run.name, end=", ", file=sys.stderr, flush=True)

    examples = SlicePairs(data, settings.augmentation)
    fit(lambda: ScCycleGan(params), examples, settings, job.folder, name_the_line)
    state, _ = checkpoint.load(job.folder / CHECKPOINT)
    method = ScCycleGan(params)
    method.load_state_dict(checkpoint.under(state, "networks/") | checkpoint.under(state, "average/"))
    return method


def _judge(job: Job, method: ScCycleGan, original: NormalizedData, targets: Misaligned) -> None:
    """Writes the example and then the result, with which the run is complete."""
    settings, (low_hu, high_hu) = job.params.settings, original.manifest["hu_window"]
    device = choose_device(settings.device)
    judge = Judge(method.to(device), device, (low_hu, high_hu))
    result: dict[str, list[Row]] = {"validation": validation_rows(judge, original), "detection": []}
    if method.params.critics:
        scores = {name: judge.scores(targets.data.patients[name]) for name in training_patients(original)}
        # where nothing was warped, the same pixels tell what their anatomy alone does to the scores
        known = [job.run.warp_mm] if job.run.warp_mm else [warp_mm for warp_mm in WARPS_MM if warp_mm]
        for warp_mm in known:
            truth = misalign(original, job.run.seed, warp_mm)
            rows = detection_rows(judge, scores, original, truth)
            result["detection"] += [{"label_warp_mm": warp_mm, **row} for row in rows]
        if targets.displacement_mm:
            save_array(job.folder / EXAMPLE, _example(scores, original, targets))
    write_json(job.folder / RESULT, result)


def _example(scores: dict[str, Scores], original: NormalizedData, targets: Misaligned) -> np.ndarray:
    """(5, H, W): the middle paired slice of the first warped patient."""
    name = min(targets.displacement_mm)
    patient = original.patients[name]
    place = int(patient.valid.sum()) // 2
    k = np.flatnonzero(patient.valid)[place]
    weight, residual_hu = 1 - scores[name]["distrust"][place], scores[name]["residual_hu"][place]
    return np.stack([patient.mr[k], patient.ct[k], targets.data.patients[name].ct[k], weight, residual_hu])
