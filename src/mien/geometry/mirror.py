"""Landmarks of mirrored pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Landmark i of the mirrored face is landmark MIRROR[i] of the face (iBUG 68).
# fmt: off
MIRROR = np.array([
    16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17,
    27, 28, 29, 30, 35, 34, 33, 32, 31, 45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
])
# fmt: on


def mirrored_landmarks(points: NDArray[np.floating], width: float) -> NDArray[np.float32]:
    """Landmarks in the mirror image of a picture.

    Args:
        points: landmarks [..., 68, 2], or keypoints [..., 70, 2] with the pupils last; pixels, the first one's centre
            at 0.5.
        width: of the picture, pixels.

    Returns:
        float32, the same shape: left and right have changed places.
    """
    order = MIRROR if points.shape[-2] == len(MIRROR) else np.append(MIRROR, [len(MIRROR) + 1, len(MIRROR)])
    mirrored = points[..., order, :] * [-1, 1] + [width, 0]
    return np.asarray(mirrored, np.float32)
