"""How far from its own place, size and turn a portrait's head may be taken by a model that fills in only so much.

Every limit is soft: what is asked for, x, becomes limit tanh(x / limit), which leaves small motions as they are. Where
a portrait's picture has room for more of a way, that is the limit (`MotionLimits.within`).
A model's own are `motion_limits` in its model_index.json. They are applied to turns here (`limited_turns`; and
`limited_reveal`, which knows no number of its own), to place and size by
`mien.animation.driving.DriverTrack.placement`, to DeX-Portrait's poses by `limited_motion` and, relative ones, by
`limited_pose` of `mien.models.dex_portrait.driving`. Gains of absolute motion act on what is held already.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mien.geometry.pose import HeadPose, rotation_matrix, rotation_vector
from mien.motion.keypoint_motion import FaceMotion

# What of a turned face is still to be shown when it comes to the front: a cheek that lies this far from its middle,
# stretched by no more than this, but always a little of a turn (degrees).
_CHEEK, _STRETCH, _LEAST_TURN = 55.0, 2.2, 6.0

# Between a face and the border of its picture, of the face's height; and the longest way, sides of the square: the
# shoulders stay where they are.
_MARGIN, _FARTHEST = 0.25, 0.3
NANO_MOTION_LIMITS = (0.15, 0.15, 0.1)  # of both nano models: what lies beyond, their pictures do not show well


@dataclass(frozen=True)
class MotionLimits:
    """How far a model takes a head from where the portrait has it.

    Attributes:
        shift: way from the portrait's place, sides of the square.
        zoom: natural logarithm of how much larger or smaller.
        turn: radians between the portrait and the driving video's reference frame; what the driving video turns from
            there on is free.
        room: ways to the left, up, to the right and down, sides of the square, that the picture around this portrait's
            head has; `shift` is the least in any direction.
    """

    shift: float
    zoom: float
    turn: float = math.inf
    room: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)

    @classmethod
    def of(cls, values: Sequence[float] | None) -> MotionLimits | None:
        """From a model's configuration.

        Args:
            values: [shift, zoom] or [shift, zoom, turn]; None: there are none.

        Raises:
            ValueError: they are more or fewer.
        """
        if values is None:
            return None
        if len(values) not in (2, 3):
            raise ValueError(f"motion_limits are {list(values)}: give [shift, zoom] or [shift, zoom, turn]")
        shift, zoom, turn = (*map(float, values), math.inf)[:3]
        return cls(shift, zoom, turn)

    def within(self, landmarks: NDArray[np.floating], corners: NDArray[np.floating]) -> MotionLimits:
        """The same for a portrait, whose head may go further while brows, cheeks and chin stay inside of its picture.

        Args:
            landmarks: the portrait's [68, 2], in sides of its square.
            corners: of its picture, left upper and right lower [2, 2], in sides of its square.

        Returns:
            Limits with `room`, which is below 0 where the face is at the border.
        """
        low, high = landmarks.min(0), landmarks.max(0)
        margin = _MARGIN * (high[1] - low[1])
        ways = (*(low - corners[0]), *(corners[1] - high))
        left, up, right, down = (min(float(way - margin), _FARTHEST) for way in ways)
        return replace(self, room=(left, up, right, down))

    def ways(self) -> NDArray[np.float64]:
        """The limits of a head's way.

        Returns:
            To the left and up, to the right and down, sides of the square [2, 2].
        """
        return np.maximum(self.room, self.shift).reshape(2, 2)


def limited_turns(
    motions: Sequence[FaceMotion], source: FaceMotion, reference: FaceMotion, most: float
) -> list[FaceMotion]:
    """The driving video's motions with the turn from the portrait's face to the driving video's reference frame held.

    With R_i = D_i O R_s, where O R_s is the driving video's turn in its reference frame: O is held, D_i is left as it
    is. So a portrait that looks aside is not turned by all of that to the front, where its picture has nothing to show.

    Args:
        motions: the driving video's, one a frame.
        source: the portrait's face.
        reference: the driving face in its reference frame.
        most: the limit of the turn O, radians; infinite: none.
    """
    own, there = rotation_matrix(source.pose.rotation), rotation_matrix(reference.pose.rotation)
    offset = rotation_vector(there @ own.T)
    angle = float(np.linalg.norm(offset))
    if not math.isfinite(most) or angle < 1e-6:
        return list(motions)
    start = rotation_matrix(offset * (most * math.tanh(angle / most) / angle)) @ own
    return [replace(motion, pose=_turned(motion.pose, there, start)) for motion in motions]


def limited_reveal(motions: Sequence[FaceMotion], source: FaceMotion | Sequence[FaceMotion]) -> list[FaceMotion]:
    """Motions with turns of a head that looks aside held where they would show what its picture does not.

    The far cheek of a head in three-quarter view is a few pixels wide; turned to the front they would be smeared over
    half a face. Turns further aside, and those of heads that look ahead, are left alone.

    Args:
        motions: poses that a head is to take, one a frame.
        source: the head as its picture has it, one or one a frame.
    """
    own = [source] * len(motions) if isinstance(source, FaceMotion) else source
    return [replace(motion, pose=shown_pose(motion.pose, face.pose)) for motion, face in zip(motions, own, strict=True)]


def shown_pose(pose: HeadPose, own: HeadPose) -> HeadPose:
    """A pose that a head is to take, held where it would show what its picture does not; see `limited_reveal`.

    Args:
        pose: wanted.
        own: the head's in its picture.

    Returns:
        The same, turned less towards the camera and beyond.
    """
    side = math.copysign(1.0, own.yaw)
    most, turn = _reveal(abs(own.yaw)), side * (own.yaw - pose.yaw)  # degrees towards the camera and beyond
    if turn <= 0 or math.isinf(most):
        return pose
    yaw = own.yaw - side * most * math.tanh(turn / most)
    return HeadPose.from_euler(yaw, pose.pitch, pose.roll, pose.translation, pose.scale)


def _reveal(yaw: float) -> float:
    """How far a head seen at an angle of `yaw` >= 0 may turn towards the camera, degrees."""
    edge = min(_CHEEK + yaw, 90.0)
    shown = _STRETCH * math.cos(math.radians(edge))
    if shown >= 1:
        return math.inf
    return max(_LEAST_TURN, edge - math.degrees(math.acos(shown)))


def _turned(pose: HeadPose, before: NDArray[np.float64], after: NDArray[np.float64]) -> HeadPose:
    return replace(pose, rotation=rotation_vector(rotation_matrix(pose.rotation) @ before.T @ after))
