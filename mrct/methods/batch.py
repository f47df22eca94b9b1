"""What passes between a method and the loop that trains it: a batch of images, and the phases of a training."""

from collections.abc import Callable, Mapping
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, Field
from torch import Tensor

from mrct.core.errors import DataError

Direction = Literal["mr_to_ct", "ct_to_mr"]
#: (name, synthetic images) -> what the discriminator of that name sees: those images, or older ones from its pool.
Pooled = Callable[[str, Tensor], Tensor]
Weights = Mapping[str, Tensor]


class Batch(NamedTuple):
    """Images of the same places: (B, 1, H, W) or (B, 1, D, H, W) in [-1, 1], background -1.

    `other`: further images on the same grid and scale by name, as `brain` (1 inside, -1 outside). They are moved
    with MR and CT, and keep their contrast.
    """

    mr: Tensor
    ct: Tensor
    other: Mapping[str, Tensor]


class Phase(NamedTuple):
    """One of the trainings that follow one another; most methods have one.

    `epochs`: None for the number in the method's section. `others`: names of the further images that it needs.
    """

    name: str
    epochs: int | None = None
    others: tuple[str, ...] = ()


class Trained(NamedTuple):
    """What a phase leaves to the next: each direction's best weights, and those of the whole method at its end."""

    best: Mapping[str, Weights]
    last: Weights


#: The phases that have ended, by name.
Before = Mapping[str, Trained]
#: The phases of a method that is trained once.
ONE_PHASE = (Phase("training"),)


def _different(directions: tuple[Direction, ...]) -> tuple[Direction, ...]:
    if len(set(directions)) < len(directions):
        raise DataError("a direction is named twice; name each once")
    return directions


#: What a method is trained for, as a parameter.
Directions = Annotated[tuple[Direction, ...], Field(min_length=1), AfterValidator(_different)]


def sides(batch: Batch, direction: str) -> tuple[str, Tensor, Tensor]:
    """What is made (`ct` or `mr`), the images that it is made from, and those that it is held against."""
    return ("ct", batch.mr, batch.ct) if direction == "mr_to_ct" else ("mr", batch.ct, batch.mr)
