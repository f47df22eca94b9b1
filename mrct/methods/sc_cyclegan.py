"""scCycleGAN (Jeong 2024): two generators, two patch discriminators and the losses of one training step.

Both directions at once: `mr_to_ct` makes CT, `ct_to_mr` makes MR; `ct_discriminator` and `mr_discriminator` judge them.
Images are (B, 1, H, W) in [-1, 1]. What the paper leaves open is a parameter (params.yaml, Table 1's keys at
top level); departures: CycleGAN's down- and upsampling, its betas and its cycle loss, which the paper's
name and introduction have and its loss section does not list.
"""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from mrct.core.errors import DataError
from mrct.losses.adversarial import discriminator_loss, generator_loss, judged
from mrct.losses.pixel import pixel_translation_loss, pixel_weights
from mrct.methods.adam import AdamParams, adam
from mrct.methods.batch import ONE_PHASE, Batch, Before, Phase, Pooled
from mrct.methods.gan_networks import (
    DiscriminatorParams,
    GeneratorParams,
    build_discriminator,
    build_generator,
)
from mrct.methods.structure_term import StructureTerm
from mrct.networks.patchgan import PatchDiscriminator
from mrct.networks.resnet import ResnetGenerator

#: What it is trained on.
EXAMPLES = "slices"


class Params(AdamParams):
    """Table 1 of the paper and what it leaves open."""

    lambda_adv: float = Field(ge=0)
    lambda_pix: float = Field(ge=0)
    lambda_str: float = Field(ge=0)
    lambda_cyc: float = Field(ge=0)
    lambda_idt: float = Field(ge=0)
    pixel_weighting: Literal["clip", "minmax", "none"]
    structure_loss: Literal["sc_map", "mind", "none"]
    structure_features: Literal["random_conv", "encoder", "vgg16"]
    vgg16_weights: str
    pretrain_epochs: int = Field(ge=0)
    generator: GeneratorParams
    discriminator: DiscriminatorParams

    @property
    def structure(self) -> bool:
        """Whether the structure loss takes part."""
        return self.lambda_str > 0 and self.structure_loss != "none"

    @property
    def discriminators(self) -> bool:
        """Whether anything asks the discriminators: the adversarial loss, or the weights of the pixel loss."""
        return self.lambda_adv > 0 or (self.lambda_pix > 0 and self.pixel_weighting != "none")

    @model_validator(mode="after")
    def _something_to_minimize(self) -> "Params":
        weights = (self.lambda_adv, self.lambda_pix, self.lambda_cyc, self.lambda_idt)
        if not any(weights) and not self.structure:
            raise DataError(
                "all weights are zero; set one of lambda_adv, lambda_pix, lambda_str (with a structure_loss), "
                "lambda_cyc, lambda_idt"
            )
        if self.pretrain_epochs and not self.lambda_pix:
            raise DataError("pretrain_epochs trains by the pixel loss alone, and lambda_pix is 0; raise it")
        if self.structure_loss == "sc_map" and self.structure_features == "vgg16" and not self.vgg16_weights:
            raise DataError("structure_features: vgg16 needs the file's path in vgg16_weights")
        return self


class Side(NamedTuple):
    """What the losses of one synthetic image need: x (source) -> ŷ (synthetic), held against y (target)."""

    name: str
    forth: ResnetGenerator
    back: ResnetGenerator
    discriminator: PatchDiscriminator
    source: Tensor
    target: Tensor
    synthetic: Tensor
    identity: Tensor | None


class ScCycleGan(nn.Module):
    """The four networks and their two optimizers."""

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.params = params
        self.mr_to_ct = build_generator(params.generator)
        self.ct_to_mr = build_generator(params.generator)
        self.ct_discriminator = build_discriminator(params.discriminator)
        self.mr_discriminator = build_discriminator(params.discriminator)
        self.structure = StructureTerm(params.structure_loss, params.structure_features, params.vgg16_weights)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam for the generators and for the discriminators, at the paper's learning rate."""
        return adam(
            self.params,
            generators=(self.mr_to_ct, self.ct_to_mr),
            discriminators=(self.ct_discriminator, self.mr_discriminator),
        )

    def generators(self) -> dict[str, nn.Module]:
        """The generator of each direction."""
        return {"mr_to_ct": self.mr_to_ct, "ct_to_mr": self.ct_to_mr}

    def losses(
        self, batch: Batch, rng: torch.Generator, epoch: int, pooled: Pooled
    ) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """The generators' loss, then the discriminators'; each with its unweighted terms."""
        pretraining = epoch < self.params.pretrain_epochs
        sides = self._translate(batch.mr, batch.ct, identity=self.params.lambda_idt > 0 and not pretraining)
        terms: dict[str, Tensor] = {}
        for side in sides:
            terms |= self._pixel_term(side, None) if pretraining else self._generator_terms(side, rng)
        yield self._weighted(terms), terms
        if self.params.discriminators and not pretraining:
            terms = {f"discriminator_{side.name}": self._discriminator_term(side, pooled) for side in sides}
            yield torch.stack(list(terms.values())).sum(), terms

    def _translate(self, mr: Tensor, ct: Tensor, identity: bool) -> list[Side]:
        """Both translations, and for the identity loss G(y) in the same pass as G(x)."""
        sides = []
        for name, forth, back, discriminator, source, target in (
            ("ct", self.mr_to_ct, self.ct_to_mr, self.ct_discriminator, mr, ct),
            ("mr", self.ct_to_mr, self.mr_to_ct, self.mr_discriminator, ct, mr),
        ):
            same = None
            if identity:
                synthetic, same = forth(torch.cat([source, target])).chunk(2)
            else:
                synthetic = forth(source)
            sides.append(Side(name, forth, back, discriminator, source, target, synthetic, same))
        return sides

    def _weighted(self, terms: dict[str, Tensor]) -> Tensor:
        weights = {
            kind: getattr(self.params, f"lambda_{kind}") for kind in ("adv", "pix", "str", "cyc", "idt")
        }
        return torch.stack([weights[name[:3]] * term for name, term in terms.items()]).sum()

    def _generator_terms(self, side: Side, rng: torch.Generator) -> dict[str, Tensor]:
        params, terms = self.params, dict[str, Tensor]()
        logits = judged(side.discriminator, side.synthetic) if params.discriminators else None
        if params.lambda_adv > 0 and logits is not None:
            terms[f"adv_{side.name}"] = generator_loss(logits)
        if params.lambda_pix > 0:
            terms |= self._pixel_term(side, logits)
        if params.structure:
            terms[f"str_{side.name}"] = self.structure(side.forth.encoder, side.source, side.synthetic, rng)
        if params.lambda_cyc > 0:
            source_name = "mr" if side.name == "ct" else "ct"
            terms[f"cyc_{source_name}"] = (side.back(side.synthetic) - side.source).abs().mean()
        if side.identity is not None:
            terms[f"idt_{side.name}"] = (side.identity - side.target).abs().mean()
        return terms

    def _pixel_term(self, side: Side, logits: Tensor | None) -> dict[str, Tensor]:
        weighting = "none" if logits is None else self.params.pixel_weighting
        size = (side.target.shape[-2], side.target.shape[-1])
        weights = pixel_weights(side.target if logits is None else logits, size, weighting)
        return {f"pix_{side.name}": pixel_translation_loss(side.synthetic, side.target, weights)}

    def _discriminator_term(self, side: Side, pooled: Pooled) -> Tensor:
        shown = pooled(side.name, side.synthetic.detach())
        if self.params.discriminator.norm == "instance":
            real, synthetic = side.discriminator(torch.cat([side.target, shown])).chunk(2)
        else:  # statistics over a mixed batch would tell real from synthetic
            real, synthetic = side.discriminator(side.target), side.discriminator(shown)
        return discriminator_loss(real, synthetic)


def phases(params: Params) -> tuple[Phase, ...]:
    """One training; `pretrain_epochs` are its first epochs."""
    return ONE_PHASE


def build(params: Params, phase: str, before: Before) -> ScCycleGan:
    """The untrained networks."""
    return ScCycleGan(params)


def network_config(params: Params) -> dict[str, Any]:
    """What `build_network` needs for one direction."""
    return params.generator.model_dump()


def build_network(config: dict[str, Any]) -> nn.Module:
    """An untrained generator of the stored configuration, ready for its weights."""
    return build_generator(GeneratorParams(**config))
