"""Smooth steps and smooth fillings."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def smooth_step(x: NDArray[np.floating]) -> NDArray[np.floating]:
    """0 below 0, 1 above 1, and no corner in between."""
    clipped = np.clip(x, 0, 1)
    return clipped * clipped * (3 - 2 * clipped)


def push_pull(colour: Floats, weight: Floats) -> Floats:
    """Fill the holes of a picture from what surrounds them, smoothly.

    Args:
        colour: [h, w, 3].
        weight: [h, w]; 0 is a hole.

    Returns:
        [h, w, 3].
    """
    colours, weights = [colour * weight[..., None]], [weight]
    while min(colours[-1].shape[:2]) > 1:
        height, width = colours[-1].shape[0] // 2, colours[-1].shape[1] // 2
        colours.append(cv2.resize(colours[-1], (width, height), interpolation=cv2.INTER_AREA))
        weights.append(cv2.resize(weights[-1], (width, height), interpolation=cv2.INTER_AREA))
    filled = colours[-1] / (weights[-1][..., None] + 1e-9)
    for part, share in zip(colours[-2::-1], weights[-2::-1], strict=True):
        larger = cv2.resize(filled, (part.shape[1], part.shape[0]), interpolation=cv2.INTER_LINEAR)
        known = np.clip(share, 0, 1)[..., None]
        filled = part / (share[..., None] + 1e-9) * known + larger * (1 - known)
    return filled
