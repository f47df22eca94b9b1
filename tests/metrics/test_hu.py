"""The SynthRAD convention: clipping, mask, air outside, 3D window, written out by hand."""

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from mrct.metrics.hu import bone_iou, head_region, volume_metrics


@pytest.fixture
def volumes():
    rng = np.random.default_rng(3)
    real = rng.normal(0, 500, (9, 20, 20))
    mask = np.zeros(real.shape, bool)
    mask[:, 4:16, 5:17] = True
    return real + rng.normal(0, 80, real.shape), real, mask


def test_against_the_convention_written_out(volumes):
    synthetic, real, mask = volumes
    metrics = volume_metrics(synthetic, real, mask)
    clipped_s, clipped_r = np.clip(synthetic, -1024, 3000), np.clip(real, -1024, 3000)
    mse = ((clipped_s - clipped_r)[mask] ** 2).mean()
    air_s, air_r = np.where(mask, clipped_s, -1024) + 1024, np.where(mask, clipped_r, -1024) + 1024
    _, full = structural_similarity(air_r, air_s, data_range=4024, full=True)
    assert metrics["mae_hu"] == pytest.approx(np.abs((synthetic - real)[mask]).mean())
    assert metrics["psnr_db"] == pytest.approx(10 * np.log10(4024**2 / mse))
    assert metrics["ssim"] == pytest.approx(full[3:-3, 3:-3, 3:-3][mask[3:-3, 3:-3, 3:-3]].mean())


def test_mae_is_not_clipped_and_ignores_what_is_outside_the_mask(volumes):
    _, real, mask = volumes
    synthetic = real.copy()
    synthetic[~mask] = 9999
    assert volume_metrics(synthetic, real, mask)["mae_hu"] == 0.0
    saturated = np.full(real.shape, 5000.0)
    assert volume_metrics(saturated, saturated - 500, mask)["mae_hu"] == pytest.approx(500.0)


def test_thin_volumes_get_a_two_dimensional_ssim(volumes):
    synthetic, real, mask = (v[:1] for v in volumes)
    metrics = volume_metrics(synthetic, real, mask)
    assert "ssim" not in metrics
    assert 0 < metrics["ssim_2d"] < 1


def test_bone_iou_thresholds_are_inclusive_and_named():
    real = np.array([[150.0, 149.9, 700.0]])
    assert bone_iou(np.array([[150.0, 150.0, 0.0]]), real, (150.0, 700.0)) == {
        "iou_bone_150hu": pytest.approx(1 / 3),
        "iou_bone_700hu": 0.0,
    }


def test_head_region_fills_air_inside():
    head = np.full((1, 11, 11), -1000.0)
    head[0, 2:9, 2:9] = 40.0
    head[0, 5, 5] = -1000.0
    assert head_region(head).sum() == 49
