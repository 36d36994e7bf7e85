"""Where a head is in front of the camera, and what the camera sees of it.

The head model's axes are x to the subject's left, y up, z out of the face, in centimetres. The camera's are those of
`mien.geometry.pose`: x to the picture's right, y down, z into the scene. Both agree for a frontal face after `FLIP`, so
that a `HeadPose` matrix M places a vertex X at M FLIP X + offset.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.geometry import HeadPose
from mien.geometry.pose import rotation_vector

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

FLIP = np.diag([1.0, -1.0, -1.0])
FOCAL = 2.5  # focal length over the picture's side: a portrait lens, 22.6 degrees of view
NECK_PIVOT = np.array([0.0, -7.0, -1.0])  # heads turn about this point of the model, cm


@dataclass(frozen=True, eq=False)
class Placement:
    """A rigid motion from the model to the camera.

    Attributes:
        rotation: [3, 3] as `HeadPose.matrix`.
        offset: [3], cm.
    """

    rotation: Doubles
    offset: Doubles

    def apply(self, vertices: NDArray[np.floating]) -> NDArray[np.floating]:
        """Where points of the model are before the camera.

        Args:
            vertices: [n, 3], cm in the model's axes.

        Returns:
            [n, 3], cm in the camera's axes.
        """
        turn = (self.rotation @ FLIP).T
        return vertices @ turn.astype(vertices.dtype) + self.offset.astype(vertices.dtype)

    def unapply(self, points: NDArray[np.floating]) -> NDArray[np.floating]:
        """The inverse of `apply`.

        Args:
            points: [n, 3], cm in the camera's axes.

        Returns:
            [n, 3], cm in the model's axes.
        """
        return ((points - self.offset) @ (self.rotation @ FLIP)).astype(points.dtype)

    def angles(self) -> tuple[float, float, float]:
        """Yaw, pitch, roll in degrees, by the conventions of `HeadPose`."""
        pose = HeadPose(rotation_vector(self.rotation), np.zeros(2), 1.0)
        return pose.yaw, pose.pitch, pose.roll


@dataclass(frozen=True)
class HeadMotion:
    """One moment of a head: absolute angles (see `HeadPose`), shift and scale against the person's rest.

    Attributes:
        yaw: degrees.
        pitch: degrees.
        roll: degrees.
        shift: parts of the picture's side, x right, y down.
        scale: > 0, 1 at rest.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    scale: float = 1.0

    def rotation(self) -> Doubles:
        """The rotation [3, 3] in the camera frame."""
        return HeadPose.from_euler(self.yaw, self.pitch, self.roll).matrix()


def place(rest: Placement, motion: HeadMotion) -> Placement:
    """The head, turned about the neck to the motion's angles, then shifted and scaled in the picture.

    Args:
        rest: where the person is at rest.
        motion: absolute.
    """
    rotation = motion.rotation()
    pivot = FLIP @ NECK_PIVOT
    offset = rest.offset + rest.rotation @ pivot - rotation @ pivot
    depth = rest.offset[2] / motion.scale
    nearer = rest.offset * (1 / motion.scale - 1)
    aside = np.array([motion.shift[0], motion.shift[1], 0.0]) * depth / FOCAL
    return Placement(rotation, offset + nearer + aside)


def project(points: NDArray[np.floating], size: float) -> NDArray[np.floating]:
    """Where the camera sees points in a square picture.

    Args:
        points: [n, 3], cm in the camera's axes.
        size: side of the picture, pixels.

    Returns:
        [n, 2], pixels; the centre of the first one is (0.5, 0.5).
    """
    return points[:, :2] * (FOCAL * size / points[:, 2:3]) + points.dtype.type(size / 2)


def depths(points: NDArray[np.floating], placement: Placement, size: float) -> Floats:
    """How far points lie behind the head's origin.

    Args:
        points: [n, 3], cm in the camera's axes.
        placement: of the head.
        size: side of the picture, pixels.

    Returns:
        [n], in pixels as long as those in the plane of the head's origin.
    """
    origin = placement.offset[2]
    return ((points[:, 2] - origin) * (FOCAL * size / origin)).astype(np.float32)


def unproject(pixels: NDArray[np.floating], depth: NDArray[np.floating], size: float) -> NDArray[np.floating]:
    """The inverse of `project`.

    Args:
        pixels: [n, 2].
        depth: [n], cm.
        size: side of the picture, pixels.

    Returns:
        [n, 3], cm in the camera's axes.
    """
    return np.column_stack([(pixels - size / 2) * (depth / (FOCAL * size))[:, None], depth])


def head_pose(placement: Placement, landmarks: NDArray[np.floating], size: int) -> HeadPose:
    """The exact pose of a rendered head, in the form that every face reader gives.

    Args:
        placement: of the head.
        landmarks: [68, 2], pixels.
        size: side of the picture, pixels.
    """
    return HeadPose.from_landmarks(rotation_vector(placement.rotation), landmarks, size, size)
