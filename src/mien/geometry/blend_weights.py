"""Several animated faces laid into one picture, each pixel shared out among the faces that it is near to."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mien.geometry.crops import SquareCrop
from mien.geometry.paste import paste_back

_STEEPNESS = 8.0  # of the change from one face to the next; two neighbours share a strip of a fifth of a face


def face_blend_weights(faces: Sequence[np.ndarray], width: int, height: int) -> list[NDArray[np.float32]]:
    """How much of each pixel belongs to each face.

    Distances count in sizes of the face, so a large face in front of a small one reaches further; the weights change
    smoothly, so no seam shows between two squares that overlap.

    Args:
        faces: landmarks [68, 2] of each, pixels.
        width: of the picture, pixels.
        height: of the picture, pixels.

    Returns:
        [height, width] in [0, 1] for every face, sum 1 at every pixel.
    """
    down, across = np.mgrid[0.5:height, 0.5:width].astype(np.float32)
    nearness = []
    for face in faces:
        low, high = face.min(0), face.max(0)
        size, (x, y) = max(float((high - low).max()), 1.0), (low + high) / 2
        nearness.append(-_STEEPNESS * ((across - x) ** 2 + (down - y) ** 2) / size**2)
    most = np.maximum.reduce(nearness)
    raised = [np.exp(near - most) for near in nearness]
    total = np.add.reduce(raised)
    return [np.asarray(one / total, np.float32) for one in raised]


def paste_blended(
    image: np.ndarray,
    crops: Sequence[SquareCrop],
    results: Sequence[np.ndarray],
    weights: Sequence[NDArray[np.float32]],
) -> np.ndarray:
    """`paste_back` for several squares that may overlap: the mean of the pastes by `face_blend_weights`.

    Args:
        image: uint8 [H, W, 3].
        crops: where the results belong.
        results: uint8 [S, S, 3], one for each crop.
        weights: [H, W], one for each crop.

    Returns:
        uint8 [H, W, 3]; pixels outside all squares are exactly the picture's.
    """
    height, width = image.shape[:2]
    total = image.astype(np.float32)
    for crop, result, weight in zip(crops, results, weights, strict=True):
        rows = slice(max(math.floor(crop.y), 0), min(math.ceil(crop.y + crop.size), height))
        columns = slice(max(math.floor(crop.x), 0), min(math.ceil(crop.x + crop.size), width))
        pasted = paste_back(image, crop, result)[rows, columns].astype(np.float32)
        total[rows, columns] += weight[rows, columns, None] * (pasted - image[rows, columns])
    return np.clip(np.rint(total), 0, 255).astype(np.uint8)
