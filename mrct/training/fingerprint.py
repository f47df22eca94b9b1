"""What a trained model depends on, as one hash: its parameters and the bytes of its data."""

import hashlib
import json
from pathlib import Path
from typing import Any


def data_hash(folder: Path) -> str:
    """SHA-256 over the names and bytes of all files below `folder`, in sorted order."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(file.relative_to(folder).as_posix().encode() + b"\0")
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def fingerprint(method: str, params: dict[str, Any], data: str) -> str:
    """16 hex digits; another λ, another seed or another byte of data gives another."""
    content = json.dumps([method, params, data], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]
