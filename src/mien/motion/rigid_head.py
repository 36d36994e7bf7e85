"""A portrait's face in another pose and in no other expression: the head turned rigidly, in depth.

DeX-Portrait's pose P = [sR | t] moves a head without a look at anybody's landmarks: the portrait's own keypoints are
lifted into the head's frame, with the depth of the mean head, and projected in the new pose. In the portrait's own pose
they lie exactly where they were read.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mien.geometry.pose import HeadPose
from mien.motion.keypoint_motion import Floats, KeypointMotion, uncrossed


class RigidHead:
    """One portrait's keypoints as points in space. All lengths are half sides of its square."""

    def __init__(self, shape: KeypointMotion) -> None:
        """shape: the portrait's face."""
        self.own, self._shape = shape.source.pose, shape
        depth = (shape.shown + shape.basis.moved(shape.source.blendshapes))[:, 2]
        self._points = lifted(shape.keypoints, self.own, depth)

    def keypoints(self, pose: HeadPose, moved: Floats | None = None) -> NDArray[np.float32]:
        """The portrait's keypoints [70, 2] in a pose.

        Args:
            pose: of the head.
            moved: what is added to its own expression [70, 3], half face heights of a mean head; None: nothing.
        """
        if moved is None or not np.any(moved):
            return projected(self._points, pose)
        return projected(uncrossed(self._points + self._shape.fitted(moved)), pose)

    def neutral(self, pose: HeadPose) -> NDArray[np.float32]:
        """The portrait's keypoints in a pose, without expression.

        Args:
            pose: of the head.

        Returns:
            [70, 2], half sides.
        """
        return self._shape.neutral(pose)


def lifted(points: Floats, pose: HeadPose, depth: Floats) -> NDArray[np.float64]:
    """Points of a picture in the head's frame.

    Args:
        points: [n, 2], half sides.
        pose: of the head in the picture.
        depth: [n], about how deep in the head they lie, half face heights.

    Returns:
        [n, 3], half face heights; `projected` in the same pose they are the given ones.
    """
    turn = pose.matrix()
    # what the camera sees in front of it and behind: the depth that a frontal head has, turned with it
    seen = (np.asarray(points, np.float64) - pose.translation) / pose.scale
    plane = np.linalg.solve(turn[:2, :2] + 1e-3 * np.eye(2), (seen - depth[:, None] * turn[:2, 2]).T).T
    rough = np.column_stack([plane, depth])
    rest = seen - (rough @ turn.T)[:, :2]
    return np.asarray(rough + np.column_stack([rest, np.zeros(len(rest))]) @ turn)


def projected(points: Floats, pose: HeadPose) -> NDArray[np.float32]:
    """Points [n, 3] of the head's frame in a picture [n, 2], half sides."""
    return np.asarray(pose.scale * (points @ pose.matrix().T)[:, :2] + pose.translation, np.float32)
