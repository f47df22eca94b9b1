"""One epoch of a method: losses over the shuffled examples, summed gradients, updates of the weights."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mrct.core.errors import RunError
from mrct.training import distributed
from mrct.training.dataset import epoch_batches
from mrct.training.distributed import Share, share_of
from mrct.training.examples import Examples, Item
from mrct.training.method import TrainedMethod
from mrct.training.settings import Settings


class NotFiniteLossError(RunError):
    """Error for a loss that became NaN or infinite; the last checkpoint is from before."""


class ImagePool:
    """Pool of up to `size` older synthetic images for discriminators (Shrivastava 2017; Zhu 2017, sec. 4).

    All of its state is in `images`; its random numbers come from outside.
    """

    def __init__(self, size: int, images: Tensor | None = None) -> None:
        self.size = size
        self.images: list[Tensor] = [] if images is None else list(images)

    def exchange(self, images: Tensor, rng: torch.Generator) -> Tensor:
        """Return images (B, ...) for the discriminator: store while there is room, then swap every second image."""
        shown = []
        for image in images:
            if len(self.images) < self.size:
                self.images.append(image.clone())
            elif self.size and float(torch.rand(1, generator=rng)) < 0.5:
                place = int(torch.randint(self.size, (1,), generator=rng))
                image, self.images[place] = self.images[place], image.clone()
            shown.append(image)
        return torch.stack(shown)


class Average:
    """Exponential moving average of the generators; validation and the saved model use its `networks`."""

    def __init__(self, generators: dict[str, nn.Module], decay: float) -> None:
        self.decay = decay
        self.generators = generators
        self.networks = nn.ModuleDict(copy.deepcopy(generators)).requires_grad_(False)
        self.updates = 0

    @torch.no_grad()
    def update(self) -> None:
        """Update w ← d·w + (1 - d)·generator; d grows to `decay`, so that the random start soon has no weight.

        d = min(decay, (1 + n) / (10 + n)) after n updates, as TensorFlow's ExponentialMovingAverage.
        """
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        for name, network in self.generators.items():
            state = network.state_dict()
            for key, mean in self.networks[name].state_dict().items():
                if mean.is_floating_point():
                    mean.lerp_(state[key], 1 - decay)
                else:
                    mean.copy_(state[key])


@dataclass
class Training:
    """State that changes while a method is trained, on its device."""

    method: TrainedMethod[Any]
    optimizers: dict[str, torch.optim.Optimizer]
    settings: Settings
    device: torch.device
    average: Average | None = None
    pools: dict[str, ImagePool] = field(default_factory=dict)

    @property
    def networks(self) -> dict[str, nn.Module]:
        """Return the networks that are validated and saved: the generators, or their moving average."""
        return dict(self.average.networks.items()) if self.average else self.method.generators()


def train_epoch(
    training: Training, examples: Examples, epoch: int, advance: Callable[[int], None]
) -> dict[str, float]:
    """Make one pass over the examples; return the mean of each loss term over all examples and processes."""
    settings = training.settings
    rng = torch.Generator().manual_seed(settings.seed * 1_000_003 + epoch)
    torch.manual_seed((settings.seed * 1_000_003 + epoch) * 1_009 + distributed.rank())  # dropout's
    items = examples.items(epoch)
    batches = epoch_batches(items, settings.batch_size, settings.seed, epoch)
    sums: dict[str, Tensor] = {}
    training.method.train()
    for start in range(0, len(batches), settings.accumulate):
        group = batches[start : start + settings.accumulate]
        n_images = sum(len(batch) for batch in group)
        for step, batch in enumerate(group, start + 1):
            share = share_of(len(batch))
            weight = share.weight * len(batch)
            terms = _backward(training, examples, batch, share, rng, epoch, weight / n_images)
            _require_finite(terms, epoch, step, batch)
            for name, term in terms.items():
                sums[name] = sums.get(name, 0) + term * weight
        _update(training)
        advance(n_images)
    distributed.average_buffers(training.method)
    means = distributed.sum_up(torch.stack(list(sums.values())).double() / len(items))
    return dict(zip(sums, means.tolist(), strict=True))


def _backward(
    training: Training,
    examples: Examples,
    items: list[Item],
    share: Share,
    rng: torch.Generator,
    epoch: int,
    weight: float,
) -> dict[str, Tensor]:
    """Add the gradients of this process's share, times `weight`; return the loss terms."""
    settings, device = training.settings, training.device
    draws = examples.draw(len(items), rng)[share.own]
    batch = examples.load(items[share.own], draws, device)

    def pooled(name: str, images: Tensor) -> Tensor:
        pool = training.pools.setdefault(name, ImagePool(settings.pool_size))
        return pool.exchange(distributed.gather(images, share), rng)[share.own]

    terms: dict[str, Tensor] = {}
    with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
        for loss, parts in training.method.losses(batch, rng, epoch, pooled):
            (loss * weight).backward()
            terms |= {name: part.detach() for name, part in parts.items()}
    return terms


def _update(training: Training) -> None:
    distributed.sum_gradients(training.method.parameters())
    for optimizer in training.optimizers.values():
        if training.settings.max_gradient_norm:
            weights = [weight for group in optimizer.param_groups for weight in group["params"]]
            nn.utils.clip_grad_norm_(weights, training.settings.max_gradient_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    if training.average:
        training.average.update()


def _require_finite(terms: dict[str, Tensor], epoch: int, step: int, items: list[Item]) -> None:
    if not torch.isfinite(torch.stack(list(terms.values()))).all():
        listed = ", ".join(f"{name} {float(term):g}" for name, term in terms.items())
        raise NotFiniteLossError(
            f"train: loss not finite in epoch {epoch + 1}, step {step}: {listed}; examples {items}; "
            "the last good epoch is kept; lower learning_rate or use precision: fp32, then run again"
        )
