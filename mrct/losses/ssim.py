"""SSIM loss: one minus the structural similarity (Wang 2004), differentiable, in two or three dimensions."""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from mrct.core.errors import DataError
from mrct.losses.precision import at_least_float32

#: Window of the evaluation (mrct/metrics/image.py), pixels per side.
SSIM_WINDOW = 7
#: Constants of Wang 2004, below eq. 13.
K1, K2 = 0.01, 0.03


def ssim_loss(synthetic: Tensor, real: Tensor, data_range: float) -> Tensor:
    """Compute 1 - mean SSIM of images (B, C, [D,] H, W) on a scale of width `data_range`; scalar in [0, 2].

    Windows are uniform, have 7 pixels per side and lie inside the image; (co)variances are those of a sample. This is
    the definition of the evaluation (mrct/metrics/image.py).

    Raises:
        DataError: An image is smaller than a window.
    """
    x, y = at_least_float32(synthetic), at_least_float32(real)
    if min(x.shape[2:]) < SSIM_WINDOW:
        raise DataError(
            f"ssim_loss: image of {tuple(x.shape[2:])}, expected {SSIM_WINDOW} or more pixels per side"
        )
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    mean: Callable[..., Tensor] = functional.avg_pool3d if x.dim() == 5 else functional.avg_pool2d
    count = SSIM_WINDOW ** (x.dim() - 2)
    mean_x, mean_y = mean(x, SSIM_WINDOW, 1), mean(y, SSIM_WINDOW, 1)
    unbiased = count / (count - 1)
    variances = unbiased * (mean(x * x + y * y, SSIM_WINDOW, 1) - mean_x**2 - mean_y**2)
    covariance = unbiased * (mean(x * y, SSIM_WINDOW, 1) - mean_x * mean_y)
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return 1 - (luminance * (2 * covariance + c2) / (variances + c2)).mean()
