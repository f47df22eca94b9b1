"""pix2pix (Kaiser 2019, sec. 3.3.2): the U-Net with a discriminator that sees source and synthetic image together.

Images are (B, 1, H, W) in [-1, 1]. The paper translates MR to CT; CT to MR has networks of its own. "Gradient boost"
(sec. 4.3) is a second phase, `fine_tuning`, in which errors inside the brain have more weight.
"""

from collections.abc import Iterator
from typing import Any, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from mrct.losses.adversarial import discriminator_loss, frozen_scores, generator_loss
from mrct.networks.unet import SLOPE, UNet, initialize_xavier
from mrct.training.method import (
    AdamParams,
    Batch,
    Before,
    Directions,
    Phase,
    Pooled,
    Terms,
    TrainedMethod,
    adam,
)
from mrct.training.settings import AdversarialLoop

TRAINING = "training"
FINE_TUNING = "fine_tuning"


class Pix2PixParams(AdamParams):
    """Parameters of Tables 2, 3 and 6 and sections 4.2 and 4.3 of the paper, and those that it leaves open."""

    directions: Directions
    filters: int = Field(ge=1)
    dropout: float = Field(ge=0, lt=1)
    discriminator_filters: int = Field(ge=1)
    discriminator_output: Literal["linear", "sigmoid"]
    lambda_mae: float = Field(gt=0)
    lambda_adv: float = Field(gt=0)
    fine_tune_epochs: int = Field(ge=0)
    soft_tissue_weight: float = Field(gt=0)


class PairDiscriminator(nn.Module):
    """Discriminator of pairs: two images (B, 2, H, W) in [-1, 1] -> scores (B, 1, H/16, W/16), 1 for a real pair.

    Table 3, whose f is 64: 4x4 convolutions of stride 2 to f, 2f, 4f, 8f channels with leaky ReLU, one of stride 1,
    sigmoid. `output: linear` omits the sigmoid, as in Mao 2017: with the sigmoid the gradient vanishes as soon as the
    discriminator is certain (docs/decisions/methods.md). Departures: the table prints 1 x 24 x 512 for the score map
    of 24 x 24 features, here it is 24 x 24 x 1. There is no batch norm, since neither the table nor the text has one.
    """

    def __init__(self, filters: int, output: str) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 2
        for wide in (filters, 2 * filters, 4 * filters, 8 * filters):
            layers += [nn.Conv2d(channels, wide, 4, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
            channels = wide
        # an even kernel keeps the size with one row before and two behind, as TensorFlow's "same"
        layers += [nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(channels, 1, 4)]
        self.output = output
        self.layers = nn.Sequential(*layers)
        initialize_xavier(self)

    def forward(self, pair: Tensor) -> Tensor:
        """Compute the scores in float32."""
        scores = self.layers(pair).float()
        return torch.sigmoid(scores) if self.output == "sigmoid" else scores


class Pix2Pix(TrainedMethod[Pix2PixParams]):
    """Generator and discriminator per direction; `boosted` gives errors inside the brain more weight."""

    Params = Pix2PixParams
    Loop = AdversarialLoop

    def __init__(self, params: Pix2PixParams, boosted: bool = False) -> None:
        super().__init__(params)
        self.boosted = boosted
        for direction in params.directions:
            self.add_module(direction, self.build_network(self.network_config(params)))
            discriminator = PairDiscriminator(params.discriminator_filters, params.discriminator_output)
            self.add_module(_discriminator_name(direction), discriminator)

    @classmethod
    def phases(cls, params: Pix2PixParams) -> tuple[Phase, ...]:
        """Return the training and, with `fine_tune_epochs`, the gradient boost, which needs the mask of the brain."""
        boost = Phase(FINE_TUNING, params.fine_tune_epochs, ("brain",))
        return (Phase(TRAINING), boost) if params.fine_tune_epochs else (Phase(TRAINING),)

    @classmethod
    def build(cls, params: Pix2PixParams, phase: str, before: Before) -> Self:
        """Build untrained networks, or for the fine-tuning the best generators and last discriminators so far."""
        method = cls(params, boosted=phase == FINE_TUNING)
        if phase == FINE_TUNING:
            method.load_state_dict(before[TRAINING].last)
            for direction, generator in method.generators().items():
                generator.load_state_dict(before[TRAINING].best[direction])
        return method

    @classmethod
    def network_config(cls, params: Pix2PixParams) -> dict[str, Any]:
        """Return the size and the dropout of a generator."""
        return {"filters": params.filters, "dropout": params.dropout}

    @classmethod
    def build_network(cls, config: dict[str, Any]) -> nn.Module:
        """Build an untrained generator of the stored configuration."""
        return UNet(**config)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return Adam for the generators and for the discriminators (Table 6)."""
        discriminators = [self._discriminator(direction) for direction in self.params.directions]
        return adam(self.params, generators=self.generators().values(), discriminators=discriminators)

    def generators(self) -> dict[str, nn.Module]:
        """Return the generator of each direction."""
        return {direction: self.get_submodule(direction) for direction in self.params.directions}

    def losses(
        self, batch: Batch, rng: torch.Generator, epoch: int, pooled: Pooled
    ) -> Iterator[tuple[Tensor, Terms]]:
        """Yield the loss of the generators, then that of the discriminators.

        Discriminators see images clipped to [-1, 1], as they are written. Outside [-1, 1] only the absolute error has
        a gradient (docs/decisions/methods.md).
        """
        pairs: dict[str, Tensor] = {}
        losses, terms = [], Terms()
        for direction, generator in self.generators().items():
            modality, source, target = batch.side(direction)
            synthetic = generator(source)
            pairs[direction] = torch.cat([source, synthetic.clip(-1, 1)], 1)
            error = terms[f"mae_{modality}"] = self._mae(synthetic, target, batch)
            logits = frozen_scores(self._discriminator(direction), pairs[direction])
            adversarial = terms[f"adv_{modality}"] = generator_loss(logits)
            losses.append(self.params.lambda_mae * error + self.params.lambda_adv * adversarial)
        yield torch.stack(losses).sum(), terms
        terms = {}
        for direction, pair in pairs.items():
            modality, source, target = batch.side(direction)
            shown = torch.cat([torch.cat([source, target], 1), pooled(modality, pair.detach())])
            real, synthetic = self._discriminator(direction)(shown).chunk(2)
            terms[f"discriminator_{modality}"] = discriminator_loss(real, synthetic)
        yield torch.stack(list(terms.values())).sum(), terms

    def _discriminator(self, direction: str) -> nn.Module:
        return self.get_submodule(_discriminator_name(direction))

    def _mae(self, synthetic: Tensor, target: Tensor, batch: Batch) -> Tensor:
        """Compute the mean absolute error of images in [0, 1], the scale for which the paper gives λ_adv.

        With `boosted`, the error and its gradient count `soft_tissue_weight` times inside the brain. The paper gives no
        factor, and does not say whether the adversarial gradient is boosted too; here it is not.
        """
        error = (synthetic - target).abs() / 2
        if self.boosted:
            inside = (batch.other["brain"] + 1) / 2
            error = error * (1 + (self.params.soft_tissue_weight - 1) * inside)
        return error.mean()


def _discriminator_name(direction: str) -> str:
    return f"{direction}_discriminator"
