"""Structural consistency by spatially-correlative maps (Zheng 2021, sec. 3.2, the fixed variant).

What an image looks like is not compared, only how each place resembles its surroundings: the map of a query
position is the cosine between its feature and every feature in a window around it.
"""

import torch
from torch import Tensor
from torch.nn import functional


def query_positions(height: int, width: int, queries: int, generator: torch.Generator) -> Tensor:
    """(min(queries, H·W),) flat indices of distinct positions on the feature grid."""
    return torch.randperm(height * width, generator=generator)[:queries]


def correlation_maps(features: Tensor, positions: Tensor, window: int) -> Tensor:
    """(B, C, H, W) features, (Q,) flat positions -> (B, Q, window²) cosines in [-1, 1].

    The window is moved inside at the border, so that every map has the same length; a grid smaller than the
    window is taken whole. All correlations of the queries come from one matrix product, then the windows
    are gathered.
    """
    height, width = features.shape[-2:]
    unit = functional.normalize(features.flatten(2), dim=1)
    positions = positions.to(features.device)
    correlation = unit[:, :, positions].transpose(1, 2) @ unit
    index = _window_index(positions, height, width, window).to(features.device)
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
    """Mean of `structure_loss` over the layers; the same random queries for source and output."""
    losses = []
    for source, output in zip(source_features, output_features, strict=True):
        positions = query_positions(source.shape[-2], source.shape[-1], queries, generator)
        maps = [correlation_maps(features.float(), positions, window) for features in (source, output)]
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
