"""The template: the Colin27 label map, completed to a head, from which the virtual patients are made.

Labels of the file: 0 outside, 1 white matter, 2 gray matter, 3 CSF, 4 skull, 5 soft tissue outside the skull, 6 air in
sinuses and mastoids. The file has no eyes, no layers of the scalp, no inner and outer table of the skull and no falx.
They are added here or in `anatomy`, at their positions in MNI space.

Arrays are (D, H, W) = (k, j, i) with 1 mm voxels: i runs to the left, j to posterior, k to superior.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from virtual_hospital.tissues import Tissue

# Voxels of air added before and after (k, j, i), because the file ends at the ears
PADDING = ((0, 6), (6, 10), (14, 14))
NECK = 24  # copies of the lowest slice, because the file ends at the upper jaw
DEPTH_UNIT_MM = 0.1
MNI_ORIGIN = (72 + NECK, 90 + PADDING[1][0], 90 + PADDING[2][0])  # index (k, j, i) of MNI (0, 0, 0)
HEADREST_FROM = 158  # from this k on the file has streaks of the headrest that are labeled as scalp
VERTEX = 175  # from this k on the file holds no head
ABOVE_SKULL_BASE = 46 + NECK  # from this k on no bone extends into the cranial cavity


@dataclass(frozen=True)
class Template:
    """Tissue labels, uint8 (D, H, W), and depth below the surface of skin or bone in DEPTH_UNIT_MM, same shape."""

    labels: np.ndarray
    depth: np.ndarray


def read_labels(path: Path) -> np.ndarray:
    """Read the Colin27 label map.

    Returns:
        uint8 (181, 217, 181), oriented so that the indices (i, j, k) run along LPS.

    Raises:
        ValueError: The labels exceed 6, or the voxels are not 1 mm wide.
    """
    image = sitk.DICOMOrient(sitk.ReadImage(str(path)), "LPS")
    labels = sitk.GetArrayFromImage(image)
    if labels.max() > 6 or not np.allclose(image.GetSpacing(), 1.0):
        raise ValueError(
            f"{path}: got labels to {labels.max()} and voxels of {image.GetSpacing()} mm, expected labels from 0 to 6 "
            "and voxels of 1 mm; restore the file that is part of this repository"
        )
    return labels.astype(np.uint8)


def make_template(labels: np.ndarray) -> Template:
    """Make the template from the file's labels (D, H, W): remove artifacts, pad, add the missing structures."""
    with_neck = np.pad(_without_headrest(labels), ((NECK, 0), (0, 0), (0, 0)), mode="edge")
    tissues = np.pad(with_neck, PADDING)
    _remove_bone_islands(tissues)
    _add_orbits(tissues)
    _add_sinus_walls(tissues)
    _add_midline(tissues)
    _add_deep_grey(tissues)
    return Template(tissues, _depth(tissues))


def coordinates(shape: tuple[int, ...], mni_mm: tuple[float, float, float]) -> tuple[np.ndarray, ...]:
    """Return the distances to the left, posterior and superior of an MNI point (x right, y anterior, z superior).

    They are float32 in mm and broadcast to `shape` (D, H, W).
    """
    x, y, z = mni_mm
    k0, j0, i0 = MNI_ORIGIN
    k, j, i = np.ogrid[: shape[0], : shape[1], : shape[2]]
    left, posterior, superior = i - (i0 - x), j - (j0 - y), k - (k0 + z)
    return left.astype(np.float32), posterior.astype(np.float32), superior.astype(np.float32)


def _without_headrest(labels: np.ndarray) -> np.ndarray:
    """Remove the streaks of the headrest: near the vertex, each slice of a head lies inside the slice below it."""
    clean = labels.copy()
    disk = np.hypot(*np.ogrid[-7:8, -7:8]) <= 7
    footprint = clean[HEADREST_FROM - 1] > 0
    for k in range(HEADREST_FROM, clean.shape[0]):
        section = ndimage.binary_opening(clean[k] > 0, disk) & footprint
        footprint = _largest(section) if k < VERTEX else np.zeros_like(section)
        clean[k][~footprint] = 0
    return np.where(_largest(clean > 0), clean, 0).astype(np.uint8)


def _largest(mask: np.ndarray) -> np.ndarray:
    parts, count = ndimage.label(mask)
    return parts == 1 + np.argmax(np.bincount(parts.ravel())[1:]) if count else mask


def _remove_bone_islands(tissues: np.ndarray) -> None:
    """Make bone deep inside the cranial cavity CSF: the file labels vessels and parts of the falx as skull."""
    brain = np.isin(tissues, (Tissue.WHITE_MATTER, Tissue.GREY_MATTER, Tissue.CSF))
    bone = tissues == Tissue.COMPACT_BONE
    stray = bone & ~_largest(bone) & ndimage.binary_dilation(brain, iterations=2)
    for k in range(ABOVE_SKULL_BASE, tissues.shape[0]):
        cavity = ndimage.binary_fill_holes(brain[k])
        stray[k] |= bone[k] & ndimage.binary_erosion(cavity, iterations=4)
    tissues[stray] = Tissue.CSF


def _add_orbits(tissues: np.ndarray) -> None:
    """Add globe, lens, the cone of fat with optic nerve and horizontal muscles, and a thin bony wall on both sides."""
    for side in (-1, 1):
        left, posterior, superior = coordinates(tissues.shape, (-side * 33.0, 61.0, -39.0))
        medial = -side * left  # mm from the center of the globe toward the midline
        along = np.clip(posterior / 42.0, 0.0, 1.0)  # 0 at the globe, 1 at the apex of the cone
        axis_distance = np.hypot(medial - 19.0 * along, superior - 2.0 * along)
        radius = 19.0 - 14.0 * along
        cone = (axis_distance <= radius) & (posterior > -9) & (posterior < 42)
        wall = (axis_distance <= radius + 2.0) & (posterior > 2) & (posterior < 44) & ~cone
        soft = tissues == Tissue.MUSCLE
        tissues[soft & wall] = Tissue.COMPACT_BONE
        inside = soft & cone
        tissues[inside] = Tissue.FAT
        flat = np.abs(superior - 2.0 * along) < 4.0
        rectus = (np.abs(np.abs(medial - 19.0 * along) - (radius - 5.5)) < 1.6) & flat & (posterior > 4)
        nerve = (axis_distance < 2.2) & (posterior > 8)
        tissues[inside & rectus] = Tissue.MUSCLE
        tissues[inside & nerve] = Tissue.WHITE_MATTER
        globe = np.sqrt(medial**2 + posterior**2 + superior**2)
        tissues[soft & (globe <= 12.6)] = Tissue.MUSCLE  # sclera and lids
        tissues[soft & (globe <= 11.5)] = Tissue.VITREOUS
        lens = (medial / 4.5) ** 2 + ((posterior + 8.0) / 2.2) ** 2 + (superior / 4.5) ** 2 <= 1.0
        tissues[soft & lens] = Tissue.LENS


def _add_sinus_walls(tissues: np.ndarray) -> None:
    """Add bone around sinuses that border on soft tissue: the file has no bone in the face."""
    front = tissues[: 70 + NECK, :110]
    air = ndimage.binary_opening(front == Tissue.CAVITY, iterations=2)
    wall = ndimage.binary_dilation(air, iterations=4)
    front[wall & (front == Tissue.MUSCLE)] = Tissue.COMPACT_BONE


def _add_midline(tissues: np.ndarray) -> None:
    """Add the falx in the CSF between the hemispheres, and the superior sagittal sinus under the vault."""
    left, posterior, superior = coordinates(tissues.shape, (0.0, 0.0, 0.0))
    csf = tissues == Tissue.CSF
    falx = csf & (np.abs(left) <= 1.2) & (superior > 18)
    # The free edge rises from the crista galli to the tentorium, above the corpus callosum
    arc = np.hypot((posterior - 18) / 74.0, (superior - 8) / 56.0)
    tissues[falx & (arc > 0.72)] = Tissue.DURA
    near_vault = np.zeros(tissues.shape, bool)
    vault = slice(70 + NECK, None)
    near_vault[vault] = ndimage.binary_dilation(tissues[vault] == Tissue.COMPACT_BONE, iterations=5)
    tissues[csf & near_vault & (np.abs(left) <= 4.5) & (posterior > -40)] = Tissue.BLOOD


def _add_deep_grey(tissues: np.ndarray) -> None:
    """Add thalamus, putamen, pallidum and the head of the caudate, which the file labels as white matter."""
    # MNI center of the right nucleus: half axes (x, y, z), both in mm
    nuclei = {
        (12.0, -19.0, 7.0): (8.5, 13.0, 8.0),
        (26.0, 2.0, 0.0): (5.5, 15.0, 9.0),
        (20.0, -4.0, -1.0): (4.5, 8.0, 6.0),
        (13.0, 14.0, 7.0): (5.5, 8.0, 9.0),
    }
    white = tissues == Tissue.WHITE_MATTER
    for (x, y, z), (a, b, c) in nuclei.items():
        for side in (-1, 1):
            left, posterior, superior = coordinates(tissues.shape, (side * x, y, z))
            # Long nuclei diverge toward posterior by about 12 degrees
            across = left + side * 0.2 * posterior
            inside = (across / a) ** 2 + (posterior / b) ** 2 + (superior / c) ** 2 <= 1.0
            tissues[white & inside] = Tissue.DEEP_GREY


def _depth(tissues: np.ndarray) -> np.ndarray:
    """Return the depth below the skin for soft tissue, below the bone's surface for bone, at most 25.5 mm."""
    bone = tissues == Tissue.COMPACT_BONE
    below_skin = _inner_distance_mm(tissues > 0)
    in_bone = _inner_distance_mm(bone)
    depth = np.where(bone, in_bone, below_skin) / DEPTH_UNIT_MM
    return np.clip(depth, 0, 255).astype(np.uint8)


def _inner_distance_mm(mask: np.ndarray) -> np.ndarray:
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    distance = sitk.SignedMaurerDistanceMap(image, insideIsPositive=True, squaredDistance=False)
    return sitk.GetArrayFromImage(distance) + 0.5
