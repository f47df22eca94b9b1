"""Patch-based 3D pix2pix with a SwinUNETR generator (Karimzadeh 2023): MR cubes to CT cubes.

The paper leaves open: the weights α and λ of its loss, the discriminator (here Isola's PatchGAN in 3D, which sees MR
and CT together, with least squares), the size and the last activation of the SwinUNETR, and the scale of SSIM (here
[0, 1], because SSIM is defined for non-negative images). The method needs the extra: pip install -e '.[swin]'.
"""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from mrct.core.errors import DataError
from mrct.losses.adversarial import discriminator_loss, frozen_scores, generator_loss
from mrct.losses.ssim import ssim_loss
from mrct.networks.patchgan3d import PairDiscriminator3d
from mrct.networks.sliding_window import Window
from mrct.networks.swin3d import DIVISOR, SwinGenerator
from mrct.training.method import Batch, Pooled, Terms, TrainedMethod
from mrct.training.patches import PatchParams
from mrct.training.settings import AdversarialLoop


class SwinPix2PixParams(PatchParams):
    """Parameters that the paper states for its networks and losses, and those that it leaves open."""

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
        """Return the window: cubes of `patch_size` voxels in and out."""
        return Window(self.patch_size, self.patch_size, self.overlap)

    @model_validator(mode="after")
    def _something_to_normalize(self) -> "SwinPix2PixParams":
        if self.norm == "instance" and self.patch_size == DIVISOR:
            raise DataError(f"norm: instance needs cubes of {2 * DIVISOR}; set norm: group or patch_size")
        return self


class SwinPix2Pix(TrainedMethod[SwinPix2PixParams]):
    """SwinUNETR as generator, and a 3D PatchGAN as discriminator."""

    Params = SwinPix2PixParams
    Loop = AdversarialLoop

    def __init__(self, params: SwinPix2PixParams) -> None:
        super().__init__(params)
        self.mr_to_ct = self.build_network(self.network_config(params))
        self.ct_discriminator = PairDiscriminator3d(params.discriminator_filters)

    @classmethod
    def network_config(cls, params: SwinPix2PixParams) -> dict[str, Any]:
        """Return the size of the network, and how it takes volumes apart."""
        return params.model_dump(
            include={"patch_size", "feature_size", "norm", "overlap", "resample_slices_mm"}
        )

    @classmethod
    def build_network(cls, config: dict[str, Any]) -> nn.Module:
        """Build an untrained generator of the stored configuration; MissingMonaiError without MONAI."""
        return SwinGenerator(**config)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return AdamW for the generator and for the discriminator."""
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
        """Return the generator of MR to CT, the only direction of the paper."""
        return {"mr_to_ct": self.mr_to_ct}

    def losses(
        self, batch: Batch, rng: torch.Generator, epoch: int, pooled: Pooled
    ) -> Iterator[tuple[Tensor, Terms]]:
        """Yield the loss of the generator (eq. 2), then that of the discriminator."""
        synthetic = self.mr_to_ct(batch.mr)
        # clipped as in pix2pix: outside [-1, 1] the adversarial loss has no gradient
        pair = torch.cat([batch.mr, synthetic.clip(-1, 1)], 1)
        error = weighted_mae(synthetic, batch.ct)
        terms = {"mae_ct": error}
        if self.params.lambda_ssim:
            terms["ssim_ct"] = ssim_loss((synthetic + 1) / 2, (batch.ct + 1) / 2, data_range=1.0)
        if self.params.lambda_adv:
            terms["adv_ct"] = generator_loss(frozen_scores(self.ct_discriminator, pair))
        loss = error
        if self.params.lambda_ssim:
            loss = loss + self.params.lambda_ssim * terms["ssim_ct"]
        if self.params.lambda_adv:
            loss = loss + self.params.lambda_adv * terms["adv_ct"]
        yield loss, terms
        if self.params.lambda_adv:
            older = self.ct_discriminator(pooled("ct", pair.detach()))
            loss = discriminator_loss(self.ct_discriminator(torch.cat([batch.mr, batch.ct], 1)), older)
            yield loss, {"discriminator_ct": loss}


def weighted_mae(synthetic: Tensor, real: Tensor) -> Tensor:
    """Average (1 + y) / 2 · |y - ŷ| (eq. 2) of images in [-1, 1]; a scalar. Bone counts most and air not at all."""
    return ((1 + real) / 2 * (real - synthetic).abs()).mean()
