"""Reference method `mean_ct`: every slice becomes the mean training CT. A trained model must be better than this."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mrct.core.contracts import Direction
from mrct.core.errors import DataError
from mrct.core.params import Section
from mrct.training.method import Fitted, FittedMethod


class MeanCtParams(Section):
    """Empty section: the method has no parameters."""


class MeanCtNetwork(nn.Module):
    """Constant network: (B, 1, H, W) in [-1, 1] -> (B, 1, H, W), the same mean CT for every input."""

    mean: Tensor

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((height, width), -1.0))

    def forward(self, x: Tensor) -> Tensor:
        """Repeat the mean for each image; DataError for another image size."""
        if x.shape[-2:] != self.mean.shape:
            raise DataError(
                f"mean_ct: image {tuple(x.shape[-2:])}, fitted on {tuple(self.mean.shape)}; run the stage train again"
            )
        return self.mean.expand_as(x)


class MeanCt(FittedMethod[MeanCtParams]):
    """Mean of the training CTs, pixel by pixel; only from MR to CT."""

    Params = MeanCtParams

    @classmethod
    def build_network(cls, config: dict[str, Any]) -> nn.Module:
        """Build a network whose mean is not yet set."""
        return MeanCtNetwork(config["height"], config["width"])

    @classmethod
    def fit(
        cls, slices: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]], params: MeanCtParams
    ) -> dict[Direction, Fitted]:
        """Average the CTs."""
        total, count = None, 0
        for _, ct, _ in slices:
            total = ct.astype(np.float64) if total is None else total + ct
            count += 1
        if total is None:
            raise DataError("mean_ct: no training slice; run the stage pair again")
        network = MeanCtNetwork(*total.shape)
        network.mean.copy_(torch.from_numpy((total / count).astype(np.float32)))
        return {Direction.MR_TO_CT: Fitted(network, {"height": total.shape[0], "width": total.shape[1]})}
