"""One epoch of a method: its losses over the shuffled pairs, gradients gathered, weights updated."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mrct.training import distributed
from mrct.training.augmentation import augment, draw
from mrct.training.average import Average
from mrct.training.dataset import NormalizedData, epoch_batches
from mrct.training.distributed import Share, share_of
from mrct.training.image_pool import ImagePool
from mrct.training.settings import Settings

#: (name, synthetic images) -> what the critic of that name sees: those images, or older ones from its pool.
Pooled = Callable[[str, Tensor], Tensor]
Pair = tuple[str, int]


class Method(Protocol):
    """What a method, an nn.Module, offers to the loop; see mrct/methods/sc_cyclegan.py."""

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Over disjoint sets of weights; called once, on the final device."""

    def generators(self) -> dict[str, nn.Module]:
        """The network of each direction that it translates (mr_to_ct, ct_to_mr)."""

    def losses(
        self, mr: Tensor, ct: Tensor, rng: torch.Generator, epoch: int, pooled: Pooled
    ) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """(loss to go backward from, its unweighted terms), one after the other, at unchanged weights.

        Each loss has gone backward before the next is asked for; the weights change after the last. A mean over
        the batch, so that the loop can weigh parts of a batch. Random numbers come from `rng` alone and as many
        for every batch size.
        """


class NotFiniteLossError(RuntimeError):
    """A loss became NaN or infinite; the last checkpoint is from before."""


@dataclass
class Training:
    """All that changes while a method is trained, on its device."""

    method: Any  # a Method that is an nn.Module
    optimizers: dict[str, torch.optim.Optimizer]
    settings: Settings
    device: torch.device
    average: Average | None = None
    pools: dict[str, ImagePool] = field(default_factory=dict)

    @property
    def networks(self) -> dict[str, nn.Module]:
        """What is validated and saved: the generators, or their moving average."""
        return dict(self.average.networks.items()) if self.average else self.method.generators()


def train_epoch(
    training: Training,
    data: NormalizedData,
    pairs: list[Pair],
    epoch: int,
    advance: Callable[[int], None],
) -> dict[str, float]:
    """One pass over the pairs; the mean of each loss term over all pairs and processes."""
    settings = training.settings
    rng = torch.Generator().manual_seed(settings.seed * 1_000_003 + epoch)
    batches = epoch_batches(pairs, settings.batch_size, settings.seed, epoch)
    sums: dict[str, Tensor] = {}
    training.method.train()
    for start in range(0, len(batches), settings.accumulate):
        group = batches[start : start + settings.accumulate]
        n_slices = sum(len(batch) for batch in group)
        for step, batch in enumerate(group, start + 1):
            share = share_of(len(batch))
            terms = _backward(training, data, batch, share, rng, epoch, share.weight * len(batch) / n_slices)
            _require_finite(terms, epoch, step, batch)
            for name, term in terms.items():
                sums[name] = sums.get(name, 0) + term * (share.weight * len(batch))
        _update(training)
        advance(n_slices)
    means = distributed.sum_up(torch.stack(list(sums.values())).double() / len(pairs))
    return dict(zip(sums, means.tolist(), strict=True))


def _backward(
    training: Training,
    data: NormalizedData,
    batch: list[Pair],
    share: Share,
    rng: torch.Generator,
    epoch: int,
    weight: float,
) -> dict[str, Tensor]:
    """Adds the gradients of this process's share, times `weight`; the loss terms."""
    settings, device = training.settings, training.device
    draws = draw(len(batch), rng)[share.own]
    mr, ct = (images.to(device) for images in data.slices(batch[share.own]))
    mr, ct = augment(mr, ct, draws, settings.augmentation, float(data.manifest["pixel_spacing_mm"]))

    def pooled(name: str, images: Tensor) -> Tensor:
        pool = training.pools.setdefault(name, ImagePool(settings.pool_size))
        return pool.exchange(distributed.gather(images, share), rng)[share.own]

    terms: dict[str, Tensor] = {}
    with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
        for loss, parts in training.method.losses(mr, ct, rng, epoch, pooled):
            (loss * weight).backward()
            terms |= {name: part.detach() for name, part in parts.items()}
    return terms


def _update(training: Training) -> None:
    distributed.sum_gradients(training.method.parameters())
    for optimizer in training.optimizers.values():
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    if training.average:
        training.average.update()


def _require_finite(terms: dict[str, Tensor], epoch: int, step: int, batch: list[Pair]) -> None:
    if not torch.isfinite(torch.stack(list(terms.values()))).all():
        listed = ", ".join(f"{name} {float(term):g}" for name, term in terms.items())
        raise NotFiniteLossError(
            f"train: loss not finite in epoch {epoch + 1}, step {step}: {listed}; slices {batch}; "
            "the last good epoch is kept; lower learning_rate or use precision: fp32, then run again"
        )
