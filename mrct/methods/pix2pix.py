"""pix2pix (Kaiser 2019, sec. 3.3.2): the U-Net against a discriminator that sees input and output side by side.

Images are (B, 1, H, W) in [-1, 1]. The paper translates MR to CT; CT to MR has a network and a discriminator of its own.
"Gradient boost" (sec. 4.3) is a second phase, `fine_tuning`: training goes on with more weight inside the brain.
"""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mrct.losses.adversarial import discriminator_loss, generator_loss, judged
from mrct.methods.adam import AdamParams, adam
from mrct.methods.batch import Batch, Before, Directions, Phase, Pooled, sides
from mrct.networks.unet import SLOPE, UNet, initialize_xavier

EXAMPLES = "slices"
DISCRIMINATORS = True
TRAINING = "training"
FINE_TUNING = "fine_tuning"


class Params(AdamParams):
    """Tables 2, 3 and 6 of the paper, its sections 4.2 and 4.3, and what it leaves open."""

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
    """Two images (B, 2, H, W) in [-1, 1] -> scores (B, 1, H/16, W/16), 1 for a real pair.

    Table 3: 4x4 convolutions of stride 2 to f, 2f, 4f, 8f channels, leaky ReLU; one of stride 1; sigmoid. The paper's
    f is 64. `output`: with its sigmoid (`sigmoid`) the squares' gradient vanishes as soon as the discriminator is sure. With
    32 filters and a rate of 1e-3 all scores, of real pairs as well, were 0 from the fourth epoch on, 84 slices each;
    at 2e-4 the loss was 1e-4 after five. `linear` leaves it out, as Mao 2017. Departures: the table prints 1 x 24 x
    512 for the score map of 24 x 24 features, here it is 24 x 24 x 1; no batch norm, since neither table nor text has
    one in the discriminator.
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
        """Scores in float32."""
        scores = self.layers(pair).float()
        return torch.sigmoid(scores) if self.output == "sigmoid" else scores


class Pix2Pix(nn.Module):
    """Generator and discriminator of each direction; `boosted` weighs the brain more."""

    def __init__(self, params: Params, boosted: bool) -> None:
        super().__init__()
        self.params, self.boosted = params, boosted
        for direction in params.directions:
            self.add_module(direction, build_network(network_config(params)))
            self.add_module(
                _discriminator_name(direction),
                PairDiscriminator(params.discriminator_filters, params.discriminator_output),
            )

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam for the generators and for the discriminators, both as Table 6."""
        directions = self.params.directions
        return adam(
            self.params,
            generators=self.generators().values(),
            discriminators=[self._discriminator(d) for d in directions],
        )

    def generators(self) -> dict[str, nn.Module]:
        """The generator of each direction."""
        return {direction: self.get_submodule(direction) for direction in self.params.directions}

    def losses(
        self, batch: Batch, rng: torch.Generator, epoch: int, pooled: Pooled
    ) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """The generators' loss, then the discriminators'; each with its unweighted terms.

        Discriminators see images clipped to the scale, as they will be written: beyond it only the error pulls. Where they
        saw the others too, a generator that had left the scale (84 real slices, epoch 28: adversarial term 3e4) had not
        come back seven epochs later.
        """
        shown: dict[str, Tensor] = {}
        terms: dict[str, Tensor] = {}
        for direction, generator in self.generators().items():
            name, source, target = sides(batch, direction)
            synthetic = generator(source)
            shown[direction] = torch.cat([source, synthetic.clip(-1, 1)], 1)
            terms[f"mae_{name}"] = self._mae(synthetic, target, batch)
            terms[f"adv_{name}"] = generator_loss(judged(self._discriminator(direction), shown[direction]))
        weights = {"mae": self.params.lambda_mae, "adv": self.params.lambda_adv}
        yield torch.stack([weights[term[:3]] * value for term, value in terms.items()]).sum(), terms
        terms = {}
        for direction, pair in shown.items():
            name, source, target = sides(batch, direction)
            real, synthetic = torch.cat([source, target], 1), pooled(name, pair.detach())
            terms[f"discriminator_{name}"] = self._discriminator_term(direction, real, synthetic)
        yield torch.stack(list(terms.values())).sum(), terms

    def _discriminator(self, direction: str) -> nn.Module:
        return self.get_submodule(_discriminator_name(direction))

    def _discriminator_term(self, direction: str, real: Tensor, synthetic: Tensor) -> Tensor:
        on_real, on_synthetic = self._discriminator(direction)(torch.cat([real, synthetic])).chunk(2)
        return discriminator_loss(on_real, on_synthetic)

    def _mae(self, synthetic: Tensor, target: Tensor, batch: Batch) -> Tensor:
        """Mean absolute error of images in [0, 1], the paper's scale, to which λ_adv belongs.

        Boosted: the error, and so its gradient, counts `soft_tissue_weight` times inside the brain. The paper tells
        neither its factor nor whether the adversarial gradient takes part; here it does not.
        """
        error = (synthetic - target).abs() / 2
        if self.boosted:
            inside = (batch.other["brain"] + 1) / 2
            error = error * (1 + (self.params.soft_tissue_weight - 1) * inside)
        return error.mean()


def phases(params: Params) -> tuple[Phase, ...]:
    """The training, and with `fine_tune_epochs` the gradient boost, which needs the brain's mask."""
    boost = Phase(FINE_TUNING, params.fine_tune_epochs, ("brain",))
    return (Phase(TRAINING), boost) if params.fine_tune_epochs else (Phase(TRAINING),)


def build(params: Params, phase: str, before: Before) -> Pix2Pix:
    """Untrained networks; for the fine-tuning the best generators, and the discriminators of the training's end."""
    method = Pix2Pix(params, boosted=phase == FINE_TUNING)
    if phase == FINE_TUNING:
        method.load_state_dict(before[TRAINING].last)
        for direction, generator in method.generators().items():
            generator.load_state_dict(before[TRAINING].best[direction])
    return method


def network_config(params: Params) -> dict[str, Any]:
    """What `build_network` needs for one direction."""
    return {"filters": params.filters, "dropout": params.dropout}


def build_network(config: dict[str, Any]) -> nn.Module:
    """An untrained generator of the stored configuration, ready for its weights."""
    return UNet(**config)


def _discriminator_name(direction: str) -> str:
    return f"{direction}_discriminator"
