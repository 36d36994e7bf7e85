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
# Hz for each unit a second: radians, half sides, e-folds of size, blendshapes, half face heights
_TURN, _PLACE, _SIZE, _BLENDSHAPE, _SHAPE = 3.0, 6.0, 6.0, 4.0, 8.0


def one_euro(values: Floats, rate: float, cutoff: float, slope: float) -> NDArray[np.float64]:
    """The filter over a series of numbers, each column for itself; the first row is kept.

    Args:
        values: [n] or [n, d].
        rate: rows a second.
        cutoff: of what does not move, Hz.
        slope: by how much the cut-off rises, Hz for each unit a second.

    Returns:
        The same shape, float64.
    """
    rows = np.asarray(values, np.float64)
    out, speed = rows.copy(), np.zeros_like(rows[0])
    for index in range(1, len(rows)):
        speed = speed + _share(_SPEED_CUTOFF, rate) * ((rows[index] - rows[index - 1]) * rate - speed)
        out[index] = out[index - 1] + _share(cutoff + slope * np.abs(speed), rate) * (rows[index] - out[index - 1])
    return out


def one_euro_turns(turns: Floats, rate: float, cutoff: float, slope: float) -> NDArray[np.float64]:
    """The filter over rotations: the way from one to the next is taken about one axis.

    Args:
        turns: axis-angle vectors [n, 3], radians.
        rate: rotations a second.
        cutoff: of a head that does not turn, Hz.
        slope: by how much the cut-off rises, Hz for each radian a second.

    Returns:
        [n, 3].
    """
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
    """Motions filtered but for their landmarks, which stay as they were read.

    Args:
        motions: one a frame.
        rate: frames a second.
        strength: 0 (the motions as they are) to 1: the cut-off at rest is 0.5 Hz / strength.
    """
    if strength <= 0 or len(motions) < 2:
        return motions
    hertz, cutoff = float(rate), _REST / strength
    turns = one_euro_turns(np.stack([motion.pose.rotation for motion in motions]), hertz, cutoff, _TURN)
    places = one_euro(np.stack([motion.pose.translation for motion in motions]), hertz, cutoff, _PLACE)
    sizes = np.exp(one_euro(np.log([motion.pose.scale for motion in motions]), hertz, cutoff, _SIZE))
    blendshapes = one_euro(np.stack([motion.blendshapes for motion in motions]), hertz, cutoff, _BLENDSHAPE)
    extras = _extras(motions, hertz, cutoff)
    return [
        replace(
            motion, pose=HeadPose(turns[i], places[i], float(sizes[i])), blendshapes=blendshapes[i], extra=extras[i]
        )
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
