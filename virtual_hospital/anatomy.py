"""The head of one virtual patient: the template resized and warped, with layers of scalp and skull, sometimes a lesion.

Arrays are (D, H, W) = (k, j, i) with 1 mm voxels. Head coordinates (x, y, z) are in mm, LPS, with the origin at
ORIGIN_INDEX.
"""

from dataclasses import dataclass

import numpy as np

from virtual_hospital.template import DEPTH_UNIT_MM, MNI_ORIGIN, Template, coordinates
from virtual_hospital.tissues import Tissue

# (k, j, i) near the center of the brain
ORIGIN_INDEX = (MNI_ORIGIN[0] + 8, MNI_ORIGIN[1] + 18, MNI_ORIGIN[2])
LESIONS = (Tissue.INFARCT, Tissue.HEMATOMA, Tissue.TUMOR)


@dataclass(frozen=True)
class Build:
    """The differences between a head and the template; `scale` is the factor of the size along (x, y, z)."""

    scale: tuple[float, float, float]
    ventricle_growth: float
    warp_mm: float
    fat_mm: float
    skull_table_mm: float
    calcified: bool
    lesion: Tissue | None


@dataclass(frozen=True)
class Head:
    """Tissue labels, uint8 (D, H, W), and a texture of about unit variance, float32 of the same shape."""

    labels: np.ndarray
    texture: np.ndarray
    build: Build


def draw_build(rng: np.random.Generator) -> Build:
    """Draw a build: a size within about 8 % of the template's, narrow to wide ventricles, a lesion in every third."""
    size = rng.uniform(0.95, 1.04)
    width = rng.uniform(0.97, 1.04)
    height = rng.uniform(0.97, 1.03)
    lesion = LESIONS[rng.integers(len(LESIONS))] if rng.random() < 0.35 else None
    return Build(
        scale=(size * width, size / width, size * height),
        ventricle_growth=rng.uniform(-0.15, 0.38),
        warp_mm=rng.uniform(1.5, 3.0),
        fat_mm=rng.uniform(2.0, 4.5),
        skull_table_mm=rng.uniform(1.5, 2.2),
        calcified=rng.random() < 0.5,
        lesion=lesion,
    )


def make_head(template: Template, build: Build, rng: np.random.Generator) -> Head:
    """Make the head of a patient from the template.

    Args:
        template: The template.
        build: The size of the head, its layers and its lesion.
        rng: Draws the warp, the texture, and the places of calcifications and lesion.

    Returns:
        The head; its arrays have the shape of the template's.
    """
    shape = template.labels.shape
    source = _source_index(shape, build, rng)
    labels = template.labels.ravel()[source]
    depth_mm = template.depth.ravel()[source].astype(np.float32) * np.float32(DEPTH_UNIT_MM)
    texture = 0.8 * smooth_field(shape, 4.0, rng) + 0.6 * smooth_field(shape, 14.0, rng)
    _layer_bone(labels, depth_mm, texture, build)
    _layer_scalp(labels, depth_mm, texture, smooth_field(shape, 13.0, rng), build)
    if build.calcified:
        _calcify(labels, rng)
    if build.lesion is not None:
        _grow_lesion(labels, texture, build.lesion, rng)
    return Head(labels, texture, build)


def _source_index(shape: tuple[int, ...], build: Build, rng: np.random.Generator) -> np.ndarray:
    """Return, for each voxel, the flat index of the nearest voxel of the template, which gives its tissue."""
    grids = np.ogrid[: shape[0], : shape[1], : shape[2]]
    left, posterior, superior = coordinates(shape, (0.0, -18.0, 12.0))
    falloff = (
        np.exp(-((left / 30.0) ** 2)) * np.exp(-((posterior / 42.0) ** 2)) * np.exp(-((superior / 24.0) ** 2))
    )
    shrink = build.ventricle_growth * falloff.astype(np.float32)
    flat = np.zeros(shape, np.int32)
    for axis, (grid, offset) in enumerate(zip(grids, (superior, posterior, left), strict=True)):
        origin = ORIGIN_INDEX[axis]
        position = ((grid - origin) / build.scale[2 - axis] + origin).astype(np.float32)
        # Ventricles grow more in width and height than in length
        weight = 0.5 if axis == 1 else 1.0
        position = position - weight * shrink * offset + build.warp_mm * smooth_field(shape, 45.0, rng)
        np.rint(position, out=position)
        np.clip(position, 0, shape[axis] - 1, out=position)
        flat *= shape[axis]
        flat += position.astype(np.int32)
    return flat


def _layer_bone(labels: np.ndarray, depth_mm: np.ndarray, texture: np.ndarray, build: Build) -> None:
    """Add the diploe between the tables of the skull; the thickness of the tables varies with the texture."""
    bone = labels == Tissue.COMPACT_BONE
    labels[bone & (depth_mm > build.skull_table_mm + 0.3 * texture)] = Tissue.DIPLOE


def _layer_scalp(
    labels: np.ndarray, depth_mm: np.ndarray, texture: np.ndarray, planes: np.ndarray, build: Build
) -> None:
    """Divide soft tissue into skin, subcutaneous fat and muscle.

    Fat between muscles forms sheets: they are where the smooth field `planes` is near 0.
    """
    soft = np.flatnonzero(labels == Tissue.MUSCLE)
    depth, local = depth_mm.ravel()[soft], texture.ravel()[soft]
    fat_end = 1.9 + build.fat_mm * (1.0 + 0.25 * local)
    layer = np.where(depth < 1.9, Tissue.SKIN, np.where(depth < fat_end, Tissue.FAT, Tissue.MUSCLE))
    layer[(depth > 9.0) & (np.abs(planes.ravel()[soft]) < 0.10)] = Tissue.FAT
    labels.ravel()[soft] = layer


def _calcify(labels: np.ndarray, rng: np.random.Generator) -> None:
    """Calcify the pineal gland and the choroid plexus on both sides, with random sizes."""
    for mni in ((0.0, -27.0, 3.0), (23.0, -42.0, 9.0), (-23.0, -42.0, 9.0)):
        left, posterior, superior = coordinates(labels.shape, mni)
        radius = rng.uniform(1.2, 2.6)
        spot = left**2 + posterior**2 + (superior / 1.3) ** 2 <= radius**2
        labels[spot & (labels <= Tissue.CSF)] = Tissue.CALCIFICATION


def _grow_lesion(labels: np.ndarray, texture: np.ndarray, kind: Tissue, rng: np.random.Generator) -> None:
    """Add a lesion with an irregular edge in one hemisphere; a tumor and a hematoma have a rim of edema."""
    side = rng.choice((-1.0, 1.0))
    mni = (side * rng.uniform(24, 40), rng.uniform(-50, 30), rng.uniform(2, 40))
    radii = rng.uniform(9, 19, 3)
    left, posterior, superior = coordinates(labels.shape, mni)
    reach = np.sqrt((left / radii[0]) ** 2 + (posterior / radii[1]) ** 2 + (superior / radii[2]) ** 2)
    reach = reach + 0.10 * texture
    brain = np.isin(labels, (Tissue.WHITE_MATTER, Tissue.GREY_MATTER, Tissue.DEEP_GREY))
    if kind is not Tissue.INFARCT:
        edema = brain & (labels != Tissue.GREY_MATTER) & (reach < 1.7)
        labels[edema] = Tissue.EDEMA
    labels[brain & (reach < 1.0)] = kind


def spline_matrix(length: int, controls: int) -> np.ndarray:
    """Return the weights of a uniform cubic B-spline (de Boor, A Practical Guide to Splines, 1978).

    Args:
        length: Number of positions along the axis.
        controls: Number of control points, at least 4; one lies beyond either end of the axis.

    Returns:
        float32 (length, controls); each row sums to 1.

    Raises:
        ValueError: There are fewer than 4 control points.
    """
    if controls < 4:
        raise ValueError(f"got {controls} control points, expected at least 4 for a cubic spline")
    position = np.linspace(0.0, controls - 3, length)
    first = np.minimum(position.astype(int), controls - 4)
    t = position - first
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], 1) / 6
    matrix = np.zeros((length, controls), np.float32)
    matrix[np.arange(length)[:, None], first[:, None] + np.arange(4)] = weights
    return matrix


def smooth_field(shape: tuple[int, ...], period: float, rng: np.random.Generator) -> np.ndarray:
    """Return smooth noise, float32 of `shape`, with zero mean and about unit variance.

    Its features are about `period` voxels wide. Each axis is interpolated separately by a cubic B-spline, so that a
    field of ten million voxels costs three small matrix products.
    """
    controls = [max(4, round(length / period) + 3) for length in shape]
    field = rng.standard_normal(controls).astype(np.float32)
    for axis, (length, count) in enumerate(zip(shape, controls, strict=True)):
        field = np.moveaxis(np.tensordot(spline_matrix(length, count), field, (1, axis)), 0, axis)
    # Along each axis, a cubic B-spline of white noise keeps 151/315 of the variance: the mean of the squared weights
    return np.ascontiguousarray(field) / np.float32((151 / 315) ** (len(shape) / 2))
