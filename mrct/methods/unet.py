"""U-Net (Kaiser 2019, sec. 3.3.1): one network, the mean absolute error, on wish the gradients' as well.

Images are (B, 1, H, W) in [-1, 1]. The paper translates MR to CT; CT to MR is the same network of its own.
"""

from collections.abc import Iterator
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from mrct.losses.gradient_difference import gradient_difference_loss
from mrct.methods.adam import AdamParams, adam
from mrct.methods.batch import ONE_PHASE, Batch, Before, Directions, Phase, Pooled, sides
from mrct.networks.unet import UNet

EXAMPLES = "slices"
DISCRIMINATORS = False


class Params(AdamParams):
    """Tables 2, 6 and 9 of the paper and what it leaves open."""

    directions: Directions
    filters: int = Field(ge=1)
    dropout: float = Field(ge=0, lt=1)
    lambda_gdl: float = Field(ge=0)
    gdl_scale: float = Field(gt=0)


class UnetTranslation(nn.Module):
    """The network of each direction, all under one optimizer."""

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.params = params
        for direction in params.directions:
            self.add_module(direction, build_network(network_config(params)))

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam at the paper's rate and betas (Table 6)."""
        return adam(self.params, generators=[self])

    def generators(self) -> dict[str, nn.Module]:
        """The network of each direction."""
        return {direction: self.get_submodule(direction) for direction in self.params.directions}

    def losses(
        self, batch: Batch, rng: torch.Generator, epoch: int, pooled: Pooled
    ) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """One loss: the sum over the directions; its unweighted terms."""
        terms: dict[str, Tensor] = {}
        for direction, network in self.generators().items():
            name, source, target = sides(batch, direction)
            terms |= self._terms(name, network(source), target)
        weights = {"mae": 1.0, "gdl": self.params.lambda_gdl}
        yield torch.stack([weights[name[:3]] * term for name, term in terms.items()]).sum(), terms

    def _terms(self, name: str, synthetic: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The error of images in [0, 1], the gradients of images in [0, gdl_scale].

        The paper weighs the gradients with 1e-7 so that both pull alike, and does not tell the images' scale. The norm
        of the gradient term's pull, in units of the error's, 12 SynthRAD2023 slices, a U-Net half trained: 50 as here,
        8e-4 with both terms on 16 bits, 1e-8 with both on [0, 1]. The first is nearest to equal, by ratio.
        """
        terms = {f"mae_{name}": (synthetic - target).abs().mean() / 2}
        if self.params.lambda_gdl:
            scale = self.params.gdl_scale / 2
            terms[f"gdl_{name}"] = gradient_difference_loss(synthetic * scale, target * scale)
        return terms


def phases(params: Params) -> tuple[Phase, ...]:
    """One training."""
    return ONE_PHASE


def build(params: Params, phase: str, before: Before) -> UnetTranslation:
    """The untrained networks."""
    return UnetTranslation(params)


def network_config(params: Params) -> dict[str, Any]:
    """What `build_network` needs for one direction."""
    return {"filters": params.filters, "dropout": params.dropout}


def build_network(config: dict[str, Any]) -> nn.Module:
    """An untrained U-Net of the stored configuration, ready for its weights."""
    return UNet(**config)
