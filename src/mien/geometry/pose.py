"""Head pose: the one file that owns its conventions.

Camera frame: x to the picture's right, y down, z into the scene (right-handed). A head's own frame is the same frame
when the head looks straight into the camera, so the identity rotation is a frontal face.

- yaw > 0: the nose points to the picture's right;
- pitch > 0: the nose points down;
- roll > 0: the head is turned counter-clockwise in the picture.

Rotations compose as yaw * pitch * roll (roll is applied first). Image units: the centre of the picture is (0, 0), half
of its longer side is 1. Scale is half the height of the face, brow to chin, in image units, if it were seen frontally.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

# MediaPipe's frame has y up and looks along -z; turning it by 180 degrees about x gives ours.
_FLIP = np.diag([1.0, -1.0, -1.0])
# MediaPipe's canonical camera: vertical field of view 63 degrees; half the height brow to chin of its face model, cm.
_MEDIAPIPE_HALF_VIEW = math.tan(math.radians(63.0 / 2))
_MEDIAPIPE_HALF_FACE_CM = 7.0

# Points of a head that expressions hardly move: landmark number (iBUG 68, 0-based) and place in the head's frame, in
# half face heights (6.92 cm), from the neutral head of ICT-FaceKit (USC ICT, MIT), origin amid the skull.
_RIGID_INDEX = np.array([27, 28, 29, 30, 31, 33, 35, 36, 39, 42, 45])
_RIGID_POINTS = np.array(
    [
        [0.000, -0.541, -0.901],
        [0.000, -0.381, -1.014],
        [0.000, -0.233, -1.128],
        [0.000, -0.059, -1.238],
        [-0.181, 0.165, -0.921],
        [0.000, 0.174, -1.021],
        [0.181, 0.165, -0.921],
        [-0.644, -0.496, -0.593],
        [-0.266, -0.470, -0.679],
        [0.266, -0.470, -0.679],
        [0.644, -0.496, -0.593],
    ]
)


def rotation_matrix(rotation: np.ndarray) -> np.ndarray:
    """Rodrigues' formula.

    Args:
        rotation: axis-angle vector [3], radians.

    Returns:
        [3, 3].
    """
    vector = np.asarray(rotation, np.float64).reshape(3)
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(3) + _cross(vector)
    axis = _cross(vector / angle)
    return np.eye(3) + math.sin(angle) * axis + (1 - math.cos(angle)) * axis @ axis


def rotation_vector(matrix: np.ndarray) -> np.ndarray:
    """The inverse of `rotation_matrix`, for the rotation nearest to a matrix.

    Args:
        matrix: [3, 3].

    Returns:
        Axis-angle vector [3], radians, length at most pi.
    """
    left, _, right = np.linalg.svd(np.asarray(matrix, np.float64)[:3, :3])
    clean = left @ np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))]) @ right
    skew = np.array([clean[2, 1] - clean[1, 2], clean[0, 2] - clean[2, 0], clean[1, 0] - clean[0, 1]]) / 2
    sine, cosine = float(np.linalg.norm(skew)), (float(np.trace(clean)) - 1) / 2
    angle = math.atan2(sine, cosine)
    if sine > 1e-6:
        return skew / sine * angle
    if cosine > 0:
        return skew
    # Half a turn: the axis is the column of (R + I) / 2 with the largest diagonal entry.
    outer = (clean + np.eye(3)) / 2
    column = outer[:, int(np.argmax(np.diag(outer)))]
    return column / np.linalg.norm(column) * angle


def in_half_faces(points: np.ndarray) -> np.ndarray:
    """Landmarks along a head's own axes in half face heights.

    Size and origin come from the points that expressions hardly move, so that they fit `HeadPose.from_landmarks`.

    Args:
        points: [..., k, 3] with k of 68 or more, any unit and origin.

    Returns:
        The same shape.
    """
    rigid = points[..., _RIGID_INDEX, :]
    middle, model = rigid.mean(-2, keepdims=True), _RIGID_POINTS - _RIGID_POINTS.mean(0)
    scale = ((rigid - middle) * model).sum((-2, -1), keepdims=True) / (model**2).sum()
    return (points - middle) / scale + _RIGID_POINTS.mean(0)


def _cross(v: np.ndarray) -> np.ndarray:
    return np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]], np.float64)


def _euler_matrix(yaw: float, pitch: float, roll: float) -> np.ndarray:
    y, p, r = (math.radians(a) for a in (yaw, pitch, roll))
    turn_y = np.array([[math.cos(y), 0, math.sin(y)], [0, 1, 0], [-math.sin(y), 0, math.cos(y)]])
    turn_p = np.array([[1, 0, 0], [0, math.cos(p), -math.sin(p)], [0, math.sin(p), math.cos(p)]])
    turn_r = np.array([[math.cos(r), -math.sin(r), 0], [math.sin(r), math.cos(r), 0], [0, 0, 1]])
    # Written in the y-up frame, where all three signs are the plain right-handed ones, then turned into ours.
    return _FLIP @ turn_y @ turn_p @ turn_r @ _FLIP


@dataclass(frozen=True)
class HeadPose:
    """Where a head is and how it is turned; see the module for every convention.

    Attributes:
        rotation: axis-angle [3], radians.
        translation: [2], image units, x right, y down.
        scale: image units, > 0.
    """

    rotation: np.ndarray
    translation: np.ndarray
    scale: float

    @classmethod
    def identity(cls) -> HeadPose:
        """A frontal head at the centre with scale 1: the neutral element of `compose`."""
        return cls(np.zeros(3), np.zeros(2), 1.0)

    @classmethod
    def from_euler(
        cls,
        yaw: float,
        pitch: float,
        roll: float,
        translation: tuple[float, float] | np.ndarray = (0.0, 0.0),
        scale: float = 1.0,
    ) -> HeadPose:
        """From angles.

        Args:
            yaw: degrees, > 0: nose to the picture's right.
            pitch: degrees, > 0: nose down.
            roll: degrees, > 0: counter-clockwise in the picture.
            translation: [2], image units.
            scale: image units, > 0.
        """
        vector = rotation_vector(_euler_matrix(yaw, pitch, roll))
        return cls(vector, np.asarray(translation, np.float64), float(scale))

    @classmethod
    def from_matrix(cls, matrix: np.ndarray, width: int = 1, height: int = 1) -> HeadPose:
        """From MediaPipe's facial transformation.

        Args:
            matrix: column-vector [4, 4], centimetres, y up, camera along -z; or a [3, 3] rotation in these axes, which
                gives a pose at the centre with scale 1.
            width: of the picture, pixels; with `height` it turns the translation, which MediaPipe measures against the
                height, into image units.
            height: of the picture, pixels.
        """
        full = np.asarray(matrix, np.float64)
        vector = rotation_vector(_FLIP @ full[:3, :3] @ _FLIP)
        if full.shape == (3, 3):
            return cls(vector, np.zeros(2), 1.0)
        unit = height / max(width, height)
        per_cm = unit / (max(-full[2, 3], 1e-6) * _MEDIAPIPE_HALF_VIEW)
        return cls(vector, np.array([full[0, 3], -full[1, 3]]) * per_cm, float(_MEDIAPIPE_HALF_FACE_CM * per_cm))

    @classmethod
    def from_landmarks(cls, rotation: np.ndarray, landmarks: np.ndarray, width: int, height: int) -> HeadPose:
        """Place and size from landmarks, the rotation being known.

        Weak perspective: least squares over the points of the face that expressions leave in place. Every reader
        places heads by this, so that poses of different readers can be compared.

        Args:
            rotation: axis-angle [3], radians.
            landmarks: [68, 2], pixels.
            width: of the picture, pixels.
            height: of the picture, pixels.
        """
        half = max(width, height) / 2
        seen = (np.asarray(landmarks, np.float64)[_RIGID_INDEX] - [width / 2, height / 2]) / half
        model = (_RIGID_POINTS @ rotation_matrix(rotation).T)[:, :2]
        model_mean, seen_mean = model.mean(0), seen.mean(0)
        spread = float(((model - model_mean) ** 2).sum())
        scale = float(((model - model_mean) * (seen - seen_mean)).sum()) / max(spread, 1e-9)
        scale = max(scale, 1e-4)
        return cls(np.asarray(rotation, np.float64).reshape(3), seen_mean - scale * model_mean, scale)

    def matrix(self) -> np.ndarray:
        """The rotation as a [3, 3] matrix in the camera frame (x right, y down, z into the scene)."""
        return rotation_matrix(self.rotation)

    def _angles(self) -> tuple[float, float, float]:
        up = _FLIP @ self.matrix() @ _FLIP
        pitch = math.asin(float(np.clip(-up[1, 2], -1, 1)))
        yaw, roll = math.atan2(up[0, 2], up[2, 2]), math.atan2(up[1, 0], up[1, 1])
        return math.degrees(yaw), math.degrees(pitch), math.degrees(roll)

    @property
    def yaw(self) -> float:
        """Degrees, > 0: nose to the picture's right."""
        return self._angles()[0]

    @property
    def pitch(self) -> float:
        """Degrees, > 0: nose down."""
        return self._angles()[1]

    @property
    def roll(self) -> float:
        """Degrees, > 0: counter-clockwise in the picture."""
        return self._angles()[2]

    def compose(self, first: HeadPose) -> HeadPose:
        """The motion `first`, then this one: rotations multiply, places scale and shift.

        Rotation turns the head about itself, never its place in the picture, so that a relative motion
        `driver.compose(reference.inverse())` can be carried over to another head.
        """
        rotation = rotation_vector(self.matrix() @ first.matrix())
        translation = np.asarray(self.translation) + self.scale * np.asarray(first.translation)
        return HeadPose(rotation, translation, self.scale * first.scale)

    def inverse(self) -> HeadPose:
        """The pose that composes with this one, on either side, to the identity."""
        translation = -np.asarray(self.translation, np.float64) / self.scale
        return HeadPose(-np.asarray(self.rotation, np.float64), translation, 1.0 / self.scale)

    def interpolate(self, other: HeadPose, weight: float) -> HeadPose:
        """Between two poses: the shortest turn, a straight path, an even zoom.

        Args:
            other: the pose at weight 1.
            weight: 0 is this pose.
        """
        step = rotation_vector(self.matrix().T @ other.matrix())
        rotation = rotation_vector(self.matrix() @ rotation_matrix(step * weight))
        translation = (1 - weight) * np.asarray(self.translation) + weight * np.asarray(other.translation)
        return HeadPose(rotation, translation, self.scale ** (1 - weight) * other.scale**weight)
