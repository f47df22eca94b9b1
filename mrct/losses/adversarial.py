"""Least-squares adversarial losses (Mao 2017, eq. 9 with a = 0, b = c = 1; Jeong 2024)."""

from torch import Tensor, nn

from mrct.losses.precision import at_least_float32


def discriminator_loss(real_logits: Tensor, synthetic_logits: Tensor) -> Tensor:
    """Compute ½ E(1 - D(y))² + ½ E(D(G(x)))² of logits of any shape; scalar, >= 0."""
    real, synthetic = at_least_float32(real_logits), at_least_float32(synthetic_logits)
    return 0.5 * (1.0 - real).square().mean() + 0.5 * synthetic.square().mean()


def generator_loss(synthetic_logits: Tensor) -> Tensor:
    """Compute E(1 - D(G(x)))² of logits of any shape; scalar, >= 0."""
    return (1.0 - at_least_float32(synthetic_logits)).square().mean()


def frozen_scores(discriminator: nn.Module, images: Tensor) -> Tensor:
    """Return the scores of the discriminator; their gradient reaches the images and not the discriminator's weights."""
    discriminator.requires_grad_(False)
    try:
        scores: Tensor = discriminator(images)
        return scores
    finally:
        discriminator.requires_grad_(True)
