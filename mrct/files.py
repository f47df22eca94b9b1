"""Writing that is either complete or not there: atomic files, and a stage's output folder."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


@contextmanager
def output_folder(path: Path) -> Iterator[Path]:
    """An empty folder that takes the place of `path` when the block ends well, and vanishes when it fails.

    It lies beside `path` (same file system), so that the move is one rename and a killed stage leaves
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
    os.replace(partial, path)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` that is renamed to it when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Sorted, indented JSON with a final newline; the same content gives the same bytes."""
    with atomic_file(path) as partial:
        partial.write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """The parsed content; the error names the file."""
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not valid JSON ({error}); rerun the stage that writes it") from None


def write_table(path: Path, table: pd.DataFrame) -> None:
    """CSV without index; floats in shortest round-trip form."""
    with atomic_file(path) as partial:
        table.to_csv(partial, index=False, lineterminator="\n")


def read_table(path: Path) -> pd.DataFrame:
    """CSV as written by `write_table`; the ids in `patient` and `series` stay text, empty cells become NaN."""
    return pd.read_csv(path, dtype={"patient": str, "series": str})


def save_array(path: Path, array: np.ndarray) -> None:
    """A .npy file that `open_array` can map; object arrays are refused (no pickle)."""
    with atomic_file(path) as partial, partial.open("wb") as stream:
        np.save(stream, np.ascontiguousarray(array), allow_pickle=False)


def open_array(path: Path) -> np.ndarray:
    """The .npy file as a read-only memory map."""
    return np.load(path, mmap_mode="r", allow_pickle=False)
