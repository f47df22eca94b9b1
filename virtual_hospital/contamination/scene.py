"""What a contaminating series is made from, and grids for it."""

from dataclasses import dataclass

import numpy as np

from virtual_hospital.anatomy import Head
from virtual_hospital.geometry import Grid, stack
from virtual_hospital.series import Poses, Series


@dataclass(frozen=True)
class Scene:
    """A patient's head, poses and clean series; vendors are siemens, philips or ge; `rng` is consumed."""

    head: Head
    poses: Poses
    clean_ct: Series
    size: int  # pixels of a slice of the clean series
    mr_vendor: str
    ct_vendor: str
    rng: np.random.Generator


def regrid(
    grid: Grid, size: int, count: int, spacing_mm: float, thickness_mm: float, shift_mm: float = 0.0
) -> Grid:
    """Other slices of the same gantry: its field of view and tilt, `shift_mm` along the table."""
    rotation = np.stack([grid.row_direction, grid.column_direction, grid.normal], 1)
    table = grid.index_to_mm[:3, 2] / np.linalg.norm(grid.index_to_mm[:3, 2])
    middle = grid.index_to_mm @ np.append((np.array(grid.shape[::-1]) - 1) / 2, 1.0)
    pixel_mm = grid.pixel_spacing_mm * grid.shape[2] / size
    return stack(
        rotation,
        middle[:3] + shift_mm * table,
        (count, size, size),
        pixel_mm,
        spacing_mm,
        thickness_mm,
        table,
    )
