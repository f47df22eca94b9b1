"""Training loop: deterministic, resumable after a kill, with the best weights chosen by validation.

Every random draw of an epoch depends on (seed, epoch) alone. With the checkpoint of the last epoch, a resumed run ends
with the same weights as an uninterrupted one.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from mrct.core.errors import DataError
from mrct.core.parallel import core_count
from mrct.terminal import progress
from mrct.training import checkpoint, distributed
from mrct.training.examples import Examples
from mrct.training.method import TrainedMethod
from mrct.training.settings import Settings
from mrct.training.step import Average, ImagePool, Training, train_epoch
from mrct.training.validation import UNITS

CHECKPOINT = "checkpoint.safetensors"


@dataclass
class Progress:
    """State of a training: rows of history.csv, and per direction the best validation error, its epoch and weights.

    `last_weights` are those of the whole method at the end.
    """

    history: list[dict[str, float]] = field(default_factory=list)
    best_value: dict[str, float] = field(default_factory=dict)
    best_epoch: dict[str, int] = field(default_factory=dict)
    best_weights: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    last_weights: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Epoch:
    """Finished epoch: its row of history.csv, the networks as validated, the speed of training."""

    row: dict[str, float]
    networks: dict[str, nn.Module]
    images_per_second: float


def choose_device(name: str) -> torch.device:
    """Choose the device: `auto` is CUDA if available, one card per process; `cuda` without a card raises DataError."""
    if name == "cuda" and not torch.cuda.is_available():
        raise DataError("device: got cuda, but torch finds none; set device: cpu or auto")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    return torch.device("cuda", torch.cuda.current_device())


@contextmanager
def torch_threads() -> Iterator[None]:
    """Let torch use MRCT_THREADS threads, or one per core that this process may use.

    By default torch does not count the quota of a container. The processes of one torchrun share the cores.
    """
    before = torch.get_num_threads()
    cores = core_count() // int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    torch.set_num_threads(int(os.environ.get("MRCT_THREADS", 0)) or max(cores, 1))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Seed torch, and use deterministic kernels and the threads of `torch_threads`."""
    enabled = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    debugging: Any = torch.utils.deterministic
    fill, debugging.fill_uninitialized_memory = debugging.fill_uninitialized_memory, False  # 3 % of a step
    torch.manual_seed(seed)
    try:
        with torch_threads():
            yield
    finally:
        torch.use_deterministic_algorithms(enabled)
        debugging.fill_uninitialized_memory = fill


def fit(
    build: Callable[[], TrainedMethod[Any]],
    examples: Examples,
    settings: Settings,
    work: Path,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    epochs_before: int = 0,
    labels: Mapping[str, float] = MappingProxyType({}),
) -> Progress:
    """Train a method on the examples, from the checkpoint in `work` if there is one.

    Each direction keeps the weights of the epoch with its lowest validation error. With several processes
    (`distributed.joined`) the first one writes and calls `on_epoch`; all return the same.

    Args:
        build: Makes the untrained method.
        examples: What the method is trained and validated on.
        settings: The parameters of the loop.
        work: Folder of this run alone: the caller names it by parameters, data and code.
        on_epoch: Called after each epoch.
        epochs_before: Number of epochs of earlier phases; the count of epochs continues from there.
        labels: Further columns of the history.

    Returns:
        The history and the weights.

    Raises:
        NotFiniteLossError: A loss is NaN or infinite.
    """
    with deterministic(settings.seed):
        training = _start(build, settings)
        done = _resume(work / CHECKPOINT, training)
        distributed.wait()  # no process may replace the checkpoint that another still reads
        rates = [
            group["lr"] for optimizer in training.optimizers.values() for group in optimizer.param_groups
        ]
        n_images = len(examples.items(epochs_before))
        with progress() as bar:
            task = bar.add_task(
                "train", total=settings.epochs * n_images, completed=len(done.history) * n_images
            )
            for place in range(len(done.history), settings.epochs):
                _set_rates(training.optimizers, rates, decay(place, settings))
                epoch, started = epochs_before + place, perf_counter()
                terms = train_epoch(training, examples, epoch, lambda n: bar.advance(task, n))
                seconds = perf_counter() - started
                errors = examples.validation(training.networks, epoch, training.device)
                row = {"epoch": epoch + 1, **labels, **terms, **errors}
                _keep_best(done, training.networks, row)
                done.history.append(row)
                if distributed.rank() == 0:
                    _save(work / CHECKPOINT, training, done)
                    on_epoch(Epoch(row, training.networks, n_images / seconds))
                    bar.console.print(_headline(row, epochs_before + settings.epochs), highlight=False)
        done.last_weights = _copied(training.method)
    return done


def decay(epoch: int, settings: Settings) -> float:
    """Return the factor of the learning rate: `linear` is 1 in the first half, then falls to 0 (CycleGAN); else 1."""
    half = settings.epochs // 2
    if settings.lr_decay == "constant" or epoch < half:
        return 1.0
    return 1.0 - (epoch - half) / (settings.epochs - half + 1)


def _start(build: Callable[[], TrainedMethod[Any]], settings: Settings) -> Training:
    device = choose_device(settings.device)
    method = build().to(device)
    average = Average(method.generators(), settings.ema_decay) if settings.ema_decay else None
    if settings.compile:
        for network in method.children():
            network.compile()
    return Training(method, method.optimizers(), settings, device, average)


def _headline(row: dict[str, float], epochs: int) -> str:
    """Format one line per epoch for logs, in which there is no progress bar."""
    errors = [
        f"{name} {row[f'validation_{name}']:.1f} {unit}"
        for name, unit in UNITS.items()
        if f"validation_{name}" in row
    ]
    return f"epoch {row['epoch']:.0f}/{epochs}: validation MAE " + (", ".join(errors) or "not taken")


def _set_rates(optimizers: dict[str, torch.optim.Optimizer], rates: list[float], factor: float) -> None:
    groups = [group for optimizer in optimizers.values() for group in optimizer.param_groups]
    for group, rate in zip(groups, rates, strict=True):
        group["lr"] = rate * factor


def _keep_best(done: Progress, networks: dict[str, nn.Module], row: dict[str, float]) -> None:
    for direction, network in networks.items():
        value = row.get(f"validation_{direction}")
        if value is None:
            continue
        if direction not in done.best_value or value < done.best_value[direction]:
            done.best_value[direction], done.best_epoch[direction] = value, int(row["epoch"])
            done.best_weights[direction] = _copied(network)


def _copied(network: nn.Module) -> dict[str, Tensor]:
    return {name: weight.detach().cpu().clone() for name, weight in network.state_dict().items()}


def _stateful(training: Training) -> dict[str, nn.Module]:
    networks = {"networks": training.method}
    return networks | ({"average": training.average.networks} if training.average else {})


def _save(path: Path, training: Training, done: Progress) -> None:
    state = checkpoint.training_state(_stateful(training), training.optimizers)
    for direction, weights in done.best_weights.items():
        state |= {f"best/{direction}/{name}": value for name, value in weights.items()}
    state |= {
        f"pool/{name}": torch.stack(pool.images) for name, pool in training.pools.items() if pool.images
    }
    meta: dict[str, Any] = {"history": done.history, "best_value": done.best_value}
    meta |= {"best_epoch": done.best_epoch, "averaged": training.average.updates if training.average else 0}
    checkpoint.save(path, state, meta)


def _resume(path: Path, training: Training) -> Progress:
    if not path.is_file():
        return Progress()
    state, meta = checkpoint.load(path)
    checkpoint.restore_training_state(state, _stateful(training), training.optimizers)
    if training.average:
        training.average.updates = meta["averaged"]
    for name, images in checkpoint.under(state, "pool/").items():
        training.pools[name] = ImagePool(training.settings.pool_size, images.to(training.device))
    best: dict[str, dict[str, Tensor]] = {}
    for name, value in checkpoint.under(state, "best/").items():
        direction, weight = name.split("/", 1)
        best.setdefault(direction, {})[weight] = value
    return Progress(meta["history"], meta["best_value"], meta["best_epoch"], best)
