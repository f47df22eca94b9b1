"""Tensors and metadata come back; foreign files are refused."""

import pytest
import torch
from safetensors.torch import save_file

from mrct.training import checkpoint
from mrct.training.fingerprint import data_hash, fingerprint


def test_round_trip_of_networks_and_adam_moments(tmp_path):
    def make():
        torch.manual_seed(0)
        network = torch.nn.Linear(3, 2)
        return network, {"generators": torch.optim.Adam(network.parameters(), lr=0.1)}

    network, optimizers = make()
    for _ in range(3):
        optimizers["generators"].zero_grad()
        network(torch.ones(1, 3)).sum().backward()
        optimizers["generators"].step()
    best = {"mr_to_ct": {"layer.weight": torch.arange(4.0)}}
    checkpoint.save(tmp_path / "c", checkpoint.training_state(network, optimizers, best), {"epoch": 3})

    fresh, fresh_optimizers = make()
    state, meta = checkpoint.load(tmp_path / "c")
    restored_best = checkpoint.restore_training_state(state, fresh, fresh_optimizers)
    assert meta == {"epoch": 3}
    assert torch.equal(restored_best["mr_to_ct"]["layer.weight"], torch.arange(4.0))
    for model, optimizer in ((network, optimizers), (fresh, fresh_optimizers)):
        optimizer["generators"].zero_grad()
        model(torch.ones(1, 3)).sum().backward()
        optimizer["generators"].step()
    assert torch.equal(network.weight, fresh.weight)


def test_a_foreign_file_is_refused(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ValueError, match="no mrct metadata"):
        checkpoint.load(tmp_path / "foreign.safetensors")


def test_fingerprint_changes_with_every_part(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    before = data_hash(tmp_path)
    (tmp_path / "a").write_bytes(b"2")
    assert data_hash(tmp_path) != before
    marks = {fingerprint(m, {"lambda_pix": value}, d) for m in "ab" for value in (50, 100) for d in "xy"}
    assert len(marks) == 8
