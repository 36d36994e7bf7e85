"""What a driving video's brows, lids, lips, chin and pupils do beyond what its blendshapes say.

A linear basis over 52 blendshapes opens every mouth alike and draws none to a side; where the lips truly are, the
landmarks tell, and likewise brows, lids and jaw. Each landmark
is brought into the head's frame, the driving video's own neutral face is taken off, learned as the mean over its frames
of what the blendshapes leave unexplained, and the rest is a displacement in half face heights that any face can be
given.
Where eyes look has a neutral of its own, straight ahead: it is taken over as it is, measured from the corners of the
eye.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mien.geometry.pose import HeadPose
from mien.motion.keypoint_motion import (
    LANDMARKS,
    FaceBasis,
    FaceMotion,
    Floats,
    closed_lips,
    eye_opening,
    opened_jaw,
)

# How far landmarks are believed against the blendshapes, across and down: brows, lips and the jaw near the chin wholly,
# lips a little more than they are read; lids in part, across not at all, for the corners of the eyes stay.
_BELIEF = np.zeros((LANDMARKS, 2))
_BELIEF[17:27] = 1.0
_BELIEF[36:48, 1] = 0.6
_BELIEF[48:68] = 1.05
_BELIEF[3:14] = np.array((0.1, 0.2, 0.4, 0.7, 1.0, 1.0, 1.0, 0.7, 0.4, 0.2, 0.1))[:, None]
_NOSE = (27, 28, 29, 30, 33)  # moves with the head only: what it seems to do is the pose's error
_TURNED, _ASIDE = 0.6, 0.85  # cosines of the turn, out of the picture, between which belief goes from none to full
_CORNERS = ((36, 39), (42, 45))
_OPEN = (0.08, 0.18)  # openings over an eye's width between which a pupil goes from unseen to seen
_MOST = 0.35  # half face heights; nothing on a face goes further


class MeasuredFace:
    """Learns a driving video's own neutral face and gives its motions with the measured rest, `FaceMotion.extra`."""

    def __init__(self, basis: FaceBasis) -> None:
        """Nothing is known of the driving video yet: `learn` comes first.

        Args:
            basis: how keypoints move with blendshapes.
        """
        self.basis = basis
        self._sum, self._weight = np.zeros((LANDMARKS, 2)), 0.0

    def learn(self, motions: Iterable[FaceMotion]) -> None:
        """Take more frames of the same face into account; frontal ones count most."""
        for motion in motions:
            weight = max(_facing(motion), 1e-3)
            self._sum += weight * self._unexplained(motion)
            self._weight += weight

    def of(self, motion: FaceMotion) -> FaceMotion:
        """The motion with the measured rest as its `extra` [70, 3].

        Raises:
            ValueError: if `learn` has seen no frame.
        """
        if self._weight == 0:
            raise ValueError("no frame of this driving video has been learned from")
        neutral = self.basis.mean.copy()
        neutral[:LANDMARKS, :2] += self._sum / self._weight
        shut = closed_lips(neutral - opened_jaw(self.basis, neutral))[:LANDMARKS, :2] - self.basis.mean[:LANDMARKS, :2]
        rest = (self._unexplained(motion) - shut) * _BELIEF * _facing(motion)
        extra = np.zeros_like(self.basis.mean)
        extra[:LANDMARKS, :2] = np.clip(rest, -_MOST, _MOST)
        extra[LANDMARKS:, :2] = np.clip(self._gaze(motion), -_MOST, _MOST)
        return replace(motion, extra=extra)

    def _gaze(self, motion: FaceMotion) -> NDArray[np.float64]:
        """How far pupils [2, 2] lie from where the blendshapes have them, seen from the corners of their eyes."""
        rest = np.zeros((2, 2))
        if motion.pupils is None:
            return rest
        moved = self.basis.mean + self.basis.moved(motion.blendshapes)
        for side, corners in enumerate(_CORNERS):
            points = np.concatenate([motion.landmarks[list(corners)], motion.pupils[[side]]])
            depth = moved[[*corners, LANDMARKS + side], 2]
            first, second, pupil = unposed(points, motion.pose, depth)
            wanted = moved[LANDMARKS + side, :2] - moved[list(corners), :2].mean(0)
            seen = float(np.clip((eye_opening(motion.landmarks, side) - _OPEN[0]) / (_OPEN[1] - _OPEN[0]), 0, 1))
            rest[side] = seen * (pupil - (first + second) / 2 - wanted)
        return rest

    def _unexplained(self, motion: FaceMotion) -> NDArray[np.float64]:
        """Where landmarks are, in the head's frame, less where mean head and blendshapes have them: [68, 2]."""
        expected = (self.basis.mean + self.basis.moved(motion.blendshapes))[:LANDMARKS]
        away = unposed(motion.landmarks, motion.pose, expected[:, 2]) - expected[:, :2]
        return np.asarray(away - away[list(_NOSE)].mean(0))


def unposed(points: Floats, pose: HeadPose, depth: Floats) -> NDArray[np.float64]:
    """Points of a picture in the head's frame, their depth there being known.

    Args:
        points: [n, 2], half sides.
        pose: of the head in the picture.
        depth: [n], half face heights in the head's frame.

    Returns:
        x and y [n, 2] in the head's frame, half face heights.
    """
    matrix = pose.matrix()
    seen = (points - pose.translation) / pose.scale - depth[:, None] * matrix[:2, 2]
    return np.asarray(np.linalg.solve(matrix[:2, :2] + 1e-6 * np.eye(2), seen.T).T)


def _facing(motion: FaceMotion) -> float:
    """1 for a face that looks at the camera, 0 where it is turned so far that its far side is a guess."""
    cosine = float(motion.pose.matrix()[2, 2])
    return float(np.clip((cosine - _TURNED) / (_ASIDE - _TURNED), 0, 1))
