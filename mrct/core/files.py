"""Files and folders that appear whole or not at all."""

import csv
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mrct.core.errors import DataError

#: Endings of the files that hold one volume each: NIfTI and MetaImage.
VOLUME_SUFFIXES = (".nii.gz", ".nii", ".mha", ".mhd")


def is_volume_file(path: Path) -> bool:
    """Return whether the name ends as that of a volume file does, in upper or lower case."""
    return bool(volume_suffix(path))


def volume_suffix(path: Path) -> str:
    """Return which of VOLUME_SUFFIXES the name of a file has, in lower case; "" if it has none.

    The name may have it in capitals: some systems write CT.NII.GZ.
    """
    name = path.name.lower()
    return next((suffix for suffix in VOLUME_SUFFIXES if name.endswith(suffix) and name != suffix), "")


def volume_stem(path: Path) -> str:
    """Return the name of a volume's file without its suffix; "" if it is no volume."""
    suffix = volume_suffix(path)
    return path.name[: -len(suffix)] if suffix else ""


@contextmanager
def output_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder that replaces `path` if the block succeeds and is removed if it fails.

    The folder lies beside `path`, on the same file system. Moving it is one rename, so that a killed stage leaves
    nothing that looks complete.
    """
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if path.exists():
        shutil.rmtree(path)
    partial.rename(path)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that is renamed to `path` if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write sorted, indented JSON with a final newline; the same content gives the same bytes."""
    with atomic_file(path) as partial:
        partial.write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: The file is not valid JSON; the message names it.
    """
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: not valid JSON ({error}); rerun the stage that writes it") from None


def write_private_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV table that only its owner can read."""
    with atomic_file(path) as partial:
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(rows)


def save_array(path: Path, array: np.ndarray) -> None:
    """Write a .npy file that `open_array` can map; object arrays are refused (no pickle)."""
    with atomic_file(path) as partial, partial.open("wb") as stream:
        np.save(stream, np.ascontiguousarray(array), allow_pickle=False)


def open_array(path: Path) -> np.ndarray:
    """Open a .npy file as a read-only memory map."""
    return np.load(path, mmap_mode="r", allow_pickle=False)
