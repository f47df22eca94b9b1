"""What a source's own values are: the needles of every patient of a folder of DICOM, volumes or tables.

A CSV table counts as well (one row a person, the column's name is the attribute), so that a list of names or a
table of pseudonyms can be swept for.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

from mrct.deid.needles import Needles
from mrct.deid.volume_texts import is_volume, volume_needles
from mrct.dicom.read import Unreadable, read_dataset
from mrct.parallel import map_processes

_FILES_AT_ONCE = 256
_LARGEST_TABLE = 64 << 20


def needles_of(files: Sequence[Path], description: str) -> list[Needles]:
    """One Needles a patient, in the order of their first file; for memory only."""
    chunks = [list(files[start : start + _FILES_AT_ONCE]) for start in range(0, len(files), _FILES_AT_ONCE)]
    patients: dict[str, Needles] = {}
    for found in map_processes(_needles_of_chunk, chunks, description):
        for patient, needles in found.items():
            patients.setdefault(patient, Needles()).merge(needles)
    return [needles for needles in patients.values() if len(needles)]


def _needles_of_chunk(files: list[Path]) -> dict[str, Needles]:
    patients: dict[str, Needles] = {}
    for path in files:
        try:
            if is_volume(path):
                patients.setdefault(f"case {path.parent}", Needles()).merge(volume_needles(path))
            elif path.suffix.lower() == ".csv":
                _add_table(path, patients)
            else:
                dataset = read_dataset(path, pixels=False)
                patient = str(dataset.get("PatientID", "") or path)
                patients.setdefault(patient.strip(" \0"), Needles()).add_dataset(dataset)
        except Unreadable:
            continue  # a note, an archive: it has no header
        except Exception:  # damaged files fail in many ways; what cannot be read has no value to look for
            continue
    return patients


def _add_table(path: Path, patients: dict[str, Needles]) -> None:
    if path.stat().st_size > _LARGEST_TABLE:
        return
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as stream:
        for number, row in enumerate(csv.DictReader(stream)):
            needles = patients.setdefault(f"{path} row {number}", Needles())
            for column, value in row.items():
                if column and isinstance(value, str):
                    needles.add_text(value, column, shortest_part=4)
