"""Apply a network to the whole volume of a patient: slice by slice, or as a `VolumeNetwork` does it.

Volumes are (D, H, W) with slices along the first axis, `slice_spacing_mm` from one to the next.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from mrct.networks.sliding_window import Predict, Window, slabs

#: Slices, or patches, that a network sees at once.
BATCH_SIZE = 8
NOTHING: Mapping[str, np.ndarray] = {}
#: Indices along the first axis.
Wanted = np.ndarray | slice
EVERY_SLICE = slice(None)


class VolumeNetwork(nn.Module, ABC):
    """A network that works on whole volumes, not on slices."""

    @abstractmethod
    def translate_volume(
        self,
        volume: np.ndarray,
        slice_spacing_mm: float,
        device: torch.device,
        others: Mapping[str, np.ndarray],
    ) -> np.ndarray:
        """(D, H, W) in [-1, 1] -> (D, H, W); `others` are further images on the same grid, by name."""


def translate(
    network: nn.Module,
    volume: np.ndarray,
    slice_spacing_mm: float,
    device: torch.device,
    others: Mapping[str, np.ndarray] = NOTHING,
    wanted: Wanted = EVERY_SLICE,
) -> np.ndarray:
    """(D, H, W) in [-1, 1] -> the wanted slices (d, H, W) float32 in [-1, 1], the network in evaluation mode.

    A `VolumeNetwork` gets the whole volume and the `others`, which are further images on the same grid; any other
    network sees one slice at a time, (B, 1, H, W).
    """
    network.eval()
    with torch.inference_mode():
        if isinstance(network, VolumeNetwork):
            translated = network.translate_volume(volume, slice_spacing_mm, device, others)[wanted]
        else:
            translated = translate_slices(network, volume[wanted], device)
    return np.clip(translated, -1.0, 1.0)


def translate_slices(network: nn.Module, volume: np.ndarray, device: torch.device) -> np.ndarray:
    """(D, H, W) -> (D, H, W) float32, a batch of slices at a time.

    By the network's `forward`: a compiled network would be compiled again for evaluation and for each size of a batch.
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
    """C images (D, H, W) of one grid -> (D, H, W) float32 through a network that makes cubes of cubes.

    Slices are brought to about `resample_slices_mm` apart in a way that can be undone exactly (`slice_ratio`): a
    network that returns its input returns the volume. DataError where the volume is smaller than a window.
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
    """Fills `out` (D, H, W) from slabs of the stack with `parts` steps from slice to slice."""

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
    """(parts, every): slices are interpolated in `parts` steps from each to the next, or every `every`-th is taken.

    One of the two is 1; the spacing becomes slice_spacing_mm · every / parts, as near to `wanted_mm` as whole
    numbers allow, by ratio. What was interpolated is left out again, and what was left out is another stack: both
    ways each slice is translated at its own place.
    """

    def nearest(ratio: float) -> int:
        low = max(int(ratio), 1)
        return low if ratio * ratio <= low * (low + 1) else low + 1

    ratio = slice_spacing_mm / wanted_mm
    return nearest(ratio), nearest(1 / ratio)


def between_slices(image: np.ndarray, index: np.ndarray, parts: int) -> np.ndarray:
    """(D, H, W) at the indices of a stack with `parts` steps from slice to slice -> (n, H, W) float32, linear."""
    lower, step = np.divmod(index, parts)
    below = np.asarray(image[lower], np.float32)
    if not step.any():
        return below
    share = (step / parts).astype(np.float32)[:, None, None]
    return below + share * (image[np.minimum(lower + 1, len(image) - 1)] - below)
