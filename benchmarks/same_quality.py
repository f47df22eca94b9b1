"""Compare validation error per step and per second: this program and a step as CycleGAN's authors write it.

    python benchmarks/same_quality.py [--data data/normalized] [--epochs N] [--seed N] [--compile] [--bf16] --out FOLDER

Both start with the same weights and see the same batches, augmented alike, in the same order. The parameters, including
the moving average, are those of params.yaml. The two train in one process and alternate after each epoch, so that the
load of the machine affects both alike; they take turns in going first. Times are seconds of training, with compilation
and without validation.
"""

import argparse
import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import pandas as pd
import torch
from authors_step import WRITTEN_FOR, AuthorsStep, literal, require
from matplotlib.figure import Figure
from torch import nn

from mrct.core.params import load
from mrct.methods.sc_cyclegan import ScCycleGan, ScCycleGanParams
from mrct.training.dataset import NormalizedData, epoch_batches, open_normalized
from mrct.training.engine import choose_device, decay, deterministic
from mrct.training.examples import Item, SlicePairs
from mrct.training.settings import Settings
from mrct.training.step import Average, Training, train_epoch
from mrct.training.validation import UNITS, validation_metrics

AUTHORS = "as the authors"


@dataclass
class System:
    """A trained system: a function that trains one epoch (number -> mean loss terms), and the seconds so far."""

    name: str
    epoch: Callable[[int], dict[str, float]]
    optimizers: list[torch.optim.Optimizer]
    generators: dict[str, nn.Module]
    seconds: float = 0.0


def ours(method: ScCycleGan, data: NormalizedData, settings: Settings, device: torch.device) -> System:
    """Make the system that trains an epoch as mrct.training.engine.fit does."""
    if settings.compile:
        for network in method.children():
            network.compile()
    average = Average(method.generators(), settings.ema_decay) if settings.ema_decay else None
    training = Training(method, method.optimizers(), settings, device, average)
    examples = SlicePairs(data, settings.augmentation)

    def epoch(number: int) -> dict[str, float]:
        with deterministic(settings.seed):
            return train_epoch(training, examples, number, lambda n_images: None)

    name = "ours" + ", compiled" * settings.compile + ", bf16" * (settings.precision == "bf16")
    return System(name, epoch, list(training.optimizers.values()), training.networks)


def authors(method: ScCycleGan, data: NormalizedData, settings: Settings, device: torch.device) -> System:
    """Make the system that trains the same epoch with the baseline's step, without deterministic kernels."""
    step = AuthorsStep(method, settings.pool_size)
    average = Average(method.generators(), settings.ema_decay) if settings.ema_decay else None
    examples, pairs = SlicePairs(data, settings.augmentation), data.split_pairs("train")

    def train_batch(items: list[Item], rng: torch.Generator) -> dict[str, torch.Tensor]:
        batch = examples.load(items, examples.draw(len(items), rng), device)
        terms = step(batch.mr, batch.ct, rng)
        if average:
            average.update()
        return terms

    def epoch(number: int) -> dict[str, float]:
        rng = torch.Generator().manual_seed(settings.seed * 1_000_003 + number)  # as in train_epoch
        method.train()
        sums: dict[str, Any] = {}
        for batch in epoch_batches(pairs, settings.batch_size, settings.seed, number):
            for name, term in train_batch(batch, rng).items():
                sums[name] = sums.get(name, 0) + term * len(batch)
        return {name: float(total) / len(pairs) for name, total in sums.items()}

    validated: dict[str, nn.Module] = dict(average.networks.items()) if average else method.generators()
    return System(AUTHORS, epoch, [step.for_generators, step.for_discriminators], validated)


def train_in_turns(
    systems: list[System], data: NormalizedData, settings: Settings, rate: float, device: torch.device
) -> pd.DataFrame:
    """Return one row per system and epoch: steps, seconds, loss terms, validation errors."""
    rows = []
    n_steps = len(epoch_batches(data.split_pairs("train"), settings.batch_size, settings.seed, 0))
    for number in range(settings.epochs):
        for system in systems if number % 2 == 0 else reversed(systems):
            for group in (group for optimizer in system.optimizers for group in optimizer.param_groups):
                group["lr"] = rate * decay(number, settings)
            started = perf_counter()
            terms = system.epoch(number)  # returns numbers, so that the GPU has finished
            system.seconds += perf_counter() - started
            errors = validation_metrics(system.generators, data, device)
            known = {"system": system.name, "epoch": number + 1, "steps": (number + 1) * n_steps}
            rows.append({**known, "seconds": system.seconds, **errors, **terms})
            print(_line(rows[-1]), flush=True)
    return pd.DataFrame(rows)


def _line(row: dict[str, Any]) -> str:
    errors = ", ".join(f"{way} {row[f'validation_{way}']:7.2f} {unit}" for way, unit in UNITS.items())
    return (
        f"{row['system']:22} epoch {row['epoch']:3}, step {row['steps']:6}, {row['seconds']:8.1f} s: {errors}"
    )


def draw_curves(table: pd.DataFrame, file: Path) -> None:
    """Plot the validation error of both directions against steps and against seconds."""
    figure = Figure(figsize=(10, 7), layout="constrained")
    axes = figure.subplots(len(UNITS), 2, sharey="row")
    for row, (way, unit) in zip(axes, UNITS.items(), strict=True):
        for axis, along in zip(row, ("steps", "seconds"), strict=True):
            for name, curve in table.groupby("system", sort=False):
                axis.plot(curve[along], curve[f"validation_{way}"], label=name)
            axis.set(xlabel=f"{along} of training", ylabel=f"{way}: validation MAE, {unit}")
            axis.grid(alpha=0.3)
    axes[0, 0].legend()
    figure.savefig(file, dpi=120)


def print_summary(table: pd.DataFrame) -> None:
    """Print the lowest errors and the median time per epoch, which excludes compilation."""
    seconds = table.groupby("system", sort=False)["seconds"].apply(lambda total: total.diff().median())
    print(f"\n{'':22} {'s/epoch, median':>18} {'ratio':>6}   lowest validation MAE")
    for name, curve in table.groupby("system", sort=False):
        lowest = ", ".join(
            f"{way} {curve[f'validation_{way}'].min():.2f} {unit}" for way, unit in UNITS.items()
        )
        print(f"{name:22} {seconds[name]:18.2f} {seconds[AUTHORS] / seconds[name]:6.2f}   {lowest}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/normalized"))
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    asked = {"epochs": options.epochs, "seed": options.seed}
    asked |= {"compile": options.compile, "precision": "bf16" if options.bf16 else "fp32"}
    params, settings = load(ScCycleGanParams), load(Settings)
    settings = Settings(**settings.model_dump() | {k: v for k, v in asked.items() if v is not None})
    require(
        params.model_dump() | settings.model_dump(), WRITTEN_FOR | {"accumulate": 1, "max_gradient_norm": 0.0}
    )
    data, device = open_normalized(options.data), choose_device(settings.device)
    torch.backends.cudnn.benchmark = True  # as the authors do
    with deterministic(settings.seed):  # its number of threads applies to both
        method = ScCycleGan(params).to(device)
        torch.use_deterministic_algorithms(False)
        theirs = authors(literal(method), data, settings, device)
        systems = [ours(copy.deepcopy(method), data, settings, device), theirs]
        table = train_in_turns(systems, data, settings, params.learning_rate, device)
    table.to_csv(options.out / "same_quality.csv", index=False)
    draw_curves(table, options.out / "same_quality.png")
    print_summary(table)


if __name__ == "__main__":
    main()
