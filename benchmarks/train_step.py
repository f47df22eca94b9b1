"""Time of a training step against the same mathematics as CycleGAN's authors ship it, side by side in one process.

    python benchmarks/train_step.py [--sizes 128 256] [--batches 1 4] [--repeats N] [--bf16] [--compile]
    python benchmarks/train_step.py --paper        512 x 512, batch 8, 64 filters: for a GPU
    python benchmarks/train_step.py --arithmetic   the operations of the paper's training, counted, nothing timed

The baseline is float32 and eager: every generator and critic pass on its own, plain Adam, torch's default memory
order, nn.InstanceNorm2d. It has the same weights, and before anything is timed its losses are held against ours.
All variants take turns; ratios of medians compare what ran side by side, on a machine that may be busy.
"""

import argparse
import copy
import os
import statistics
from pathlib import Path
from time import perf_counter

import torch
from authors_step import Step, authors_step, literal
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mrct.methods.batch import Batch
from mrct.methods.sc_cyclegan import Params, ScCycleGan
from mrct.params import load
from mrct.training.engine import deterministic
from mrct.training.image_pool import ImagePool

PAPER = {"filters": 64, "blocks": 9, "downsamplings": 2}
PAPER_PAIRS, PAPER_EPOCHS = 364, 200
WITHOUT: dict[str, dict[str, object]] = {
    "lambda_cyc 0": {"lambda_cyc": 0.0},
    "lambda_str 0": {"lambda_str": 0.0},
    "lambda_pix 0": {"lambda_pix": 0.0},
    "lambda_adv 0, P = 1": {"lambda_adv": 0.0, "pixel_weighting": "none"},
}


def our_step(method: ScCycleGan, mr: Tensor, ct: Tensor, bf16: bool = False) -> Step:
    """What mrct/training/step.py does with a batch, with deterministic kernels as the engine asks for."""
    optimizers, rng = method.optimizers().values(), torch.Generator().manual_seed(0)
    pools = {"ct": ImagePool(50), "mr": ImagePool(50)}

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


def variants(params: Params, mr: Tensor, ct: Tensor, options: argparse.Namespace) -> dict[str, Step]:
    """The baseline first, then ours; all start with the same weights."""
    torch.manual_seed(0)
    method = ScCycleGan(params).to(mr.device)
    steps = {"as the authors": authors_step(literal(method), mr, ct)}
    steps["ours"] = our_step(copy.deepcopy(method), mr, ct)
    require_same_losses(authors_step(literal(method), mr, ct)(), our_step(copy.deepcopy(method), mr, ct)())
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
    """The structure loss draws its queries in another order: it is compared loosely."""
    for name, value in expected.items():
        tolerance = 0.1 if name.startswith("str") else 1e-3
        if abs(float(value) - float(got[name])) > tolerance * abs(float(value)):
            raise SystemExit(
                f"{name}: baseline {float(value):g}, ours {float(got[name]):g}; not the same step"
            )


def seconds_of(steps: dict[str, Step], repeats: int, device: torch.device) -> dict[str, float]:
    """Median of each, taken in turns after one turn to warm up (and to compile)."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(repeats + 1):
        for name, step in steps.items():
            wait(device)
            started = perf_counter()
            step()
            wait(device)
            if turn:
                times[name].append(perf_counter() - started)
    return {name: statistics.median(values) for name, values in times.items()}


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def paper_params(norm: str) -> Params:
    base = load(Params, path=Path("params.yaml"))
    generator = type(base.generator)(**PAPER)
    return base.model_copy(
        update={"generator": generator, "discriminator": type(base.discriminator)(filters=64, norm=norm)}
    )


def tera_operations(params: Params, size: int, batch: int, device: torch.device) -> float:
    """Multiplications and additions of the convolutions and matrix products of one step, counted by torch."""
    images = torch.rand(2, batch, 1, size, size, device=device)
    step = our_step(ScCycleGan(params).to(device), images[0], images[1])
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops() / 1e12


def print_arithmetic() -> None:
    """Forward once: Σ 2 k² c_in c_out H W over the convolutions; then what a step asks for."""
    side, width = 512, PAPER["filters"]
    generator = 2 * 2 * 49 * width * side**2 + 2 * 2 * 9 * 2 * width**2 * (side // 2) ** 2
    generator += (
        2 * 2 * 9 * 8 * width**2 * (side // 4) ** 2 + 18 * 2 * 9 * (4 * width) ** 2 * (side // 4) ** 2
    )
    critic = 2 * 16 * (width * 256**2 + 2 * width**2 * 128**2 + 8 * width**2 * 64**2 + 32 * width**2 * 63**2)
    critic += 2 * 16 * 8 * width * 62**2
    step = 12 * generator + 16 * critic
    print(
        f"generator forward {generator / 1e9:.0f} GFLOP, critic forward {critic / 1e9:.1f} GFLOP, one pair:"
    )
    print(f"  4 generator passes, each forward + two of its size backward: {12 * generator / 1e12:.2f} TFLOP")
    print(
        f"  2 critic passes for the generators (no gradient of its weights), 4 for itself: {16 * critic / 1e12:.2f}"
    )
    total = step * PAPER_PAIRS * PAPER_EPOCHS
    print(
        f"  together {step / 1e12:.2f}; {PAPER_PAIRS} pairs, {PAPER_EPOCHS} epochs: {total / 1e15:.0f} PFLOP"
    )
    counted = tera_operations(paper_params("instance"), side // 4, 1, torch.device("cpu")) * 16
    print(
        f"  counted by torch with the structure loss, at a quarter of the side: {counted:.2f} TFLOP a pair, ",
        end="",
    )
    print(f"{counted * PAPER_PAIRS * PAPER_EPOCHS / 1e3:.0f} PFLOP in all")


def peak_tera_operations(device: torch.device, dtype: torch.dtype) -> float:
    """Measured: the residual blocks' own convolution, forward, at the paper's size; TFLOP/s."""
    count = 8 if device.type == "cuda" else 1
    image = torch.randn(count, 256, 128, 128, device=device, dtype=dtype).to(
        memory_format=torch.channels_last
    )
    conv = (
        nn.Conv2d(256, 256, 3, padding=1, bias=False).to(device, dtype).to(memory_format=torch.channels_last)
    )
    with torch.inference_mode():
        seconds = seconds_of({"conv": lambda: {"out": conv(image)}}, 10, device)["conv"]
    return 2 * 9 * 256**2 * 128**2 * count / seconds / 1e12


def print_table(params: Params, size: int, batch: int, options: argparse.Namespace) -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    mr, ct = (
        torch.rand(2, batch, 1, size, size, generator=torch.Generator().manual_seed(1)).to(device) * 2 - 1
    )
    medians = seconds_of(variants(params, mr, ct, options), options.repeats, device)
    whole = tera_operations(params, size, batch, device)
    print(f"\n{size} x {size}, batch {batch}, {whole:.3f} TFLOP a step, load {os.getloadavg()[0]:.1f}")
    print(f"{'':32} {'ms':>9} {'ratio':>6} {'images/s':>9} {'TFLOP/s':>8}")
    for name, seconds in medians.items():
        done = "" if "lambda" in name else f"{whole / seconds:8.2f}"
        ratio = medians["as the authors"] / seconds
        print(f"{name:32} {seconds * 1e3:9.1f} {ratio:6.2f} {batch / seconds:9.2f} {done:>8}", flush=True)
    if options.paper:
        fastest = min(medians.values())
        print(
            f"{PAPER_EPOCHS} epochs of {PAPER_PAIRS} pairs: {PAPER_EPOCHS * PAPER_PAIRS / batch * fastest / 60:.0f} min"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--repeats", type=int, default=9)
    for flag in ("bf16", "compile", "paper", "arithmetic"):
        parser.add_argument(f"--{flag}", action="store_true")
    options = parser.parse_args()
    print_arithmetic()
    if options.arithmetic:
        return
    torch.backends.cudnn.benchmark = True  # as the authors
    torch.set_num_threads(int(os.environ.get("MRCT_THREADS", 0)) or os.cpu_count() or 1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for dtype in (torch.float32, torch.bfloat16):
        print(
            f"convolution peak of this {device.type}, {dtype}: {peak_tera_operations(device, dtype):.2f} TFLOP/s"
        )
    if options.paper:
        print_table(paper_params("instance"), 512, 8, options)
        if device.type == "cuda":
            print(f"most memory held: {torch.cuda.max_memory_allocated() / 1e9:.1f} GB")
        return
    for size in options.sizes:
        for batch in options.batches:
            print_table(load(Params, path=Path("params.yaml")), size, batch, options)


if __name__ == "__main__":
    main()
