"""Dense motion from landmarks: where in the source does each place of the driven picture come from?

Places are in half sides of the square picture: (-1, -1) is its upper left corner, (1, 1) the lower right one, and a
pixel's centre lies half a pixel inside (`align_corners=False` throughout).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

Pair = tuple[float, float] | tuple[Tensor, Tensor]

_SMALLEST = 1e-4  # squared distance, about a pixel of 256
_RIDGE = 1e-4  # holds a map to the identity where the landmarks leave it open
_STEADY = 0.02  # how strongly a local map is held to the global one


def single_precision(like: Tensor) -> torch.autocast:
    """What runs within keeps its inputs' precision, whatever autocast says: 16 bits of a place are half a pixel."""
    return torch.autocast(like.device.type, enabled=False)


def places(size: tuple[int, int], corner: Pair, extent: Pair, like: Tensor) -> Tensor:
    """Centres of a grid's cells over a rectangle.

    Args:
        size: height and width, cells.
        corner: x and y of the upper left corner.
        extent: width and height of the rectangle.
        like: of whose device and type.

    Returns:
        [height, width, 2] (x, y).
    """
    height, width = size
    y = corner[1] + (torch.arange(height, device=like.device) + 0.5) * (extent[1] / height)
    x = corner[0] + (torch.arange(width, device=like.device) + 0.5) * (extent[0] / width)
    return torch.stack([x[None, :].expand(height, width), y[:, None].expand(height, width)], -1).to(like.dtype)


def affine_fit(moving: Tensor, fixed: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weighted means and moments, of which least-squares maps are made.

    Args:
        moving: points p [b, k, 2].
        fixed: points q [b, k, 2].
        weight: w [b, n, k], sum 1 over k.

    Returns:
        The means [b, n, 2] of p and q, and sum w p p^T and sum w p q^T about the means [b, n, 2, 2].
    """
    mean_p, mean_q = weight @ moving, weight @ fixed  # [b, n, 2]
    second = torch.einsum("bnk,bki,bkj->bnij", weight, moving, moving) - mean_p[..., :, None] * mean_p[..., None, :]
    mixed = torch.einsum("bnk,bki,bkj->bnij", weight, moving, fixed) - mean_p[..., :, None] * mean_q[..., None, :]
    return mean_p, mean_q, second, mixed


def _solve(second: Tensor, mixed: Tensor) -> Tensor:
    """second^-1 mixed for 2 x 2 matrices, written out."""
    a, b, d = second[..., 0, 0], second[..., 0, 1], second[..., 1, 1]
    scale = 1 / (a * d - b * b).clamp_min(1e-12)
    inverse = torch.stack([torch.stack([d, -b], -1), torch.stack([-b, a], -1)], -2) * scale[..., None, None]
    return inverse @ mixed


def global_flow(driven: Tensor, source: Tensor, grid: Tensor) -> Tensor:
    """The affine map that takes the driven landmarks nearest to the source's, on a grid.

    Args:
        driven: landmarks [b, k, 2], half sides.
        source: landmarks [b, k, 2], half sides.
        grid: places [b or 1, h, w, 2], half sides.

    Returns:
        Places in the source [b, h, w, 2].
    """
    even = driven.new_full((len(driven), 1, driven.shape[1]), 1 / driven.shape[1])
    mean_p, mean_q, second, mixed = affine_fit(driven, source, even)
    eye = torch.eye(2, device=grid.device)
    matrix = _solve(second + _RIDGE * eye, mixed + _RIDGE * eye)[:, 0]  # [b, 2, 2]
    away = grid.flatten(1, 2) - mean_p
    return (away @ matrix + mean_q).reshape(len(driven), *grid.shape[1:])


def similar_flow(driven: Tensor, source: Tensor, grid: Tensor) -> Tensor:
    """As `global_flow` with rotation, scale and translation only, which stretch nothing.

    Args:
        driven: landmarks [b, k, 2], half sides.
        source: landmarks [b, k, 2], half sides.
        grid: places [b or 1, h, w, 2], half sides.

    Returns:
        Places in the source [b, h, w, 2].
    """
    mean_p, mean_q = driven.mean(1, keepdim=True), source.mean(1, keepdim=True)  # [b, 1, 2]
    p, q = driven - mean_p, source - mean_q
    across = torch.stack([-p[..., 1], p[..., 0]], -1)  # p, turned by a quarter
    # q ~ a p + b across, the least squares of complex numbers
    size = p.square().sum((1, 2)).clamp_min(_RIDGE)
    a, b = ((part * q).sum((1, 2)) / size for part in (p, across))
    matrix = torch.stack([torch.stack([a, b], -1), torch.stack([-b, a], -1)], -2)  # [b, 2, 2]
    away = grid.flatten(1, 2) - mean_p
    return (away @ matrix + mean_q).reshape(len(driven), *grid.shape[1:])


def local_flow(driven: Tensor, source: Tensor, grid: Tensor) -> Tensor:
    """Moving least squares (Schaefer, McPhail, Warren: Image deformation using moving least squares, 2006, 2.1).

    As `global_flow`, but every place fits a map of its own, in which near landmarks count most (w = 1 / |p - v|^4); it
    is held to the global map where they leave it open.

    Args:
        driven: landmarks [b, k, 2], half sides.
        source: landmarks [b, k, 2], half sides.
        grid: places [b or 1, h, w, 2], half sides.

    Returns:
        Places in the source [b, h, w, 2].
    """
    shape, count = grid.shape[1:], len(driven)
    spots = grid.flatten(1, 2).expand(count, -1, -1)
    distance = (spots[:, :, None] - driven[:, None]).square().sum(-1)  # [b, n, k]
    weight = (distance + _SMALLEST) ** -2
    weight = weight / weight.sum(-1, keepdim=True)
    mean_p, mean_q, second, mixed = affine_fit(driven, source, weight)
    even = driven.new_full((count, 1, driven.shape[1]), 1 / driven.shape[1])
    whole = affine_fit(driven, source, even)
    eye = torch.eye(2, device=grid.device)
    common = _solve(whole[2] + _RIDGE * eye, whole[3] + _RIDGE * eye)  # [b, 1, 2, 2]
    hold = _STEADY * whole[2].diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]  # [b, 1, 1, 1]
    matrix = _solve(second + hold * eye, mixed + hold * common)
    moved = torch.einsum("bni,bnij->bnj", spots - mean_p, matrix) + mean_q
    return moved.reshape(count, *shape)


def refine(flow: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """A flow twice as fine.

    What is interpolated is how far places move, so that a place that stays is exact up to the border.

    Args:
        flow: [b, h, w, 2].
        grid: its places [b or 1, h, w, 2].

    Returns:
        The flow [b, 2 h, 2 w, 2] and its places.
    """
    height, width = grid.shape[1:3]
    step = (grid[0, -1, -1] - grid[0, 0, 0]) / grid.new_tensor([width - 1, height - 1])  # [2], x and y
    extent = step * grid.new_tensor([width, height])
    finer = places((2 * height, 2 * width), (0.0, 0.0), (extent[0], extent[1]), grid)
    finer = finer + (grid[:, :1, :1] - step / 2)  # every row's corner
    moved = (flow - grid).permute(0, 3, 1, 2)
    larger = functional.interpolate(moved, scale_factor=2, mode="bilinear", align_corners=False)
    return larger.permute(0, 2, 3, 1) + finer, finer


def warp(features: Tensor, flow: Tensor) -> Tensor:
    """Features read at places, the border repeated.

    In single precision whatever the features' is: 16 bits of a place are half a pixel.

    Args:
        features: [r, c, h, w]; each serves k consecutive flows and is not copied for them.
        flow: [r k, y, x, 2], half sides.

    Returns:
        [r k, c, y, x].
    """
    rows, each = len(features), len(flow) // len(features)
    below = flow.float().reshape(rows, each * flow.shape[1], *flow.shape[2:])  # a source's flows below each other
    read = functional.grid_sample(
        features.float(), below, mode="bilinear", padding_mode="border", align_corners=False
    ).to(features.dtype)
    return read.unflatten(2, (each, flow.shape[1])).transpose(1, 2).flatten(0, 1)


def landmark_maps(points: Tensor, grid: Tensor, spread: float) -> Tensor:
    """exp(-|v - p|^2 / (2 spread^2)): how near each place is to each landmark.

    Args:
        points: landmarks p [b, k, 2], half sides.
        grid: places v [b or 1, h, w, 2], half sides.
        spread: deviation, half sides.

    Returns:
        [b, k, h, w].
    """
    x = torch.exp(-(grid[:, None, 0, :, 0] - points[..., 0:1]).square() / (2 * spread**2))  # [b, k, w]
    y = torch.exp(-(grid[:, None, :, 0, 1] - points[..., 1:2]).square() / (2 * spread**2))  # [b, k, h]
    return y[..., :, None] * x[..., None, :]
