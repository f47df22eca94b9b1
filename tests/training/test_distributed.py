"""Two processes of torchrun against one: the same batches, the same weights."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from mrct.core.params import load, load_parts
from mrct.methods.context_gan3d import ContextGanParams
from mrct.methods.sc_cyclegan import DiscriminatorParams, GeneratorParams, ScCycleGanParams
from mrct.training import checkpoint, distributed
from mrct.training.engine import CHECKPOINT
from mrct.training.settings import AdversarialLoop

#: Tensors and what is written beside them.
Checkpoint = tuple[dict[str, torch.Tensor], dict[str, Any]]
TRAIN = """
import sys
from pathlib import Path
import torch
from mrct.methods.registry import load_method
from mrct.training import distributed
from mrct.training.configuration import Configuration
from mrct.training.dataset import open_normalized
from mrct.training.run import TrainingPlan, train_phases
from mrct.training.settings import Settings
name, params, settings, data, work, n_processes = sys.argv[1:]
method = load_method(name)
params = method.Params.model_validate_json(params, strict=False)
settings = Settings.model_validate_json(settings, strict=False)
plan = TrainingPlan(Configuration(name, method, params, settings, {}))
with distributed.joined(torch.device("cpu")):
    train_phases(plan, open_normalized(Path(data)), Path(work), lambda epoch: None)
    assert distributed.size() == int(n_processes)
"""


def train(folder: Path, data: Path, n_processes: int, method: str, params: str) -> list[Checkpoint]:
    """Train on this number of processes; return the last checkpoint of each phase."""
    script = folder / "train.py"
    script.write_text(TRAIN)
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n_processes}"]
    work = folder / str(n_processes)
    arguments = [str(script), method, params, json.dumps(SETTINGS), str(data), str(work), str(n_processes)]
    environment = os.environ | {"MRCT_THREADS": "1", "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, *(launch if n_processes > 1 else []), *arguments], check=True, env=environment
    )
    return [checkpoint.load(file) for file in sorted(work.glob(f"*/{CHECKPOINT}"))]


def require_alike(one: Checkpoint, two: Checkpoint) -> None:
    """Check equality up to a step of Adam (1e-3), which a gradient of pure rounding error can cause."""
    (weights, alone), (others, together) = one, two
    assert weights.keys() == others.keys()
    for name in weights:
        assert (weights[name] - others[name]).norm() <= 1e-3 * weights[name].norm() + 1e-5, name
    for row, other in zip(alone["history"], together["history"], strict=True):
        assert row == pytest.approx(other, rel=1e-4)


SETTINGS = {
    "epochs": 2,
    "batch_size": 7,
    "accumulate": 1,
    "lr_decay": "linear",
    "pool_size": 5,
    "ema_decay": 0.9,
    "max_gradient_norm": 0.5,
    "augmentation": {
        "rotation_deg": 3.0,
        "scale": 0.02,
        "shift_mm": 2.0,
        "flip": True,
        "mr_gamma": 0.2,
        "mr_bias": 0.2,
    },
    "seed": 5,
    "device": "cpu",
    "precision": "fp32",
    "compile": False,
}


def test_two_processes_train_what_one_does(normalized, tmp_path):
    """Augmentation, structure queries, pool, moving average; batches of 7 (3 + 4) and 1 (whole on both).

    Slow by its three processes that import torch.
    """
    discriminator = DiscriminatorParams(filters=4, norm="instance")
    generator = GeneratorParams(filters=4, blocks=1, downsamplings=1, upsampling="resize")
    params = load(ScCycleGanParams).model_copy(
        update={"generator": generator, "discriminator": discriminator}
    )
    (one,), (two,) = (train(tmp_path, normalized, n, "sc_cyclegan", params.model_dump_json()) for n in (1, 2))
    require_alike(one, two)


def test_two_processes_train_on_cubes_what_one_does(normalized, tmp_path):
    """In two iterations: each process predicts its share of the volumes that both then train on.

    Slow by its three processes that import torch.
    """
    small = {
        "iterations": 2,
        "filters": 1,
        "patches_per_volume": 2,
        "overlap": 0.0,
        "resample_slices_mm": 0.33,
    }
    params, _ = load_parts((ContextGanParams, AdversarialLoop), "context_gan3d")
    params = params.model_copy(update=small)
    one, two = (train(tmp_path, normalized, n, "context_gan3d", params.model_dump_json()) for n in (1, 2))
    for alone, together in zip(one, two, strict=True):
        require_alike(alone, together)
    assert len(one) == 2


@pytest.mark.parametrize("total", range(1, 12))
def test_shares_part_a_batch_and_weigh_one_in_all(total, monkeypatch):
    monkeypatch.setattr(distributed, "size", lambda: 3)
    shares = []
    for rank in range(3):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        shares.append(distributed.share_of(total))
    assert sum(share.weight for share in shares) == pytest.approx(1)
    taken = [place for share in shares for place in range(total)[share.own]]
    assert taken == list(range(total)) if total >= 3 else taken == list(range(total)) * 3


def test_alone_nothing_is_exchanged():
    share = distributed.share_of(5)
    assert share == distributed.Share(slice(0, 5), 5, 1.0)
    images = torch.rand(5, 1)
    assert distributed.gather(images, share) is images
    assert (distributed.rank(), distributed.size()) == (0, 1)


def test_running_averages_become_the_mean_over_the_processes(monkeypatch):
    """The saved network is the validated one; counts stay whole numbers."""
    norm = torch.nn.BatchNorm1d(2)
    norm.running_mean.copy_(torch.tensor([1.0, 5.0]))
    norm.num_batches_tracked.fill_(3)
    monkeypatch.setattr(distributed, "size", lambda: 2)
    monkeypatch.setattr(distributed.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed.distributed, "all_reduce", lambda values: values.add_(3.0))
    distributed.average_buffers(norm)
    assert norm.running_mean.tolist() == [2.0, 4.0]
    assert int(norm.num_batches_tracked) == 3
