"""What every trained method shares: the loop's parameters, top-level keys of params.yaml."""

from typing import Literal

from pydantic import Field

from mrct.params import Section
from mrct.training.augmentation import Augmentation


class Settings(Section):
    """Parameters of the loop; `batch_size` counts the slices of all processes together."""

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    accumulate: int = Field(ge=1)
    lr_decay: Literal["linear", "constant"]
    pool_size: int = Field(ge=0)
    ema_decay: float = Field(ge=0, lt=1)
    augmentation: Augmentation
    seed: int
    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["fp32", "bf16"]
    compile: bool
