"""A face's landmarks as a picture: coloured lines on black."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.geometry.face_window import FaceWindow
from mien.typing import Picture

# 68-point landmarks: jaw, brows, nose, eyes, lips; whether the line is closed, and its colour
_STROKES: tuple[tuple[range, bool, tuple[int, int, int]], ...] = (
    (range(0, 17), False, (255, 255, 255)),
    (range(17, 22), False, (255, 160, 0)),
    (range(22, 27), False, (255, 160, 0)),
    (range(27, 31), False, (0, 200, 0)),
    (range(31, 36), False, (0, 200, 0)),
    (range(36, 42), True, (0, 160, 255)),
    (range(42, 48), True, (0, 160, 255)),
    (range(48, 60), True, (255, 0, 80)),
    (range(60, 68), True, (200, 0, 255)),
)


def draw_landmarks(points: NDArray[np.floating], side: int) -> Picture:
    """A face as coloured lines on black.

    Args:
        points: landmarks [68, 2], pixels, iBUG order.
        side: of the picture, pixels.

    Returns:
        uint8 [side, side, 3].
    """
    canvas = np.zeros((side, side, 3), np.uint8)
    width = max(1, round(side / 128))
    fixed = np.round(np.asarray(points, float) * 16).astype(np.int32)  # 4 bits of a pixel's fraction
    for part, closed, colour in _STROKES:
        line = fixed[list(part)].reshape(-1, 1, 2)
        cv2.polylines(canvas, [line], closed, colour, width, cv2.LINE_AA, shift=4)
    return canvas


def drawn_in_window(window: FaceWindow, points: NDArray[np.floating], sides: tuple[int, int]) -> Picture:
    """A face's landmarks as they lie in a window: what the landmark baseline is shown of a driving face.

    Args:
        window: in pixels of the picture.
        points: landmarks [68 or more, 2], pixels of the picture.
        sides: at which they are drawn, and of the result, a multiple of it, pixels.

    Returns:
        uint8 [s, s, 3].
    """
    side, large = sides
    drawn = draw_landmarks((window.inside(points)[:68] + 1) * (side / 2), side)
    return drawn.repeat(large // side, 0).repeat(large // side, 1)
