"""The context-aware 3D GAN with auto-context (Kaiser 2019, sec. 3.3.3, after Nie 2017): MR cubes of 32 to CT of 16.

Each iteration is a phase: the first generator sees the MR, the next ones also the CT that the generators before
predicted for the whole volume, not for a patch, since 16 voxels cannot fill an input of 32. What the paper leaves open:
which losses (here MAE and least-squares adversarial weighed as in its pix2pix, and the gradient difference loss of
Nie), norms (none, as none is in its tables) and where a later generator starts (`start`: `before` with the weights of
the one before, blind to the context, so that it goes on from there; `fresh` anew). Departure: the training patients'
predictions come from generators that were trained on them; those by folds would be closer to what a new patient gives.
"""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mrct.losses.adversarial import discriminator_loss, generator_loss, judged
from mrct.losses.gradient_difference import gradient_difference_loss
from mrct.methods.adam import AdamParams, adam
from mrct.methods.batch import Batch, Before, Phase, Pooled
from mrct.methods.patches import PatchParams
from mrct.networks.context3d import MADE, SEEN, ContextChain, ContextDiscriminator, with_blind_channel
from mrct.networks.sliding_window import Window

EXAMPLES = "patches"
DISCRIMINATORS = True
CONTEXT = "context"


class Params(PatchParams, AdamParams):
    """Tables 4, 5 and 6 of the paper and what it leaves open."""

    iterations: int = Field(ge=1)
    start: Literal["before", "fresh"]
    filters: int = Field(ge=1)
    lambda_mae: float = Field(gt=0)
    lambda_gdl: float = Field(ge=0)
    lambda_adv: float = Field(ge=0)

    @property
    def window(self) -> Window:
        """32 voxels in, 16 out."""
        return Window(SEEN, MADE, self.overlap)


class ContextGan(nn.Module):
    """The chain, of which the last generator is trained, and its discriminator."""

    def __init__(self, params: Params, iteration: int) -> None:
        super().__init__()
        self.params = params
        self.mr_to_ct = build_network(network_config(params) | {"iterations": iteration})
        self.mr_to_ct.generators[:-1].requires_grad_(False)
        self.ct_discriminator = ContextDiscriminator(params.filters)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam for the last generator and for the discriminator, as Table 6."""
        return adam(self.params, generators=[self.mr_to_ct], discriminators=[self.ct_discriminator])

    def generators(self) -> dict[str, nn.Module]:
        """The whole chain: it can be used alone."""
        return {"mr_to_ct": self.mr_to_ct}

    def losses(
        self, batch: Batch, rng: torch.Generator, epoch: int, pooled: Pooled
    ) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """The generator's loss, then the discriminator's; each with its unweighted terms. Images in [0, 1], as the paper's."""
        synthetic = self.mr_to_ct(torch.cat([batch.mr, *batch.other.values()], 1))
        shown, real = (synthetic + 1) / 2, (batch.ct + 1) / 2
        terms = {"mae_ct": (shown - real).abs().mean()}
        if self.params.lambda_gdl:
            terms["gdl_ct"] = gradient_difference_loss(shown, real)
        if self.params.lambda_adv:
            terms["adv_ct"] = generator_loss(judged(self.ct_discriminator, synthetic))
        yield (
            torch.stack(
                [getattr(self.params, f"lambda_{name[:3]}") * term for name, term in terms.items()]
            ).sum(),
            terms,
        )
        if self.params.lambda_adv:
            older = self.ct_discriminator(pooled("ct", synthetic.detach()))
            loss = discriminator_loss(self.ct_discriminator(batch.ct), older)
            yield loss, {"discriminator_ct": loss}


def phases(params: Params) -> tuple[Phase, ...]:
    """One training an iteration; all but the first need what the ones before predict."""
    return tuple(
        Phase(_name(number), others=(CONTEXT,) if number > 1 else ())
        for number in range(1, params.iterations + 1)
    )


def build(params: Params, phase: str, before: Before) -> ContextGan:
    """The generators before with their best weights, one to be trained, and an untrained discriminator."""
    iteration = _number(phase)
    method = ContextGan(params, iteration)
    if iteration > 1:
        chosen = before[_name(iteration - 1)].best["mr_to_ct"]
        method.mr_to_ct.load_state_dict(method.mr_to_ct.state_dict() | dict(chosen))
        if params.start == "before":
            *_, last, new = method.mr_to_ct.generators
            new.load_state_dict(with_blind_channel(last.state_dict()))
    return method


def network_before(params: Params, phase: str, before: Before) -> nn.Module:
    """The chain of the iterations that have ended: its predictions are the phase's context."""
    iteration = _number(phase) - 1
    network = build_network(network_config(params) | {"iterations": iteration})
    network.load_state_dict(dict(before[_name(iteration)].best["mr_to_ct"]))
    return network


def network_config(params: Params) -> dict[str, Any]:
    """What `build_network` needs."""
    return params.model_dump(include={"iterations", "filters", "overlap", "resample_slices_mm"})


def build_network(config: dict[str, Any]) -> ContextChain:
    """An untrained chain of the stored configuration, ready for its weights."""
    return ContextChain(**config)


def _name(iteration: int) -> str:
    return f"iteration_{iteration}"


def _number(phase: str) -> int:
    return int(phase.removeprefix("iteration_"))
