"""The brain mask of a CT, for losses that weigh soft tissue inside the skull more.

As for the head masks, each slice is processed separately; only the piece is chosen in the volume. Lengths are in mm.
Arrays are (k, j, i) = (D, H, W).
"""

import numpy as np
from scipy import ndimage

from mrct.imaging.masks import Spacing, dilate, erode

# above contrast medium and fresh blood; thin bone in 2 mm pixels is not much denser
BONE_HU = 250.0
# CSF to blood, with some noise; fat, air and bone lie outside
SOFT_TISSUE_HU = (-15.0, 90.0)
# parts thinner than twice this are not brain: scalp, nerves, eye muscles, spinal cord
BRIDGE_MM = 5.0
# an edge pixel with bone this near counts as walled; CSF, dura and mixed pixels lie between
WALL_MM = 5.0
# least walled share of the edge; a skull without its face is walled on three of four sides, a neck on hardly any
WALLED_SHARE = 0.5


def brain_mask(hu: np.ndarray, head: np.ndarray, spacing_kji_mm: Spacing) -> np.ndarray:
    """Find the brain with its CSF in a CT, without bone, eyes, muscles and scalp.

    The brain is soft tissue of the head without its thin parts. In each slice, pieces that bone mostly surrounds are
    kept; they may be open at foramina or where the face was cut off. The largest piece is followed from slice to
    slice and regrown, and its holes are filled.

    Args:
        hu: (D, H, W), HU.
        head: (D, H, W) bool, the head mask.
        spacing_kji_mm: Voxel spacing in the order of the array's axes.

    Returns:
        (D, H, W) bool, all False if bone surrounds no piece.
    """
    bone = (hu > BONE_HU) & head
    smooth = ndimage.median_filter(np.asarray(hu, np.float32), (1, 3, 3))
    soft = head & (smooth > SOFT_TISSUE_HU[0]) & (smooth < SOFT_TISSUE_HU[1]) & ~bone
    core = erode(soft, BRIDGE_MM, spacing_kji_mm)
    near_bone = dilate(bone, BRIDGE_MM + WALL_MM, spacing_kji_mm)
    walled = np.stack([_walled(section, near) for section, near in zip(core, near_bone, strict=True)])
    if not walled.any():
        return walled
    brain = dilate(_followed(walled), BRIDGE_MM, spacing_kji_mm) & soft
    return np.stack([ndimage.binary_fill_holes(section) for section in brain])


def _walled(core: np.ndarray, near_bone: np.ndarray) -> np.ndarray:
    """Keep the pieces of an eroded section (H, W) whose edge mostly lies near bone."""
    labels, count = ndimage.label(core)
    edges = np.where(ndimage.binary_erosion(core), 0, labels)
    of_edge = np.bincount(edges.ravel(), minlength=count + 1)
    of_wall = np.bincount(edges[near_bone], minlength=count + 1)
    kept = of_wall > WALLED_SHARE * of_edge
    kept[0] = False
    return kept[labels]


def _followed(pieces: np.ndarray) -> np.ndarray:
    """Keep the largest piece of all slices, and from slice to slice the pieces that lie mostly over or under it.

    Plain connectivity would lead through the thin roof of an orbit into the face.
    """
    labels = [ndimage.label(section)[0] for section in pieces]
    areas = [np.bincount(section.ravel(), minlength=2)[1:] for section in labels]
    middle = int(np.argmax([area.max() for area in areas]))
    kept = np.zeros_like(pieces)
    kept[middle] = labels[middle] == areas[middle].argmax() + 1
    for step, end in ((1, len(pieces)), (-1, -1)):
        for k in range(middle + step, end, step):
            kept[k] = _mostly_in(labels[k], kept[k - step])
    return kept


def _mostly_in(labels: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Keep the labeled pieces of a section (H, W) of which more than half lies in the region."""
    areas = np.bincount(labels.ravel())
    inside = np.bincount(labels[region], minlength=len(areas))
    kept = inside > areas / 2
    kept[0] = False
    return kept[labels]
