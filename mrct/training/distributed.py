"""Training of one model by several processes (torchrun): each computes its share of every batch.

The parameters do not depend on the number of processes: a batch has `batch_size` slices in all, every process draws the
random numbers of the whole batch, and gradients are summed before a step. With instance norm the result is that of one
process up to rounding. Batch norm uses the statistics of a share, and dropout is drawn separately per process.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn


@dataclass(frozen=True)
class Share:
    """Part of a batch of `total` slices that this process computes, and its weight in the mean of the batch."""

    own: slice
    total: int
    weight: float


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Connect the processes that torchrun has started; a single process needs no connection."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def rank() -> int:
    """Return the number of this process, from 0; process 0 writes."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def size() -> int:
    """Return the number of processes that train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def share_of(total: int) -> Share:
    """Split a batch into equal parts, in order; if it has fewer slices than processes, each computes all of it."""
    if total < size():
        return Share(slice(0, total), total, 1 / size())
    start, stop = (total * place // size() for place in (rank(), rank() + 1))
    return Share(slice(start, stop), total, (stop - start) / total)


def gather(own: Tensor, share: Share) -> Tensor:
    """Gather (b, ...) of each process to (B, ...), in the order of the batch."""
    if len(own) == share.total:
        return own
    whole = own.new_zeros(share.total, *own.shape[1:])
    whole[share.own] = own
    return sum_up(whole)


def sum_up(values: Tensor) -> Tensor:
    """Sum the values over the processes, in place."""
    if distributed.is_initialized():
        distributed.all_reduce(values)
    return values


def sum_gradients(weights: Iterable[Tensor]) -> None:
    """Replace every gradient by its sum over the processes, in one message."""
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    if not distributed.is_initialized() or not gradients:
        return
    summed = sum_up(torch.cat([gradient.flatten() for gradient in gradients]))
    for gradient, values in zip(gradients, summed.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(values.view(gradient.shape))


def average_buffers(module: nn.Module) -> None:
    """Replace running averages by their mean over the processes, so that the saved network is the validated one."""
    if not distributed.is_initialized():
        return
    for buffer in module.buffers():
        if buffer.is_floating_point():
            sum_up(buffer).div_(size())


def wait() -> None:
    """Wait until every process has reached this call."""
    if distributed.is_initialized():
        distributed.barrier()
