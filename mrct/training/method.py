"""Interface of a method: the contract between a published system and the pipeline that trains and evaluates it.

A method is a class in mrct/methods. `TrainedMethod` is for systems that are trained by gradient descent,
`FittedMethod` for those that are fitted to the training slices in one pass. mrct/methods/registry.py names them all.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Generic, NamedTuple, Self, TypeVar

import numpy as np
import torch
from pydantic import AfterValidator, Field, Strict
from torch import Tensor, nn

from mrct.core.contracts import Direction
from mrct.core.errors import DataError
from mrct.core.params import Section
from mrct.training.settings import Loop

#: Weights by name, as a `state_dict`.
Weights = Mapping[str, Tensor]
#: Unweighted loss terms by name, `<kind>_<modality>`, as MLflow and history.csv show them.
Terms = dict[str, Tensor]
#: (name, synthetic images) -> what the discriminator of that name sees: those images, or older ones from a pool.
Pooled = Callable[[str, Tensor], Tensor]
P = TypeVar("P", bound=Section)


def _without_repeats(directions: tuple[Direction, ...]) -> tuple[Direction, ...]:
    if len(set(directions)) < len(directions):
        raise DataError("a direction is named twice; name each once")
    return directions


#: The directions for which a method is trained, as a parameter.
Directions = Annotated[
    tuple[Annotated[Direction, Strict(False)], ...], Field(min_length=1), AfterValidator(_without_repeats)
]


class Batch(NamedTuple):
    """Images of the same locations: (B, 1, H, W) or (B, 1, D, H, W) in [-1, 1], background -1.

    `other` holds further images by name on the same grid and scale, as `brain` (1 inside, -1 outside). Augmentation
    moves them with MR and CT and leaves their contrast alone.
    """

    mr: Tensor
    ct: Tensor
    other: Mapping[str, Tensor]

    def side(self, direction: str) -> "Side":
        """Return the images of one direction."""
        return Side("ct", self.mr, self.ct) if direction == "mr_to_ct" else Side("mr", self.ct, self.mr)


class Side(NamedTuple):
    """One direction of a batch: the modality that is synthesized (`ct` or `mr`), its source and its target."""

    modality: str
    source: Tensor
    target: Tensor


class Phase(NamedTuple):
    """One of several consecutive trainings of a method; most methods have a single phase.

    `epochs` is None if the number in the method's section holds. `others` names further images that the phase needs.
    """

    name: str
    epochs: int | None = None
    others: tuple[str, ...] = ()


class Trained(NamedTuple):
    """Result of a phase: the best weights of each direction, and the last weights of the whole method."""

    best: Mapping[str, Weights]
    last: Weights


#: Results of the phases that have ended, by name.
Before = Mapping[str, Trained]


class Fitted(NamedTuple):
    """One direction of a fitted method: its network and the configuration from which it is built again."""

    network: nn.Module
    config: dict[str, Any]


class Method(ABC):
    """Base of the methods: a published system or a reference method, under one name in params.yaml."""

    #: Its parameters: the section of its name in params.yaml.
    Params: ClassVar[type[Section]]
    #: Whether its parameters are top-level keys of params.yaml instead.
    top_level: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def build_network(cls, config: dict[str, Any]) -> nn.Module:
        """Build the untrained network of one direction from the configuration that a model file holds."""

    @classmethod
    def provenance(cls, params: Any) -> dict[str, Any]:
        """Return the parameters as MLflow and model.json show them: plain values, no path of this machine."""
        return dict(params.model_dump(mode="json"))


class FittedMethod(Method, Generic[P]):
    """Base of the methods that are fitted to the training slices in one pass."""

    @classmethod
    @abstractmethod
    def fit(
        cls, slices: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]], params: P
    ) -> dict[Direction, Fitted]:
        """Fit the method.

        Args:
            slices: MR, CT and head mask of each training pair, (H, W); images in [-1, 1].
            params: The method's section.

        Returns:
            The network of each direction of the method.

        Raises:
            DataError: There is no slice.
        """


class TrainedMethod(Method, nn.Module, Generic[P]):
    """Base of the methods that mrct/training/engine.py trains: the networks and losses of one phase.

    The loop builds an instance per phase, moves it to the device, and calls `optimizers` once and `losses` in every
    step. It does not distinguish generators from discriminators, or one loss from another.
    """

    #: The parameters of the loop that stand in the method's section.
    Loop: ClassVar[type[Loop]] = Loop

    def __init__(self, params: P) -> None:
        super().__init__()
        self.params = params

    @classmethod
    def phases(cls, params: P) -> tuple[Phase, ...]:
        """Return the phases in their order; each has its own work folder."""
        return (Phase("training"),)

    @classmethod
    def build(cls, params: P, phase: str, before: Before) -> Self:
        """Build the networks of a phase, untrained or from the results of the previous phases."""
        return cls(params)

    @classmethod
    def network_before(cls, params: P, phase: str, before: Before) -> nn.Module:
        """Build the network whose predictions the phase needs as further images (`Phase.others`, patches only)."""
        raise DataError(
            f"{cls.__name__}: phase {phase} asks for predictions, and the method has no network_before"
        )

    @classmethod
    @abstractmethod
    def network_config(cls, params: P) -> dict[str, Any]:
        """Return what `build_network` needs for the network of one direction."""

    @abstractmethod
    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return optimizers over disjoint sets of weights, by name; called once, on the final device."""

    @abstractmethod
    def generators(self) -> dict[str, nn.Module]:
        """Return the network of each direction: what is validated, averaged and saved."""

    @abstractmethod
    def losses(
        self, batch: Batch, rng: torch.Generator, epoch: int, pooled: Pooled
    ) -> Iterator[tuple[Tensor, Terms]]:
        """Yield the losses of one step; for a GAN, those of the generators before those of the discriminators.

        The loop calls `backward` on each loss before it requests the next, and updates the weights after the last, so
        that all losses are computed with the same weights. This allows batches to accumulate, processes to share a
        batch, and one checkpoint to hold everything.

        Args:
            batch: This process's share of the batch.
            rng: Source of all random numbers; draw the same number for every batch size. Layers with their own draws,
                such as dropout, use torch's own generator, which the loop seeds anew in every epoch.
            epoch: Epoch, counted from 0 over all phases.
            pooled: Gives a discriminator older synthetic images as well; see `Pooled`.

        Yields:
            A loss, which is a mean over the batch, and its unweighted terms.
        """


def adam(params: "AdamParams", **groups: Iterable[nn.Module]) -> dict[str, torch.optim.Optimizer]:
    """Make one Adam per group, over all weights of its networks that are trained."""
    return {
        name: torch.optim.Adam(
            [weight for network in networks for weight in network.parameters() if weight.requires_grad],
            lr=params.learning_rate,
            betas=params.adam_betas,
            fused=True,
        )
        for name, networks in groups.items()
    }


class AdamParams(Section):
    """Learning rate and betas of Adam, the same for all networks of a method."""

    learning_rate: float = Field(gt=0)
    adam_betas: tuple[float, float]
