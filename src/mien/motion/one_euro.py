"""The one-euro filter (Casiez, Roussel, Vogel, CHI 2012) for the motion of a face.

A low-pass filter whose cut-off follows the speed: a still face is held still, a fast one is let through. It is causal,
so a live driver can be filtered like a file; what is filtered comes late by 1 / (2 pi cut-off) seconds.
"""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from mien.geometry.pose import HeadPose, rotation_matrix, rotation_vector
from mien.motion.keypoint_motion import FaceMotion, Floats

_REST = 0.5  # Hz, cut-off of what does not move, at strength 1
_SPEED_CUTOFF = 1.0  # Hz, for the speed itself, as in the paper
# Hz for each unit a second: radians, half sides, e-folds of size, scores, half face heights
_TURN, _PLACE, _SIZE, _SCORE, _SHAPE = 3.0, 6.0, 6.0, 4.0, 8.0


def one_euro(values: Floats, rate: float, cutoff: float, slope: float) -> NDArray[np.float64]:
    """Values [n] or [n, d], `rate` rows a second, each column filtered for itself.

    cutoff: Hz at rest; slope: Hz for each unit a second. The first row is kept.
    """
    rows = np.asarray(values, np.float64)
    out, speed = rows.copy(), np.zeros_like(rows[0])
    for index in range(1, len(rows)):
        speed = speed + _share(_SPEED_CUTOFF, rate) * ((rows[index] - rows[index - 1]) * rate - speed)
        out[index] = out[index - 1] + _share(cutoff + slope * np.abs(speed), rate) * (rows[index] - out[index - 1])
    return out


def one_euro_turns(turns: Floats, rate: float, cutoff: float, slope: float) -> NDArray[np.float64]:
    """The same for rotations as axis-angle vectors [n, 3]: the way from one to the next is taken about one axis."""
    rows = np.asarray(turns, np.float64)
    out, speed = rows.copy(), np.zeros(3)
    for index in range(1, len(rows)):
        now = rotation_matrix(rows[index])
        way = rotation_vector(now @ rotation_matrix(rows[index - 1]).T) * rate
        speed = speed + _share(_SPEED_CUTOFF, rate) * (way - speed)
        before = rotation_matrix(out[index - 1])
        share = _share(cutoff + slope * float(np.linalg.norm(speed)), rate)
        out[index] = rotation_vector(rotation_matrix(share * rotation_vector(now @ before.T)) @ before)
    return out


def one_euro_motions(motions: list[FaceMotion], rate: Fraction | float, strength: float) -> list[FaceMotion]:
    """Motions with rotation, place, size, scores and extra displacement filtered; landmarks stay as they were read.

    rate: frames a second. strength: 0 (the motions as they are) to 1: the cut-off at rest is 0.5 Hz / strength.
    """
    if strength <= 0 or len(motions) < 2:
        return motions
    hertz, cutoff = float(rate), _REST / strength
    turns = one_euro_turns(np.stack([motion.pose.rotation for motion in motions]), hertz, cutoff, _TURN)
    places = one_euro(np.stack([motion.pose.translation for motion in motions]), hertz, cutoff, _PLACE)
    sizes = np.exp(one_euro(np.log([motion.pose.scale for motion in motions]), hertz, cutoff, _SIZE))
    scores = one_euro(np.stack([motion.scores for motion in motions]), hertz, cutoff, _SCORE)
    extras = _extras(motions, hertz, cutoff)
    return [
        replace(motion, pose=HeadPose(turns[i], places[i], float(sizes[i])), scores=scores[i], extra=extras[i])
        for i, motion in enumerate(motions)
    ]


def _extras(motions: list[FaceMotion], rate: float, cutoff: float) -> list[Floats | None]:
    known = next((motion.extra for motion in motions if motion.extra is not None), None)
    if known is None:
        return [None] * len(motions)
    rows = np.stack([np.zeros_like(known) if motion.extra is None else motion.extra for motion in motions])
    return list(one_euro(rows.reshape(len(rows), -1), rate, cutoff, _SHAPE).reshape(rows.shape))


def _share(cutoff: Floats | float, rate: float) -> NDArray[np.float64]:
    """How much of the way to a new value is gone in one step."""
    delay = 1 / (2 * math.pi * np.asarray(cutoff, np.float64))
    return np.asarray(1 / (1 + delay * rate))
