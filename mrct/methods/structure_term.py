"""The structure loss of a translation x -> ŷ: its kind and its features, as params.yaml names them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mrct.losses.mind import mind, mind_loss
from mrct.losses.structure import spatial_correlation_loss
from mrct.networks.random_features import RandomConvFeatures
from mrct.networks.vgg16 import Vgg16Features


class StructureTerm(nn.Module):
    """Source and synthetic (B, 1, H, W) in [-1, 1] -> scalar, small where both have the same structure."""

    def __init__(self, loss: str, features: str, vgg16_weights: str) -> None:
        super().__init__()
        self.loss = loss
        self.features: nn.Module | None = None  # without any: the generator's own encoder
        if loss == "sc_map" and features == "random_conv":
            self.features = RandomConvFeatures()
        elif loss == "sc_map" and features == "vgg16":
            self.features = Vgg16Features(Path(vgg16_weights))

    def forward(self, encoder: nn.Module, source: Tensor, synthetic: Tensor, rng: torch.Generator) -> Tensor:
        """`encoder` is that of the translating generator; `rng` draws the queries of the correlation maps."""
        if self.loss == "mind":
            with torch.no_grad():
                wanted = mind(source)
            return mind_loss(wanted, mind(synthetic))
        extract = self.features or _frozen(encoder)
        with torch.no_grad():
            maps = extract(source)
        return spatial_correlation_loss(maps, extract(synthetic), rng)


def _frozen(encoder: nn.Module) -> Callable[[Tensor], list[Tensor]]:
    """The encoder with its weights held fixed: only the image may lower the loss."""
    weights: dict[str, Any] = {name: weight.detach() for name, weight in encoder.named_parameters()}
    return lambda image: [torch.func.functional_call(encoder, weights, (image,))]
