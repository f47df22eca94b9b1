"""CT of a virtual head: HU of the tissues, headholder, beam hardening and noise.

Arrays are (D, H, W) = (k, j, i), float32 in HU.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from virtual_hospital.anatomy import Head
from virtual_hospital.geometry import Grid, sample, scanner_to_head_index
from virtual_hospital.tissues import Tissue, lookup

AIR_HU = -1000.0
OUTSIDE_CIRCLE_HU = -1024.0
HEADHOLDER_MM = 107.0  # inner radius of the headholder


@dataclass(frozen=True)
class Technique:
    """The technique of a CT: grain of the kernel in mm (smaller is sharper), and HU that replace those of tissues."""

    grain_mm: float = 0.55
    changed: tuple[tuple[Tissue, float], ...] = ()


ROUTINE = Technique()


def head_hu(head: Head, technique: Technique = ROUTINE) -> np.ndarray:
    """Return the HU of each voxel of the head, float32 (D, H, W): the tissue's value plus texture, without noise."""
    hu = lookup("hu")
    for tissue, value in technique.changed:
        hu[tissue] = value
    return hu[head.labels] + lookup("hu_texture")[head.labels] * head.texture


def acquire(
    head: Head,
    grid: Grid,
    head_to_ct: np.ndarray,
    noise_hu: float,
    rng: np.random.Generator,
    technique: Technique = ROUTINE,
) -> np.ndarray:
    """Make a CT of a head.

    Args:
        head: The head.
        grid: The slices.
        head_to_ct: 4x4, LPS mm.
        noise_hu: Standard deviation of the noise in a slice through the middle of the brain.
        rng: Draws the noise.
        technique: Kernel and contrast.

    Returns:
        HU, float32 of the grid's shape, at least -1024. Corners outside the reconstruction circle are -1024.
    """
    hu = sample(head_hu(head, technique), grid, scanner_to_head_index(head_to_ct), AIR_HU)
    points = _points_mm(grid)
    hu = np.maximum(hu, headholder_hu(points))
    hu += beam_hardening_hu(hu, grid.pixel_spacing_mm)
    hu += noise_hu * _kernel_noise(grid, technique.grain_mm, rng) * _noise_weight(hu)
    hu[:, outside_circle(grid.shape[1:])] = OUTSIDE_CIRCLE_HU
    return np.maximum(hu, OUTSIDE_CIRCLE_HU)


def headholder_hu(points_mm: np.ndarray) -> np.ndarray:
    """Return the HU, float32 (...), of a carbon-fiber headholder with foam at scanner points (..., 3); air elsewhere.

    The headholder is fixed in the scanner: an arc of radius HEADHOLDER_MM around the axis of the gantry, under the
    head.
    """
    radius = np.hypot(points_mm[..., 0], points_mm[..., 1])
    below = points_mm[..., 1] > 45.0
    shell = np.clip(1.7 - np.abs(radius - HEADHOLDER_MM - 6.0), 0.0, 1.0) * below
    foam = ((radius > HEADHOLDER_MM) & (radius < HEADHOLDER_MM + 6.0) & below).astype(np.float32)
    return (AIR_HU + 60.0 * foam + (800.0 - 60.0 * foam) * shell).astype(np.float32)


def beam_hardening_hu(hu: np.ndarray, pixel_mm: float) -> np.ndarray:
    """Return the HU to add, (D, H, W): a brighter brain under the vault, dark bands between the petrous bones.

    This imitates the effect without a model of the projections: bone is blurred around itself and along the row.
    """
    bone = np.clip(hu - 300.0, 0.0, 1200.0)
    width = max(1, round(18.0 / pixel_mm))
    near = ndimage.uniform_filter(bone, (1, width, width))
    dense = np.clip(hu - 900.0, 0.0, 600.0)
    along = ndimage.uniform_filter1d(dense, max(1, round(70.0 / pixel_mm)), axis=2)
    return 0.018 * near - 0.05 * np.clip(along - 40.0, 0.0, 160.0) * (hu > -200.0)


def _kernel_noise(grid: Grid, grain_mm: float, rng: np.random.Generator) -> np.ndarray:
    """Return noise of unit variance with the grain of a kernel; 0.55 mm is that of a soft-tissue kernel."""
    white = rng.standard_normal(grid.shape, dtype=np.float32)
    sigma = grain_mm / grid.pixel_spacing_mm
    grain = ndimage.gaussian_filter(white, (0.0, sigma, sigma), truncate=3.0)
    return grain / grain.std()


def _noise_weight(hu: np.ndarray) -> np.ndarray:
    """Return the noise of each slice, (D, 1, 1), relative to a mid-brain slice: bone absorbs more photons."""
    bone_share = (hu > 300.0).mean(axis=(1, 2), keepdims=True)
    return (0.85 + 2.0 * bone_share).astype(np.float32)


def outside_circle(shape: tuple[int, ...]) -> np.ndarray:
    """Return where a slice lies outside the reconstruction circle, bool (H, W)."""
    rows, columns = (np.linspace(-1.0, 1.0, length) for length in shape)
    return np.hypot(rows[:, None], columns[None, :]) > 1.0


def _points_mm(grid: Grid) -> np.ndarray:
    """Return the scanner points of all voxels, float32 (D, H, W, 3)."""
    k, j, i = np.meshgrid(*(np.arange(length, dtype=np.float32) for length in grid.shape), indexing="ij")
    matrix = grid.index_to_mm.astype(np.float32)
    return np.stack([i, j, k], -1) @ matrix[:3, :3].T + matrix[:3, 3]
