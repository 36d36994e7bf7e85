"""What DeX-Portrait's two encoders are shown (Section 3.1, Figure 3), made once for training and inference.

The pose encoder never sees eyes or mouth, the expression encoder never sees where or how large the face is: what must
not leak from one code into the other is cut off at the inputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

# Landmarks (iBUG 68, 0-based) that no expression moves far: corners of the eyes, and the base of the nose.
_RIGHT_EYE, _LEFT_EYE, _NOSE = (36, 39), (42, 45), 33
# Blanked boxes in the face's own axes: one unit along x is half the distance of the eyes' centres, one along y the way
# from amid the eyes to the base of the nose. They lie where the eyes, brows and mouth can be at all, and follow no
# lid, lip or chin, so that the box itself cannot tell an expression.
_EYES = (-1.85, -0.85, 1.85, 0.45)
_MOUTH = (-1.45, 1.12, 1.45, 3.1)
_GREY = 128
# The crop's side over the larger side of the landmarks' box (X-NeMo: a square box times 1.1).
CROP_SCALE = 1.1
# An upright crop, in `face_axes`' unit: half the distance of the eyes and the way to the nose, as one length. So it
# holds a face with its jaw dropped, as a landmark network is shown one.
_UPRIGHT_SIDE, _BELOW_EYES = 4.2, 0.8


def face_axes(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The axes of a face in its picture.

    Args:
        landmarks: [68, 2], pixels.

    Returns:
        The point amid the eyes [2], and as the columns of [2, 2] half the way from eye to eye and the way from amid the
        eyes to the base of the nose.
    """
    points = np.asarray(landmarks, np.float64)
    right, left = points[list(_RIGHT_EYE)].mean(0), points[list(_LEFT_EYE)].mean(0)
    middle = (right + left) / 2
    return middle, np.stack([(left - right) / 2, points[_NOSE] - middle], axis=1)


def masked_frame(picture: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """The whole picture with eyes, brows and mouth under mean grey: what the pose encoder sees.

    Args:
        picture: uint8 [H, W, 3].
        landmarks: [68, 2], pixels of the picture.

    Returns:
        uint8 [H, W, 3].
    """
    middle, axes = face_axes(landmarks)
    masked = np.ascontiguousarray(picture).copy()
    for left, top, right, bottom in (_EYES, _MOUTH):
        corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
        # sixteenths of a pixel; landmarks count from the outer corner of the first pixel, OpenCV from its centre
        places = np.round((middle + corners @ axes.T - 0.5) * 16).astype(np.int32)
        cv2.fillConvexPoly(masked, places, (_GREY,) * 3, cv2.LINE_8, 4)
    return masked


def face_crop(
    picture: np.ndarray, landmarks: np.ndarray, size: int, degrees: float = 0.0, scale: float = CROP_SCALE
) -> np.ndarray:
    """The face, turned about its middle; the picture's border is repeated. What the expression encoder sees.

    The square is taken around the landmarks as they lie after the turn, as a detector would find them in a turned
    picture.

    Args:
        picture: uint8 [H, W, 3].
        landmarks: [68, 2], pixels of the picture.
        size: side of the crop, pixels.
        degrees: of the turn.
        scale: the crop's side over the larger side of the landmarks' box.

    Returns:
        uint8 [size, size, 3].
    """
    turned = TurnedCrop(np.zeros(2), 1.0, math.radians(degrees))
    points = np.asarray(landmarks, np.float64) @ turned.turn()
    low, high = points.min(0), points.max(0)
    side = max(float((high - low).max()) * scale, 1.0)
    return replace(turned, middle=turned.turn() @ ((low + high) / 2), half=side / 2).extract(picture, size)


@dataclass(frozen=True, eq=False)
class TurnedCrop:
    """A square around a face, turned in the picture.

    Attributes:
        middle: [2], pixels of the picture.
        half: half its side, pixels of the picture.
        angle: by which the square is turned in the picture, radians, clockwise as it is seen.
    """

    middle: np.ndarray
    half: float
    angle: float

    @classmethod
    def upright(cls, landmarks: np.ndarray) -> TurnedCrop:
        """The upright crop of a face, in which its eyes lie level. No lid, lip or chin moves it.

        Args:
            landmarks: [68, 2], pixels.
        """
        eyes, axes = face_axes(landmarks)
        length = max(float(np.sqrt(np.square(axes).sum())), 1e-3)
        angle = math.atan2(axes[1, 0], axes[0, 0])
        down = np.array([-math.sin(angle), math.cos(angle)])
        return cls(eyes + _BELOW_EYES * length * down, _UPRIGHT_SIDE / 2 * length, angle)

    def turn(self) -> np.ndarray:
        """Directions of the crop to those of the picture, [2, 2]."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return np.array([[cos, -sin], [sin, cos]])

    def extract(self, picture: np.ndarray, size: int) -> np.ndarray:
        """What it shows; the picture's border is repeated.

        Args:
            picture: uint8 [H, W, 3].
            size: side of the result, pixels.

        Returns:
            uint8 [size, size, 3].
        """
        zoom = size / (2 * self.half)
        linear = self.turn() / zoom
        shift = self.middle - linear @ np.full(2, size / 2 - 0.5) - 0.5
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        source = _smoothed(picture, 1 / zoom)
        shown = cv2.warpAffine(source, np.c_[linear, shift], (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(shown, np.uint8)

    def points_in(self, points: np.ndarray, size: int) -> np.ndarray:
        """Points of the picture, as they lie in the crop.

        Args:
            points: [n, 2], pixels of the picture.
            size: side of the crop, pixels.

        Returns:
            [n, 2], pixels of the crop.
        """
        inside = (np.asarray(points, np.float64) - self.middle) @ self.turn() / self.half
        return np.asarray((inside + 1) * (size / 2))

    def similarity(self, side: int) -> np.ndarray:
        """Where the crop lies in a square picture, as `Pose.placed` takes it.

        Args:
            side: of the picture, pixels.

        Returns:
            float32 [4]: angle in radians, middle x and y, and half the side, in half sides of the picture from its
            middle.
        """
        x, y = self.middle / (side / 2) - 1
        return np.array([self.angle, x, y, self.half / (side / 2)], np.float32)


def face_oval(landmarks: np.ndarray, size: int) -> np.ndarray:
    """A mask of the face: jaw line and a forehead of a brow's height above the brows.

    Args:
        landmarks: [68, 2], pixels of the mask.
        size: side of the mask, pixels.

    Returns:
        float32 [size, size], 1 inside the face and 0 outside.
    """
    points = np.asarray(landmarks, np.float64)
    _, axes = face_axes(points)
    forehead = points[17:27] - 0.6 * axes[:, 1]
    hull = cv2.convexHull(np.concatenate([points[:17], forehead]).astype(np.float32))
    mask = np.zeros((size, size), np.uint8)
    cv2.fillConvexPoly(mask, np.round(hull * 16 - 8).astype(np.int32), 1, cv2.LINE_8, 4)
    return mask.astype(np.float32)


def _smoothed(picture: np.ndarray, shrink: float) -> np.ndarray:
    """Blurred as far as a picture that is made `shrink` times smaller needs, so that nothing shimmers."""
    if shrink <= 1.2:
        return np.ascontiguousarray(picture)
    return cv2.GaussianBlur(picture, (0, 0), 0.4 * shrink, borderType=cv2.BORDER_REPLICATE)
