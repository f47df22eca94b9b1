"""A method's whole training: its phases one after the other, told to MLflow, written as models/<method>.

A method's module offers `EXAMPLES` (slices | patches), `phases(params)`, `build(params, phase, before)`,
`network_config(params)` and `build_network(config)`; see CONTRIBUTING.md.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field
from torch import Tensor

from mrct.core.files import output_folder, write_json, write_table
from mrct.core.fingerprints import code_fingerprint, folder_hash, run_fingerprint
from mrct.core.params import Section
from mrct.core.resume import locked_folder
from mrct.inference.model import save_model
from mrct.methods.batch import Before, Phase, Trained
from mrct.tracking import Run, origin_tags
from mrct.training import distributed
from mrct.training.dataset import NormalizedData, open_normalized
from mrct.training.engine import Epoch, Progress, choose_device, deterministic, fit
from mrct.training.examples import Examples
from mrct.training.patches import VolumePatches, Volumes, predictions
from mrct.training.pictures import example_sheet
from mrct.training.settings import Settings
from mrct.training.slices import SlicePairs
from mrct.training.usage import Usage

OnEpoch = Callable[[Epoch], None]
#: How further images are made: patient -> volume (D, H, W) in [-1, 1] of each training patient.
MakeVolumes = Callable[[NormalizedData], dict[str, np.ndarray]]


class Watching(Section):
    """What MLflow is shown beside the curves; no result depends on it."""

    example_every: int = Field(ge=0)


@dataclass(frozen=True)
class Plan:
    """What is trained. `logged`: all that the weights depend on, named as in params.yaml."""

    method: str
    module: Any
    params: Section
    settings: Settings
    logged: dict[str, Any]
    watching: Watching
    others: Mapping[str, MakeVolumes] = field(default_factory=dict)

    @property
    def epochs(self) -> int:
        """Of all phases together."""
        return sum(self.settings_in(phase).epochs for phase in self.module.phases(self.params))

    def settings_in(self, phase: Phase) -> Settings:
        """The loop's parameters in one phase."""
        return self.settings.model_copy(update={"epochs": phase.epochs or self.settings.epochs})


def train_and_write(plan: Plan, source: Path, out: Path, work_root: Path) -> None:
    """Train, then write weights, history and model.json; errors of data and of training come through.

    A killed run goes on from its last epoch: checkpoints lie in `<work_root>/<method>-<fingerprint>-<code>/<phase>`. Of
    several processes the first alone writes. RuntimeError while another run trains the same.
    """
    plan.module.build_network(
        plan.module.network_config(plan.params)
    )  # what cannot be built is refused first
    data = open_normalized(source)
    identity = folder_hash(source)
    key = run_fingerprint(plan.method, plan.logged, identity)
    stage = "train" if plan.method == "sc_cyclegan" else "baseline"
    work = work_root / f"{plan.method}-{key}-{code_fingerprint(stage, plan.method)[:16]}"
    with distributed.joined(choose_device(plan.settings.device)):
        if distributed.rank() > 0:
            train_phases(plan, data, work, lambda epoch: None)
            return
        with locked_folder(work):
            tracked = _start_tracking(plan, data, identity, key)
            try:
                done = train_phases(plan, data, work, _reporter(tracked, plan, data))
            except BaseException:
                tracked.finish(failed=True)
                raise
            with output_folder(out) as folder:
                write_trained(folder, plan, data, done, {"fingerprint": key, "data_sha256": identity})
            tracked.finish()
            # only now: the result is in place; older code's go as well
            for left in work_root.glob(f"{plan.method}-{key}-*"):
                shutil.rmtree(left, ignore_errors=True)


def train_phases(plan: Plan, data: NormalizedData, work: Path, on_epoch: OnEpoch) -> Progress:
    """The history of all phases, epochs counted on, and the best of the last phase.

    Each phase begins with what the ones before chose. A phase that has ended is read back from its checkpoint.
    Where there are several, a column `phase` counts them from 1.
    """
    phases, before, history = plan.module.phases(plan.params), dict[str, Trained](), list[dict[str, float]]()
    for number, phase in enumerate(phases, 1):
        folder = work / phase.name
        done = fit(
            partial(plan.module.build, plan.params, phase.name, before),
            open_examples(plan, data, phase, before, folder),
            plan.settings_in(phase),
            folder,
            on_epoch,
            epochs_before=len(history),
            labels={"phase": number} if len(phases) > 1 else {},
        )
        before[phase.name] = Trained(done.best_weights, done.last_weights)
        history += done.history
    return replace(done, history=history)


def open_examples(plan: Plan, data: NormalizedData, phase: Phase, before: Before, work: Path) -> Examples:
    """What the phase trains on; `work` is the phase's folder."""
    settings = plan.settings_in(phase)
    if plan.module.EXAMPLES == "patches":
        context = {name: _predictions(plan, data, phase, before, work / name) for name in phase.others}
        params: Any = plan.params
        return VolumePatches(data, settings.augmentation, params, settings.epochs, context)
    others = {name: plan.others[name](data) for name in phase.others}
    return SlicePairs(data, settings.augmentation, others)


def _predictions(plan: Plan, data: NormalizedData, phase: Phase, before: Before, folder: Path) -> Volumes:
    """What the phases before make of the training and validation patients, for a phase that goes on from there."""
    with deterministic(plan.settings.seed):
        network = plan.module.network_before(plan.params, phase.name, before)
        return predictions(network, data, folder, choose_device(plan.settings.device))


def write_model(
    folder: Path,
    method: str,
    made: Mapping[str, tuple[Mapping[str, Tensor], dict[str, Any]]],
    data: NormalizedData,
    facts: dict[str, Any],
) -> None:
    """<direction>.safetensors from weights and configuration of each direction; model.json with the facts."""
    for direction, (weights, config) in made.items():
        file = folder / f"{direction}.safetensors"
        save_model(file, method, direction, dict(weights), config, data.normalization)
    described = {"method": method, "normalization": data.normalization, "n_pairs": data.pair_counts}
    write_json(folder / "model.json", described | facts)


def write_trained(
    folder: Path, plan: Plan, data: NormalizedData, done: Progress, facts: dict[str, Any]
) -> None:
    """The best weights with their configuration; history.csv; model.json."""
    config = plan.module.network_config(plan.params)
    size = sum(weight.numel() for weight in plan.module.build_network(config).parameters())
    facts |= {"best_epoch": done.best_epoch, "best_validation": done.best_value, "params": plan.logged}
    facts |= {"n_parameters": dict.fromkeys(done.best_weights, size)}
    made = {direction: (weights, config) for direction, weights in done.best_weights.items()}
    write_model(folder, plan.method, made, data, facts)
    write_table(folder / "history.csv", pd.DataFrame(done.history))


def _start_tracking(plan: Plan, data: NormalizedData, identity: str, key: str) -> Run:
    tracked = Run(key, plan.method)
    tracked.params(plan.logged | data.normalization)
    tracked.tags({"method": plan.method, "data.sha256": identity} | origin_tags())
    return tracked


def _reporter(tracked: Run, plan: Plan, data: NormalizedData) -> OnEpoch:
    """Logs each epoch once: its losses and validation errors, speed, use of the machine, and pictures."""
    known, usage = tracked.logged_steps("epoch"), Usage()
    every = plan.watching.example_every if plan.module.EXAMPLES == "slices" else 0  # a volume takes too long

    def report(epoch: Epoch) -> None:
        step = int(epoch.row["epoch"])
        if step in known:  # an equal run before this one has logged it
            return
        tracked.metrics(epoch.row | {"images_per_second": epoch.images_per_second} | usage.read(), step)
        if every and (step % every == 0 or step in (1, plan.epochs)):
            device = choose_device(plan.settings.device)
            tracked.image("examples", example_sheet(epoch.networks, data, device), step)

    return report
