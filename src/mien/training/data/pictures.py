"""What all training data do with pictures and points: sizes, mirrors, colours, tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.typing import Picture

Points = NDArray[np.floating]


def to_tensor(pictures: Sequence[Picture] | NDArray[np.uint8]) -> Tensor:
    """Pictures as one tensor, channels last in memory.

    Args:
        pictures: uint8 [h, w, 3] each.

    Returns:
        [n, 3, h, w] in [-1, 1].
    """
    stacked = torch.from_numpy(np.ascontiguousarray(np.stack(list(pictures)))).permute(0, 3, 1, 2)
    return stacked.float().div_(127.5).sub_(1).contiguous(memory_format=torch.channels_last)


def resize(picture: Picture, side: int) -> Picture:
    """A square picture at another side.

    Args:
        picture: uint8 [s, s, 3].
        side: pixels.

    Returns:
        uint8 [side, side, 3].
    """
    have = picture.shape[0]
    if have == side:
        return picture
    how = cv2.INTER_AREA if have > side else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (side, side), interpolation=how), np.uint8)


def mirror(picture: Picture, flip: bool = True) -> Picture:
    """The picture in a mirror.

    Args:
        picture: uint8 [h, w, 3].
        flip: False: as it is.

    Returns:
        uint8 [h, w, 3].
    """
    return np.ascontiguousarray(picture[:, ::-1]) if flip else picture


def draw_color_jitter(rng: np.random.Generator, gain: float, shift: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """One light for `color_jitter`.

    Args:
        rng: draws it.
        gain: factors lie within 1 ± gain.
        shift: shifts lie within ± shift, of 255.

    Returns:
        Factors and shifts of the three colours.
    """
    return rng.uniform(1 - gain, 1 + gain, 3), rng.uniform(-shift, shift, 3)


def color_jitter(picture: Picture, gain: NDArray[Any], shift: NDArray[Any]) -> Picture:
    """One light for a source and its targets, so that colours too must come from the source.

    Args:
        picture: uint8 [h, w, 3].
        gain: of each colour [3].
        shift: of each colour [3], of 255.

    Returns:
        uint8 [h, w, 3].
    """
    return np.clip(picture * gain + shift, 0, 255).astype(np.uint8)


def face_importance(points: Points, side: int, cell: int, parts: tuple[float, float, float]) -> NDArray[np.float32]:
    """Weights of a loss: 1 beside the face, 2 inside it, up to 5 at the eyes and the mouth.

    Args:
        points: landmarks [68 or 70, 2], pixels.
        side: of the picture, pixels.
        cell: pixels of a cell of the grid.
        parts: deviations of the spots at the two eyes and the mouth, cells.

    Returns:
        Weights [side / cell, side / cell].
    """
    cells, local = side // cell, np.asarray(points) / cell
    grid = np.zeros((cells, cells), np.float32)
    cv2.fillConvexPoly(grid, cv2.convexHull(local.astype(np.int32)), 1.0)
    y, x = np.mgrid[0:cells, 0:cells]
    for part, spread in zip((local[36:42], local[42:48], local[48:68]), parts, strict=True):
        cx, cy = part.mean(0) - 0.5
        grid += 3 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * spread**2)).astype(np.float32)
    return np.asarray(1 + grid, np.float32)


def augment(image: Picture, rng: np.random.Generator) -> Picture:
    """Colour, brightness, grey, blur and noise at random: what a driving video's camera may do.

    Args:
        image: uint8 [h, w, 3].
        rng: draws them.

    Returns:
        uint8 [h, w, 3].
    """
    x: NDArray[np.floating] = image.astype(np.float32)
    if rng.random() < 0.8:
        x = x * rng.uniform(0.7, 1.3, 3) + rng.uniform(-25, 25, 3)
    if rng.random() < 0.5:
        mean = x.mean()
        x = (x - mean) * rng.uniform(0.6, 1.4) + mean
    if rng.random() < 0.15:
        x = np.repeat(x.mean(2, keepdims=True), 3, axis=2)
    if rng.random() < 0.3:
        x = cv2.GaussianBlur(x, (0, 0), float(rng.uniform(0.5, 1.5)))
    if rng.random() < 0.3:
        x = x + rng.normal(0, rng.uniform(2, 10), x.shape)
    return np.clip(x, 0, 255).astype(np.uint8)
