"""One virtual patient's head: the template warped, resized, layered, and sometimes ill.

Convention: arrays (k, j, i), 1 mm; head coordinates (x, y, z) mm are LPS with the origin at ORIGIN_INDEX.
"""

from dataclasses import dataclass

import numpy as np

from virtual_hospital.fields import smooth_field
from virtual_hospital.template import DEPTH_UNIT_MM, MNI_ORIGIN, Template, coordinates
from virtual_hospital.tissues import Tissue

ORIGIN_INDEX = (MNI_ORIGIN[0] + 8, MNI_ORIGIN[1] + 18, MNI_ORIGIN[2])  # (k, j, i), about the brain's middle
LESIONS = (Tissue.INFARCT, Tissue.HEMATOMA, Tissue.TUMOR)


@dataclass(frozen=True)
class Build:
    """What makes one head differ from another; scales multiply the template's size along (x, y, z)."""

    scale: tuple[float, float, float]
    ventricle_growth: float
    warp_mm: float
    fat_mm: float
    skull_table_mm: float
    calcified: bool
    lesion: Tissue | None


@dataclass(frozen=True)
class Head:
    """uint8 (D, H, W) tissue labels at 1 mm, and a float32 texture field of about unit variance."""

    labels: np.ndarray
    texture: np.ndarray
    build: Build


def draw_build(rng: np.random.Generator) -> Build:
    """A random build: head size within about 6 %, small to wide ventricles, a lesion in one of three."""
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
    """The template as this patient: warped, then layered scalp and skull, calcifications and a lesion."""
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
    """Flat template index (D, H, W) from which each voxel of the patient takes its tissue (nearest)."""
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
        weight = 0.5 if axis == 1 else 1.0  # ventricles widen more than they lengthen
        position = position - weight * shrink * offset + build.warp_mm * smooth_field(shape, 45.0, rng)
        np.rint(position, out=position)
        np.clip(position, 0, shape[axis] - 1, out=position)
        flat *= shape[axis]
        flat += position.astype(np.int32)
    return flat


def _layer_bone(labels: np.ndarray, depth_mm: np.ndarray, texture: np.ndarray, build: Build) -> None:
    """Diploe between the tables, whose thickness varies with the place."""
    bone = labels == Tissue.COMPACT_BONE
    labels[bone & (depth_mm > build.skull_table_mm + 0.3 * texture)] = Tissue.DIPLOE


def _layer_scalp(
    labels: np.ndarray, depth_mm: np.ndarray, texture: np.ndarray, planes: np.ndarray, build: Build
) -> None:
    """Skin, subcutaneous fat, muscle; fat between muscles lies in sheets, the zeros of a smooth field."""
    soft = np.flatnonzero(labels == Tissue.MUSCLE)
    depth, local = depth_mm.ravel()[soft], texture.ravel()[soft]
    fat_end = 1.9 + build.fat_mm * (1.0 + 0.25 * local)
    layer = np.where(depth < 1.9, Tissue.SKIN, np.where(depth < fat_end, Tissue.FAT, Tissue.MUSCLE))
    layer[(depth > 9.0) & (np.abs(planes.ravel()[soft]) < 0.10)] = Tissue.FAT
    labels.ravel()[soft] = layer


def _calcify(labels: np.ndarray, rng: np.random.Generator) -> None:
    """Pineal gland and choroid plexus of both atria, of random size: what every head CT of an adult shows."""
    for mni in ((0.0, -27.0, 3.0), (23.0, -42.0, 9.0), (-23.0, -42.0, 9.0)):
        left, posterior, superior = coordinates(labels.shape, mni)
        radius = rng.uniform(1.2, 2.6)
        spot = left**2 + posterior**2 + (superior / 1.3) ** 2 <= radius**2
        labels[spot & (labels <= Tissue.CSF)] = Tissue.CALCIFICATION


def _grow_lesion(labels: np.ndarray, texture: np.ndarray, kind: Tissue, rng: np.random.Generator) -> None:
    """A blob with an irregular edge in one hemisphere; tumor and hematoma wear a rim of edema."""
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
