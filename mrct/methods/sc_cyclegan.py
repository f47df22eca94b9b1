"""scCycleGAN (Jeong 2024): two generators, two patch discriminators and the losses of one training step.

Both directions are trained at once: `mr_to_ct` synthesizes CT, `ct_to_mr` synthesizes MR; `ct_discriminator` and
`mr_discriminator` distinguish real from synthetic images. Images are (B, 1, H, W) in [-1, 1]. The parameters are
top-level keys of params.yaml: Table 1 of the paper and what it leaves open. Departures: down- and upsampling, betas of
Adam and the cycle loss are those of CycleGAN (Zhu 2017). The paper has the cycle in its name and introduction, but not
in its list of losses.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from mrct.core.errors import DataError, NotFoundError
from mrct.core.fingerprints import file_hash
from mrct.core.params import Section
from mrct.losses.adversarial import discriminator_loss, frozen_scores, generator_loss
from mrct.losses.mind import mind, mind_loss
from mrct.losses.pixel import pixel_translation_loss, pixel_weights
from mrct.losses.structure import spatial_correlation_loss
from mrct.networks.patchgan import PatchDiscriminator
from mrct.networks.random_features import RandomConvFeatures
from mrct.networks.resnet import ResnetGenerator
from mrct.networks.vgg16 import Vgg16Features
from mrct.training.method import AdamParams, Batch, Pooled, Terms, TrainedMethod, adam
from mrct.training.settings import AdversarialLoop

Network = TypeVar("Network", bound=nn.Module)


class GeneratorParams(Section):
    """Size of both generators; see `ResnetGenerator`."""

    filters: int = Field(ge=1)
    blocks: int = Field(ge=0)
    downsamplings: int = Field(ge=0)
    upsampling: Literal["transposed", "resize"]


class DiscriminatorParams(Section):
    """Size and norm of both discriminators; see `PatchDiscriminator`."""

    filters: int = Field(ge=1)
    norm: Literal["batch", "instance"]


class ScCycleGanParams(AdamParams):
    """Parameters of Table 1 of the paper, and those that it leaves open."""

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
    def uses_structure(self) -> bool:
        """Return whether the structure loss is used."""
        return self.lambda_str > 0 and self.structure_loss != "none"

    @property
    def uses_discriminators(self) -> bool:
        """Return whether the adversarial loss or the weights of the pixel loss need the discriminators."""
        return self.lambda_adv > 0 or (self.lambda_pix > 0 and self.pixel_weighting != "none")

    @model_validator(mode="after")
    def _something_to_minimize(self) -> "ScCycleGanParams":
        weights = (self.lambda_adv, self.lambda_pix, self.lambda_cyc, self.lambda_idt)
        if not any(weights) and not self.uses_structure:
            raise DataError(
                "all weights are zero; set one of lambda_adv, lambda_pix, lambda_str (with a structure_loss), "
                "lambda_cyc, lambda_idt"
            )
        if self.pretrain_epochs and not self.lambda_pix:
            raise DataError("pretrain_epochs trains by the pixel loss alone, and lambda_pix is 0; raise it")
        if self.structure_loss == "sc_map" and self.structure_features == "vgg16" and not self.vgg16_weights:
            raise DataError("structure_features: vgg16 needs the file's path in vgg16_weights")
        return self


class Translation(NamedTuple):
    """One translation G(x) = ŷ of a batch, with everything that its losses need."""

    modality: str
    generator: ResnetGenerator
    back: ResnetGenerator
    discriminator: PatchDiscriminator
    source: Tensor
    target: Tensor
    synthetic: Tensor
    identity: Tensor | None


class ScCycleGan(TrainedMethod[ScCycleGanParams]):
    """Two generators and two discriminators, with one optimizer for each kind."""

    Params = ScCycleGanParams
    Loop = AdversarialLoop
    top_level = True

    def __init__(self, params: ScCycleGanParams) -> None:
        super().__init__(params)
        self.mr_to_ct = _build_generator(params.generator)
        self.ct_to_mr = _build_generator(params.generator)
        self.ct_discriminator = _build_discriminator(params.discriminator)
        self.mr_discriminator = _build_discriminator(params.discriminator)
        self.structure = StructureLoss(params.structure_loss, params.structure_features, params.vgg16_weights)

    @classmethod
    def network_config(cls, params: ScCycleGanParams) -> dict[str, Any]:
        """Return the size of a generator."""
        return params.generator.model_dump()

    @classmethod
    def build_network(cls, config: dict[str, Any]) -> nn.Module:
        """Build an untrained generator of the stored size."""
        return _build_generator(GeneratorParams(**config))

    @classmethod
    def provenance(cls, params: ScCycleGanParams) -> dict[str, Any]:
        """Return the parameters with VGG16's weights named by their SHA-256, or not at all if they are not used.

        Raises:
            NotFoundError: The file of VGG16's weights is missing.
        """
        used = params.uses_structure and params.structure_loss == "sc_map"
        digest = ""
        if used and params.structure_features == "vgg16":
            file = Path(params.vgg16_weights)
            if not file.is_file():
                raise NotFoundError(f"vgg16_weights: {file}: no such file; name the file of VGG16's weights")
            digest = file_hash(file)
        return super().provenance(params) | {"vgg16_weights": digest}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return Adam for the generators and for the discriminators, at one learning rate (Table 1)."""
        return adam(
            self.params,
            generators=(self.mr_to_ct, self.ct_to_mr),
            discriminators=(self.ct_discriminator, self.mr_discriminator),
        )

    def generators(self) -> dict[str, nn.Module]:
        """Return the generator of each direction."""
        return {"mr_to_ct": self.mr_to_ct, "ct_to_mr": self.ct_to_mr}

    def losses(
        self, batch: Batch, rng: torch.Generator, epoch: int, pooled: Pooled
    ) -> Iterator[tuple[Tensor, Terms]]:
        """Yield the loss of both generators, then that of both discriminators.

        The first `pretrain_epochs` have only the plain pixel loss.
        """
        pretraining = epoch < self.params.pretrain_epochs
        translations = self._translate(batch.mr, batch.ct, self.params.lambda_idt > 0 and not pretraining)
        losses, terms = [], Terms()
        for translation in translations:
            loss, of_this = (
                self._pretraining_loss(translation) if pretraining else self._generator_loss(translation, rng)
            )
            losses.append(loss)
            terms |= of_this
        yield torch.stack(losses).sum(), terms
        if self.params.uses_discriminators and not pretraining:
            terms = {
                f"discriminator_{translation.modality}": self._discriminator_loss(translation, pooled)
                for translation in translations
            }
            yield torch.stack(list(terms.values())).sum(), terms

    def _translate(self, mr: Tensor, ct: Tensor, with_identity: bool) -> list[Translation]:
        """Compute both translations; G(y), which the identity loss needs, is computed in the same pass as G(x)."""
        translations = []
        for modality, generator, back, discriminator, source, target in (
            ("ct", self.mr_to_ct, self.ct_to_mr, self.ct_discriminator, mr, ct),
            ("mr", self.ct_to_mr, self.mr_to_ct, self.mr_discriminator, ct, mr),
        ):
            identity = None
            if with_identity:
                synthetic, identity = generator(torch.cat([source, target])).chunk(2)
            else:
                synthetic = generator(source)
            translations.append(
                Translation(modality, generator, back, discriminator, source, target, synthetic, identity)
            )
        return translations

    def _generator_loss(self, x: Translation, rng: torch.Generator) -> tuple[Tensor, Terms]:
        """Compute the weighted sum of one generator's loss terms; a term whose weight is 0 is not computed."""
        params = self.params
        logits = frozen_scores(x.discriminator, x.synthetic) if params.uses_discriminators else None
        adversarial = pixel = structure = cycle = identity = None
        if params.lambda_adv > 0 and logits is not None:
            adversarial = generator_loss(logits)
        if params.lambda_pix > 0:
            pixel = _pixel_loss(x, logits, params.pixel_weighting)
        if params.uses_structure:
            structure = self.structure(x.generator.encoder, x.source, x.synthetic, rng)
        if params.lambda_cyc > 0:
            cycle = (x.back(x.synthetic) - x.source).abs().mean()
        if x.identity is not None:
            identity = (x.identity - x.target).abs().mean()
        loss = (
            params.lambda_adv * _or_zero(adversarial)
            + params.lambda_pix * _or_zero(pixel)
            + params.lambda_str * _or_zero(structure)
            + params.lambda_cyc * _or_zero(cycle)
            + params.lambda_idt * _or_zero(identity)
        )
        terms = {
            f"adv_{x.modality}": adversarial,
            f"pix_{x.modality}": pixel,
            f"str_{x.modality}": structure,
            f"cyc_{'mr' if x.modality == 'ct' else 'ct'}": cycle,
            f"idt_{x.modality}": identity,
        }
        return torch.as_tensor(loss), {name: term for name, term in terms.items() if term is not None}

    def _pretraining_loss(self, x: Translation) -> tuple[Tensor, Terms]:
        pixel = _pixel_loss(x, None, "none")
        return self.params.lambda_pix * pixel, {f"pix_{x.modality}": pixel}

    def _discriminator_loss(self, x: Translation, pooled: Pooled) -> Tensor:
        shown = pooled(x.modality, x.synthetic.detach())
        if self.params.discriminator.norm == "instance":
            real, synthetic = x.discriminator(torch.cat([x.target, shown])).chunk(2)
        else:
            # two passes: common batch statistics would reveal which images are real
            real, synthetic = x.discriminator(x.target), x.discriminator(shown)
        return discriminator_loss(real, synthetic)


def _pixel_loss(x: Translation, logits: Tensor | None, weighting: str) -> Tensor:
    """Compute the pixel translation loss; without logits every pixel has the same weight."""
    size = (x.target.shape[-2], x.target.shape[-1])
    weights = (
        pixel_weights(x.target, size, "none") if logits is None else pixel_weights(logits, size, weighting)
    )
    return pixel_translation_loss(x.synthetic, x.target, weights)


def _or_zero(term: Tensor | None) -> Tensor | float:
    return 0.0 if term is None else term


class StructureLoss(nn.Module):
    """Structure loss of source and synthetic images (B, 1, H, W) in [-1, 1]; a scalar, small for equal structure.

    `loss` and `features` are the keys `structure_loss` and `structure_features` of params.yaml.
    """

    def __init__(self, loss: str, features: str, vgg16_weights: str) -> None:
        super().__init__()
        self.loss = loss
        # None: the encoder of the generator
        self.features: nn.Module | None = None
        if loss == "sc_map" and features == "random_conv":
            self.features = RandomConvFeatures()
        elif loss == "sc_map" and features == "vgg16":
            self.features = Vgg16Features(Path(vgg16_weights))

    def forward(self, encoder: nn.Module, source: Tensor, synthetic: Tensor, rng: torch.Generator) -> Tensor:
        """Compute the loss; `encoder` is that of the translating generator, `rng` draws the queries of the maps."""
        if self.loss == "mind":
            with torch.no_grad():
                wanted = mind(source)
            return mind_loss(wanted, mind(synthetic))
        extract = self.features or _frozen(encoder)
        with torch.no_grad():
            maps = extract(source)
        return spatial_correlation_loss(maps, extract(synthetic), rng)


def _frozen(encoder: nn.Module) -> Callable[[Tensor], list[Tensor]]:
    """Return the encoder with fixed weights, so that only the image can lower the loss."""
    weights: dict[str, Any] = {name: weight.detach() for name, weight in encoder.named_parameters()}
    return lambda image: [torch.func.functional_call(encoder, weights, (image,))]


def _build_generator(params: GeneratorParams) -> ResnetGenerator:
    return _channels_last(ResnetGenerator(**params.model_dump()))


def _build_discriminator(params: DiscriminatorParams) -> PatchDiscriminator:
    return _channels_last(PatchDiscriminator(**params.model_dump()))


def _channels_last(network: Network) -> Network:
    """Choose the memory order in which convolutions are fastest, on CPU and GPU."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs omit it
    return network
