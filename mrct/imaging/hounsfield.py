"""Tests whether the values of a CT of a head are Hounsfield units.

HU are defined by two materials: air is -1000, water 0 (Hounsfield 1973, Br J Radiol 46:1016; PS3.3 C.11.1.1.2). A head
in HU therefore lies in air and consists mostly of soft tissue, whatever the scanner. Arrays are (D, H, W), with slices
that are roughly axial: air is looked for from the edges of each slice.
"""

import numpy as np
from scipy.ndimage import binary_dilation, binary_propagation, generate_binary_structure

#: Air is -1000. Noise, scatter and the foam of a head holder raise it by up to 100. The corners of a slice are often
#: padded with less (-1024, -2000, -3024, -8192), which counts as air.
AIR_BELOW_HU = -900.0
#: Noise lowers it by as much; many scanners end at -1024.
LEAST_AIR_HU = -1100.0
#: Fat is -150 to -50, CSF 0 to 15, brain 20 to 45, muscle 40 to 70, clotted blood up to 90, blood with a contrast agent
#: up to 150 (Kalender, Computed Tomography, 3rd edition, section 1.2).
SOFT_HU = (-150.0, 150.0)
#: The part of it that is neither fat nor enhanced by a contrast agent.
WATERY_HU = (0.0, 100.0)
#: Muscle reaches this: no head ends below.
HEAD_REACHES_HU = 60.0
#: The least value of spongy bone; compact bone has 1000 to 2000.
BONE_HU = 300.0
#: 16 bits with sign, the widest range of a CT. Metal reaches 3071 in 12 bits and 30710 on an extended scale.
RANGE_HU = (-32768.0, 32767.0)

# sinuses and mastoid cells are about 2 % of a head; much less air is a handful of odd voxels
_AIR_SHARE = 0.001
# Shares of what is not air. Real heads, and single slices of them, have more; see docs/decisions/plausibility.md
_SOFT_SHARE, _WATERY_SHARE = 0.25, 0.1
# where a change of the values was undone, all of a whole head must be there
_SURE_SOFT_SHARE, _SURE_WATERY_SHARE = 0.5, 0.25
BONE_SHARE = 0.005
# the surface of a head has all values from air to skin; half of it at one value to the last digit is filled in
_FILLED_SURFACE = 0.5
# the skin of a phantom may have one value as well; what is filled in around a head is larger
_FILLED_VOLUME = 0.1
# and lies on all sides, in at least half of the rows and columns; a table lies on one
_FILLED_SIDES = 0.5
# noise around one value, beside hundreds of HU at the surface of a head
_NOISE_HU, _UNIFORM_SHARE = 60.0, 0.8
# a slice without air is odd where the other slices have so much
_MUCH_AIR = 0.2
_IN_PLANE = generate_binary_structure(3, 1) & np.array([False, True, False])[:, None, None]


def why_not_hu(hu: np.ndarray) -> str:
    """Return why the values (D, H, W) cannot be HU of a head, or ""."""
    low, high = float(hu.min()), float(hu.max())
    span = f"its values are {shown(low)} to {shown(high)}"
    air = hu <= AIR_BELOW_HU
    if high > RANGE_HU[1] or low < RANGE_HU[0]:
        return f"beyond the 16 bits of a CT: {span}"
    if air.mean() < _AIR_SHARE:
        return f"no air near -1000: {span}"
    filled = filling(hu)
    if filled is not None:
        return f"no air around the head: outside it all values are {shown(float(hu[filled][0]))}"
    shares = air.mean(axis=(1, 2))
    if not shares.all() and np.median(shares) > _MUCH_AIR:
        return f"{(shares == 0).sum()} of {len(hu)} slices hold no air near -1000, and the others do"
    rest = hu[~air]
    soft, watery = _share(rest, SOFT_HU), _share(rest, WATERY_HU)
    if soft < _SOFT_SHARE or watery < _WATERY_SHARE or high < HEAD_REACHES_HU:
        return (
            f"no soft tissue: {100 * watery:.0f} % of what is not air lies between {WATERY_HU[0]:.0f} and "
            f"{WATERY_HU[1]:.0f}; {span}"
        )
    bright = _alone_in(air) & (hu > BONE_HU)
    if bright.sum() > _AIR_SHARE * air.sum():
        return "single bright voxels all over the air: values below the least one wrapped around"
    return ""


def is_surely_hu(hu: np.ndarray) -> bool:
    """Return whether the values are HU of a whole head: air around it, mostly soft tissue in most slices, and bone."""
    rest = hu[hu > AIR_BELOW_HU]
    return (
        not why_not_hu(hu)
        and _share(rest, SOFT_HU) >= _SURE_SOFT_SHARE
        and _share(rest, WATERY_HU) >= _SURE_WATERY_SHARE
        and float(np.median([_share(plane[plane > AIR_BELOW_HU], WATERY_HU) for plane in hu]))
        >= _WATERY_SHARE
        and float((rest > BONE_HU).mean()) >= BONE_SHARE
    )


def why_doubtful(hu: np.ndarray) -> str:
    """Return what may be wrong with a CT in HU, or "".

    Bone is not required: there are CTs whose bone was clipped, and the soft tissue of such a CT is right.
    """
    rest, high = hu[hu > AIR_BELOW_HU], float(hu.max())
    if (rest > BONE_HU).mean() < BONE_SHARE:
        if (rest == high).mean() >= BONE_SHARE:
            return f"bone is clipped: all values end at {shown(high)} HU"
        return f"hardly any bone: the largest value is {shown(high)} HU"
    if not (_edge(hu.shape) & (hu <= AIR_BELOW_HU)).any():
        return "no air at the edges of its slices: the field of view cuts the head everywhere"
    return ""


def surface(hu: np.ndarray) -> np.ndarray:
    """Return the voxels (bool) that are first met when coming through air from the edges of each slice.

    Where there is no air at the edge, the edge itself is the surface.
    """
    air, edge = hu <= AIR_BELOW_HU, _edge(hu.shape)
    outside = binary_propagation(edge & air, _IN_PLANE, mask=air)
    return (binary_dilation(outside, _IN_PLANE) | edge) & ~air


def has_uniform_surface(hu: np.ndarray) -> bool:
    """Return whether the surface has one value and its noise, as air with an offset has inside a padded circle."""
    values = hu[surface(hu)]
    if not values.size:
        return False
    middle = float(np.median(values))
    return _share(values, (middle - _NOISE_HU, middle + _NOISE_HU)) > _UNIFORM_SHARE


def has_air_at_head(hu: np.ndarray) -> bool:
    """Return whether what counts as air and touches the rest is air, and not the padding of a corner or less."""
    air = hu <= AIR_BELOW_HU
    at_head = hu[binary_dilation(~air, _IN_PLANE, iterations=2) & air]
    return bool(at_head.size) and float(np.median(at_head)) >= LEAST_AIR_HU


def filling(hu: np.ndarray) -> np.ndarray | None:
    """Return the voxels around the head (bool) that have one single value in place of air, or None."""
    face = surface(hu)
    if not face.any():
        return None
    values, counts = np.unique(hu[face], return_counts=True)
    value = values[counts.argmax()]
    if counts.max() < _FILLED_SURFACE * counts.sum() or value > WATERY_HU[1]:
        return None
    around = binary_propagation(face & (hu == value), _IN_PLANE, mask=hu == value)
    edge = _edge(hu.shape)
    is_skin = value > 0 and (around & edge).sum() < _FILLED_SURFACE * edge.sum()
    is_table = min(around.any(axis=axes).mean() for axes in ((0, 1), (0, 2))) < _FILLED_SIDES
    is_small = around.sum() < _FILLED_VOLUME * (hu > AIR_BELOW_HU).sum()
    return None if is_skin or is_table or is_small else around


def shown(value: float) -> str:
    """Return a value with three digits, or all digits before the point."""
    return f"{value:.0f}" if abs(value) >= 100 or value == round(value) else f"{value:.3g}"


def _share(values: np.ndarray, limits: tuple[float, float]) -> float:
    return float(((values >= limits[0]) & (values <= limits[1])).mean()) if values.size else 0.0


def _edge(shape: tuple[int, ...]) -> np.ndarray:
    edge = np.ones(shape, bool)
    edge[:, 1:-1, 1:-1] = False
    return edge


def _alone_in(air: np.ndarray) -> np.ndarray:
    """Return the voxels whose four neighbors in the slice are air."""
    alone = ~(air | _edge(air.shape))
    for axis in (1, 2):
        for step in (1, -1):
            alone &= np.roll(air, step, axis)
    return alone
