"""Where to look closely: upright squares around eyes and mouth, made once for training and reading."""

from __future__ import annotations

import math

import numpy as np

from mien.geometry.turned import TurnedSquare

EYE_SIDE, MOUTH_SIDE = 48, 64  # pixels of the crops
EYES = (range(36, 42), range(42, 48))
MOUTH = range(48, 68)
# The subject's left eye seen in a mirror has its points in the order of the right one.
MIRRORED_EYE = (45, 44, 43, 42, 47, 46)
# Sides of the squares over the distance of the eyes' middles.
_EYE, _MOUTH = 0.85, 1.6


def part_squares(landmarks: np.ndarray) -> tuple[TurnedSquare, TurnedSquare, TurnedSquare]:
    """Squares around the eye 36 to 41, the eye 42 to 47 and the mouth, from landmarks [68, 2] in a picture's pixels.

    Only the parts' middles and the eyes' distance count, so that no lid or lip moves its own square much.
    """
    right, left, mouth = (landmarks[list(part)].mean(0) for part in (*EYES, MOUTH))
    way = left - right
    roll, apart = math.atan2(-float(way[1]), float(way[0])), float(np.hypot(*way))
    # a turned head brings its eyes together, not its mouth to its nose
    apart = max(apart, 0.9 * float(np.linalg.norm(mouth - (right + left) / 2)), 1.0)
    sides = (_EYE * apart, _EYE * apart, _MOUTH * apart)
    return tuple(  # type: ignore[return-value]
        TurnedSquare(float(x), float(y), side, roll) for (x, y), side in zip((right, left, mouth), sides, strict=True)
    )
