"""Measure the processor time of a training step of the U-Net beside other programs, by the way its threads wait.

    python benchmarks/shared_machine.py [--busy 0 2] [--turns N]

Each turn trains the U-Net of params.yaml for some steps once per setting, each in a process of its own, while N other
processes keep the cores busy. A ratio is the median (with quartiles) over the turns of the processor time relative to
the baseline: torch as it is, whose threads wait actively for some milliseconds before they sleep.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter, process_time

import numpy as np

#: Name -> environment. OMP_WAIT_POLICY without a value leaves the choice to OpenMP, as without this package.
SETTINGS = {
    "torch as it is": {"OMP_WAIT_POLICY": ""},
    "passive waiting (default)": {},
    "one thread": {"MRCT_THREADS": "1"},
}
BASELINE = "torch as it is"
STEPS, WARM_UP, BATCH, SIZE = 15, 3, 4, 128


def train_steps() -> None:
    """Train some steps on random images; print the processor seconds and the seconds of one step."""
    import mrct  # noqa: F401  # sets the wait policy before torch is imported, as every entry point does

    import torch  # isort: skip

    from mrct.methods.registry import load_method
    from mrct.training.configuration import load_configuration
    from mrct.training.engine import deterministic
    from mrct.training.method import Batch, TrainedMethod

    kind = load_method("unet")
    assert issubclass(kind, TrainedMethod)
    with deterministic(0):
        method = kind(load_configuration("unet", kind).params)
        optimizers = method.optimizers().values()
        generator = torch.Generator().manual_seed(0)
        images = torch.rand(2, BATCH, 1, SIZE, SIZE, generator=generator) * 2 - 1
        batch = Batch(images[0], images[1], {})
        for step in range(WARM_UP + STEPS):
            if step == WARM_UP:
                start, started = process_time(), perf_counter()
            for loss, _ in method.losses(batch, generator, 0, lambda _, image: image):
                loss.backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
    print((process_time() - start) / STEPS, (perf_counter() - started) / STEPS)


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Run `count` processes that do nothing but use a core."""
    programs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def measured(environment: dict[str, str]) -> tuple[float, float]:
    """Return the processor seconds and the seconds of a step in a process with this environment."""
    inherited = {
        key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "MRCT_THREADS"))
    }
    command = [sys.executable, __file__, "--steps"]
    done = subprocess.run(command, env=inherited | environment, capture_output=True, text=True, check=True)
    processor, wall = map(float, done.stdout.split())
    return processor, wall


def print_table(busy: int, turns: int) -> None:
    """Print a row per setting: milliseconds per step and the ratio of processor time to the baseline."""
    with busy_processes(busy):
        rows = [[measured(environment) for environment in SETTINGS.values()] for _ in range(turns)]
    times = dict(zip(SETTINGS, np.array(rows).transpose(1, 2, 0) * 1e3, strict=True))
    print(f"\n{busy} busy processes, load {os.getloadavg()[0]:.1f}, {turns} turns")
    print(f"{'':28} {'processor ms':>12} {'ms':>8} {'ratio':>6} {'quartiles':>13}")
    for name, (processor, wall) in times.items():
        low, ratio, high = np.quantile(processor / times[BASELINE][0], (0.25, 0.5, 0.75))
        middle = f"{np.median(processor):12.0f} {np.median(wall):8.0f}"
        print(f"{name:28} {middle} {ratio:6.2f} {f'{low:.2f}..{high:.2f}':>13}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 2], help="numbers of other programs")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.steps:
        train_steps()
        return
    for busy in options.busy:
        print_table(busy, options.turns)


if __name__ == "__main__":
    main()
