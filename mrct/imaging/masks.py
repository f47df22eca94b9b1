"""Head masks of CT and MR: the head with its air cavities, without table and holder.

Each slice is processed separately; only the largest connected piece is chosen in the volume. The masks therefore work
alike for single slices and slices of 5 mm. Lengths are in mm and do not depend on the pixel size. Arrays are
(k, j, i) = (D, H, W).
"""

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError
from skimage.draw import line
from skimage.filters import threshold_li

from mrct.core.errors import DataError

Spacing = tuple[float, float, float]

# between foam (under -500) and fat (-100), about half-way from air to skin
CT_TISSUE_HU = -300.0
# parts thinner than twice this are cut off first: table shells, holders, and also ears
BRIDGE_MM = 3.0
# how far a part that was cut off grows back along itself: all of ears and nose, little of a holder
RESTORE_MM = 12.0
# an opening narrower than twice this does not connect a cavity with the outside
CAVITY_GATE_MM = 4.0
# more than the thickness of the skin, which is dark in some sequences
BESIDE_PADDING_MM = 5.0
# dark bone between brain and scalp is thinner than twice this
BETWEEN_MM = 8.0
# side of the median filter's window, so that noise does not move the outline
MR_MEDIAN_MM = 3.0
IN_PLANE = ndimage.generate_binary_structure(3, 1) & np.array([False, True, False])[:, None, None]


class MaskError(DataError):
    """Error for a volume that shows no head."""


def head_mask_of_ct(hu: np.ndarray, spacing_kji_mm: Spacing) -> np.ndarray:
    """Find the head in a CT: table, head holder and cables are removed, sinuses and airways are filled.

    Args:
        hu: (D, H, W), HU.
        spacing_kji_mm: Voxel spacing in the order of the array's axes.

    Returns:
        (D, H, W) bool.

    Raises:
        MaskError: The CT shows no head.
    """
    return _head_of_tissue(hu > CT_TISSUE_HU, spacing_kji_mm)


def head_mask_of_mr(intensity: np.ndarray, spacing_kji_mm: Spacing) -> np.ndarray:
    """Find the head in an MR: dark bone and air cavities are filled.

    The threshold is that of minimum cross-entropy (Li and Lee 1993), of the square roots of the intensities. It then
    separates background from the darkest tissue (thin slices of the vertex, far from the coil), not dark from bright
    tissue. In T2 the scalp is a thin, broken ring around dark bone and muscle. Its gaps are closed before thin parts
    are cut off, otherwise it is lost.

    Args:
        intensity: (D, H, W), magnitude in any unit.
        spacing_kji_mm: Voxel spacing in the order of the array's axes.

    Returns:
        (D, H, W) bool.

    Raises:
        MaskError: The MR is constant or shows no head.
    """
    if intensity.min() == intensity.max():
        raise MaskError("no head found: the MR volume is constant; check the selected series")
    window = [1, *(2 * round((MR_MEDIAN_MM / step - 1) / 2) + 1 for step in spacing_kji_mm[1:])]
    root = np.sqrt(np.clip(ndimage.median_filter(intensity.astype(np.float32), window), 0.0, None))
    tissue = _fill_cavities(_bright(root, spacing_kji_mm), spacing_kji_mm)
    return _head_of_tissue(tissue, spacing_kji_mm)


def _bright(root: np.ndarray, spacing_kji_mm: Spacing) -> np.ndarray:
    """Apply Li's threshold, and a stricter one to values close to it in a padded volume.

    Much padding (of a volume that was masked, rotated or sheared) lowers the threshold into noise and ghosts. A
    second threshold is therefore computed from all values above the minimum. The minimum counts as padding if the
    pixels beside it are less than half as bright as the second threshold, and so are background as well; otherwise
    it is background that was set to 0 up to the skin. In a padded volume, tissue is above the second threshold, and
    darker pixels count only between brighter parts.
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
    """Add to a mask (D, H, W) every pixel of the same slice within radius_mm of it."""
    return np.stack([_near(section, radius_mm, spacing_kji_mm[1:]) for section in mask])


def erode(mask: np.ndarray, radius_mm: float, spacing_kji_mm: Spacing) -> np.ndarray:
    """Keep the pixels of a mask (D, H, W) farther than radius_mm from every pixel of the slice outside the mask.

    The mask is assumed to continue beyond the edge of the image, so that a cropped head is not eroded there.
    """
    return ~dilate(~mask, radius_mm, spacing_kji_mm)


def _near(section: np.ndarray, radius_mm: float, pixel_mm: tuple[float, ...]) -> np.ndarray:
    if not section.any():
        return section.copy()
    return ndimage.distance_transform_edt(~section, sampling=pixel_mm) <= radius_mm


def _head_of_tissue(tissue: np.ndarray, spacing_kji_mm: Spacing) -> np.ndarray:
    """Take the largest piece without its thin bridges, let its thin parts grow back, and fill its cavities."""
    solid = _fill_slices(tissue)
    core = _largest_piece(dilate(erode(solid, BRIDGE_MM, spacing_kji_mm), BRIDGE_MM, spacing_kji_mm))
    steps = max(1, round(RESTORE_MM / min(spacing_kji_mm[1:])))
    head = ndimage.binary_dilation(core & solid, IN_PLANE, iterations=steps, mask=solid)
    head = _largest_piece(_fill_cavities(head, spacing_kji_mm))
    return np.stack([_close_cuts(section, spacing_kji_mm[1:]) for section in head])


def _largest_piece(mask: np.ndarray) -> np.ndarray:
    """Find the largest face-connected piece; MaskError if there is none."""
    labels, count = ndimage.label(mask)
    if count == 0:
        raise MaskError(
            "no head found: nothing in the volume is thicker than a cable; check the selected series"
        )
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return labels == int(sizes.argmax())


def _fill_slices(mask: np.ndarray) -> np.ndarray:
    return np.stack([ndimage.binary_fill_holes(section) for section in mask])


def _fill_cavities(mask: np.ndarray, spacing_kji_mm: Spacing) -> np.ndarray:
    """Fill cavities that reach the outside only through a narrow opening; the skin does not change.

    A plain closing would also fill the furrow behind each ear. Here only regions that the thickened mask encloses are
    filled; they grow back into their corners within the closed outline. They are filled before the mask is thinned
    again, since thinning removes the bridge over a gap in a thin ring (scalp over dark bone).
    """
    thick = dilate(mask, CAVITY_GATE_MM, spacing_kji_mm)
    filled = _fill_slices(thick)
    outline = erode(filled, CAVITY_GATE_MM, spacing_kji_mm)
    cavities = dilate(filled & ~thick, 3 * CAVITY_GATE_MM, spacing_kji_mm) & outline
    return _fill_slices(mask | cavities)


def _close_cuts(section: np.ndarray, pixel_mm: tuple[float, ...]) -> np.ndarray:
    """Close, along the cut, the cavities that a straight cut through the head has opened; (H, W) bool.

    A cut is the edge of the field of view, of a slab or of the coverage, at any angle. It is a side of the head's
    convex hull of which the head touches more than it leaves open. The furrow between ear and temple, or nose and
    cheek, lies under a side that the head touches only at its ends.
    """
    outline = np.argwhere(section & ~ndimage.binary_erosion(section))
    points = outline * np.asarray(pixel_mm)
    try:
        sides = ConvexHull(points).equations
    except (QhullError, ValueError):
        # fewer than three points, or all on one line
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
