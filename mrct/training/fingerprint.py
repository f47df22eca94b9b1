"""What a trained model depends on, as one hash: its parameters and the bytes of its data."""

import hashlib
import json
from pathlib import Path
from typing import Any


def file_hash(file: Path) -> str:
    """SHA-256 of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fingerprint(method: str, params: dict[str, Any], data: str) -> str:
    """16 hex digits; another λ, another seed or another byte of data gives another."""
    content = json.dumps([method, params, data], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]
