"""The two reference methods against their definitions."""

import numpy as np
import pytest
import torch

from mrct.core.errors import DataError
from mrct.methods.intensity_map import IntensityMap
from mrct.methods.mean_ct import MeanCt


@pytest.fixture
def slices():
    rng = np.random.default_rng(0)
    return [
        (
            rng.uniform(-1, 1, (8, 8)).astype(np.float32),
            rng.uniform(-1, 1, (8, 8)).astype(np.float32),
            (rng.random((8, 8)) > 0.3).astype(np.uint8),
        )
        for _ in range(5)
    ]


def test_mean_ct_is_the_mean_whatever_the_input(slices):
    network, config = MeanCt.fit(iter(slices), MeanCt.Params())["mr_to_ct"]
    expected = np.mean([ct for _, ct, _ in slices], axis=0)
    for image in (torch.zeros(2, 1, 8, 8), torch.ones(2, 1, 8, 8)):
        assert np.allclose(network(image)[1, 0], expected, atol=1e-6)
    assert config == {"height": 8, "width": 8}
    with pytest.raises(ValueError, match="fitted on"):
        network(torch.zeros(1, 1, 4, 4))


def test_intensity_map_is_the_median_of_the_bin(slices):
    network, _ = IntensityMap.fit(iter(slices), IntensityMap.Params(bins=4))["mr_to_ct"]
    mr = np.concatenate([m.ravel() for m, _, _ in slices])
    ct = np.concatenate([c.ravel() for _, c, _ in slices])
    for b in range(4):
        inside = (mr >= -1 + b / 2) & (mr < -0.5 + b / 2)
        center = torch.full((1, 1, 1, 1), -0.75 + b / 2)
        assert network(center).item() == pytest.approx(np.median(ct[inside]))


def test_a_function_of_intensity_is_recovered_both_ways():
    mr = np.linspace(-1, 1, 4096, dtype=np.float32).reshape(64, 64)
    ct = mr**3
    fitted = IntensityMap.fit([(mr, ct, np.ones_like(mr))], IntensityMap.Params(bins=128))
    image = torch.from_numpy(mr)[None, None]
    assert np.abs(fitted["mr_to_ct"][0](image)[0, 0].numpy() - ct).max() < 0.03
    assert np.abs(fitted["ct_to_mr"][0](torch.from_numpy(ct)[None, None])[0, 0].numpy() - mr).mean() < 0.02


def test_empty_bins_take_their_neighbors_and_no_slice_is_an_error():
    mr = np.array([[-0.9, 0.9]], np.float32)
    network, _ = IntensityMap.fit([(mr, mr, np.ones_like(mr))], IntensityMap.Params(bins=8))["mr_to_ct"]
    assert torch.isfinite(network.table).all()
    assert (network.table.diff() >= 0).all()
    for method, keys in ((MeanCt, {}), (IntensityMap, {"bins": 4})):
        with pytest.raises(DataError, match="no training slice"):
            method.fit([], method.Params(**keys))
