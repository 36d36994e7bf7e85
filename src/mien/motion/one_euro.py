"""The one-euro filter (Casiez, Roussel, Vogel, CHI 2012) for the motion of a face.

A low-pass filter whose cut-off follows the speed: a still face is held still, a fast one is let through. It is causal,
so a live driving video can be filtered like a file; what is filtered comes late by 1 / (2 pi cut-off) seconds.
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


class OneEuro:
    """Filters rows [d] as they come, each column for itself. The first one is kept."""

    def __init__(self, cutoff: float, slope: float) -> None:
        """cutoff: Hz at rest; slope: Hz for each unit a second."""
        self._cutoff, self._slope = cutoff, slope
        self._seen: NDArray[np.float64] | None = None

    def __call__(self, value: Floats, rate: float) -> NDArray[np.float64]:
        """The value filtered; rate: how many come a second, as long as this one took."""
        row = np.asarray(value, np.float64)
        if self._seen is None:
            self._out, self._speed = row, np.zeros_like(row)
        else:
            self._speed = self._speed + _share(_SPEED_CUTOFF, rate) * ((row - self._seen) * rate - self._speed)
            share = _share(self._cutoff + self._slope * np.abs(self._speed), rate)
            self._out = self._out + share * (row - self._out)
        self._seen = row
        return self._out


class OneEuroTurns:
    """The same for rotations as axis-angle vectors [3]: the way from one to the next is taken about one axis."""

    def __init__(self, cutoff: float, slope: float) -> None:
        """See `OneEuro`."""
        self._cutoff, self._slope = cutoff, slope
        self._seen: NDArray[np.float64] | None = None

    def __call__(self, turn: Floats, rate: float) -> NDArray[np.float64]:
        """See `OneEuro`."""
        row = np.asarray(turn, np.float64)
        now = rotation_matrix(row)
        if self._seen is None:
            self._out, self._speed = row, np.zeros(3)
        else:
            way = rotation_vector(now @ self._seen.T) * rate
            self._speed = self._speed + _share(_SPEED_CUTOFF, rate) * (way - self._speed)
            before = rotation_matrix(self._out)
            share = _share(self._cutoff + self._slope * float(np.linalg.norm(self._speed)), rate)
            self._out = rotation_vector(rotation_matrix(share * rotation_vector(now @ before.T)) @ before)
        self._seen = now
        return self._out


class MotionFilter:
    """Filters the motion of a face as it comes: rotation, place, size, blendshapes and extra displacement."""

    def __init__(self, strength: float) -> None:
        """strength: above 0 to 1; the cut-off at rest is 0.5 Hz / strength."""
        cutoff = _REST / strength
        self._turn = OneEuroTurns(cutoff, _TURN)
        self._place, self._size = OneEuro(cutoff, _PLACE), OneEuro(cutoff, _SIZE)
        self._blendshapes, self._shape = OneEuro(cutoff, _BLENDSHAPE), OneEuro(cutoff, _SHAPE)

    def __call__(self, motion: FaceMotion, rate: float) -> FaceMotion:
        """The motion filtered; its landmarks stay as they were read. rate: frames a second."""
        pose = motion.pose
        size = float(np.exp(self._size(np.array([np.log(pose.scale)]), rate))[0])
        turned = HeadPose(self._turn(pose.rotation, rate), self._place(pose.translation, rate), size)
        extra = None if motion.extra is None else self._shape(motion.extra, rate)
        return replace(motion, pose=turned, blendshapes=self._blendshapes(motion.blendshapes, rate), extra=extra)


class LiveFilter:
    """A `MotionFilter` for a camera, whose strength may change between frames."""

    def __init__(self) -> None:
        self._filter: MotionFilter | None = None
        self._strength = 0.0

    def restart(self) -> None:
        """The next frame is the first."""
        self._filter = None

    def __call__(self, motion: FaceMotion, strength: float, seconds: float) -> FaceMotion:
        """The motion filtered.

        Args:
            motion: of this frame.
            strength: 0 (as it is) to 1.
            seconds: since the frame before.

        Returns:
            The same with another pose, blendshapes and extra displacement.
        """
        if strength <= 0:
            self._filter = None
            return motion
        if self._filter is None or strength != self._strength:
            self._filter, self._strength = MotionFilter(strength), strength
        return self._filter(motion, 1 / seconds)


def one_euro_motions(motions: list[FaceMotion], rate: Fraction | float, strength: float) -> list[FaceMotion]:
    """Motions filtered but for their landmarks, which stay as they were read.

    Args:
        motions: one a frame.
        rate: frames a second.
        strength: 0 (the motions as they are) to 1, see `MotionFilter`.
    """
    if strength <= 0 or len(motions) < 2:
        return motions
    known = next((motion.extra for motion in motions if motion.extra is not None), None)
    if known is not None:
        none = np.zeros_like(known)
        motions = [replace(motion, extra=none) if motion.extra is None else motion for motion in motions]
    only = MotionFilter(strength)
    return [only(motion, float(rate)) for motion in motions]


def _share(cutoff: Floats | float, rate: float) -> NDArray[np.float64]:
    """How much of the way to a new value is gone in one step."""
    delay = 1 / (2 * math.pi * np.asarray(cutoff, np.float64))
    return np.asarray(1 / (1 + delay * rate))
