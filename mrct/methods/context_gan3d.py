"""Context-aware 3D GAN with auto-context (Kaiser 2019, sec. 3.3.3, after Nie 2017): MR cubes of 32 to CT cubes of 16.

Each iteration is a phase. The first generator sees the MR. Each later one also sees the CT that the previous generators
predict for the whole volume, because a patch of 16 voxels cannot fill an input of 32. The paper leaves open:

- the losses; here they are those of its pix2pix (MAE and least squares) and the gradient difference loss of Nie;
- norms; here there are none, as in its tables;
- the initial weights of a later generator; `start: before` copies those of the previous generator and adds a context
  channel that is ignored at first, `fresh` initializes anew.

Departure: the predictions for the training patients come from generators that were trained on them. Predictions by
folds would be closer to those for new patients.
"""

from collections.abc import Iterator
from typing import Any, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from mrct.losses.adversarial import discriminator_loss, frozen_scores, generator_loss
from mrct.losses.gradient_difference import gradient_difference_loss
from mrct.networks.context3d import MADE, SEEN, ContextChain, ContextDiscriminator, with_blind_channel
from mrct.networks.sliding_window import Window
from mrct.training.method import AdamParams, Batch, Before, Phase, Pooled, Terms, TrainedMethod, adam
from mrct.training.patches import PatchParams
from mrct.training.settings import AdversarialLoop

CONTEXT = "context"


class ContextGanParams(PatchParams, AdamParams):
    """Parameters of Tables 4, 5 and 6 of the paper, and those that it leaves open."""

    iterations: int = Field(ge=1)
    start: Literal["before", "fresh"]
    filters: int = Field(ge=1)
    lambda_mae: float = Field(gt=0)
    lambda_gdl: float = Field(ge=0)
    lambda_adv: float = Field(ge=0)

    @property
    def window(self) -> Window:
        """Return the window: 32 voxels in, 16 out."""
        return Window(SEEN, MADE, self.overlap)


class ContextGan(TrainedMethod[ContextGanParams]):
    """Chain of generators, of which the last one is trained, and its discriminator."""

    Params = ContextGanParams
    Loop = AdversarialLoop

    def __init__(self, params: ContextGanParams, iteration: int = 1) -> None:
        super().__init__(params)
        self.mr_to_ct = self._build_chain(params, iteration)
        self.mr_to_ct.generators[:-1].requires_grad_(False)
        self.ct_discriminator = ContextDiscriminator(params.filters)

    @classmethod
    def phases(cls, params: ContextGanParams) -> tuple[Phase, ...]:
        """Return one phase per iteration; all but the first need the predictions of the previous ones."""
        return tuple(
            Phase(_name(number), others=(CONTEXT,) if number > 1 else ())
            for number in range(1, params.iterations + 1)
        )

    @classmethod
    def build(cls, params: ContextGanParams, phase: str, before: Before) -> Self:
        """Build the previous generators with their best weights, one to be trained, and an untrained discriminator."""
        iteration = _number(phase)
        method = cls(params, iteration)
        if iteration > 1:
            chosen = before[_name(iteration - 1)].best["mr_to_ct"]
            method.mr_to_ct.load_state_dict(method.mr_to_ct.state_dict() | dict(chosen))
            if params.start == "before":
                *_, last, new = method.mr_to_ct.generators
                new.load_state_dict(with_blind_channel(last.state_dict()))
        return method

    @classmethod
    def network_before(cls, params: ContextGanParams, phase: str, before: Before) -> nn.Module:
        """Build the chain of the iterations that have ended; its predictions are the context of the phase."""
        iteration = _number(phase) - 1
        network = cls._build_chain(params, iteration)
        network.load_state_dict(dict(before[_name(iteration)].best["mr_to_ct"]))
        return network

    @classmethod
    def network_config(cls, params: ContextGanParams) -> dict[str, Any]:
        """Return the length and size of the chain, and how it takes volumes apart."""
        return params.model_dump(include={"iterations", "filters", "overlap", "resample_slices_mm"})

    @classmethod
    def build_network(cls, config: dict[str, Any]) -> ContextChain:
        """Build an untrained chain of the stored configuration."""
        return ContextChain(**config)

    @classmethod
    def _build_chain(cls, params: ContextGanParams, iterations: int) -> ContextChain:
        return cls.build_network(cls.network_config(params) | {"iterations": iterations})

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return Adam for the last generator and for the discriminator (Table 6)."""
        return adam(self.params, generators=[self.mr_to_ct], discriminators=[self.ct_discriminator])

    def generators(self) -> dict[str, nn.Module]:
        """Return the whole chain, which can be used alone."""
        return {"mr_to_ct": self.mr_to_ct}

    def losses(
        self, batch: Batch, rng: torch.Generator, epoch: int, pooled: Pooled
    ) -> Iterator[tuple[Tensor, Terms]]:
        """Yield the loss of the generator, of images in [0, 1] as in the paper, then that of the discriminator."""
        synthetic = self.mr_to_ct(torch.cat([batch.mr, *batch.other.values()], 1))
        shown, real = (synthetic + 1) / 2, (batch.ct + 1) / 2
        error = (shown - real).abs().mean()
        terms = {"mae_ct": error}
        if self.params.lambda_gdl:
            terms["gdl_ct"] = gradient_difference_loss(shown, real)
        if self.params.lambda_adv:
            terms["adv_ct"] = generator_loss(frozen_scores(self.ct_discriminator, synthetic))
        loss = self.params.lambda_mae * error
        if self.params.lambda_gdl:
            loss = loss + self.params.lambda_gdl * terms["gdl_ct"]
        if self.params.lambda_adv:
            loss = loss + self.params.lambda_adv * terms["adv_ct"]
        yield loss, terms
        if self.params.lambda_adv:
            older = self.ct_discriminator(pooled("ct", synthetic.detach()))
            loss = discriminator_loss(self.ct_discriminator(batch.ct), older)
            yield loss, {"discriminator_ct": loss}


def _name(iteration: int) -> str:
    return f"iteration_{iteration}"


def _number(phase: str) -> int:
    return int(phase.removeprefix("iteration_"))
