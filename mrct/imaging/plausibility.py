"""Judge a volume by its values: whether a CT holds HU, and if not, what was done to them; whether an MR is an MR.

A CT in other numbers than HU would train a network silently. `examine` refuses it. Where the change is known and can be
undone (an offset, a wrap, a factor), the reason says how; nothing is repaired here, because only the source can be
repaired for all who use it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from mrct.imaging.hounsfield import (
    AIR_BELOW_HU,
    WATERY_HU,
    filling,
    has_air_at_head,
    has_uniform_surface,
    is_surely_hu,
    shown,
    surface,
    why_doubtful,
    why_not_hu,
)

#: The first percentile of an MR is not lower: its magnitudes have no value of air in HU.
NO_MR_BELOW = -500.0

# Offsets of stored values: 1000 and 1024 keep air positive, 8192 belongs to extended scales. Twice that is an intercept
# with the wrong sign, and the negative ones are an intercept applied twice.
_OFFSETS = (1024, 1000, 2048, 2000, 8192, -1024, -1000)
# correlation of a copy in other units, whose values were rounded and clipped at most
_SAME_IMAGE = 0.98
# half of the difference between the first two
_NEAR_0 = 12.0
_BRAIN_HU = 35.0
_FACTORS = (10.0, 100.0, 1000.0, 0.1, 0.01, 0.001)
# largest sample of slices, rows and columns: a large volume takes a fraction of a second
_MOST = (64, 256, 256)
# linear attenuation of water at the 60 to 80 keV of a CT's spectrum (NIST XCOM), and its scatter among tissues
_WATER_PER_MM = (0.015, 0.026)


@dataclass(frozen=True)
class Finding:
    """Fault or doubt that the values of a volume show.

    Attributes:
        fault: Why the volume must not be used, or "".
        doubt: What may be wrong with a volume that can be used, or "".
    """

    fault: str = ""
    doubt: str = ""


def examine(values: np.ndarray, modality: Literal["CT", "MR"]) -> Finding:
    """Judge a volume (D, H, W) of roughly axial slices: a CT is expected in HU, an MR in any unit."""
    sample = _sample(values)
    if not np.isfinite(sample).all():
        return Finding("values that are not finite")
    low, high = np.percentile(sample, (0.1, 99.9))
    if low == high:
        return Finding(f"constant: nearly all values are {shown(float(low))}")
    if modality == "MR":
        return Finding(_why_no_mr(sample))
    fault = _why_no_ct(sample)
    return Finding(fault, "" if fault else why_doubtful(sample))


def _sample(values: np.ndarray) -> np.ndarray:
    steps = (-(-size // most) for size, most in zip(values.shape, _MOST, strict=True))
    return np.asarray(values[tuple(slice(None, None, step) for step in steps)], np.float64)


def _why_no_mr(signal: np.ndarray) -> str:
    darkest = float(np.percentile(signal, 1))
    if darkest < NO_MR_BELOW or is_surely_hu(signal):
        return f"a CT in HU, not an MR: its darkest values are {shown(darkest)}, as of air in HU"
    return ""


def is_same_image(ct: np.ndarray, mr: np.ndarray) -> bool:
    """Return whether two volumes of one shape hold one image in different units: their values lie on a line.

    The values of air, soft tissue and bone rise in a CT, and do not in an MR.
    """
    if ct.shape != mr.shape or not ct.size:
        return False
    one, other = _sample(ct).ravel(), _sample(mr).ravel()
    if not one.std() or not other.std():
        return False
    return bool(abs(np.corrcoef(one, other)[0, 1]) > _SAME_IMAGE)


def _why_no_ct(hu: np.ndarray) -> str:
    fault = why_not_hu(hu)
    # within padded corners, air with an offset passes as tissue, but as tissue with a uniform surface
    if not fault and not has_uniform_surface(hu):
        return ""
    face = surface(hu)
    for change in _changes(hu):
        undone = change.undo(hu)
        explains = bool(fault) or float(np.median(undone[face])) <= AIR_BELOW_HU
        if explains and not np.array_equal(undone, hu) and is_surely_hu(undone) and has_air_at_head(undone):
            return f"{change.what}: its {_seen(hu, undone)}; {change.advice}"
    return f"not HU of a head: {fault}; {_guess(hu)}" if fault else ""


@dataclass(frozen=True)
class _Change:
    """A change of HU: the function that undoes it, and what to tell the user."""

    undo: Callable[[np.ndarray], np.ndarray]
    what: str
    advice: str


def _changes(hu: np.ndarray) -> Iterator[_Change]:
    """Yield the changes that files are known for, each kind with the likeliest first."""
    yield _Change(
        _with_air,
        "no air around a head in HU, which was masked or whose lowest values were cut off",
        "export it with its air; if only the outside was masked, set it to -1000",
    )
    yield from _offsets(hu)
    for bits in (12, 16):
        for offset in (0, -1024, -1000):
            first, last = 2 ** (bits - 1) + offset, f", then add {-offset}" if offset else ""
            yield _Change(
                partial(_unwrapped, bits=bits, offset=offset),
                f"HU with their sign read as one of {bits} unsigned bits",
                f"subtract {2**bits} from all values of {first} and more{last}",
            )
    for factor in _FACTORS:
        yield _Change(partial(_divided, factor=factor), f"HU times {factor:g}", f"divide by {factor:g}")


def _offsets(hu: np.ndarray) -> Iterator[_Change]:
    """Yield the offsets, the one that fits the air best first.

    Air at 0 is either -1000 with an offset of 1000, or it was cut off at -1024 and has an offset of 1024. Then the
    brain decides: its middle is near 35 HU. It also decides where the offset is negative.
    """
    air = hu[surface(hu)]
    level = float(np.median(air)) if air.size else 0.0
    by_brain = sorted(_OFFSETS, key=lambda offset: _off_brain(hu - offset))
    ordered = sorted(by_brain, key=lambda offset: 0.0 if offset < 0 else abs(level - offset + 1000.0))
    if abs(level) < _NEAR_0:
        ordered = by_brain
    for offset in ordered:
        advice = f"subtract {offset}" if offset > 0 else f"add {-offset}"
        yield _Change(partial(_shifted, offset=offset), f"HU with an offset of {offset}", advice)


def _off_brain(hu: np.ndarray) -> float:
    tissue = hu[(hu >= WATERY_HU[0]) & (hu <= WATERY_HU[1])]
    return abs(float(np.median(tissue)) - _BRAIN_HU) if tissue.size else np.inf


def _shifted(values: np.ndarray, offset: float) -> np.ndarray:
    return values - offset


def _divided(values: np.ndarray, factor: float) -> np.ndarray:
    return values / factor


def _unwrapped(values: np.ndarray, bits: int, offset: float) -> np.ndarray:
    stored = values - offset
    return np.where(stored >= 2.0 ** (bits - 1), stored - 2.0**bits, stored)


def _with_air(values: np.ndarray) -> np.ndarray:
    around = filling(values)
    return values if around is None else np.where(around, -1000.0, values)


def _seen(values: np.ndarray, hu: np.ndarray) -> str:
    """Return where air and soft tissue lie in the values, given the HU that they stand for."""
    around = values[hu <= AIR_BELOW_HU]
    tissue = values[(hu >= WATERY_HU[0]) & (hu <= WATERY_HU[1])]
    return f"air lies at {shown(float(np.median(around)))}, soft tissue at {shown(float(np.median(tissue)))}"


def _guess(values: np.ndarray) -> str:
    """Return which scale the values may have, if they cannot be turned into HU with certainty."""
    low, high = float(values.min()), float(values.max())
    middle = float(np.median(values[values > low + 0.1 * (high - low)]))
    if low >= 0 and _WATER_PER_MM[0] <= middle <= _WATER_PER_MM[1]:
        return "perhaps attenuation per mm: HU are 1000 (it / that of water - 1)"
    if low >= -1 and high <= 1:
        return "scaled to 0..1 or -1..1, or attenuation per cm: export the CT again in HU"
    if low >= 0 and high <= 255:
        return "perhaps 8 bits of a window, whose HU are lost: export the CT again in HU"
    return "check that it is a CT of the head, and export it again in HU"
