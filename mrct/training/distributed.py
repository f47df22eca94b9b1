"""One model trained by several processes (torchrun): each computes its share of every batch.

The parameters do not change with their number: a batch is `batch_size` slices in all, every random number is
drawn for the whole batch by every process, and gradients are summed before a step. With instance norm the
result is that of one process up to rounding; batch norm takes the statistics of a share, dropout draws for one.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn


@dataclass(frozen=True)
class Share:
    """The part of a batch of `total` slices that this process computes, and its weight in the batch's mean."""

    own: slice
    total: int
    weight: float


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Inside the block the processes that torchrun started know each other; alone it does nothing."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def rank() -> int:
    """0 for the process that writes, also when it is alone."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def size() -> int:
    """Number of processes that train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def share_of(total: int) -> Share:
    """Equal parts in order; a batch of fewer slices than processes is computed whole by each of them."""
    if total < size():
        return Share(slice(0, total), total, 1 / size())
    start, stop = (total * place // size() for place in (rank(), rank() + 1))
    return Share(slice(start, stop), total, (stop - start) / total)


def gather(own: Tensor, share: Share) -> Tensor:
    """(b, ...) of this process -> (B, ...) of all, in the batch's order."""
    if len(own) == share.total:
        return own
    whole = own.new_zeros(share.total, *own.shape[1:])
    whole[share.own] = own
    return sum_up(whole)


def sum_up(values: Tensor) -> Tensor:
    """The sum over the processes, in place."""
    if distributed.is_initialized():
        distributed.all_reduce(values)
    return values


def sum_gradients(weights: Iterable[Tensor]) -> None:
    """Every gradient becomes the sum over the processes, in one message."""
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    if not distributed.is_initialized() or not gradients:
        return
    summed = sum_up(torch.cat([gradient.flatten() for gradient in gradients]))
    for gradient, values in zip(gradients, summed.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(values.view(gradient.shape))


def average_buffers(module: nn.Module) -> None:
    """Running averages become the mean over the processes: what is validated is what is saved."""
    if not distributed.is_initialized():
        return
    for buffer in module.buffers():
        if buffer.is_floating_point():
            sum_up(buffer).div_(size())


def wait() -> None:
    """Until every process has come here."""
    if distributed.is_initialized():
        distributed.barrier()
