"""Losses as pure functions of images in [-1, 1] or of logits. Their weights are parameters of the methods.

- `adversarial`: `generator_loss`, `discriminator_loss` (least squares).
- `pixel.pixel_translation_loss`: scCycleGAN's weighted L1.
- `structure.spatial_correlation_loss`, `mind.mind_loss`: structural consistency.
- `gradient_difference.gradient_difference_loss`, `ssim.ssim_loss`.
"""
