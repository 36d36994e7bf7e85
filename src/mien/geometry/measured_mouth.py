"""What a driver's lips and chin do beyond what its expression scores say.

A linear basis over 52 scores opens every mouth alike; where the lips truly are, the landmarks tell. Each landmark is
brought into the head's frame, the driver's own neutral face is taken off, learned as the mean over its frames of what
the scores leave unexplained, and the rest is a displacement in half face heights that any face can be given.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mien.geometry.keypoint_motion import LANDMARKS, FaceBasis, FaceMotion, Floats, closed_lips

# How far landmarks are believed against the scores: lips (48 to 67), chin and jaw near it (5 to 11).
_BELIEF = np.zeros(LANDMARKS)
_BELIEF[48:68] = 0.85
_BELIEF[5:12] = (0.3, 0.5, 0.6, 0.6, 0.6, 0.5, 0.3)
_NOSE = (27, 28, 29, 30, 33)  # moves with the head only: what it seems to do is the pose's error
_TURNED, _ASIDE = 0.6, 0.85  # cosines of the turn, out of the picture, between which belief goes from none to full
_MOST = 0.35  # half face heights; nothing on a face goes further


class MeasuredMouth:
    """Learns a driver's own neutral face and gives its motions with the measured rest, `FaceMotion.extra`."""

    def __init__(self, basis: FaceBasis) -> None:
        self.basis = basis
        self._sum, self._weight = np.zeros((LANDMARKS, 2)), 0.0

    def learn(self, motions: Iterable[FaceMotion]) -> None:
        """Take more frames of the same face into account."""
        for motion in motions:
            weight = max(_facing(motion), 1e-3)
            self._sum += weight * self._unexplained(motion)
            self._weight += weight

    def of(self, motion: FaceMotion) -> FaceMotion:
        """The motion with its `extra` [70, 3]; `learn` must have seen a frame."""
        if self._weight == 0:
            raise ValueError("no frame of this driver has been learned from")
        neutral = self.basis.mean.copy()
        neutral[:LANDMARKS, :2] += self._sum / self._weight
        shut = closed_lips(neutral)[:LANDMARKS, :2] - self.basis.mean[:LANDMARKS, :2]
        rest = (self._unexplained(motion) - shut) * (_BELIEF * _facing(motion))[:, None]
        extra = np.zeros_like(self.basis.mean)
        extra[:LANDMARKS, :2] = np.clip(rest, -_MOST, _MOST)
        return replace(motion, extra=extra)

    def _unexplained(self, motion: FaceMotion) -> NDArray[np.float64]:
        """Where landmarks are, in the head's frame, less where mean head and scores have them: [68, 2]."""
        expected = (self.basis.mean + self.basis.moved(motion.scores))[:LANDMARKS]
        away = _unposed(motion, expected[:, 2]) - expected[:, :2]
        return np.asarray(away - away[list(_NOSE)].mean(0))


def _unposed(motion: FaceMotion, depth: Floats) -> NDArray[np.float64]:
    """Landmarks [68, 2] in the head's frame, their depth [68] there being known."""
    matrix = motion.pose.matrix()
    seen = (motion.landmarks - motion.pose.translation) / motion.pose.scale - depth[:, None] * matrix[:2, 2]
    return np.asarray(np.linalg.solve(matrix[:2, :2] + 1e-6 * np.eye(2), seen.T).T)


def _facing(motion: FaceMotion) -> float:
    """1 for a face that looks at the camera, 0 where it is turned so far that its far side is a guess."""
    cosine = float(motion.pose.matrix()[2, 2])
    return float(np.clip((cosine - _TURNED) / (_ASIDE - _TURNED), 0, 1))
