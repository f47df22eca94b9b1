"""Tests of the picture of an epoch: the right panels, in gray."""

import numpy as np
import torch
from torch import nn

from mrct.training.dataset import open_normalized
from mrct.training.pictures import WINDOW_HU, example_sheet
from mrct.training.run import Usage

CPU = torch.device("cpu")


def test_panels_are_mr_synthetic_ct_ct_synthetic_mr(normalized):
    data = open_normalized(normalized)
    sheet = example_sheet({"mr_to_ct": nn.Identity(), "ct_to_mr": nn.Identity()}, data, CPU)
    assert sheet.dtype == np.uint8
    assert sheet.shape == (2 * 34, 4 * 34)  # two validation patients of 32 pixels and gaps of two
    patient = data.split("validation")[0]
    k = np.flatnonzero(patient.valid)[patient.valid.sum() // 2]
    panels = [sheet[:32, 34 * n : 34 * n + 32].astype(float) for n in range(4)]
    assert np.abs(panels[0] - (patient.mr[k] + 1) / 2 * 255).max() <= 0.5
    hu = patient.ct_hu[k]
    low, high = WINDOW_HU
    assert np.abs(panels[2] - ((hu - low) / (high - low)).clip(0, 1) * 255).max() <= 0.6
    # the network is an identity: the CT, in the MR's scale
    assert np.abs(panels[3] - (patient.ct[k] + 1) / 2 * 255).max() <= 0.5
    assert not np.array_equal(panels[1], panels[2])


def test_a_method_of_one_direction_has_three_panels(normalized):
    sheet = example_sheet({"mr_to_ct": nn.Identity()}, open_normalized(normalized), CPU)
    assert sheet.shape == (2 * 34, 3 * 34)


def test_usage_reads_since_the_last_time():
    usage = Usage()
    sum(range(1_000_000))
    first = usage.read()
    assert first["system/cpu_percent"] > 0
    assert 0.01 < first["system/memory_gb"] < 1000
    assert first.keys() == usage.read().keys()
