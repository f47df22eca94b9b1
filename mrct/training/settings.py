"""Parameters of the training loop: those of each method, and those that all methods share."""

from typing import Literal

from pydantic import Field

from mrct.core.params import Section


class Augmentation(Section):
    """Largest random change of each kind; 0 or false switches it off."""

    rotation_deg: float
    scale: float
    shift_mm: float
    flip: bool
    mr_gamma: float
    mr_bias: float

    @property
    def moves(self) -> bool:
        """Return whether the geometry changes at all."""
        return self.flip or any((self.rotation_deg, self.scale, self.shift_mm))


class Loop(Section):
    """Length and batches of the training of a method; keys of its section.

    `batch_size` counts the images of all processes. `accumulate` batches make one update of the weights. If the norm of
    all gradients of an optimizer's weights exceeds `max_gradient_norm`, they are scaled down to it; 0 leaves them
    unchanged.
    """

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    accumulate: int = Field(ge=1)
    lr_decay: Literal["linear", "constant"]
    ema_decay: float = Field(ge=0, lt=1)
    max_gradient_norm: float = Field(ge=0)


class AdversarialLoop(Loop):
    """Loop of a method with discriminators, which also see up to `pool_size` older synthetic images."""

    pool_size: int = Field(ge=0)


class Shared(Section):
    """Top-level keys of params.yaml that all methods share."""

    augmentation: Augmentation
    seed: int
    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["fp32", "bf16"]
    compile: bool


class Settings(AdversarialLoop, Shared):
    """Parameters of the loop, all together; `pool_size` is 0 for a method without discriminators."""
