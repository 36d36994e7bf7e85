"""Where to look closely at eyes: upright squares around them, made once for training and reading."""

from __future__ import annotations

import math

import numpy as np

from mien.geometry.turned import TurnedSquare

EYES = (range(36, 42), range(42, 48))
# The subject's left eye seen in a mirror has its points in the order of the right one.
MIRRORED_EYE = (45, 44, 43, 42, 47, 46)
_SIDE = 0.85  # of the squares over the distance of the eyes' middles
_MOUTH = range(48, 68)


def eye_squares(landmarks: np.ndarray) -> tuple[TurnedSquare, TurnedSquare]:
    """Squares around the eyes 36 to 41 and 42 to 47, from landmarks [68, 2] in a picture's pixels.

    Only the middles of eyes and mouth count, so that no lid moves its own square much.
    """
    right, left, mouth = (landmarks[list(part)].mean(0) for part in (*EYES, _MOUTH))
    way = left - right
    # a turned head brings its eyes together, not its mouth to them
    apart = max(float(np.hypot(*way)), 0.9 * float(np.linalg.norm(mouth - (right + left) / 2)), 1.0)
    roll = math.atan2(-float(way[1]), float(way[0]))
    first, second = (TurnedSquare(float(x), float(y), _SIDE * apart, roll) for x, y in (right, left))
    return first, second
