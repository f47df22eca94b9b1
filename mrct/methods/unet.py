"""U-Net (Kaiser 2019, sec. 3.3.1): one network per direction, mean absolute error, optional gradient difference loss.

Images are (B, 1, H, W) in [-1, 1]. The paper translates MR to CT; CT to MR is a second network of the same kind.
"""

from collections.abc import Iterator
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from mrct.losses.gradient_difference import gradient_difference_loss
from mrct.networks.unet import UNet
from mrct.training.method import AdamParams, Batch, Directions, Pooled, Terms, TrainedMethod, adam


class UnetParams(AdamParams):
    """Parameters of Tables 2, 6 and 9 of the paper, and those that it leaves open."""

    directions: Directions
    filters: int = Field(ge=1)
    dropout: float = Field(ge=0, lt=1)
    lambda_gdl: float = Field(ge=0)
    gdl_scale: float = Field(gt=0)


class UnetTranslation(TrainedMethod[UnetParams]):
    """One network per direction, all with one optimizer."""

    Params = UnetParams

    def __init__(self, params: UnetParams) -> None:
        super().__init__(params)
        for direction in params.directions:
            self.add_module(direction, self.build_network(self.network_config(params)))

    @classmethod
    def network_config(cls, params: UnetParams) -> dict[str, Any]:
        """Return the size and the dropout of a network."""
        return {"filters": params.filters, "dropout": params.dropout}

    @classmethod
    def build_network(cls, config: dict[str, Any]) -> nn.Module:
        """Build an untrained U-Net of the stored configuration."""
        return UNet(**config)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return Adam, for which Table 6 gives the paper's rate and betas."""
        return adam(self.params, generators=[self])

    def generators(self) -> dict[str, nn.Module]:
        """Return the network of each direction."""
        return {direction: self.get_submodule(direction) for direction in self.params.directions}

    def losses(
        self, batch: Batch, rng: torch.Generator, epoch: int, pooled: Pooled
    ) -> Iterator[tuple[Tensor, Terms]]:
        """Yield one loss, the sum over the directions.

        The absolute error is that of images in [0, 1], the gradient difference that of images in [0, gdl_scale]. The
        paper weights the latter by 1e-7 and does not state the scale of its images (docs/decisions/methods.md).
        """
        losses, terms = [], Terms()
        for direction, network in self.generators().items():
            modality, source, target = batch.side(direction)
            synthetic = network(source)
            error = terms[f"mae_{modality}"] = (synthetic - target).abs().mean() / 2
            loss = error
            if self.params.lambda_gdl:
                scale = self.params.gdl_scale / 2
                gradients = gradient_difference_loss(synthetic * scale, target * scale)
                terms[f"gdl_{modality}"] = gradients
                loss = error + self.params.lambda_gdl * gradients
            losses.append(loss)
        yield torch.stack(losses).sum(), terms
