"""Tests that every entry point lets OpenMP's threads sleep while they wait, and counts only the cores it may use."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mrct.core.parallel import core_count

ROOT = Path(__file__).parents[2]
# OpenMP reads the policy when the library is loaded, which is when torch is imported
PROGRAM = """
import os, sys, importlib
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print(os.environ.get("OMP_WAIT_POLICY"))
            sys.meta_path.remove(self)
sys.meta_path.insert(0, Watch())
importlib.import_module(sys.argv[1])
import torch
"""


def policy_when_torch_is_imported(module: str, **environment: str) -> str:
    inherited = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, module],
        cwd=ROOT, env=inherited | environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


@pytest.mark.parametrize(
    "module", ["mrct.cli.main", "stages.train", "stages.evaluate", "mrct.inference.model"]
)
def test_the_wait_policy_is_set_before_torch_is_imported(module):
    assert policy_when_torch_is_imported(module) == "passive"


def test_a_wait_policy_of_the_user_is_kept():
    assert policy_when_torch_is_imported("stages.train", OMP_WAIT_POLICY="active") == "active"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_cores_outside_the_affinity_are_not_counted():
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert core_count() == 1
    finally:
        os.sched_setaffinity(0, allowed)
