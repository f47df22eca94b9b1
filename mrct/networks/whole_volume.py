"""Apply a network to the whole volume of a patient: slice by slice, or as a `VolumeNetwork` defines it.

Volumes are (D, H, W) with slices along the first axis; `slice_spacing_mm` is the distance between neighboring slices.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from mrct.networks.sliding_window import Predict, Window, slabs

#: Slices or patches per forward pass.
BATCH_SIZE = 8
NOTHING: Mapping[str, np.ndarray] = {}
#: Indices along the first axis.
Wanted = np.ndarray | slice
EVERY_SLICE = slice(None)


class VolumeNetwork(nn.Module, ABC):
    """Base of the networks that work on whole volumes, not on slices."""

    @abstractmethod
    def translate_volume(
        self,
        volume: np.ndarray,
        slice_spacing_mm: float,
        device: torch.device,
        others: Mapping[str, np.ndarray],
    ) -> np.ndarray:
        """Translate a volume (D, H, W) in [-1, 1]; `others` are further images on the same grid, by name."""


def translate(
    network: nn.Module,
    volume: np.ndarray,
    slice_spacing_mm: float,
    device: torch.device,
    others: Mapping[str, np.ndarray] = NOTHING,
    wanted: Wanted = EVERY_SLICE,
) -> np.ndarray:
    """Translate a volume with the network in evaluation mode.

    Args:
        network: A `VolumeNetwork`, which gets the whole volume and `others`, or a network of slices (B, 1, H, W).
        volume: (D, H, W) in [-1, 1].
        slice_spacing_mm: Distance between neighboring slices.
        device: Where the network is.
        others: Further images (D, H, W) on the same grid, by name.
        wanted: Slices to return.

    Returns:
        The wanted slices (d, H, W), float32 in [-1, 1].
    """
    network.eval()
    with torch.inference_mode():
        if isinstance(network, VolumeNetwork):
            translated = network.translate_volume(volume, slice_spacing_mm, device, others)[wanted]
        else:
            translated = translate_slices(network, volume[wanted], device)
    return np.clip(translated, -1.0, 1.0)


def translate_slices(network: nn.Module, volume: np.ndarray, device: torch.device) -> np.ndarray:
    """Translate a volume (D, H, W) by batches of slices; float32.

    It calls the network's `forward`, because a compiled network would be compiled again for evaluation and for each
    size of a batch.
    """
    translated = np.empty(volume.shape, np.float32)
    for start in range(0, len(volume), BATCH_SIZE):
        batch: Tensor = torch.from_numpy(np.array(volume[start : start + BATCH_SIZE, None], np.float32))
        batch = batch.to(device).contiguous(memory_format=torch.channels_last)
        translated[start : start + BATCH_SIZE] = network.forward(batch).float().cpu().numpy()[:, 0]
    return translated


def translate_patches(
    network: nn.Module,
    images: Sequence[np.ndarray],
    slice_spacing_mm: float,
    resample_slices_mm: float,
    window: Window,
    device: torch.device,
) -> np.ndarray:
    """Translate C images (D, H, W) on one grid to (D, H, W), float32, with a network of cubes.

    Slices are resampled to a distance of about `resample_slices_mm` in a way that can be undone exactly
    (`slice_ratio`): a network that returns its input returns the volume.

    Raises:
        DataError: The volume is smaller than a window.
    """

    def predict(patches: np.ndarray) -> np.ndarray:
        return network.forward(torch.from_numpy(patches).to(device)).float().cpu().numpy()[:, 0]

    parts, every = slice_ratio(slice_spacing_mm, resample_slices_mm)
    translated = np.empty(images[0].shape, np.float32)
    for phase in range(every):
        stack = [image[phase::every] for image in images]
        _translate_stack(predict, stack, parts, window, translated[phase::every])
    return translated


def _translate_stack(
    predict: Predict, stack: list[np.ndarray], parts: int, window: Window, out: np.ndarray
) -> None:
    """Fill `out` (D, H, W) from slabs of the stack with `parts` steps from slice to slice."""

    def read(index: np.ndarray) -> np.ndarray:
        return np.stack([between_slices(image, index, parts) for image in stack])

    depth, height, width = out.shape
    steps = 0
    for slab in slabs(predict, read, ((depth - 1) * parts + 1, height, width), window, BATCH_SIZE):
        slices = slab[-steps % parts :: parts]
        first = -(-steps // parts)
        out[first : first + len(slices)] = slices
        steps += len(slab)


def slice_ratio(slice_spacing_mm: float, wanted_mm: float) -> tuple[int, int]:
    """Choose (parts, every): `parts` interpolated steps from each slice to the next, or every `every`-th slice.

    One of the two is 1. The spacing becomes slice_spacing_mm · every / parts, as near to `wanted_mm` (by ratio) as
    whole numbers allow. Interpolated slices are dropped again, and skipped slices form further stacks: in both cases
    each slice is translated at its own place.
    """

    def nearest(ratio: float) -> int:
        low = max(int(ratio), 1)
        return low if ratio * ratio <= low * (low + 1) else low + 1

    ratio = slice_spacing_mm / wanted_mm
    return nearest(ratio), nearest(1 / ratio)


def between_slices(image: np.ndarray, index: np.ndarray, parts: int) -> np.ndarray:
    """Interpolate (D, H, W) linearly at indices (n,) of a stack with `parts` steps per slice: (n, H, W) float32."""
    lower, step = np.divmod(index, parts)
    below = np.asarray(image[lower], np.float32)
    if not step.any():
        return below
    share = (step / parts).astype(np.float32)[:, None, None]
    return below + share * (image[np.minimum(lower + 1, len(image) - 1)] - below)
