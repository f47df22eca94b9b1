"""What a source's own values are: the phi_values of every patient of a folder of DICOM, volumes or tables.

A CSV table counts as well (one row a person, the column's name is the attribute), so that a list of names or a
table of pseudonyms can be swept for.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

from mrct.core.parallel import map_processes
from mrct.dicom.read import Unreadable, read_dataset
from mrct.leaks.phi_values import PhiValues
from mrct.leaks.volume_texts import is_volume, volume_phi_values

_FILES_AT_ONCE = 256
_LARGEST_TABLE = 64 << 20


def phi_values_of(files: Sequence[Path], description: str) -> list[PhiValues]:
    """One PhiValues a patient, in the order of their first file; for memory only."""
    chunks = [list(files[start : start + _FILES_AT_ONCE]) for start in range(0, len(files), _FILES_AT_ONCE)]
    patients: dict[str, PhiValues] = {}
    for found in map_processes(_needles_of_chunk, chunks, description):
        for patient, phi_values in found.items():
            patients.setdefault(patient, PhiValues()).merge(phi_values)
    return [phi_values for phi_values in patients.values() if len(phi_values)]


def _needles_of_chunk(files: list[Path]) -> dict[str, PhiValues]:
    patients: dict[str, PhiValues] = {}
    for path in files:
        try:
            if is_volume(path):
                patients.setdefault(f"case {path.parent}", PhiValues()).merge(volume_phi_values(path))
            elif path.suffix.lower() == ".csv":
                _add_table(path, patients)
            else:
                dataset = read_dataset(path, pixels=False)
                patient = str(dataset.get("PatientID", "") or path)
                patients.setdefault(patient.strip(" \0"), PhiValues()).add_dataset(dataset)
        except Unreadable:
            continue  # a note, an archive: it has no header
        except Exception:  # damaged files fail in many ways; what cannot be read has no value to look for
            continue
    return patients


def _add_table(path: Path, patients: dict[str, PhiValues]) -> None:
    if path.stat().st_size > _LARGEST_TABLE:
        return
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as stream:
        for number, row in enumerate(csv.DictReader(stream)):
            phi_values = patients.setdefault(f"{path} row {number}", PhiValues())
            for column, value in row.items():
                if column and isinstance(value, str):
                    phi_values.add_text(value, column, shortest_part=4)
