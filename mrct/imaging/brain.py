"""The inside of the skull in CT: where soft tissue is to count more in a loss.

Like the masks of the head everything is done slice by slice except the choice of the piece, so that one slice
and 5 mm slices work alike; lengths are in mm. Convention: arrays (k, j, i) = (D, H, W).
"""

import numpy as np
from scipy import ndimage

from mrct.imaging.masks import Spacing, dilate, erode

BONE_HU = 250.0  # above contrast and fresh blood; thin bone in 2 mm pixels is not much denser
SOFT_TISSUE_HU = (-15.0, 90.0)  # CSF to blood, with some noise; fat, air and bone lie outside
BRIDGE_MM = 5.0  # what is thinner than twice this is no brain: scalp, nerves, muscles of the eye, a neck's spinal cord
WALL_MM = 5.0  # bone this near to the edge walls it: CSF, dura and mixed pixels lie between
WALLED_SHARE = 0.5  # of the edge: a skull whose face was cut off has three walls of four, a neck hardly any


def brain_mask(hu: np.ndarray, head: np.ndarray, spacing_kji_mm: Spacing) -> np.ndarray:
    """(D, H, W) HU and bool head -> bool: brain with its CSF; no bone, eyes, muscles or scalp.

    Soft tissue of the head without its thin parts; of each slice the pieces that are walled by bone, open ones too
    (foramina, a face that was cut off); of those the largest, followed from slice to slice, regrown, its holes
    filled. All False where nothing is walled.
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
    """(H, W): the pieces of an eroded section whose edge lies near bone for the most part."""
    labels, count = ndimage.label(core)
    edges = np.where(ndimage.binary_erosion(core), 0, labels)
    of_edge = np.bincount(edges.ravel(), minlength=count + 1)
    of_wall = np.bincount(edges[near_bone], minlength=count + 1)
    kept = of_wall > WALLED_SHARE * of_edge
    kept[0] = False
    return kept[labels]


def _followed(pieces: np.ndarray) -> np.ndarray:
    """(D, H, W): the largest piece of all slices, and from slice to slice what lies mostly over or under it.

    Plain connectivity would go down through the thin roof of an orbit into the face.
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
    """(H, W): the labeled pieces of which more than half lies in the region."""
    areas = np.bincount(labels.ravel())
    inside = np.bincount(labels[region], minlength=len(areas))
    kept = inside > areas / 2
    kept[0] = False
    return kept[labels]
