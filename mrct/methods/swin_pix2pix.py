"""Patch-based 3D pix2pix with a SwinUNETR generator (Karimzadeh 2023): MR cubes to CT cubes.

The paper leaves open: the weights α and λ of its loss, the discriminator (here Isola's PatchGAN in 3D, which sees MR and CT
side by side, least squares), the SwinUNETR's size and last activation, and the scale of SSIM. It is [0, 1] here: SSIM
is defined for images that are not negative, and there grey air costs, which the weighted error counts for nothing.
Needs the extra: pip install -e '.[swin]'.
"""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from mrct.core.errors import DataError
from mrct.losses.adversarial import discriminator_loss, generator_loss, judged
from mrct.losses.ssim import ssim_loss
from mrct.methods.batch import ONE_PHASE, Batch, Before, Phase, Pooled
from mrct.methods.patches import PatchParams
from mrct.networks.patchgan3d import PairDiscriminator3d
from mrct.networks.sliding_window import Window
from mrct.networks.swin3d import DIVISOR, SwinGenerator

EXAMPLES = "patches"
DISCRIMINATORS = True


class Params(PatchParams):
    """What the paper states of its networks and losses, and what it leaves open."""

    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    patch_size: int = Field(gt=0, multiple_of=DIVISOR)
    feature_size: int = Field(gt=0, multiple_of=12)
    norm: Literal["instance", "group"]
    discriminator_filters: int = Field(ge=1)
    lambda_ssim: float = Field(ge=0)
    lambda_adv: float = Field(ge=0)

    @property
    def window(self) -> Window:
        """Cubes of `patch_size` in and out."""
        return Window(self.patch_size, self.patch_size, self.overlap)

    @model_validator(mode="after")
    def _something_to_normalize(self) -> "Params":
        if self.norm == "instance" and self.patch_size == DIVISOR:
            raise DataError(f"norm: instance needs cubes of {2 * DIVISOR}; set norm: group or patch_size")
        return self


class SwinPix2Pix(nn.Module):
    """Generator and discriminator."""

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.params = params
        self.mr_to_ct = build_network(network_config(params))
        self.ct_discriminator = PairDiscriminator3d(params.discriminator_filters)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """AdamW for the generator and for the discriminator."""
        return {
            name: torch.optim.AdamW(
                network.parameters(),
                lr=self.params.learning_rate,
                weight_decay=self.params.weight_decay,
                fused=True,
            )
            for name, network in {
                "generators": self.mr_to_ct,
                "discriminators": self.ct_discriminator,
            }.items()
        }

    def generators(self) -> dict[str, nn.Module]:
        """The one direction of the paper."""
        return {"mr_to_ct": self.mr_to_ct}

    def losses(
        self, batch: Batch, rng: torch.Generator, epoch: int, pooled: Pooled
    ) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """The generator's loss (eq. 2), then the discriminator's; each with its unweighted terms."""
        synthetic = self.mr_to_ct(batch.mr)
        # beyond the scale no discriminator pulls: see pix2pix
        pair = torch.cat([batch.mr, synthetic.clip(-1, 1)], 1)
        terms = {"mae_ct": weighted_mae(synthetic, batch.ct)}
        weights = {"mae_ct": 1.0, "ssim_ct": self.params.lambda_ssim, "adv_ct": self.params.lambda_adv}
        if self.params.lambda_ssim:
            terms["ssim_ct"] = ssim_loss((synthetic + 1) / 2, (batch.ct + 1) / 2, data_range=1.0)
        if self.params.lambda_adv:
            terms["adv_ct"] = generator_loss(judged(self.ct_discriminator, pair))
        yield torch.stack([weights[name] * term for name, term in terms.items()]).sum(), terms
        if self.params.lambda_adv:
            older = self.ct_discriminator(pooled("ct", pair.detach()))
            loss = discriminator_loss(self.ct_discriminator(torch.cat([batch.mr, batch.ct], 1)), older)
            yield loss, {"discriminator_ct": loss}


def weighted_mae(synthetic: Tensor, real: Tensor) -> Tensor:
    """Images in [-1, 1] -> mean of (1 + y) / 2 · |y - ŷ|, eq. 2: bone counts most and air not at all; scalar."""
    return ((1 + real) / 2 * (real - synthetic).abs()).mean()


def phases(params: Params) -> tuple[Phase, ...]:
    """One training."""
    return ONE_PHASE


def build(params: Params, phase: str, before: Before) -> SwinPix2Pix:
    """The untrained networks."""
    return SwinPix2Pix(params)


def network_config(params: Params) -> dict[str, Any]:
    """What `build_network` needs."""
    return params.model_dump(include={"patch_size", "feature_size", "norm", "overlap", "resample_slices_mm"})


def build_network(config: dict[str, Any]) -> nn.Module:
    """An untrained generator of the stored configuration, ready for its weights; MissingMonaiError without MONAI."""
    return SwinGenerator(**config)
