"""MR of a virtual head: the signal of a sequence, coil bias and Rician noise.

Arrays are (D, H, W) = (k, j, i), float32. The signal of water with full recovery and no decay is 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from virtual_hospital.anatomy import ORIGIN_INDEX, Head, smooth_field
from virtual_hospital.geometry import Grid, sample, scanner_to_head_index
from virtual_hospital.tissues import Tissue, lookup

T2_PRIME_MS = 70.0  # of a head at 3 T, rounded
NO_CHANGE: Mapping[Tissue, float] = MappingProxyType({})


@dataclass(frozen=True)
class Sequence:
    """Timing of a spin echo or turbo spin echo; with `ti_ms`, of an inversion recovery.

    With `flip_deg` it is a spoiled gradient echo; the inversion pulse of a prepared one is not modeled.
    """

    tr_ms: float
    te_ms: float
    echo_train_length: int = 1
    ti_ms: float | None = None
    flip_deg: float | None = None


def spin_echo_signal(
    proton_density: np.ndarray, t1_ms: np.ndarray, t2_ms: np.ndarray, sequence: Sequence
) -> np.ndarray:
    """Return the magnitude signal of a spin echo, of the arrays' shape and the proton density's unit.

    It is PD (1 - e^(-TR/T1)) e^(-TE/T2), with an inversion time PD |1 - 2 e^(-TI/T1) + e^(-TR/T1)| e^(-TE/T2). Both
    hold for TE << TR (Bernstein, King, Zhou, Handbook of MRI Pulse Sequences, 2004).
    """
    recovery = 1.0 - np.exp(-sequence.tr_ms / t1_ms)
    if sequence.ti_ms is not None:
        recovery = np.abs(
            recovery - 2.0 * (np.exp(-sequence.ti_ms / t1_ms) - np.exp(-sequence.tr_ms / t1_ms))
        )
    return proton_density * recovery * np.exp(-sequence.te_ms / t2_ms)


def spoiled_echo_signal(
    proton_density: np.ndarray, t1_ms: np.ndarray, t2_ms: np.ndarray, sequence: Sequence
) -> np.ndarray:
    """Return the magnitude signal of a spoiled gradient echo, of the arrays' shape and the proton density's unit.

    It is PD sin a (1 - E1) / (1 - cos a E1) e^(-TE/T2*) with E1 = e^(-TR/T1) and 1/T2* = 1/T2 + 1/T2_PRIME_MS (Ernst
    and Anderson, 1966, with T2* decay).
    """
    angle, e1 = np.deg2rad(sequence.flip_deg or 90.0), np.exp(-sequence.tr_ms / t1_ms)
    decay = np.exp(-sequence.te_ms * (1.0 / t2_ms + 1.0 / T2_PRIME_MS))
    return proton_density * np.sin(angle) * (1.0 - e1) / (1.0 - np.cos(angle) * e1) * decay


def head_signal(head: Head, sequence: Sequence, changed: Mapping[Tissue, float] = NO_CHANGE) -> np.ndarray:
    """Return the signal of each voxel of the head.

    Args:
        head: The head. Its texture varies the signal by 3 %.
        sequence: The sequence. With an echo train fat is brighter, because its J coupling is refocused.
        changed: Signal of single tissues, as flow or a contrast agent changes it.

    Returns:
        float32 (D, H, W), without bias and noise.
    """
    t1, t2 = lookup("t1_ms"), lookup("t2_ms")
    signal = spin_echo_signal if sequence.flip_deg is None else spoiled_echo_signal
    with np.errstate(divide="ignore", invalid="ignore"):
        by_label = np.where(t1 > 0, signal(lookup("proton_density"), t1, t2, sequence), 0.0)
    if sequence.echo_train_length > 1:
        by_label = by_label * _fat_gain()
    for tissue, value in changed.items():
        by_label[tissue] = value
    varied = by_label.astype(np.float32)[head.labels] * (1.0 + np.float32(0.03) * head.texture)
    return varied * _coil_reach(head.labels.shape[0])[:, None, None]


def acquire(
    signal: np.ndarray, grid: Grid, head_to_mr: np.ndarray, noise: float, rng: np.random.Generator
) -> np.ndarray:
    """Make an MR of a head.

    Args:
        signal: What `head_signal` returns.
        grid: The slices.
        head_to_mr: 4x4, LPS mm.
        noise: Standard deviation of the noise in each channel.
        rng: Draws the coil bias and the noise.

    Returns:
        Magnitude, float32 of the grid's shape, at least 0.
    """
    sampled = sample(signal, grid, scanner_to_head_index(head_to_mr), 0.0)
    return rician(sampled * bias_field(grid.shape, rng), noise, rng)


def bias_field(shape: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    """Return a smooth coil sensitivity, float32 of `shape`, within about 30 % of 1."""
    waves = smooth_field(shape, max(shape) / 1.5, rng)
    rows, columns = (np.linspace(-1.0, 1.0, length, dtype=np.float32) for length in shape[1:])
    # Dielectric effect at 3 T
    center = 0.12 * np.exp(-1.5 * (rows[:, None] ** 2 + columns[None, :] ** 2))
    return np.exp(np.clip(0.10 * waves, -0.25, 0.25) + center - 0.05)


def rician(signal: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Return the magnitude of a signal with Gaussian noise in both channels (Gudbjartsson and Patz, MRM 1995)."""
    real = signal + noise * rng.standard_normal(signal.shape, dtype=np.float32)
    imaginary = noise * rng.standard_normal(signal.shape, dtype=np.float32)
    return np.hypot(real, imaginary)


def _coil_reach(depth: int) -> np.ndarray:
    """Return the coil's sensitivity of each slice, float32 (D,): 1 in the brain, toward 0 below the head coil."""
    superior_mm = np.arange(depth, dtype=np.float32) - ORIGIN_INDEX[0]
    return 1.0 / (1.0 + np.exp(-(superior_mm + 88.0) / 5.0))


def _fat_gain() -> np.ndarray:
    """Return how much brighter each label is in a turbo spin echo, (256,)."""
    gain = np.ones(256)
    gain[[Tissue.FAT, Tissue.DIPLOE]] = 1.4
    return gain
