"""The way back: which pseudonym is whom. Made only where the user asks; it is as secret as the export itself.

It lies outside the project, so DVC does not track it: a run that DVC takes from its cache does not write it.
"""

from collections.abc import Iterable
from pathlib import Path

from mrct.core.files import write_rows
from mrct.deid.pseudonyms import KeyRefusedError, Pseudonyms, require_private_place

COLUMNS = ["patient", "patient_id", "shift_days"]
PARAMETER = "anonymize.reidentification_table"


def require_place(path: Path, forbidden: Iterable[Path]) -> None:
    """KeyRefusedError where others could read the table, or it would be shared with the project."""
    require_private_place(path, forbidden, "the table that leads pseudonyms back to patients", PARAMETER)
    if path.exists() and path.stat().st_mode & 0o077:
        raise KeyRefusedError(f"{path}: others may read the table; run  chmod 600 {path}")


def write_reidentification(
    path: Path, patient_ids: Iterable[str], mapping: Pseudonyms, max_shift_days: int
) -> None:
    """One row a PatientID, sorted, mode 0600, whole or not at all."""
    rows = [
        (mapping.patient(patient_id), patient_id, mapping.shift_days(patient_id, max_shift_days))
        for patient_id in patient_ids
    ]
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_rows(path, COLUMNS, sorted(rows), private=True)
