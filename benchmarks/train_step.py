"""Compare the time of a training step with the same computation as CycleGAN's authors publish it, in one process.

    python benchmarks/train_step.py [--sizes 128 256] [--batches 1 4] [--repeats N] [--bf16] [--compile]
    python benchmarks/train_step.py --paper        512 x 512, batch 8, 64 filters: for a GPU
    python benchmarks/train_step.py --arithmetic   the operations of the paper's training, counted, nothing timed

The baseline runs in float32 and eager mode, with separate passes of each generator and discriminator, plain Adam,
torch's default memory order and nn.InstanceNorm2d. It has the same weights, and its losses are compared with ours
before anything is timed. All variants take turns. A ratio is the median (with quartiles) of the ratios of all turns,
because the load is about the same within a turn. It refers to the baseline or, for rows with a λ of zero, to `ours`.
Small steps get more turns.
"""

import argparse
import copy
import os
from pathlib import Path

import numpy as np
import torch
from arithmetic import (
    PAPER,
    PAPER_EPOCHS,
    PAPER_PAIRS,
    peak_tera_operations,
    print_arithmetic,
    seconds_of,
    tera_operations,
)
from authors_step import AuthorsStep, Step, literal
from torch import Tensor

from mrct.core.params import load
from mrct.methods.sc_cyclegan import ScCycleGan, ScCycleGanParams
from mrct.training.engine import deterministic, torch_threads
from mrct.training.method import Batch
from mrct.training.step import ImagePool

AUTHORS, OURS = "as the authors", "ours"
POOL_SIZE = 50
WITHOUT: dict[str, dict[str, object]] = {
    "lambda_cyc 0": {"lambda_cyc": 0.0},
    "lambda_str 0": {"lambda_str": 0.0},
    "lambda_pix 0": {"lambda_pix": 0.0},
    "lambda_adv 0, P = 1": {"lambda_adv": 0.0, "pixel_weighting": "none"},
}


def our_step(method: ScCycleGan, mr: Tensor, ct: Tensor, bf16: bool = False) -> Step:
    """Make the step of mrct/training/step.py on one batch, with deterministic kernels as in the engine."""
    optimizers, rng = method.optimizers().values(), torch.Generator().manual_seed(0)
    pools = {"ct": ImagePool(POOL_SIZE), "mr": ImagePool(POOL_SIZE)}

    def pooled(name: str, images: Tensor) -> Tensor:
        return pools[name].exchange(images, rng)

    def step() -> dict[str, Tensor]:
        terms: dict[str, Tensor] = {}
        with deterministic(0), torch.autocast(mr.device.type, torch.bfloat16, enabled=bf16):
            for loss, parts in method.losses(Batch(mr, ct, {}), rng, 0, pooled):
                loss.backward()
                terms |= {name: part.detach() for name, part in parts.items()}
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
        return terms

    return step


def their_step(method: ScCycleGan, mr: Tensor, ct: Tensor) -> Step:
    """Make the step of the baseline, which repeats on the same images."""
    step, rng = AuthorsStep(literal(method), POOL_SIZE), torch.Generator().manual_seed(0)
    return lambda: step(mr, ct, rng)


def variants(
    params: ScCycleGanParams, mr: Tensor, ct: Tensor, options: argparse.Namespace
) -> dict[str, Step]:
    """Return the variants, the baseline first, then ours; all start with the same weights."""
    torch.manual_seed(0)
    method = ScCycleGan(params).to(mr.device)
    steps = {AUTHORS: their_step(method, mr, ct), OURS: our_step(copy.deepcopy(method), mr, ct)}
    require_same_losses(their_step(method, mr, ct)(), our_step(copy.deepcopy(method), mr, ct)())
    if options.bf16:
        steps["ours, bf16"] = our_step(copy.deepcopy(method), mr, ct, bf16=True)
    for bf16 in ((False, True) if options.bf16 else (False,)) if options.compile else ():
        compiled = copy.deepcopy(method)
        for network in compiled.children():
            network.compile()
        steps["ours, compiled" + ", bf16" * bf16] = our_step(compiled, mr, ct, bf16)
    for name, change in WITHOUT.items() if not options.paper else ():
        reduced = copy.deepcopy(method)
        reduced.params = params.model_copy(update=change)
        steps[f"ours, {name}"] = our_step(reduced, mr, ct)
    return steps


def require_same_losses(expected: dict[str, Tensor], got: dict[str, Tensor]) -> None:
    """Check that the first steps have equal losses; their weights, images and random numbers are equal."""
    for name, value in expected.items():
        if abs(float(value) - float(got[name])) > 1e-3 * abs(float(value)):
            raise SystemExit(
                f"{name}: baseline {float(value):g}, ours {float(got[name]):g}; not the same step"
            )


def times_of(steps: dict[str, Step], turns: int, device: torch.device) -> dict[str, np.ndarray]:
    """Return the seconds of each variant in each turn, after one turn to warm up (and to compile)."""
    rows = [[seconds_of(step, device) for step in steps.values()] for _ in range(turns + 1)]
    return dict(zip(steps, np.array(rows[1:]).T, strict=True))


def paper_params(norm: str) -> ScCycleGanParams:
    base = load(ScCycleGanParams, path=Path("params.yaml"))
    generator = type(base.generator)(**PAPER)
    return base.model_copy(
        update={"generator": generator, "discriminator": type(base.discriminator)(filters=64, norm=norm)}
    )


def random_images(batch: int, size: int, device: torch.device) -> Tensor:
    """Draw MR and CT, (2, B, 1, size, size) in [-1, 1)."""
    images = torch.rand(2, batch, 1, size, size, generator=torch.Generator().manual_seed(1))
    return images.to(device) * 2 - 1


def print_table(
    params: ScCycleGanParams,
    size: int,
    batch: int,
    turns: int,
    device: torch.device,
    options: argparse.Namespace,
) -> None:
    mr, ct = random_images(batch, size, device)
    times = times_of(variants(params, mr, ct, options), turns, device)
    whole = tera_operations(our_step(ScCycleGan(params).to(device), mr, ct))
    load_now = os.getloadavg()[0]
    print(
        f"\n{size} x {size}, batch {batch}, {whole:.3f} TFLOP per step, {turns} turns, "
        f"load {load_now:.1f}, times faster:"
    )
    print(f"{'':32} {'ms':>9} {'ratio':>6} {'quartiles':>13} {'than':>15} {'images/s':>9} {'TFLOP/s':>8}")
    for name, seconds in times.items():
        other = OURS if "lambda" in name else AUTHORS
        low, ratio, high = np.quantile(times[other] / seconds, (0.25, 0.5, 0.75))
        middle = float(np.median(seconds))
        done = "" if other == OURS else f"{whole / middle:8.2f}"
        row = f"{name:32} {middle * 1e3:9.1f} {ratio:6.2f} {f'{low:.2f}..{high:.2f}':>13}"
        print(f"{row} {other:>15} {batch / middle:9.2f} {done:>8}", flush=True)
    if options.paper:
        minutes = PAPER_EPOCHS * PAPER_PAIRS / batch * min(np.median(all_) for all_ in times.values()) / 60
        print(f"{PAPER_EPOCHS} epochs of {PAPER_PAIRS} pairs: {minutes:.0f} min")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4])
    parser.add_argument(
        "--repeats",
        type=int,
        default=9,
        help="turns of the largest step; smaller steps get up to four times as many",
    )
    for flag in ("bf16", "compile", "paper", "arithmetic"):
        parser.add_argument(f"--{flag}", action="store_true")
    options = parser.parse_args()
    instance, cpu = paper_params("instance"), torch.device("cpu")
    quarter = our_step(ScCycleGan(instance), *random_images(1, 128, cpu))
    print_arithmetic(tera_operations(quarter) * 16)
    if options.arithmetic:
        return
    torch.backends.cudnn.benchmark = True  # as the authors do
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for dtype in (torch.float32, torch.bfloat16):
        peak = peak_tera_operations(device, dtype)
        print(f"convolution peak of this {device.type}, {dtype}: {peak:.2f} TFLOP/s")
    if options.paper:
        print_table(instance, 512, 8, options.repeats, device, options)
        if device.type == "cuda":
            print(f"most memory held: {torch.cuda.max_memory_allocated() / 1e9:.1f} GB")
        return
    pixels = {(size, batch): size**2 * batch for size in options.sizes for batch in options.batches}
    for (size, batch), count in pixels.items():
        turns = options.repeats * min(max(pixels.values()) // count, 4)
        print_table(load(ScCycleGanParams, path=Path("params.yaml")), size, batch, turns, device, options)


if __name__ == "__main__":
    with torch_threads():
        main()
