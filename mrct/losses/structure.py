"""Structural consistency by spatially-correlative maps (Zheng 2021, sec. 3.2, the fixed variant).

Images are compared by how each place resembles its surroundings, not by gray values. The map of a query position
holds the cosine between its feature and every feature in a window around it.
"""

import torch
from torch import Tensor
from torch.nn import functional

from mrct.losses.precision import at_least_float32

#: A feature shorter than this differs from the mean by rounding alone, and its direction would be noise.
SHORTEST_FEATURE = 1e-3


def query_positions(height: int, width: int, queries: int, generator: torch.Generator) -> Tensor:
    """Draw min(queries, H·W) distinct positions on the feature grid, as flat indices."""
    return torch.randperm(height * width, generator=generator)[:queries]


def correlation_maps(features: Tensor, positions: Tensor, window: int) -> Tensor:
    """Compute the map of each query: (B, Q, window²) cosines in [-1, 1], at least float32.

    The mean of each channel is subtracted first, as in the authors' code (the paper does not say so): features after a
    ReLU all point the same way. At the border the window is moved inside, so that every map has the same length. A
    grid smaller than the window is used whole. One matrix product gives all correlations of the queries.

    Args:
        features: (B, C, H, W).
        positions: (Q,) flat positions.
        window: Side of the window, in positions.
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
    """Average 1 - cosine between the two maps of each query; scalar in [0, 2], 0 for equal structure."""
    return (1.0 - functional.cosine_similarity(source_maps, output_maps, dim=2)).mean()


def spatial_correlation_loss(
    source_features: list[Tensor],
    output_features: list[Tensor],
    generator: torch.Generator,
    queries: int = 256,
    window: int = 32,
) -> Tensor:
    """Average `structure_loss` over the layers, with the same random queries for source and output; a scalar.

    It does not change when the features of an image are scaled and shifted. Departure: Zheng 2021 keeps only the closer
    half of each map (docs/decisions/methods.md).
    """
    losses = []
    for source, output in zip(source_features, output_features, strict=True):
        positions = query_positions(source.shape[-2], source.shape[-1], queries, generator)
        maps = [correlation_maps(features, positions, window) for features in (source, output)]
        losses.append(structure_loss(maps[0], maps[1]))
    return torch.stack(losses).mean()


def _window_index(positions: Tensor, height: int, width: int, window: int) -> Tensor:
    """Return (Q, h·w) flat indices of the window around each position, moved inside the grid."""
    rows = _span(positions // width, height, window)
    columns = _span(positions % width, width, window)
    return (rows[:, :, None] * width + columns[:, None, :]).flatten(1)


def _span(center: Tensor, length: int, window: int) -> Tensor:
    size = min(window, length)
    start = (center - size // 2).clamp(0, length - size)
    return start[:, None] + torch.arange(size, device=center.device)
