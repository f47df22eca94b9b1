"""Head masks: (D, H, W) CT in HU or MR in any unit -> bool, the head with its air cavities, no table.

Everything is done slice by slice except the choice of the largest connected piece, so that one slice and
5 mm slices work alike; lengths are in mm, so that the pixel size does not matter.
"""

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError
from skimage.draw import line
from skimage.filters import threshold_li

from mrct.core.errors import DataError

Spacing = tuple[float, float, float]

CT_TISSUE_HU = -300.0  # between foam (under -500) and fat (-100), near half-way from air to skin
BRIDGE_MM = 3.0  # what is thinner than twice this is cut off first: table shells, holders, and ears
RESTORE_MM = 12.0  # so far along itself what was cut off grows back: ears and nose, little of a holder
CAVITY_GATE_MM = 4.0  # an opening narrower than twice this does not join a cavity to the outside
BESIDE_PADDING_MM = 5.0  # thicker than the skin, which is dark in some sequences
BETWEEN_MM = 8.0  # dark bone between brain and scalp is thinner than twice this
MR_MEDIAN_MM = 3.0  # side of the median's window; noise must not decide where the skin is
IN_PLANE = ndimage.generate_binary_structure(3, 1) & np.array([False, True, False])[:, None, None]


class MaskError(DataError):
    """The volume shows nothing that could be a head."""


def head_mask_of_ct(hu: np.ndarray, spacing_kji_mm: Spacing) -> np.ndarray:
    """(D, H, W) HU -> bool head; table, head holder and cables removed, sinuses and airways filled."""
    return _head_of_tissue(hu > CT_TISSUE_HU, spacing_kji_mm)


def head_mask_of_mr(intensity: np.ndarray, spacing_kji_mm: Spacing) -> np.ndarray:
    """(D, H, W) MR magnitude, any unit -> bool head; dark bone and air cavities filled.

    Threshold: minimum cross-entropy (Li and Lee 1993) of the square roots, so that it parts background from
    the darkest tissue (thin slices of the vertex, far from the coil), not dark tissue from bright. In T2 a thin,
    broken ring of scalp lies apart around dark bone and muscle: its gaps are closed first, else it is lost.
    """
    if intensity.min() == intensity.max():
        raise MaskError("the MR volume is constant: no head in it; check the selected series")
    window = [1, *(2 * round((MR_MEDIAN_MM / step - 1) / 2) + 1 for step in spacing_kji_mm[1:])]
    root = np.sqrt(np.clip(ndimage.median_filter(intensity.astype(np.float32), window), 0.0, None))
    tissue = _fill_cavities(_bright(root, spacing_kji_mm), spacing_kji_mm)
    return _head_of_tissue(tissue, spacing_kji_mm)


def _bright(root: np.ndarray, spacing_kji_mm: Spacing) -> np.ndarray:
    """What is above Li's threshold; in a padded volume less of what is hardly above it.

    Much padding (a volume that was masked, turned or sheared) draws the threshold down into noise and ghosts. It
    is padding, not a background that was set to 0 up to the skin, if what lies beside it is background too, less
    than half as bright as the threshold of the values that are none: then that one tells tissue, and what is
    darker counts only between brighter parts.
    """
    bright, padding = root > threshold_li(root), root == root.min()
    beside = dilate(padding, BESIDE_PADDING_MM, spacing_kji_mm) & ~padding
    if not beside.any():
        return bright
    stricter = threshold_li(root[~padding])
    if not np.median(root[beside]) ** 2 < stricter**2 / 2:
        return bright
    sure = root > stricter
    return sure | (bright & erode(dilate(sure, BETWEEN_MM, spacing_kji_mm), BETWEEN_MM, spacing_kji_mm))


def dilate(mask: np.ndarray, radius_mm: float, spacing_kji_mm: Spacing) -> np.ndarray:
    """The mask and every pixel of the same slice within radius_mm of it; (D, H, W) bool."""
    return np.stack([_near(section, radius_mm, spacing_kji_mm[1:]) for section in mask])


def erode(mask: np.ndarray, radius_mm: float, spacing_kji_mm: Spacing) -> np.ndarray:
    """The pixels farther than radius_mm from every pixel of the slice outside the mask; (D, H, W) bool.

    Beyond the image's edge the head is taken to go on, so that a cropped head is not eroded there.
    """
    return ~dilate(~mask, radius_mm, spacing_kji_mm)


def _near(section: np.ndarray, radius_mm: float, pixel_mm: tuple[float, ...]) -> np.ndarray:
    if not section.any():
        return section.copy()
    return ndimage.distance_transform_edt(~section, sampling=pixel_mm) <= radius_mm


def _head_of_tissue(tissue: np.ndarray, spacing_kji_mm: Spacing) -> np.ndarray:
    """The largest piece without its thin bridges, its thin parts given back, its cavities filled."""
    solid = _fill_slices(tissue)
    core = _largest_piece(dilate(erode(solid, BRIDGE_MM, spacing_kji_mm), BRIDGE_MM, spacing_kji_mm))
    steps = max(1, round(RESTORE_MM / min(spacing_kji_mm[1:])))
    head = ndimage.binary_dilation(core & solid, IN_PLANE, iterations=steps, mask=solid)
    head = _largest_piece(_fill_cavities(head, spacing_kji_mm))
    return np.stack([_close_cuts(section, spacing_kji_mm[1:]) for section in head])


def _largest_piece(mask: np.ndarray) -> np.ndarray:
    """The largest face-connected piece; MaskError when there is none."""
    labels, count = ndimage.label(mask)
    if count == 0:
        raise MaskError("nothing thicker than a cable found: no head in it; check the selected series")
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return labels == int(sizes.argmax())


def _fill_slices(mask: np.ndarray) -> np.ndarray:
    return np.stack([ndimage.binary_fill_holes(section) for section in mask])


def _fill_cavities(mask: np.ndarray, spacing_kji_mm: Spacing) -> np.ndarray:
    """Cavities that reach the outside only through a narrow opening become head, the skin stays as it is.

    A plain closing would also fill the furrow behind each ear; here only what the thickened mask encloses is
    filled, and grown back, into its corners too, within the closed outline. It is filled before it is thinned
    again: the bridge over a gap in a thin ring (scalp over dark bone) does not outlive the thinning.
    """
    thick = dilate(mask, CAVITY_GATE_MM, spacing_kji_mm)
    filled = _fill_slices(thick)
    outline = erode(filled, CAVITY_GATE_MM, spacing_kji_mm)
    cavities = dilate(filled & ~thick, 3 * CAVITY_GATE_MM, spacing_kji_mm) & outline
    return _fill_slices(mask | cavities)


def _close_cuts(section: np.ndarray, pixel_mm: tuple[float, ...]) -> np.ndarray:
    """Cavities that a straight cut through the head laid open are closed along the cut; (H, W) bool.

    A cut (the edge of the field of view, of a slab, of the coverage, at any angle) is a side of the head's
    convex hull that the head touches along more than it leaves open. The furrow between ear and temple, or
    nose and cheek, is bridged by a side that the head touches but at its ends.
    """
    outline = np.argwhere(section & ~ndimage.binary_erosion(section))
    points = outline * np.asarray(pixel_mm)
    try:
        sides = ConvexHull(points).equations
    except (QhullError, ValueError):  # fewer than three points, or all on one line
        return section
    closed = section.copy()
    for *normal, offset in sides:
        touching = np.flatnonzero(points @ normal + offset > -max(pixel_mm))
        along = points[touching] @ (-normal[1], normal[0])
        touching, along = touching[np.argsort(along)], np.sort(along)
        gaps = np.diff(along)
        is_open = gaps > 2 * max(pixel_mm)
        if gaps[is_open].sum() < gaps[~is_open].sum():
            for n in np.flatnonzero(is_open):
                closed[line(*outline[touching[n]], *outline[touching[n + 1]])] = True
    return ndimage.binary_fill_holes(closed)
