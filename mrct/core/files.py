"""Files and folders that are either complete or not there."""

import csv
import errno
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mrct.core.errors import DataError

if TYPE_CHECKING:  # half a second and 50 MB in every worker process, of which most write no table
    import pandas as pd

#: Endings of the files that hold one volume each: NIfTI and MetaImage.
VOLUME_SUFFIXES = (".nii.gz", ".nii", ".mha", ".mhd")


@contextmanager
def output_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder that replaces `path` when the block ends well, and is removed when it fails.

    It lies beside `path`, on the same file system: the move is one rename, and a stage that is killed leaves nothing
    that looks complete.
    """
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    move_folder(partial, path)


def move_folder(folder: Path, target: Path) -> None:
    """Replace `target` by `folder` with one rename; a folder on another file system is copied beside it first."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        shutil.rmtree(target)
    try:
        os.replace(folder, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with output_folder(target) as copy:
            shutil.copytree(folder, copy, dirs_exist_ok=True)
        shutil.rmtree(folder)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`, which is renamed to `path` when the block ends well."""
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
    """Read a JSON file; DataError names the file if it is no JSON."""
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: not valid JSON ({error}); rerun the stage that writes it") from None


def write_table(path: Path, table: "pd.DataFrame") -> None:
    """CSV without index; floats in shortest round-trip form."""
    with atomic_file(path) as partial:
        table.to_csv(partial, index=False, lineterminator="\n")


def write_rows(
    path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]], private: bool = False
) -> None:
    """CSV of plain rows under a header; a private table may be opened by its owner alone."""
    with atomic_file(path) as partial:
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o666)
        _write_csv(descriptor, columns, rows)


def _write_csv(descriptor: int, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def read_table(path: Path) -> "pd.DataFrame":
    """CSV as written by `write_table`; the ids in `patient` and `series` stay text, empty cells become NaN."""
    import pandas as pd

    return pd.read_csv(path, dtype={"patient": str, "series": str})


def save_array(path: Path, array: np.ndarray) -> None:
    """Write a .npy file that `open_array` can map; object arrays are refused (no pickle)."""
    with atomic_file(path) as partial, partial.open("wb") as stream:
        np.save(stream, np.ascontiguousarray(array), allow_pickle=False)


def open_array(path: Path) -> np.ndarray:
    """Open a .npy file as a read-only memory map."""
    return np.load(path, mmap_mode="r", allow_pickle=False)
