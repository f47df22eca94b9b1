"""The baseline of train_step.py: a step in the order of work of CycleGAN's published code.

What a competent user writes: float32, eager, every pass on its own, plain Adam, torch's default memory order and
nn.InstanceNorm2d. It lacks the authors' biases under a norm, which do nothing, in the baseline's favor.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from mrct.losses.structure import spatial_correlation_loss
from mrct.methods.sc_cyclegan import ScCycleGan
from mrct.networks.random_features import RandomConvFeatures
from mrct.training.image_pool import ImagePool

Step = Callable[[], dict[str, Tensor]]


def literal(method: ScCycleGan) -> ScCycleGan:
    """A copy with the same weights in torch's default memory order, and nn.InstanceNorm2d."""
    method = copy.deepcopy(method).to(memory_format=torch.contiguous_format)
    for module in list(method.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.GroupNorm):
                setattr(module, name, nn.InstanceNorm2d(child.num_channels))
    return method


def authors_step(method: ScCycleGan, mr: Tensor, ct: Tensor) -> Step:
    """The order of work of CycleGAN's published code, with scCycleGAN's two further losses."""
    params = method.params
    features = RandomConvFeatures().to(mr.device)
    g, f, d_ct, d_mr = method.mr_to_ct, method.ct_to_mr, method.ct_critic, method.mr_critic
    rate, betas = params.learning_rate, params.adam_betas
    for_generators = torch.optim.Adam([*g.parameters(), *f.parameters()], lr=rate, betas=betas)
    for_critics = torch.optim.Adam([*d_ct.parameters(), *d_mr.parameters()], lr=rate, betas=betas)
    rng, pools = torch.Generator().manual_seed(0), (ImagePool(50), ImagePool(50))

    def pixel(logits: Tensor, synthetic: Tensor, real: Tensor) -> Tensor:
        weights = functional.interpolate(logits.detach(), real.shape[-2:], mode="bilinear").clamp(0.05, 1)
        return ((weights * (real - synthetic).abs()).sum((1, 2, 3)) / weights.sum((1, 2, 3))).mean()

    def structure(source: Tensor, synthetic: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = features(source)
        return spatial_correlation_loss(wanted, features(synthetic), rng)

    def step() -> dict[str, Tensor]:
        synthetic_ct = g(mr)
        cycled_mr = f(synthetic_ct)
        synthetic_mr = f(ct)
        cycled_ct = g(synthetic_mr)
        for critic in (d_ct, d_mr):
            critic.requires_grad_(False)
        for_generators.zero_grad()
        terms = {}
        for name, critic, source, synthetic, real in (
            ("ct", d_ct, mr, synthetic_ct, ct),
            ("mr", d_mr, ct, synthetic_mr, mr),
        ):
            logits = critic(synthetic)
            terms[f"adv_{name}"] = functional.mse_loss(logits, torch.ones_like(logits))
            terms[f"pix_{name}"] = pixel(logits, synthetic, real)
            terms[f"str_{name}"] = structure(source, synthetic)
        terms["cyc_mr"] = functional.l1_loss(cycled_mr, mr)
        terms["cyc_ct"] = functional.l1_loss(cycled_ct, ct)
        sum(getattr(params, f"lambda_{name[:3]}") * term for name, term in terms.items()).backward()
        for_generators.step()
        for critic in (d_ct, d_mr):
            critic.requires_grad_(True)
        for_critics.zero_grad()
        for name, critic, pool, synthetic, real in (
            ("ct", d_ct, pools[0], synthetic_ct, ct),
            ("mr", d_mr, pools[1], synthetic_mr, mr),
        ):
            on_real, on_synthetic = critic(real), critic(pool.exchange(synthetic.detach(), rng))
            loss = functional.mse_loss(on_real, torch.ones_like(on_real))
            loss = (loss + functional.mse_loss(on_synthetic, torch.zeros_like(on_synthetic))) * 0.5
            loss.backward()
            terms[f"critic_{name}"] = loss
        for_critics.step()
        return terms

    return step
