"""Operations of a training step, computed by hand and counted by torch, and the peak rate of this machine."""

from statistics import median
from time import perf_counter

import torch
from authors_step import Step
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

PAPER = {"filters": 64, "blocks": 9, "downsamplings": 2, "upsampling": "transposed"}
PAPER_PAIRS, PAPER_EPOCHS = 364, 200


def tera_operations(step: Step) -> float:
    """Count the multiplications and additions of the convolutions and matrix products of one step with torch."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops() / 1e12


def print_arithmetic(counted: float) -> None:
    """Print the operations of one forward pass, Σ 2 k² c_in c_out H W over the convolutions, and those of a step.

    `counted` is the number of TFLOP per pair that torch counts, with the structure loss.
    """
    side, width = 512, PAPER["filters"]
    generator = 2 * 2 * 49 * width * side**2 + 2 * 2 * 9 * 2 * width**2 * (side // 2) ** 2
    generator += (
        2 * 2 * 9 * 8 * width**2 * (side // 4) ** 2 + 18 * 2 * 9 * (4 * width) ** 2 * (side // 4) ** 2
    )
    discriminator = (
        2 * 16 * (width * 256**2 + 2 * width**2 * 128**2 + 8 * width**2 * 64**2 + 32 * width**2 * 63**2)
    )
    discriminator += 2 * 16 * 8 * width * 62**2
    step = 12 * generator + 16 * discriminator
    print(
        f"generator forward {generator / 1e9:.0f} GFLOP, discriminator {discriminator / 1e9:.1f} GFLOP, one pair:"
    )
    print(f"  4 generator passes, each forward + two of its size backward: {12 * generator / 1e12:.2f} TFLOP")
    print(
        "  2 discriminator passes for the generators (no weight gradient), 4 for itself: "
        f"{16 * discriminator / 1e12:.2f}"
    )
    total = step * PAPER_PAIRS * PAPER_EPOCHS
    print(
        f"  together {step / 1e12:.2f}; {PAPER_PAIRS} pairs, {PAPER_EPOCHS} epochs: {total / 1e15:.0f} PFLOP"
    )
    print(
        f"  counted by torch with the structure loss, at a quarter of the side: {counted:.2f} TFLOP per pair, ",
        end="",
    )
    print(f"{counted * PAPER_PAIRS * PAPER_EPOCHS / 1e3:.0f} PFLOP in all")


def peak_tera_operations(device: torch.device, dtype: torch.dtype) -> float:
    """Measure the forward convolution of a residual block at the paper's size; TFLOP/s, median of ten runs."""
    count = 8 if device.type == "cuda" else 1
    image = torch.randn(count, 256, 128, 128, device=device, dtype=dtype).to(
        memory_format=torch.channels_last
    )
    conv = (
        nn.Conv2d(256, 256, 3, padding=1, bias=False).to(device, dtype).to(memory_format=torch.channels_last)
    )
    with torch.inference_mode():
        seconds = [seconds_of(lambda: conv(image), device) for _ in range(11)][1:]
    return 2 * 9 * 256**2 * 128**2 * count / median(seconds) / 1e12


def seconds_of(work: Step, device: torch.device) -> float:
    """Return the seconds of one call, until the device has finished it."""
    _wait(device)
    started = perf_counter()
    work()
    _wait(device)
    return perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
