"""The ground truth of the Retrospective Image Registration Evaluation project (West et al. 1997, JCAT 21:554).

Bone-implanted markers define the positions in the MR of eight corners of the CT. The error of a registration is the
distance between these positions and those to which it maps the corners.
"""

import re
from pathlib import Path

import numpy as np

from mrct.core.errors import DataError
from mrct.imaging.volumes import transform_points

NUMBER = r"\s+(-?\d+\.\d+)"
ROW = re.compile(rf"^\s*\d+{NUMBER * 6}\s*$", re.MULTILINE)


def read_standard(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the points (n, 3) of the "From" and of the "To" volume; mm, each in its own frame."""
    rows = np.array(ROW.findall(path.read_text(encoding="latin-1")), dtype=float)
    if len(rows) < 3:
        raise DataError(f"{path.name}: got {len(rows)} point pairs, expected RIRE's 8; download it again")
    return rows[:, :3], rows[:, 3:]


def corner_error_mm(from_to: np.ndarray, points_from: np.ndarray, points_to: np.ndarray) -> np.ndarray:
    """Return the distances (n,) between the points mapped by a 4x4 matrix and their true positions."""
    return np.linalg.norm(transform_points(from_to, points_from) - points_to, axis=1)
