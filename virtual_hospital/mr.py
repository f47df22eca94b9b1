"""MR of a virtual head: the spin-echo signal, coil bias, Rician noise.

Convention: arrays (k, j, i); signal in arbitrary units, water at full recovery and no decay is 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from virtual_hospital.anatomy import ORIGIN_INDEX, Head
from virtual_hospital.fields import smooth_field
from virtual_hospital.geometry import Grid, sample, scanner_to_head_index
from virtual_hospital.tissues import Tissue, lookup

FIELD_DECAY_MS = 70.0  # T2' of a head at 3 T, a round number
EMPTY: Mapping[Tissue, float] = MappingProxyType({})


@dataclass(frozen=True)
class Sequence:
    """Timing of a (turbo) spin echo; `ti_ms` makes it an inversion recovery.

    `flip_deg` makes it a spoiled gradient echo, whose preparation by inversion is not modelled.
    """

    tr_ms: float
    te_ms: float
    echo_train_length: int = 1
    ti_ms: float | None = None
    flip_deg: float | None = None


def spin_echo_signal(
    proton_density: np.ndarray, t1_ms: np.ndarray, t2_ms: np.ndarray, sequence: Sequence
) -> np.ndarray:
    """Magnitude signal, same shape: PD (1 - e^(-TR/T1)) e^(-TE/T2); with TI the inversion-recovery form.

    PD |1 - 2 e^(-TI/T1) + e^(-TR/T1)| e^(-TE/T2). The textbook forms for TE << TR (Bernstein, King, Zhou,
    Handbook of MRI Pulse Sequences, 2004); `proton_density` may be on any scale.
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
    """Magnitude signal of a spoiled gradient echo, same shape (Ernst & Anderson, 1966, with T2* decay).

    PD sin a (1 - E1) / (1 - cos a E1) e^(-TE/T2*), E1 = e^(-TR/T1), 1/T2* = 1/T2 + 1/FIELD_DECAY_MS.
    """
    angle, e1 = np.deg2rad(sequence.flip_deg or 90.0), np.exp(-sequence.tr_ms / t1_ms)
    decay = np.exp(-sequence.te_ms * (1.0 / t2_ms + 1.0 / FIELD_DECAY_MS))
    return proton_density * np.sin(angle) * (1.0 - e1) / (1.0 - np.cos(angle) * e1) * decay


def head_signal(head: Head, sequence: Sequence, changed: Mapping[Tissue, float] = EMPTY) -> np.ndarray:
    """float32 (D, H, W) at 1 mm: each tissue's signal, its proton density varied by 3 % with the texture.

    An echo train lengthens the decay that fat shows (J coupling is refocused): fat is brighter in TSE.
    `changed` sets the signal of some tissues, as flow or a contrast agent does.
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
    """float32 grid.shape >= 0: `head_signal` x coil bias, with Rician noise of standard deviation `noise`."""
    sampled = sample(signal, grid, scanner_to_head_index(head_to_mr), 0.0)
    return rician(sampled * bias_field(grid.shape, rng), noise, rng)


def bias_field(shape: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    """float32 `shape`: smooth coil sensitivity around 1, within about 30 %."""
    waves = smooth_field(shape, max(shape) / 1.5, rng)
    rows, columns = (np.linspace(-1.0, 1.0, length, dtype=np.float32) for length in shape[1:])
    center = 0.12 * np.exp(-1.5 * (rows[:, None] ** 2 + columns[None, :] ** 2))  # dielectric effect at 3 T
    return np.exp(np.clip(0.10 * waves, -0.25, 0.25) + center - 0.05)


def rician(signal: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Magnitude of the signal with Gaussian noise in both channels (Gudbjartsson & Patz, MRM 1995)."""
    real = signal + noise * rng.standard_normal(signal.shape, dtype=np.float32)
    imaginary = noise * rng.standard_normal(signal.shape, dtype=np.float32)
    return np.hypot(real, imaginary)


def _coil_reach(depth: int) -> np.ndarray:
    """float32 (D,): 1 over the brain, falling to 0 where the neck leaves the head coil."""
    superior_mm = np.arange(depth, dtype=np.float32) - ORIGIN_INDEX[0]
    return 1.0 / (1.0 + np.exp(-(superior_mm + 88.0) / 5.0))


def _fat_gain() -> np.ndarray:
    gain = np.ones(256)
    gain[[Tissue.FAT, Tissue.DIPLOE]] = 1.4
    return gain
