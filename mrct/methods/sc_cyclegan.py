"""scCycleGAN (Jeong 2024): two generators, two patch critics, four losses, one training step.

Both directions at once: `mr_to_ct` makes CT, `ct_to_mr` makes MR; `ct_critic` and `mr_critic` judge them.
Images are (B, 1, H, W) in [-1, 1]. What the paper leaves open is a parameter (params.yaml, Table 1's keys at
top level); departures: CycleGAN's down- and upsampling, its betas and its cycle loss, which the paper's
name and introduction have and its loss section does not list.
"""

from collections.abc import Callable
from typing import Any, Literal, TypeVar

import torch
from pydantic import model_validator
from torch import Tensor, nn

from mrct.losses.adversarial import discriminator_loss, generator_loss
from mrct.losses.pixel import pixel_translation_loss, pixel_weights
from mrct.losses.structure import spatial_correlation_loss
from mrct.networks.patchgan import PatchDiscriminator
from mrct.networks.random_features import RandomConvFeatures
from mrct.networks.resnet import ResnetGenerator
from mrct.params import Section

Network = TypeVar("Network", bound=nn.Module)


class GeneratorParams(Section):
    """Size of both generators."""

    filters: int
    blocks: int
    downsamplings: int


class DiscriminatorParams(Section):
    """Size and norm of both critics."""

    filters: int
    norm: Literal["batch", "instance"]


class Params(Section):
    """Table 1 of the paper and what it leaves open."""

    learning_rate: float
    adam_betas: tuple[float, float]
    lambda_adv: float
    lambda_pix: float
    lambda_str: float
    lambda_cyc: float
    pixel_weighting: Literal["clip", "minmax", "none"]
    structure_loss: Literal["sc_map", "none"]
    structure_features: Literal["random_conv", "encoder"]
    pretrain_epochs: int
    generator: GeneratorParams
    discriminator: DiscriminatorParams

    @model_validator(mode="after")
    def _something_to_minimize(self) -> "Params":
        if self.lambda_adv == self.lambda_pix == self.lambda_str == self.lambda_cyc == 0:
            raise ValueError(
                "all weights are zero; set one of lambda_adv, lambda_pix, lambda_str, lambda_cyc"
            )
        return self


def build_generator(params: GeneratorParams) -> ResnetGenerator:
    """One untrained generator."""
    return _channels_last(ResnetGenerator(params.filters, params.blocks, params.downsamplings))


class ScCycleGan(nn.Module):
    """The four networks and their two optimizers."""

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.params = params
        self.mr_to_ct = build_generator(params.generator)
        self.ct_to_mr = build_generator(params.generator)
        critic = params.discriminator
        self.ct_critic = _channels_last(PatchDiscriminator(critic.filters, critic.norm))
        self.mr_critic = _channels_last(PatchDiscriminator(critic.filters, critic.norm))
        self.features = RandomConvFeatures()

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam for the generators and for the critics, at the paper's learning rate."""
        groups = {"generators": (self.mr_to_ct, self.ct_to_mr), "critics": (self.ct_critic, self.mr_critic)}
        return {
            name: torch.optim.Adam(
                [weight for network in networks for weight in network.parameters()],
                lr=self.params.learning_rate,
                betas=self.params.adam_betas,
            )
            for name, networks in groups.items()
        }

    def generators(self) -> dict[str, nn.Module]:
        """The generator of each direction."""
        return {"mr_to_ct": self.mr_to_ct, "ct_to_mr": self.ct_to_mr}

    def train_step(
        self,
        mr: Tensor,
        ct: Tensor,
        optimizers: dict[str, torch.optim.Optimizer],
        rng: torch.Generator,
        epoch: int,
    ) -> dict[str, Tensor]:
        """One update of generators, then critics; the unweighted loss terms, detached."""
        pretraining = epoch < self.params.pretrain_epochs
        synthetic_ct, synthetic_mr = self.mr_to_ct(mr), self.ct_to_mr(ct)
        if pretraining:
            terms = self._pixel_terms(mr, ct, synthetic_mr, synthetic_ct, None, None)
        else:
            terms = self._generator_terms(mr, ct, synthetic_mr, synthetic_ct, rng)
        _update(optimizers["generators"], self._total(terms))
        if not pretraining and self.params.lambda_adv > 0:
            critics = self._critic_terms(mr, ct, synthetic_mr.detach(), synthetic_ct.detach())
            _update(optimizers["critics"], sum(critics.values(), torch.zeros((), device=mr.device)))
            terms |= critics
        return {name: term.detach() for name, term in terms.items()}

    def _total(self, terms: dict[str, Tensor]) -> Tensor:
        weights = {
            "adv": self.params.lambda_adv,
            "pix": self.params.lambda_pix,
            "str": self.params.lambda_str,
            "cyc": self.params.lambda_cyc,
        }
        return torch.stack([weights[name[:3]] * term for name, term in terms.items()]).sum()

    def _generator_terms(
        self, mr: Tensor, ct: Tensor, synthetic_mr: Tensor, synthetic_ct: Tensor, rng: torch.Generator
    ) -> dict[str, Tensor]:
        terms: dict[str, Tensor] = {}
        ct_logits = mr_logits = None
        weighted = self.params.lambda_pix > 0 and self.params.pixel_weighting != "none"
        if self.params.lambda_adv > 0 or weighted:
            for critic in (self.ct_critic, self.mr_critic):
                critic.requires_grad_(False)  # the generators' step needs no gradient of the critics' weights
            ct_logits, mr_logits = self.ct_critic(synthetic_ct), self.mr_critic(synthetic_mr)
            for critic in (self.ct_critic, self.mr_critic):
                critic.requires_grad_(True)
        if self.params.lambda_adv > 0 and ct_logits is not None and mr_logits is not None:
            terms |= {"adv_ct": generator_loss(ct_logits), "adv_mr": generator_loss(mr_logits)}
        if self.params.lambda_pix > 0:
            terms |= self._pixel_terms(mr, ct, synthetic_mr, synthetic_ct, mr_logits, ct_logits)
        if self.params.lambda_str > 0 and self.params.structure_loss != "none":
            terms |= self._structure_terms(mr, ct, synthetic_mr, synthetic_ct, rng)
        if self.params.lambda_cyc > 0:
            terms |= {
                "cyc_mr": (self.ct_to_mr(synthetic_ct) - mr).abs().mean(),
                "cyc_ct": (self.mr_to_ct(synthetic_mr) - ct).abs().mean(),
            }
        return terms

    def _pixel_terms(
        self,
        mr: Tensor,
        ct: Tensor,
        synthetic_mr: Tensor,
        synthetic_ct: Tensor,
        mr_logits: Tensor | None,
        ct_logits: Tensor | None,
    ) -> dict[str, Tensor]:
        def term(synthetic: Tensor, real: Tensor, logits: Tensor | None) -> Tensor:
            weighting = "none" if logits is None else self.params.pixel_weighting
            size = (real.shape[-2], real.shape[-1])
            return pixel_translation_loss(
                synthetic, real, pixel_weights(real if logits is None else logits, size, weighting)
            )

        return {"pix_ct": term(synthetic_ct, ct, ct_logits), "pix_mr": term(synthetic_mr, mr, mr_logits)}

    def _structure_terms(
        self, mr: Tensor, ct: Tensor, synthetic_mr: Tensor, synthetic_ct: Tensor, rng: torch.Generator
    ) -> dict[str, Tensor]:
        from_mr, from_ct = self._extractor(self.mr_to_ct), self._extractor(self.ct_to_mr)
        return {
            "str_ct": spatial_correlation_loss(_fixed(from_mr, mr), from_mr(synthetic_ct), rng),
            "str_mr": spatial_correlation_loss(_fixed(from_ct, ct), from_ct(synthetic_mr), rng),
        }

    def _extractor(self, generator: ResnetGenerator) -> Callable[[Tensor], list[Tensor]]:
        """Random filters, or the generator's own encoder with its weights held fixed."""
        if self.params.structure_features == "random_conv":
            return self.features
        weights = {name: weight.detach() for name, weight in generator.encoder.named_parameters()}
        return lambda image: [torch.func.functional_call(generator.encoder, weights, (image,))]

    def _critic_terms(
        self, mr: Tensor, ct: Tensor, synthetic_mr: Tensor, synthetic_ct: Tensor
    ) -> dict[str, Tensor]:
        return {
            "critic_ct": discriminator_loss(self.ct_critic(ct), self.ct_critic(synthetic_ct)),
            "critic_mr": discriminator_loss(self.mr_critic(mr), self.mr_critic(synthetic_mr)),
        }


def _channels_last(network: Network) -> Network:
    """The memory layout in which CPU and GPU convolutions are fastest."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs omit it
    return network


def _fixed(extractor: Callable[[Tensor], list[Tensor]], image: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return extractor(image)


def _update(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def build_network(config: dict[str, Any]) -> nn.Module:
    """An untrained generator of the stored configuration, ready for its weights."""
    return build_generator(GeneratorParams(**config))
