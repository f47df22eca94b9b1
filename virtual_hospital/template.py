"""The Colin27 label map as the mean head from which virtual patients are warped.

Labels of the file (seen in the pictures): 0 outside, 1 white matter, 2 grey matter, 3 CSF, 4 skull,
5 everything soft outside the skull, 6 air in sinuses and mastoids. It has no eyes, no scalp layers, no
inner and outer table, no falx: those are added here, at their places in MNI space.

Convention: arrays (k, j, i) with i to the left, j to posterior, k to superior, 1 mm; index = template index.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from virtual_hospital.tissues import Tissue

PADDING = ((0, 6), (6, 10), (14, 14))  # voxels of air before and after (k, j, i): the file cuts the ears
NECK = 24  # copies of the lowest section, since the file ends at the upper jaw
DEPTH_UNIT_MM = 0.1
MNI_ORIGIN = (72 + NECK, 90 + PADDING[1][0], 90 + PADDING[2][0])  # index (k, j, i) of MNI (0, 0, 0)
SCANNER_CLUTTER_FROM = 158  # from this k on the file holds scalp-labelled streaks of the headrest
VERTEX = 175
ABOVE_SKULL_BASE = 46 + NECK  # from this k on no bone reaches into the cranial cavity


@dataclass(frozen=True)
class Template:
    """uint8 (D, H, W) tissues, and uint8 depth below the surface of skin or bone in DEPTH_UNIT_MM."""

    labels: np.ndarray
    depth: np.ndarray


def read_labels(path: Path) -> np.ndarray:
    """uint8 (181, 217, 181) in LPS index order; ValueError if the labels are not 0..6 on a 1 mm grid."""
    image = sitk.DICOMOrient(sitk.ReadImage(str(path)), "LPS")
    labels = sitk.GetArrayFromImage(image)
    if labels.max() > 6 or not np.allclose(image.GetSpacing(), 1.0):
        raise ValueError(
            f"{path}: got labels to {labels.max()} at {image.GetSpacing()} mm, wanted 0..6 at 1 mm; "
            "restore the vendored file"
        )
    return labels.astype(np.uint8)


def make_template(labels: np.ndarray) -> Template:
    """Clean, padded and refined template from the file's labels (D, H, W)."""
    with_neck = np.pad(_without_clutter(labels), ((NECK, 0), (0, 0), (0, 0)), mode="edge")
    tissues = np.pad(with_neck, PADDING)
    _remove_bone_islands(tissues)
    _add_orbits(tissues)
    _add_sinus_walls(tissues)
    _add_midline(tissues)
    _add_deep_grey(tissues)
    return Template(tissues, _depth(tissues))


def coordinates(shape: tuple[int, ...], mni_mm: tuple[float, float, float]) -> tuple[np.ndarray, ...]:
    """Open float32 grids (left, posterior, superior) in mm from an MNI point (x right, y front, z up)."""
    x, y, z = mni_mm
    k0, j0, i0 = MNI_ORIGIN
    k, j, i = np.ogrid[: shape[0], : shape[1], : shape[2]]
    left, posterior, superior = i - (i0 - x), j - (j0 - y), k - (k0 + z)
    return left.astype(np.float32), posterior.astype(np.float32), superior.astype(np.float32)


def _without_clutter(labels: np.ndarray) -> np.ndarray:
    """Near the vertex each section lies inside the one below; streaks of the headrest do not."""
    clean = labels.copy()
    disk = np.hypot(*np.ogrid[-7:8, -7:8]) <= 7
    footprint = clean[SCANNER_CLUTTER_FROM - 1] > 0
    for k in range(SCANNER_CLUTTER_FROM, clean.shape[0]):
        section = ndimage.binary_opening(clean[k] > 0, disk) & footprint
        footprint = _largest(section) if k < VERTEX else np.zeros_like(section)
        clean[k][~footprint] = 0
    return np.where(_largest(clean > 0), clean, 0).astype(np.uint8)


def _largest(mask: np.ndarray) -> np.ndarray:
    parts, count = ndimage.label(mask)
    return parts == 1 + np.argmax(np.bincount(parts.ravel())[1:]) if count else mask


def _remove_bone_islands(tissues: np.ndarray) -> None:
    """The file calls vessels and bits of falx skull; bone deep inside the cranial cavity becomes CSF."""
    brain = np.isin(tissues, (Tissue.WHITE_MATTER, Tissue.GREY_MATTER, Tissue.CSF))
    bone = tissues == Tissue.COMPACT_BONE
    stray = bone & ~_largest(bone) & ndimage.binary_dilation(brain, iterations=2)
    for k in range(ABOVE_SKULL_BASE, tissues.shape[0]):
        cavity = ndimage.binary_fill_holes(brain[k])
        stray[k] |= bone[k] & ndimage.binary_erosion(cavity, iterations=4)
    tissues[stray] = Tissue.CSF


def _add_orbits(tissues: np.ndarray) -> None:
    """Globe with lens, fat cone with optic nerve and horizontal muscles, thin bony wall; both sides."""
    for side in (-1, 1):
        left, posterior, superior = coordinates(tissues.shape, (-side * 33.0, 61.0, -39.0))
        medial = -side * left  # mm towards the midline, from the middle of the globe
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
    """Bone, 2 mm thick, around sinuses that lie bare in soft tissue: the face of the file has none."""
    front = tissues[: 70 + NECK, :110]
    air = ndimage.binary_opening(front == Tissue.CAVITY, iterations=2)
    wall = ndimage.binary_dilation(air, iterations=4)
    front[wall & (front == Tissue.MUSCLE)] = Tissue.COMPACT_BONE


def _add_midline(tissues: np.ndarray) -> None:
    """Falx in the interhemispheric CSF, and the superior sagittal sinus under the vault."""
    left, posterior, superior = coordinates(tissues.shape, (0.0, 0.0, 0.0))
    csf = tissues == Tissue.CSF
    falx = csf & (np.abs(left) <= 1.2) & (superior > 18)
    # the free edge rises from the crista galli to the tentorium, above the corpus callosum
    arc = np.hypot((posterior - 18) / 74.0, (superior - 8) / 56.0)
    tissues[falx & (arc > 0.72)] = Tissue.DURA
    near_vault = np.zeros(tissues.shape, bool)
    vault = slice(70 + NECK, None)
    near_vault[vault] = ndimage.binary_dilation(tissues[vault] == Tissue.COMPACT_BONE, iterations=5)
    tissues[csf & near_vault & (np.abs(left) <= 4.5) & (posterior > -40)] = Tissue.BLOOD


def _add_deep_grey(tissues: np.ndarray) -> None:
    """Thalamus, putamen with pallidum and head of the caudate, which the file counts as white matter."""
    nuclei = {  # MNI centre of the right one, half axes (x, y, z) mm
        (12.0, -19.0, 7.0): (8.5, 13.0, 8.0),
        (26.0, 2.0, 0.0): (5.5, 15.0, 9.0),
        (20.0, -4.0, -1.0): (4.5, 8.0, 6.0),
        (13.0, 14.0, 7.0): (5.5, 8.0, 9.0),
    }
    white = tissues == Tissue.WHITE_MATTER
    for (x, y, z), (a, b, c) in nuclei.items():
        for side in (-1, 1):
            left, posterior, superior = coordinates(tissues.shape, (side * x, y, z))
            # long nuclei diverge backwards by about 12 degrees
            across = left + side * 0.2 * posterior
            inside = (across / a) ** 2 + (posterior / b) ** 2 + (superior / c) ** 2 <= 1.0
            tissues[white & inside] = Tissue.DEEP_GREY


def _depth(tissues: np.ndarray) -> np.ndarray:
    """Distance to the skin for soft tissue, to the surface of the bone for bone, saturating at 25.5 mm."""
    bone = tissues == Tissue.COMPACT_BONE
    below_skin = _inner_distance_mm(tissues > 0)
    in_bone = _inner_distance_mm(bone)
    depth = np.where(bone, in_bone, below_skin) / DEPTH_UNIT_MM
    return np.clip(depth, 0, 255).astype(np.uint8)


def _inner_distance_mm(mask: np.ndarray) -> np.ndarray:
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    distance = sitk.SignedMaurerDistanceMap(image, insideIsPositive=True, squaredDistance=False)
    return sitk.GetArrayFromImage(distance) + 0.5
