"""Whole training of a method: its phases in order, logged to MLflow and written as models/<method>."""

import resource
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mrct.core.contracts import HISTORY
from mrct.core.errors import DataError
from mrct.core.files import output_folder, write_json
from mrct.core.fingerprints import code_fingerprint, folder_hash, run_fingerprint
from mrct.core.resume import locked_folder
from mrct.tracking import Run, attempt, origin_tags
from mrct.training import distributed
from mrct.training.configuration import Configuration
from mrct.training.dataset import NormalizedData, open_normalized
from mrct.training.engine import Epoch, Progress, choose_device, deterministic, fit
from mrct.training.examples import FURTHER_IMAGES, Examples, SlicePairs
from mrct.training.method import Before, Fitted, FittedMethod, Phase, Trained, TrainedMethod, Weights
from mrct.training.model_file import save_model
from mrct.training.patches import PatchParams, VolumePatches, Volumes, predictions
from mrct.training.pictures import example_sheet
from mrct.training.settings import Settings

OnEpoch = Callable[[Epoch], None]


def train(
    configuration: Configuration, source: Path, out: Path, work_root: Path, example_every: int = 0
) -> None:
    """Train or fit a method and write its models.

    A training that was killed continues from its last epoch. Checkpoints lie in
    `<work_root>/<method>-<fingerprint>-<code>/<phase>`, so that a training with other parameters, data or code never
    uses them. With several processes only the first one writes.

    Args:
        configuration: The method and its parameters.
        source: data/normalized.
        out: Folder for weights, history and model.json.
        work_root: Folder for checkpoints, which DVC does not track.
        example_every: Epochs between the pictures of validation slices in MLflow; 0 for none.

    Raises:
        DataError: The data cannot be used, or the loss is not finite.
        RunError: Another run is training the same.
    """
    data = open_normalized(source)
    facts = _facts(configuration, folder_hash(source))
    if issubclass(configuration.method, FittedMethod):
        with output_folder(out) as folder:
            _write_fitted(folder, configuration, data, facts)
        return
    plan = TrainingPlan(configuration)
    plan.method.build_network(plan.method.network_config(plan.params))  # refuse early what cannot be built
    work = work_root / f"{plan.name}-{facts['fingerprint']}-{code_fingerprint('train', plan.name)[:16]}"
    with distributed.joined(choose_device(plan.settings.device)):
        if distributed.rank() > 0:
            train_phases(plan, data, work, lambda epoch: None)
            return
        with locked_folder(work):
            log = _Log(plan, data, facts, example_every)
            try:
                done = train_phases(plan, data, work, log.report)
            except BaseException:
                log.finish(failed=True)
                raise
            with output_folder(out) as folder:
                write_trained(folder, plan, data, done, facts)
            log.finish()
            # only now that the result is in place; this also removes what older code has left
            for left in work_root.glob(f"{plan.name}-{facts['fingerprint']}-*"):
                shutil.rmtree(left, ignore_errors=True)


class TrainingPlan:
    """Configuration of a method that is trained by gradient descent."""

    def __init__(self, configuration: Configuration) -> None:
        if not issubclass(configuration.method, TrainedMethod) or configuration.settings is None:
            raise DataError(f"{configuration.name}: expected a method that is trained by gradient descent")
        self.name = configuration.name
        self.method: type[TrainedMethod[Any]] = configuration.method
        self.params: Any = configuration.params
        self.settings: Settings = configuration.settings

    @property
    def on_cubes(self) -> bool:
        """Return whether the method is trained on cubes of volumes, as its PatchParams say."""
        return isinstance(self.params, PatchParams)

    @property
    def epochs(self) -> int:
        """Return the number of epochs of all phases together."""
        return sum(self.settings_in(phase).epochs for phase in self.method.phases(self.params))

    def settings_in(self, phase: Phase) -> Settings:
        """Return the parameters of the loop in one phase."""
        return self.settings.model_copy(update={"epochs": phase.epochs or self.settings.epochs})


def train_phases(plan: TrainingPlan, data: NormalizedData, work: Path, on_epoch: OnEpoch) -> Progress:
    """Train the phases in order; return the history of all phases and the best weights of the last one.

    Each phase starts from the results of the previous ones. A phase that has ended is read from its checkpoint. If
    there are several phases, the history has a column `phase` that counts from 1.
    """
    phases, before, history = plan.method.phases(plan.params), dict[str, Trained](), list[dict[str, float]]()
    for number, phase in enumerate(phases, 1):
        folder = work / phase.name
        done = fit(
            partial(plan.method.build, plan.params, phase.name, before),
            _open_examples(plan, data, phase, before, folder),
            plan.settings_in(phase),
            folder,
            on_epoch,
            epochs_before=len(history),
            labels={"phase": number} if len(phases) > 1 else {},
        )
        before[phase.name] = Trained(done.best_weights, done.last_weights)
        history += done.history
    return replace(done, history=history)


def _open_examples(
    plan: TrainingPlan, data: NormalizedData, phase: Phase, before: Before, work: Path
) -> Examples:
    """Open the images on which the phase trains; `work` is the folder of the phase."""
    settings = plan.settings_in(phase)
    if plan.on_cubes:
        context = {name: _predictions(plan, data, phase, before, work / name) for name in phase.others}
        return VolumePatches(data, settings.augmentation, plan.params, settings.epochs, context)
    others = {name: FURTHER_IMAGES[name](data) for name in phase.others}
    return SlicePairs(data, settings.augmentation, others)


def _predictions(
    plan: TrainingPlan, data: NormalizedData, phase: Phase, before: Before, folder: Path
) -> Volumes:
    """Return the predictions of the previous phases for the training and validation patients."""
    with deterministic(plan.settings.seed):
        network = plan.method.network_before(plan.params, phase.name, before)
        return predictions(network, data, folder, choose_device(plan.settings.device))


def _facts(configuration: Configuration, data_sha256: str) -> dict[str, Any]:
    """Return what identifies a training: its parameters, the hash of its data, and the fingerprint of both."""
    provenance = configuration.provenance
    fingerprint = run_fingerprint(configuration.name, provenance, data_sha256)
    return {"fingerprint": fingerprint, "data_sha256": data_sha256, "params": provenance}


def _write_fitted(
    folder: Path, configuration: Configuration, data: NormalizedData, facts: dict[str, Any]
) -> None:
    method: type[FittedMethod[Any]] = configuration.method  # type: ignore[assignment]  # the caller has checked
    pairs = ((data.patients[patient], k) for patient, k in data.split_pairs("train"))
    slices = ((patient.mr[k], patient.ct[k], patient.mask[k]) for patient, k in pairs)
    fitted: Mapping[Any, Fitted] = method.fit(slices, configuration.params)
    made = {direction: (one.network.state_dict(), one.config) for direction, one in fitted.items()}
    _write_model(folder, configuration.name, made, data, facts)


def write_trained(
    folder: Path, plan: TrainingPlan, data: NormalizedData, done: Progress, facts: dict[str, Any]
) -> None:
    """Write the best weights with their configuration, history.csv and model.json."""
    config = plan.method.network_config(plan.params)
    size = sum(weight.numel() for weight in plan.method.build_network(config).parameters())
    facts = facts | {"best_epoch": done.best_epoch, "best_validation": done.best_value}
    facts |= {"n_parameters": dict.fromkeys(done.best_weights, size)}
    made = {direction: (weights, config) for direction, weights in done.best_weights.items()}
    _write_model(folder, plan.name, made, data, facts)
    HISTORY.write(folder, done.history)


def _write_model(
    folder: Path,
    method: str,
    made: Mapping[Any, tuple[Weights, dict[str, Any]]],
    data: NormalizedData,
    facts: dict[str, Any],
) -> None:
    """Write <direction>.safetensors from the weights and configuration of each direction, and model.json."""
    normalization, domain = data.normalization.to_json(), data.domain.to_json()
    for direction, (weights, config) in made.items():
        file = folder / f"{direction}.safetensors"
        save_model(file, method, direction, dict(weights), config, normalization, domain)
    described = {"method": method, "normalization": normalization, "domain": domain}
    described |= {"n_pairs": data.pair_counts}
    write_json(folder / "model.json", described | facts)


class _Log:
    """MLflow run of a training in progress.

    The first failure of MLflow ends the log and never the training; `evaluate` and `mrct track` add what is missing.
    """

    def __init__(
        self, plan: TrainingPlan, data: NormalizedData, facts: dict[str, Any], example_every: int
    ) -> None:
        self._plan, self._data, self._usage = plan, data, Usage()
        # a whole volume would take too long
        self._every = example_every if not plan.on_cubes else 0
        self._works = attempt(partial(self._start, facts))

    def _start(self, facts: dict[str, Any]) -> None:
        self._run = Run(facts["fingerprint"], self._plan.name)
        self._run.params(facts["params"] | self._data.normalization.to_json())
        self._run.tags({"method": self._plan.name, "data.sha256": facts["data_sha256"]} | origin_tags())
        self._known = self._run.logged_steps("epoch")

    def report(self, epoch: Epoch) -> None:
        """Log an epoch once: losses, validation errors, speed, machine use and pictures."""
        # an equal run before this one may have logged it
        if self._works and int(epoch.row["epoch"]) not in self._known:
            self._works = attempt(partial(self._report, epoch))

    def _report(self, epoch: Epoch) -> None:
        step = int(epoch.row["epoch"])
        speed = {"images_per_second": epoch.images_per_second}
        self._run.metrics(epoch.row | speed | self._usage.read(), step)
        if self._every and (step % self._every == 0 or step in (1, self._plan.epochs)):
            sheet = example_sheet(epoch.networks, self._data, choose_device(self._plan.settings.device))
            self._run.image("examples", sheet, step)

    def finish(self, failed: bool = False) -> None:
        """Mark the run as finished or failed."""
        if self._works:
            attempt(partial(self._run.finish, failed))


class Usage:
    """Use of the machine since the last reading; MLflow shows `system/` on a page of its own."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        """Return processor use (100 is one core) and the most memory held so far in GB."""
        wall, cpu = time.perf_counter(), time.process_time()
        largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        figures = {
            "system/cpu_percent": 100 * (cpu - self.cpu) / max(wall - self.wall, 1e-9),
            "system/memory_gb": largest * (1 if sys.platform == "darwin" else 1024) / 1e9,
        }
        if torch.cuda.is_available():
            figures["system/gpu_memory_gb"] = torch.cuda.max_memory_allocated() / 1e9
        self.wall, self.cpu = wall, cpu
        return figures
