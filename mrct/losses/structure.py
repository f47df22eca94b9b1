"""Structural consistency by spatially-correlative maps (Zheng 2021, sec. 3.2, the fixed variant).

What an image looks like is not compared, only how each place resembles its surroundings: the map of a query
position is the cosine between its feature and every feature in a window around it.
"""

import torch
from torch import Tensor
from torch.nn import functional

from mrct.losses.precision import at_least_float32

#: A feature shorter than this differs from the mean by rounding alone; its direction, and gradient, would be noise.
SHORTEST_FEATURE = 1e-3


def query_positions(height: int, width: int, queries: int, generator: torch.Generator) -> Tensor:
    """(min(queries, H·W),) flat indices of distinct positions on the feature grid."""
    return torch.randperm(height * width, generator=generator)[:queries]


def correlation_maps(features: Tensor, positions: Tensor, window: int) -> Tensor:
    """(B, C, H, W) features, (Q,) flat positions -> (B, Q, window²) cosines in [-1, 1], at least float32.

    Each channel's mean is taken off first, as the authors' code does and the paper does not say: features after
    a ReLU all point the same way. The window is moved inside at the border, so that every map has the same
    length; a grid smaller than the window is taken whole. All correlations of the queries come from one matrix
    product and the windows are gathered from it.
    """
    height, width = features.shape[-2:]
    positions = positions.to(features.device)
    index = _window_index(positions, height, width, window)
    with torch.autocast(features.device.type, enabled=False):  # cosines near 1 have no digits in bfloat16
        values = at_least_float32(features).flatten(2)
        unit = functional.normalize(values - values.mean(2, keepdim=True), dim=1, eps=SHORTEST_FEATURE)
        correlation = unit[:, :, positions].transpose(1, 2) @ unit
    return correlation.gather(2, index.expand(len(features), -1, -1))


def structure_loss(source_maps: Tensor, output_maps: Tensor) -> Tensor:
    """1 - cosine between the two maps of each query, mean; scalar in [0, 2], 0 for equal structure."""
    return (1.0 - functional.cosine_similarity(source_maps, output_maps, dim=2)).mean()


def spatial_correlation_loss(
    source_features: list[Tensor],
    output_features: list[Tensor],
    generator: torch.Generator,
    queries: int = 256,
    window: int = 32,
) -> Tensor:
    """Mean of `structure_loss` over the layers; scalar, the same random queries for source and output.

    Zheng 2021 keeps the closer half of each map only; that told pairs in place from others no better. Features
    times a number, plus another, cost nothing. With random convolutions, means of 24 MR slices of SynthRAD2023:
    inverted 0.07, brightness to the power 0.5 and 2 0.06 and 0.08, the patient's CT 0.12, the CT 8 pixels out
    of place 0.23, another patient's 0.25; without the centering 0.045, 0.044 and 0.044 for the last three.
    """
    losses = []
    for source, output in zip(source_features, output_features, strict=True):
        positions = query_positions(source.shape[-2], source.shape[-1], queries, generator)
        maps = [correlation_maps(features, positions, window) for features in (source, output)]
        losses.append(structure_loss(maps[0], maps[1]))
    return torch.stack(losses).mean()


def _window_index(positions: Tensor, height: int, width: int, window: int) -> Tensor:
    """(Q,) -> (Q, h·w) flat indices of the window around each position, moved inside the grid."""
    rows = _span(positions // width, height, window)
    columns = _span(positions % width, width, window)
    return (rows[:, :, None] * width + columns[:, None, :]).flatten(1)


def _span(center: Tensor, length: int, window: int) -> Tensor:
    size = min(window, length)
    start = (center - size // 2).clamp(0, length - size)
    return start[:, None] + torch.arange(size, device=center.device)
