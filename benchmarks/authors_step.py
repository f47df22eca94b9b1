"""The baseline of train_step.py and same_quality.py: a training step in the order of CycleGAN's published code.

It is what a competent user would write: float32, eager mode, separate passes, plain Adam, torch's default memory order
and nn.InstanceNorm2d. It omits the authors' biases before a norm, which have no effect; this favors the baseline.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mrct.losses.structure import spatial_correlation_loss
from mrct.methods.sc_cyclegan import ScCycleGan
from mrct.networks.random_features import RandomConvFeatures
from mrct.networks.resnet import InstanceNorm
from mrct.training.step import ImagePool

#: A function that runs one step on fixed images and returns the loss terms.
Step = Callable[[], dict[str, Tensor]]
#: The parameters for which the baseline is written; the weights λ of the four losses are free.
WRITTEN_FOR = {
    "lambda_idt": 0.0,
    "pixel_weighting": "minmax",
    "structure_loss": "sc_map",
    "structure_features": "random_conv",
    "pretrain_epochs": 0,
}


def require(got: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Exit with an error if a parameter has a value that the baseline does not implement."""
    for key, value in wanted.items():
        if got[key] != value:
            raise SystemExit(f"{key}: got {got[key]!r}, the baseline is written for {value!r}; set it back")


def literal(method: ScCycleGan) -> ScCycleGan:
    """Return a copy with the same weights in torch's default memory order, and with nn.InstanceNorm2d."""
    method = copy.deepcopy(method).to(memory_format=torch.contiguous_format)
    for module in list(method.modules()):
        for name, child in module.named_children():
            if isinstance(child, InstanceNorm):
                setattr(module, name, nn.InstanceNorm2d(child.num_channels))
    return method


class AuthorsStep:
    """A training step in the order of CycleGAN's published code, with the two additional losses of scCycleGAN.

    Random numbers are drawn in the order of ScCycleGan.losses: queries of the structure loss, then pools.
    """

    def __init__(self, method: ScCycleGan, pool_size: int) -> None:
        self.params = params = method.params
        require(params.model_dump(), WRITTEN_FOR)
        self.g, self.f = method.mr_to_ct, method.ct_to_mr
        self.d_ct, self.d_mr = method.ct_discriminator, method.mr_discriminator
        self.features = RandomConvFeatures().to(next(method.parameters()).device)
        rate, betas = params.learning_rate, params.adam_betas
        self.for_generators = torch.optim.Adam(
            [*self.g.parameters(), *self.f.parameters()], lr=rate, betas=betas
        )
        self.for_discriminators = torch.optim.Adam(
            [*self.d_ct.parameters(), *self.d_mr.parameters()], lr=rate, betas=betas
        )
        self.pools = ImagePool(pool_size), ImagePool(pool_size)

    def __call__(self, mr: Tensor, ct: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        """Update all weights once and return the loss terms before the update."""
        synthetic_ct = self.g(mr)
        cycled_mr = self.f(synthetic_ct)
        synthetic_mr = self.f(ct)
        cycled_ct = self.g(synthetic_mr)
        self._require_discriminators_grad(False)
        self.for_generators.zero_grad()
        terms = self._judged("ct", self.d_ct, mr, synthetic_ct, ct, rng)
        terms |= self._judged("mr", self.d_mr, ct, synthetic_mr, mr, rng)
        terms["cyc_mr"] = functional.l1_loss(cycled_mr, mr)
        terms["cyc_ct"] = functional.l1_loss(cycled_ct, ct)
        loss = sum(getattr(self.params, f"lambda_{name[:3]}") * term for name, term in terms.items())
        loss.backward()
        self.for_generators.step()
        self._require_discriminators_grad(True)
        self.for_discriminators.zero_grad()
        pool_ct, pool_mr = self.pools
        terms["discriminator_ct"] = self._discriminator(
            self.d_ct, ct, pool_ct.exchange(synthetic_ct.detach(), rng)
        )
        terms["discriminator_mr"] = self._discriminator(
            self.d_mr, mr, pool_mr.exchange(synthetic_mr.detach(), rng)
        )
        self.for_discriminators.step()
        return {name: term.detach() for name, term in terms.items()}

    def _require_discriminators_grad(self, wanted: bool) -> None:
        for discriminator in (self.d_ct, self.d_mr):
            discriminator.requires_grad_(wanted)

    def _judged(
        self,
        name: str,
        discriminator: nn.Module,
        source: Tensor,
        synthetic: Tensor,
        real: Tensor,
        rng: torch.Generator,
    ) -> dict[str, Tensor]:
        """Return the adversarial, pixel and structure loss of one synthetic image."""
        logits = discriminator(synthetic)
        low, high = logits.detach().amin((1, 2, 3), True), logits.detach().amax((1, 2, 3), True)
        patches = (logits.detach() - low) / (high - low)
        weights = functional.interpolate(patches, real.shape[-2:], mode="bilinear").clamp(0.05, 1)
        weighted = (weights * (real - synthetic).abs()).sum((1, 2, 3))
        with torch.no_grad():
            wanted = self.features(source)
        return {
            f"adv_{name}": functional.mse_loss(logits, torch.ones_like(logits)),
            f"pix_{name}": (weighted / weights.sum((1, 2, 3))).mean(),
            f"str_{name}": spatial_correlation_loss(wanted, self.features(synthetic), rng),
        }

    def _discriminator(self, discriminator: nn.Module, real: Tensor, synthetic: Tensor) -> Tensor:
        """Run the backward pass from the discriminator's loss."""
        on_real, on_synthetic = discriminator(real), discriminator(synthetic)
        loss = functional.mse_loss(on_real, torch.ones_like(on_real))
        loss = (loss + functional.mse_loss(on_synthetic, torch.zeros_like(on_synthetic))) * 0.5
        loss.backward()
        return loss
