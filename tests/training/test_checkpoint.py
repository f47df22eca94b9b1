"""Tensors and metadata come back; foreign files are refused."""

import resource

import pytest
import torch
from safetensors.torch import save_file

from mrct.core.fingerprints import folder_hash, run_fingerprint
from mrct.training import checkpoint


@pytest.mark.parametrize("fused", [False, True])
def test_round_trip_of_networks_and_adam_moments(tmp_path, fused):
    """Channels-last weights: fused Adam gives wrong weights for moments that lie in another memory order."""

    def make():
        torch.manual_seed(0)
        network = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
        return network, {"generators": torch.optim.Adam(network.parameters(), lr=0.1, fused=fused)}

    def step(network, optimizers, scale):
        image = torch.arange(75.0).view(1, 3, 5, 5).sin() * scale
        optimizers["generators"].zero_grad()
        network(image).square().sum().backward()
        optimizers["generators"].step()

    network, optimizers = make()
    for scale in (1.0, 2.0, 0.5):
        step(network, optimizers, scale)
    checkpoint.save(
        tmp_path / "c", checkpoint.training_state({"networks": network}, optimizers), {"epoch": 3}
    )

    fresh, fresh_optimizers = make()
    state, meta = checkpoint.load(tmp_path / "c")
    checkpoint.restore_training_state(state, {"networks": fresh}, fresh_optimizers)
    assert meta == {"epoch": 3}
    for _ in range(2):
        step(network, optimizers, 3.0)
        step(fresh, fresh_optimizers, 3.0)
    assert torch.equal(network.weight, fresh.weight)


def test_a_foreign_file_is_refused(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ValueError, match="no mrct metadata"):
        checkpoint.load(tmp_path / "foreign.safetensors")


def test_a_full_disk_is_said_and_loses_nothing(tmp_path):
    """The kernel refuses to let a file grow beyond a limit, in the middle of the write, as a full disk does."""
    file = tmp_path / "c.safetensors"
    checkpoint.save(file, {"a": torch.ones(3)}, {"epoch": 1})
    before = file.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OSError, match=r"c\.safetensors: not written \(.*make room"):
            checkpoint.save(file, {"a": torch.zeros(100_000)}, {"epoch": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["c.safetensors"]


def test_fingerprint_changes_with_every_part(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    before = folder_hash(tmp_path)
    (tmp_path / "a").write_bytes(b"2")
    assert folder_hash(tmp_path) != before
    marks = {run_fingerprint(m, {"lambda_pix": value}, d) for m in "ab" for value in (50, 100) for d in "xy"}
    assert len(marks) == 8
