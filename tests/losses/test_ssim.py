"""The SSIM loss against scikit-image, its ends, its gradient."""

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from mrct.losses.ssim import ssim_loss
from mrct.metrics.image import structural_similarity_mean


def pair(*shape: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(sum(shape))
    real = rng.uniform(-1, 1, shape)
    return 0.6 * real + 0.3 * rng.uniform(-1, 1, shape) + 0.1, real


def batch(*images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(images)[:, None])


@pytest.mark.parametrize("shape", [(9, 8, 11), (7, 7, 7), (12, 9)], ids=str)
def test_it_is_one_minus_scikit_images_mean(shape):
    synthetic, real = pair(*shape)
    _, full = structural_similarity(real, synthetic, win_size=7, data_range=2.0, full=True)
    inner = (slice(3, -3),) * len(shape)  # elsewhere the window leaves the image
    assert float(ssim_loss(batch(synthetic), batch(real), 2.0)) == pytest.approx(
        1 - full[inner].mean(), abs=1e-10
    )
    assert structural_similarity_mean(synthetic, real, 2.0) == pytest.approx(full[inner].mean())


def test_it_is_the_mean_over_the_batch():
    (a, b), (c, d) = pair(8, 8, 8), pair(8, 8, 8)[::-1]
    alone = [float(ssim_loss(batch(x), batch(y), 2.0)) for x, y in ((a, b), (a * c, d * d))]
    assert float(ssim_loss(batch(a, a * c), batch(b, d * d), 2.0)) == pytest.approx(np.mean(alone))


def test_equal_images_cost_nothing_and_opposite_ones_more_than_one():
    _, real = pair(8, 9, 10)
    assert float(ssim_loss(batch(real), batch(real), 2.0)) == pytest.approx(0.0, abs=1e-12)
    # local means near zero, so that structure alone counts
    board = np.indices((8, 9, 10)).sum(0) % 2 * 2.0 - 1
    assert float(ssim_loss(batch(-board), batch(board), 2.0)) > 1.9


def test_the_scale_matters_and_flat_air_is_finite():
    synthetic, real = pair(8, 8, 8)
    assert float(ssim_loss(batch(synthetic), batch(real), 2.0)) != float(
        ssim_loss(batch(synthetic), batch(real), 4.0)
    )
    assert float(ssim_loss(batch(synthetic), batch(real), 2.0)) == pytest.approx(
        float(ssim_loss(batch(1000 * synthetic), batch(1000 * real), 2000.0))
    )
    air = torch.full((1, 1, 8, 8, 8), -1.0, requires_grad=True)
    loss = ssim_loss(air, air.detach(), 2.0)
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-5)
    assert torch.isfinite(air.grad).all()


def test_its_gradient_is_the_finite_differences():
    synthetic, real = (torch.from_numpy(image[None, None]) for image in pair(7, 8, 7))
    assert torch.autograd.gradcheck(lambda x: ssim_loss(x, real, 2.0), synthetic.requires_grad_())


def test_an_image_smaller_than_the_window_is_refused():
    with pytest.raises(ValueError, match="expected 7 or more"):
        ssim_loss(torch.zeros(1, 1, 6, 9, 9), torch.zeros(1, 1, 6, 9, 9), 2.0)
