"""The loop's parameters: what each method has for itself, and what all share as top-level keys of params.yaml."""

from typing import Literal

from pydantic import Field

from mrct.core.params import Section
from mrct.training.augmentation import Augmentation


class Loop(Section):
    """A method's own: how long and in what portions it is trained.

    `batch_size` counts the images of all processes. `max_gradient_norm`: longer gradients of an optimizer's weights,
    all together, are shortened to it, so that no bad batch ends a training; 0: never.
    """

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    accumulate: int = Field(ge=1)
    lr_decay: Literal["linear", "constant"]
    ema_decay: float = Field(ge=0, lt=1)
    max_gradient_norm: float = Field(ge=0)


class AdversarialLoop(Loop):
    """Of a method with discriminators: they see older images as well."""

    pool_size: int = Field(ge=0)


class Shared(Section):
    """The same for all methods."""

    augmentation: Augmentation
    seed: int
    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["fp32", "bf16"]
    compile: bool


class Settings(AdversarialLoop, Shared):
    """All that the loop is told."""


def settings_of(loop: Loop, shared: Shared) -> Settings:
    """Both together; a method without discriminators has no pool."""
    return Settings(**{"pool_size": 0} | loop.model_dump() | shared.model_dump())
