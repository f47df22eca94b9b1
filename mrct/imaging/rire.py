"""RIRE ground truth: eight corners of the CT and where fiducial markers put them in the MR.

The Retrospective Image Registration Evaluation project scores a registration by the distance between the
places to which it and the bone-implanted markers bring the same points (West et al. 1997, JCAT 21:554).
"""

import re
from pathlib import Path

import numpy as np

from mrct.core.errors import DataError
from mrct.imaging.volumes import transform_points

NUMBER = r"\s+(-?\d+\.\d+)"
ROW = re.compile(rf"^\s*\d+{NUMBER * 6}\s*$", re.MULTILINE)


def read_standard(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(n, 3) points of the "From" volume and (n, 3) of the "To" volume; mm, in each volume's own frame."""
    rows = np.array(ROW.findall(path.read_text(encoding="latin-1")), dtype=float)
    if len(rows) < 3:
        raise DataError(f"{path.name}: got {len(rows)} point pairs, expected RIRE's 8; download it again")
    return rows[:, :3], rows[:, 3:]


def corner_error_mm(from_to: np.ndarray, points_from: np.ndarray, points_to: np.ndarray) -> np.ndarray:
    """(n,) distances in mm between the 4x4 matrix's image of the points and their true places."""
    return np.linalg.norm(transform_points(from_to, points_from) - points_to, axis=1)
