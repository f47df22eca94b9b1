"""The training loop: deterministic, resumable after a kill, best weights by validation.

Every random draw of an epoch comes from (seed, epoch) alone, so a checkpoint at the end of each epoch is all
that a resumed run needs to end with the same weights as an uninterrupted one.
"""

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from mrct.parallel import progress
from mrct.params import Section
from mrct.training import checkpoint
from mrct.training.dataset import Augmentation, NormalizedData, augment, epoch_batches
from mrct.training.validation import UNITS, validation_metrics

CHECKPOINT = "checkpoint.safetensors"


class Settings(Section):
    """What every trained method shares."""

    epochs: int
    batch_size: int
    lr_decay: Literal["linear", "constant"]
    augmentation: Augmentation
    seed: int
    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["fp32", "bf16"]


class Method(Protocol):
    """What a method offers to the loop; see mrct/methods/sc_cyclegan.py."""

    def optimizers(self) -> dict[str, torch.optim.Optimizer]: ...
    def generators(self) -> dict[str, nn.Module]: ...
    def train_step(
        self,
        mr: Tensor,
        ct: Tensor,
        optimizers: dict[str, torch.optim.Optimizer],
        rng: torch.Generator,
        epoch: int,
    ) -> dict[str, Tensor]: ...


class NotFiniteLossError(RuntimeError):
    """A loss became NaN or infinite; the last checkpoint is from before."""


@dataclass
class Progress:
    """Rows of history.csv, and per direction the best validation value, its epoch and its weights."""

    history: list[dict[str, float]] = field(default_factory=list)
    best_value: dict[str, float] = field(default_factory=dict)
    best_epoch: dict[str, int] = field(default_factory=dict)
    best_weights: dict[str, dict[str, Tensor]] = field(default_factory=dict)


def choose_device(name: str) -> torch.device:
    """`auto` takes CUDA where it is; an explicit `cuda` without one is an error."""
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device: got cuda, but torch finds none; set device: cpu or auto")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Seeded torch with deterministic kernels and a fixed number of threads (MRCT_THREADS, else all cores)."""
    threads, enabled = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(int(os.environ.get("MRCT_THREADS", 0)) or os.cpu_count() or 1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(enabled)


def fit(
    build: Callable[[], nn.Module],
    data: NormalizedData,
    settings: Settings,
    work: Path,
    on_epoch: Callable[[dict[str, float]], None] = lambda row: None,
) -> Progress:
    """Train `build()` on the training pairs; resume from `work` where a checkpoint lies.

    `work` belongs to this run alone (the caller keys it by parameters and inputs). Each direction keeps the
    weights of the epoch with its lowest validation error. Errors: NotFiniteLossError; no training or validation
    pair.
    """
    pairs = data.split_pairs("train")
    for split in ("train", "validation"):
        if not data.split_pairs(split):
            raise ValueError(
                f"train: no {split} pair in data/normalized; add patients or change pair.*_fraction"
            )
    device = choose_device(settings.device)
    with deterministic(settings.seed):
        method: Any = build().to(device)
        optimizers = method.optimizers()
        done = _resume(work / CHECKPOINT, method, optimizers)
        rates = [group["lr"] for optimizer in optimizers.values() for group in optimizer.param_groups]
        with progress() as bar:
            task = bar.add_task(
                "train", total=settings.epochs * len(pairs), completed=len(done.history) * len(pairs)
            )
            for epoch in range(len(done.history), settings.epochs):
                _set_rates(optimizers, rates, _decay(epoch, settings))
                row = _train_epoch(
                    method,
                    data,
                    pairs,
                    optimizers,
                    settings,
                    epoch,
                    device,
                    lambda count: bar.advance(task, count),
                )
                row |= validation_metrics(method.generators(), data, settings.batch_size, device)
                _keep_best(done, method, row, epoch)
                done.history.append(row)
                _save(work / CHECKPOINT, method, optimizers, done)
                on_epoch(row)
                bar.console.print(_headline(row, settings.epochs), highlight=False)
    return done


def _headline(row: dict[str, float], epochs: int) -> str:
    """One line an epoch: what a log shows where the progress bar is silent."""
    errors = [
        f"{name} {row[f'validation_{name}']:.1f} {unit}"
        for name, unit in UNITS.items()
        if f"validation_{name}" in row
    ]
    return f"epoch {row['epoch']:.0f}/{epochs}: validation MAE " + ", ".join(errors)


def _train_epoch(
    method: Any,
    data: NormalizedData,
    pairs: list[tuple[str, int]],
    optimizers: dict[str, torch.optim.Optimizer],
    settings: Settings,
    epoch: int,
    device: torch.device,
    advance: Callable[[int], None],
) -> dict[str, float]:
    """One pass over the pairs; the mean of each loss term."""
    rng = torch.Generator().manual_seed(settings.seed * 1_000_003 + epoch)
    sums: dict[str, Tensor] = {}
    method.train()
    spacing_mm = float(data.manifest["pixel_spacing_mm"])
    for step, batch in enumerate(epoch_batches(pairs, settings.batch_size, settings.seed, epoch)):
        mr, ct = augment(*data.slices(batch), settings.augmentation, spacing_mm, rng)
        images = [x.to(device).contiguous(memory_format=torch.channels_last) for x in (mr, ct)]
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
            terms = method.train_step(*images, optimizers, rng, epoch)
        _require_finite(terms, epoch, step, batch)
        for name, term in terms.items():
            sums[name] = sums.get(name, torch.zeros((), device=device)) + term * len(batch)
        advance(len(batch))
    return {"epoch": epoch + 1, **{name: float(total) / len(pairs) for name, total in sums.items()}}


def _require_finite(terms: dict[str, Tensor], epoch: int, step: int, batch: list[tuple[str, int]]) -> None:
    values = torch.stack(list(terms.values()))
    if not torch.isfinite(values).all():
        listed = ", ".join(f"{name} {float(term):g}" for name, term in terms.items())
        raise NotFiniteLossError(
            f"train: loss not finite in epoch {epoch + 1}, step {step + 1}: {listed}; slices {batch}; "
            "the last good epoch is kept; lower learning_rate or use precision: fp32, then run again"
        )


def _decay(epoch: int, settings: Settings) -> float:
    """1 in the first half; then linear to zero, as CycleGAN. `constant`: always 1, as the paper."""
    half = settings.epochs // 2
    if settings.lr_decay == "constant" or epoch < half:
        return 1.0
    return 1.0 - (epoch - half) / (settings.epochs - half + 1)


def _set_rates(optimizers: dict[str, torch.optim.Optimizer], rates: list[float], factor: float) -> None:
    groups = [group for optimizer in optimizers.values() for group in optimizer.param_groups]
    for group, rate in zip(groups, rates, strict=True):
        group["lr"] = rate * factor


def _keep_best(done: Progress, method: Any, row: dict[str, float], epoch: int) -> None:
    for direction, network in method.generators().items():
        value = row[f"validation_{direction}"]
        if not value >= done.best_value.get(direction, math.inf):
            done.best_value[direction], done.best_epoch[direction] = value, epoch + 1
            done.best_weights[direction] = {
                name: weight.detach().cpu().clone() for name, weight in network.state_dict().items()
            }


def _save(path: Path, method: Any, optimizers: dict[str, torch.optim.Optimizer], done: Progress) -> None:
    meta = {"history": done.history, "best_value": done.best_value, "best_epoch": done.best_epoch}
    checkpoint.save(path, checkpoint.training_state(method, optimizers, done.best_weights), meta)


def _resume(path: Path, method: Any, optimizers: dict[str, torch.optim.Optimizer]) -> Progress:
    if not path.is_file():
        return Progress()
    state, meta = checkpoint.load(path)
    best = checkpoint.restore_training_state(state, method, optimizers)
    return Progress(meta["history"], meta["best_value"], meta["best_epoch"], best)
