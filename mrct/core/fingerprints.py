"""Hashes of everything that a result depends on: the bytes of its data, its parameters and its code."""

import hashlib
import json
import sys
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import yaml

_ROOT = Path(__file__).parents[2]
_CODE = ("stages/", "mrct/", "virtual_hospital")


def file_hash(file: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hex digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def folder_hash(folder: Path) -> str:
    """Return the SHA-256 over the names and bytes of all files below `folder`, in sorted order, as 64 hex digits."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + bytes.fromhex(file_hash(file)))
    return digest.hexdigest()


def run_fingerprint(method: str, params: dict[str, Any], data: str) -> str:
    """Hash the method, the parameters and the data hash of a training to 16 hex digits.

    Equal trainings have equal fingerprints. MLflow's runs are found by their fingerprint.
    """
    content = json.dumps([method, params, data], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def code_fingerprint(stage: str, method: str = "") -> str:
    """Hash the code of a stage, the installed libraries and the version of Python to 64 hex digits (SHA-256).

    The code of a stage is what dvc.yaml lists in its `deps`. A change that runs the stage again therefore also
    discards its unfinished work and checkpoints. tests/test_architecture.py proves that the lists are complete.
    """
    parts = [sys.version, *_libraries()]
    for place in code_of(stage, method):
        for path in [place] if place.is_file() else sorted(place.rglob("*")):
            if path.is_file() and path.parent.name != "__pycache__":  # other processes may write there now
                parts.append(f"{path.relative_to(_ROOT).as_posix()} {file_hash(path)}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def code_of(stage: str, method: str = "") -> list[Path]:
    """Return the files and folders of code in the `deps` of a stage in dvc.yaml."""
    deps = yaml.safe_load((_ROOT / "dvc.yaml").read_text())["stages"][stage]["deps"]
    names = [str(name).replace("${item.method}", method) for name in deps]
    return [_ROOT / name for name in names if name.startswith(_CODE)]


@cache
def _libraries() -> tuple[str, ...]:
    return tuple(sorted({f"{one.name} {one.version}" for one in distributions()}))
